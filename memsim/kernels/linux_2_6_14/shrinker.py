"""Shrinking the caches of dentries and inodes.

Source: shrink_slab, mm/vmscan.c, Linux 2.6.14 (spec 6.6). One shrinker stands for all.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import (
    GONE,
    LRU_SLAB,
    PAGE_PINNED,
    PAGE_REFERENCED,
    REQ_FS,
    Z_LRU,
    Mem,
    zone_get,
)
from memsim.kernels.linux_2_6_14.page_alloc import free_pages
from memsim.kernels.linux_2_6_14.page_reclaim import S_COST, ScanControl, keep
from memsim.kernels.linux_2_6_14.writeback import nr_pages_of
from memsim.kernels.lru import lru_head, lru_pages, lru_tail, page_holder
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    S_OWN_2005,
    S_RECLAIM_NS,
    S_SCAN_NS,
    S_SLAB_OBJECTS,
    S_SLAB_SCAN,
    S_VFS_CACHE_PRESSURE,
)
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import SLAB_PAGES_FREED, SLABS_SCANNED
from memsim.mm import SWAP_CLUSTER_MAX

SHRINK_BATCH = 128
"""Objects."""
DEFAULT_SEEKS = 2
S_SLAB_PARTLY = S_OWN_2005 + 7
"""Objects already scanned of the page that is next."""


@helper
def fullest_zone(m: Mem) -> int:
    """Return the zone with the most reclaimable slab pages."""
    best = 0
    for z in range(1, m.nr_zones):
        if zone_get(m, z, Z_LRU + LRU_SLAB) > zone_get(m, best, Z_LRU + LRU_SLAB):
            best = z
    return best


@helper
def prune_page(m: Mem, tables: PolicyTables, sc: ScanControl) -> int:
    """Free the oldest slab page, unless it was used lately or cannot go; return pages freed.

    Unlike Linux: the objects of a slab page are used and freed together, and the oldest page is
    taken from the zone that has the most.
    """
    head = lru_head(m, fullest_zone(m), LRU_SLAB)
    pfn = lru_tail(m, head)
    if pfn == head:
        return 0
    state = int(m.state[pfn])
    if state & (PAGE_REFERENCED | PAGE_PINNED):
        m.state[pfn] = state & ~PAGE_REFERENCED
        keep(m, pfn)
        return 0
    holder = page_holder(m, pfn)
    if holder >= 0:
        m.page_table[holder] = GONE
    pages = lru_pages(state)
    m.system[S_COST] += int(m.system[S_RECLAIM_NS]) * pages
    m.events[SLAB_PAGES_FREED] += pages
    log_event(m, LOG_FREE, pfn, 0, 0)
    free_pages(m, tables, sc.cpu, pfn, 0)
    return pages


@helper
def shrink_slab(
    m: Mem, tables: PolicyTables, sc: ScanControl, scanned: int, lru_pages_seen: int
) -> int:
    """Shrink the caches as much as the LRU lists were scanned; return the pages freed."""
    objects = int(m.system[S_SLAB_OBJECTS])
    unused = nr_pages_of(m, Z_LRU + LRU_SLAB) * objects
    count = unused // 100 * int(m.system[S_VFS_CACHE_PRESSURE])
    delta = 4 * (scanned if scanned else SWAP_CLUSTER_MAX) // DEFAULT_SEEKS * count
    total = int(m.system[S_SLAB_SCAN]) + delta // (lru_pages_seen + 1)
    freed = 0
    if sc.flags & REQ_FS:
        batches = total // SHRINK_BATCH
        # Passing all objects twice, once for a second chance, leaves none to be freed.
        looked = min(batches * SHRINK_BATCH, 2 * unused + SHRINK_BATCH)
        total -= batches * SHRINK_BATCH
        m.events[SLABS_SCANNED] += looked
        m.system[S_COST] += int(m.system[S_SCAN_NS]) * looked
        looked += int(m.system[S_SLAB_PARTLY])
        m.system[S_SLAB_PARTLY] = looked % objects
        for _ in range(looked // objects):
            freed += prune_page(m, tables, sc)
    m.system[S_SLAB_SCAN] = total
    return freed
