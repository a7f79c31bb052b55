"""Accesses to memory: to pages that are there, and to pages that reclaim has taken.

Source: mm/memory.c (do_swap_page), mm/filemap.c, mm/swap.c (folio_mark_accessed), Linux 6.1.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import Mem


@helper
def touch_resident(m: Mem, pfn: int, write: int) -> None:
    """Access a page that is in memory: mark it young, or referenced, or active; dirty it."""


@helper
def fault_in(m: Mem, handle: int, entry: int, pfn: int, write: int) -> None:
    """Bring back what reclaim has taken (``entry``: its page table entry) into a new page."""
