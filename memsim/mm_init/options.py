"""What command line and sysctl tell the booting kernel about memory.

Source: Documentation/admin-guide/kernel-parameters.txt and sysctl/vm.rst (Linux 6.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from memsim.units import CmdlineSize


@dataclass(frozen=True)
class BootOptions:
    """The words of the kernel's command line, and the build options, that shape memory."""

    kernelcore: CmdlineSize | None = None
    movablecore: CmdlineSize | None = None
    movable_node: bool = False
    transparent_hugepage: str = "madvise"
    """always, madvise or never."""
    cma: bool = False
    """The kernel was built with CMA: one more migratetype."""


@dataclass(frozen=True)
class VmOptions:
    """sysctl vm.*: what is not None is written after boot, so with all pages freed."""

    min_free_kbytes: int | None = None
    watermark_scale_factor: int | None = None
    lowmem_reserve_ratio: tuple[int, int, int, int] | None = None
    percpu_pagelist_high_fraction: int = 0
