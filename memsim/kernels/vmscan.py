"""Reclaim: aging the LRU lists, direct reclaim, kswapd.

Source: mm/vmscan.c, Linux 6.1 (spec 7).
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import Z_NR_FREE_PAGES, Mem, zone_get
from memsim.kernels.placement import PolicyTables
from memsim.kernels.zonelist import AllocContext


@helper
def try_to_free_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Reclaim on behalf of a request; return the pages freed (spec 7.4)."""
    return 0


@helper
def zone_reclaimable_pages(m: Mem, z: int) -> int:
    """Count the pages of a zone that reclaim might get (spec 5.5)."""
    return zone_get(m, z, Z_NR_FREE_PAGES)


@helper
def wakeup_kswapd(m: Mem, z: int, order: int, highest_zone: int) -> None:
    """Wake the kswapd of a zone's node, unless the node is balanced (spec 7.5)."""


@helper
def kswapd_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Let kswapd do its next piece of work, and say when the following one is due."""
