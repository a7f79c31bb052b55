"""Compaction: who compacts, when, and for how long.

Source: mm/compaction.c, Linux 6.1 (spec 6).
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import Z_NR_FREE, Mem, zone_get
from memsim.kernels.placement import PolicyTables
from memsim.kernels.zonelist import AllocContext

PRIO_SYNC_FULL, PRIO_SYNC_LIGHT, PRIO_ASYNC = range(3)
"""enum compact_priority: from the most thorough to the least."""
(
    COMPACT_NOT_SUITABLE_ZONE,
    COMPACT_SKIPPED,
    COMPACT_DEFERRED,
    COMPACT_NO_SUITABLE_PAGE,
    COMPACT_CONTINUE,
    COMPACT_COMPLETE,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_CONTENDED,
    COMPACT_SUCCESS,
) = range(9)
"""enum compact_result, as include/linux/compaction.h numbers it."""


@helper
def fragmentation_index(m: Mem, z: int, order: int) -> int:
    """Say how fragmented a zone is for blocks of an order, in thousandths (spec 6.9)."""
    blocks = 0
    pages = 0
    suitable = 0
    for k in range(m.max_page_order + 1):
        nr_free = zone_get(m, z, Z_NR_FREE + k)
        blocks += nr_free
        pages += nr_free << k
        suitable += nr_free if k >= order else 0
    if blocks == 0:
        return 0
    if suitable:
        return -1000
    return 1000 - (1000 + pages * 1000 // (1 << order)) // blocks


@helper
def try_to_compact_pages(
    m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int, priority: int
) -> tuple[int, int]:
    """Compact the zones of a request's list; return the result and the captured page or -1."""
    return COMPACT_SKIPPED, -1


@helper
def compaction_zonelist_suitable(m: Mem, ac: AllocContext, alloc_flags: int) -> bool:
    """Say whether reclaim could make some zone of the list suitable for compaction."""
    return False


@helper
def compaction_defer_reset(m: Mem, z: int, order: int, allocated: bool) -> None:
    """Forget failures, now that compaction has helped or seems to have (spec 6.8)."""


@helper
def wakeup_kcompactd(m: Mem, node: int, order: int, highest_zone: int) -> None:
    """Wake a node's kcompactd (spec 6.10)."""


@helper
def kcompactd_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Let kcompactd do its next piece of work, and say when the following one is due."""


@helper
def reset_isolation_suitable(m: Mem, node: int) -> None:
    """Clear the skip bits of zones that ask for it; kswapd does so when it goes to sleep."""
