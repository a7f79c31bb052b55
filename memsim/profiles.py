"""The kernels that memsim can be: everything that is not a placement policy's to decide.

A profile names the allocator's mechanism and the numbers in which kernels with that mechanism
differ. Source of the rows of 2005: mm/page_alloc.c of the kernels named (spec linux-2.6.14 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mechanism = Literal["linux-6.1", "linux-2.6.14"]
Arch = Literal["x86-64", "i386", "ppc64"]


@dataclass(frozen=True)
class Profile:
    """One kernel."""

    name: str
    mechanism: Mechanism
    """Which of ``memsim.kernels`` serves requests and frees."""
    arches: tuple[Arch, ...]
    dma32: bool
    """x86-64 has a zone below 4 GiB."""
    pcp_cap: int = 0
    """Pages that the per-CPU batch of a large zone is computed from, times 4."""
    pcp_fls_fix: bool = False
    """The batch is one power of two less."""
    pcp_hot_low: int = 0
    """Batches that a hot list is refilled at."""
    pcp_cold_half: bool = False
    """Cold lists take half a batch at a time."""
    highmem_marks: Literal[14, 15] = 15
    """Low and high marks of HIGHMEM as in 2.6.14 or in 2.6.15."""
    lumpy: bool = False
    """Direct reclaim for a block takes whole aligned blocks of pages."""


_OLD: tuple[Arch, ...] = ("x86-64", "i386", "ppc64")
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("linux-6.1", "linux-6.1", ("x86-64",), dma32=True),
        Profile(
            "linux-2.6.14",
            "linux-2.6.14",
            _OLD,
            dma32=False,
            pcp_cap=64,
            pcp_hot_low=2,
            highmem_marks=14,
        ),
        Profile(
            "linux-2.6.14-mm",
            "linux-2.6.14",
            _OLD,
            dma32=True,
            pcp_cap=128,
            pcp_cold_half=True,
            highmem_marks=14,
        ),
        Profile(
            "linux-2.6.15",
            "linux-2.6.14",
            _OLD,
            dma32=True,
            pcp_cap=128,
            pcp_fls_fix=True,
            pcp_cold_half=True,
        ),
        Profile(
            "linux-2.6.21",
            "linux-2.6.14",
            _OLD,
            dma32=True,
            pcp_cap=128,
            pcp_fls_fix=True,
            pcp_cold_half=True,
            lumpy=True,
        ),
    )
}
