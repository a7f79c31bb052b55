"""The allocator of 2005: its per-CPU lists, its walk over the zones, its order at boot.

Read beside mm/page_alloc.c of Linux 2.6.14 (spec linux-2.6.14): functions carry that kernel's
names. Layout, free lists and merging are those of ``memsim.kernels``; a free count here is exact,
so no CPU holds a part of it back.
"""
