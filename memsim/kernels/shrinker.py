"""Shrinking reclaimable slab.

Source: mm/vmscan.c, Linux 6.1 (shrink_slab), in the simplification of spec 7.6.5.

Unlike Linux: shrinkers work by slab pages, not by objects: a page that was used since they last
came by gets a second chance, any other gives all of its objects back at once and is freed.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import (
    LRU_SLAB,
    NR_LRU_LISTS,
    PAGE_PINNED,
    PAGE_REFERENCED,
    Mem,
)
from memsim.kernels.lru import lru_add, lru_del, lru_pages, lru_tail
from memsim.kernels.lru_balance import lruvec_size
from memsim.kernels.scan_control import (
    SC_COST,
    SC_CPU,
    SC_MAY_FS,
    SC_NODE,
    SC_PRIORITY,
    SC_RECLAIMED,
    sc_add,
    sc_get,
)
from memsim.kernels.shrink_list import free_reclaimed_page
from memsim.kernels.system import (
    S_RECLAIM_NS,
    S_SCAN_NS,
    S_SLAB_OBJECTS,
    S_VFS_CACHE_PRESSURE,
)
from memsim.kernels.vmstat import SLAB_PAGES_FREED, SLABS_SCANNED
from memsim.mm import MAX_NR_ZONES


@helper
def scan_slab(m: Mem, node: int, cpu: int, nr_to_scan: int) -> tuple[int, int]:
    """Look at the oldest slab pages of a node, whatever their zones; return those seen, freed."""
    head = m.lru_lists + NR_LRU_LISTS * node + LRU_SLAB
    seen, freed = 0, 0
    while seen < nr_to_scan:
        pfn = lru_tail(m, head)
        if pfn == head:
            break
        state = int(m.state[pfn])
        pages = lru_pages(state)
        seen += pages
        if state & (PAGE_REFERENCED | PAGE_PINNED):
            m.state[pfn] = state & ~PAGE_REFERENCED
            lru_del(m, pfn)
            lru_add(m, pfn)
        else:
            free_reclaimed_page(m, cpu, pfn)
            freed += pages
    return seen, freed


@helper
def shrink_slab(m: Mem, sc: int) -> None:
    """Let the shrinkers of a node scan their share at this priority."""
    if not sc_get(m, sc, SC_MAY_FS):
        return
    node = sc_get(m, sc, SC_NODE)
    pages = lruvec_size(m, node, LRU_SLAB, MAX_NR_ZONES)
    scan = pages * int(m.system[S_VFS_CACHE_PRESSURE]) // 100 >> sc_get(m, sc, SC_PRIORITY)
    seen, freed = scan_slab(m, node, sc_get(m, sc, SC_CPU), scan)
    m.events[SLABS_SCANNED] += seen * int(m.system[S_SLAB_OBJECTS])
    m.events[SLAB_PAGES_FREED] += freed
    sc_add(m, sc, SC_RECLAIMED, freed)
    cost = seen * int(m.system[S_SCAN_NS]) + freed * int(m.system[S_RECLAIM_NS])
    sc_add(m, sc, SC_COST, cost)
