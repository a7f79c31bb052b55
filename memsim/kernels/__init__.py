"""MECHANISM: arrays in, arrays out, integers only.

Read beside mm/page_alloc.c (Linux 6.1): functions carry the kernel's names without underscores.
Kernels never raise, never allocate, never draw random numbers; they widen every scalar that they
read from a narrow array, so that the same source gives the same numbers with and without the JIT.
"""
