"""How fragmented a zone is: the index of compaction, and the score of proactive compaction.

Source: mm/vmstat.c (__fragmentation_index, extfrag_for_order), mm/compaction.c, Linux 6.1
(spec 6.9, 6.10).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import Z_NODE, Z_NR_FREE, Z_PRESENT, Mem, zone_get
from memsim.kernels.system import S_COMPACTION_PROACTIVENESS
from memsim.mm import PAGEBLOCK_ORDER


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
def fragmentation_score_zone(m: Mem, z: int) -> int:
    """Return the share of free pages that are in no free pageblock, in percent."""
    pages = 0
    suitable = 0
    for k in range(m.max_page_order + 1):
        nr_free = zone_get(m, z, Z_NR_FREE + k)
        pages += nr_free << k
        suitable += nr_free << k if k >= PAGEBLOCK_ORDER else 0
    return (pages - suitable) * 100 // pages if pages else 0


@helper
def fragmentation_score_node(m: Mem, node: int) -> int:
    """Return a node's score: its zones' scores by their size, each truncated."""
    present = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            present += zone_get(m, z, Z_PRESENT)
    score = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            score += zone_get(m, z, Z_PRESENT) * fragmentation_score_zone(m, z) // (present + 1)
    return score


@inline
def fragmentation_score_wmark(m: Mem, low: bool) -> int:
    """Return the score above which proactive compaction begins, or at which it ends (``low``)."""
    mark = max(100 - int(m.system[S_COMPACTION_PROACTIVENESS]), 5)
    return mark if low else min(mark + 10, 100)
