"""How large LRU lists are, and how reclaim divides its work between anonymous pages and files.

Source: mm/vmscan.c (inactive_is_low, get_scan_count), mm/swap.c (lru_note_cost), Linux 6.1
(spec 7.2, 7.4).
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    Z_LRU,
    Z_NODE,
    Z_TYPE,
    Mem,
    zone_get,
)
from memsim.kernels.system import N_ANON_COST, N_FILE_COST, NODE_FIELDS
from memsim.mm import MAX_NR_ZONES


@helper
def lruvec_size(m: Mem, node: int, kind: int, highest_zone: int) -> int:
    """Count the pages on a node's list that lie in zones up to a type."""
    pages = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node and zone_get(m, z, Z_TYPE) <= highest_zone:
            pages += zone_get(m, z, Z_LRU + kind)
    return pages


@helper
def inactive_is_low(m: Mem, node: int, active_kind: int) -> bool:
    """Say whether a node has too few inactive pages for its active ones (spec 7.2)."""
    inactive = lruvec_size(m, node, active_kind - 1, MAX_NR_ZONES)
    active = lruvec_size(m, node, active_kind, MAX_NR_ZONES)
    gigabytes = inactive + active >> 18
    ratio = 1
    while (ratio + 1) * (ratio + 1) <= 10 * gigabytes:
        ratio += 1
    return inactive * ratio < active


@helper
def lru_note_cost(m: Mem, node: int, anon: bool, pages: int) -> None:
    """Note that reclaim of anonymous pages, or of files, has cost ``pages`` of I/O.

    Old costs count less: both are halved when they are more than a quarter of the node's lists.
    """
    at = node * NODE_FIELDS
    m.nodes[at + (N_ANON_COST if anon else N_FILE_COST)] += pages
    size = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            for kind in range(LRU_INACTIVE_ANON, LRU_ACTIVE_FILE + 1):
                size += zone_get(m, z, Z_LRU + kind)
    if int(m.nodes[at + N_ANON_COST]) + int(m.nodes[at + N_FILE_COST]) > size // 4:
        m.nodes[at + N_ANON_COST] //= 2
        m.nodes[at + N_FILE_COST] //= 2


@helper
def scan_fractions(swappiness: int, anon_cost: int, file_cost: int) -> tuple[int, int]:
    """Weigh anonymous pages against files by swappiness and what their reclaim has cost.

    Only the ratio of the two numbers that it returns means something.
    """
    total = anon_cost + file_cost
    anon, file = total + anon_cost, total + file_cost
    total = anon + file
    return swappiness * (total + 1) // (anon + 1), (200 - swappiness) * (total + 1) // (file + 1)
