"""Reclaim: how much of which list, aging, and taking pages off the lists.

Source: mm/vmscan.c, Linux 2.6.14 (spec 6.2 to 6.5); lumpy reclaim of 2.6.21 (spec 7.2).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_FILE,
    PAGE_ACTIVE,
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_LRU,
    PAGE_MAPPED,
    PAGE_SWAPCACHE,
    SCAN_NR_ACTIVE,
    SCAN_NR_INACTIVE,
    SCAN_PAGES_SCANNED,
    SCAN_PREV_PRIORITY,
    Z_LRU,
    Z_NR_MAPPED,
    Z_SCAN,
    Mem,
    page_zone,
    zone_get,
    zone_set,
)
from memsim.kernels.linux_2_6_14.page_reclaim import (
    S_COST,
    ScanControl,
    keep,
    page_referenced,
    shrink_page,
)
from memsim.kernels.linux_2_6_14.writeback import nr_pages_of
from memsim.kernels.lru import lru_add, lru_del, lru_head, lru_tail
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.system import (
    S_LUMPY,
    S_SCAN_NS,
    S_SWAP_SLOTS,
    S_SWAPPINESS,
    S_TOTAL_MEMORY,
)
from memsim.kernels.vmstat import (
    PGDEACTIVATE,
    PGREFILL,
    PGSCAN_ANON,
    PGSCAN_DIRECT,
    PGSCAN_FILE,
    PGSCAN_KSWAPD,
)
from memsim.mm import SWAP_CLUSTER_MAX

LEAST_PRIORITY_WITHOUT_WAIT = 10
"""DEF_PRIORITY - 2: reclaim that has come further down waits for the device."""

UNTOUCHED = -1
"""In place of SCAN_PAGES_SCANNED: no page has been freed to the zone since."""


@inline
def zone_lru_pages(m: Mem, z: int) -> int:
    """Count a zone's active and inactive pages."""
    return zone_get(m, z, Z_LRU + LRU_ACTIVE_FILE) + zone_get(m, z, Z_LRU + LRU_INACTIVE_FILE)


@inline
def nr_to_scan(m: Mem, z: int, kind: int, carried: int, priority: int) -> int:
    """Say how much of a list to scan; what is too little for a batch is carried on."""
    pages = zone_get(m, z, Z_SCAN + carried) + (zone_get(m, z, Z_LRU + kind) >> priority) + 1
    if pages < SWAP_CLUSTER_MAX:
        zone_set(m, z, Z_SCAN + carried, pages)
        return 0
    zone_set(m, z, Z_SCAN + carried, 0)
    return pages


@helper
def scan_amounts(m: Mem, z: int, priority: int) -> tuple[int, int]:
    """Say how many pages of a zone's active and of its inactive list to scan (spec 6.2)."""
    active = nr_to_scan(m, z, LRU_ACTIVE_FILE, SCAN_NR_ACTIVE, priority)
    return active, nr_to_scan(m, z, LRU_INACTIVE_FILE, SCAN_NR_INACTIVE, priority)


@inline
def isolates(m: Mem, z: int, pfn: int, active: int) -> bool:
    """Say whether lumpy reclaim takes a page along: on the LRU, in the same state of activity."""
    wanted = PAGE_LRU | PAGE_ALLOCATED | (PAGE_ACTIVE if active else 0)
    state = int(m.state[pfn]) & (PAGE_LRU | PAGE_ALLOCATED | PAGE_ACTIVE)
    return state == wanted and page_zone(m, pfn) == z


@helper
def swap_tendency(m: Mem, z: int) -> int:
    """Say how much reclaim inclines to mapped pages; from 100 on it takes them (spec 6.4)."""
    distress = 100 >> zone_get(m, z, Z_SCAN + SCAN_PREV_PRIORITY)
    mapped_ratio = nr_pages_of(m, Z_NR_MAPPED) * 100 // max(int(m.system[S_TOTAL_MEMORY]), 1)
    return mapped_ratio // 2 + distress + int(m.system[S_SWAPPINESS])


@inline
def stays_active(m: Mem, pfn: int, reclaim_mapped: bool) -> bool:
    """Say whether a page goes back to the active list."""
    state = int(m.state[pfn])
    if not state & PAGE_MAPPED:
        return False
    if not reclaim_mapped or (state & PAGE_ANON and int(m.system[S_SWAP_SLOTS]) == 0):
        return True
    return page_referenced(m, pfn)


@helper
def age_page(m: Mem, pfn: int, reclaim_mapped: bool) -> bool:
    """Let an active page become inactive, unless it stays active; say whether it stays."""
    m.system[S_COST] += int(m.system[S_SCAN_NS])
    m.events[PGREFILL] += 1
    if stays_active(m, pfn, reclaim_mapped):
        keep(m, pfn)
        return True
    lru_del(m, pfn)
    m.state[pfn] &= ~PAGE_ACTIVE
    lru_add(m, pfn)
    m.events[PGDEACTIVATE] += 1
    return False


@inline
def drain_lru_batches(m: Mem) -> None:
    """Let all pages that wait on CPUs enter their LRU lists.

    Unlike Linux: whoever scans lets pages enter the lists for all CPUs, not only for its own.
    """
    for cpu in range(m.nr_cpus):
        lru_add_drain(m, cpu)


@helper
def scan_page(m: Mem, tables: PolicyTables, pfn: int, sc: ScanControl) -> tuple[int, int]:
    """Have a look at an inactive page; return how much was scanned, and what became of it."""
    state = int(m.state[pfn])
    m.events[PGSCAN_KSWAPD if sc.kswapd else PGSCAN_DIRECT] += 1
    m.events[PGSCAN_ANON if state & PAGE_ANON else PGSCAN_FILE] += 1
    m.system[S_COST] += int(m.system[S_SCAN_NS])
    return 2 if state & (PAGE_MAPPED | PAGE_SWAPCACHE) else 1, shrink_page(m, tables, pfn, sc)


@helper
def scan_list(
    m: Mem, tables: PolicyTables, z: int, sc: ScanControl, active: int, count: int
) -> tuple[int, int]:
    """Take pages from a list's tail, with a block around each if reclaim is lumpy.

    Returns what the scan of inactive pages counted, and the pages freed. Pages that stay on the
    list go to its head, and ``mark``, the first of them, tells where what has been taken begins.
    Source: isolate_lru_pages, refill_inactive_zone, shrink_cache.
    """
    drain_lru_batches(m)
    reclaim_mapped = active != 0 and swap_tendency(m, z) >= 100
    head = lru_head(m, z, LRU_ACTIVE_FILE if active else LRU_INACTIVE_FILE)
    block = 1 << sc.order
    mark, taken, scanned, freed = head, 0, 0, 0
    before = zone_get(m, z, Z_SCAN + SCAN_PAGES_SCANNED)
    zone_set(m, z, Z_SCAN + SCAN_PAGES_SCANNED, UNTOUCHED)
    while taken < count:
        tail = lru_tail(m, head)
        if tail == mark:
            break
        first = tail & -block
        for other in range(first - 1, first + block):
            # The tail page itself comes first, then the others of its block.
            pfn = tail if other < first else other
            if other == tail or (other >= first and not isolates(m, z, pfn, active)):
                continue
            taken += 1
            if active:
                stays = age_page(m, pfn, reclaim_mapped)
            else:
                looked, outcome = scan_page(m, tables, pfn, sc)
                scanned += looked
                freed += max(outcome, 0)
                stays = outcome == 0
            if stays and mark == head:
                mark = pfn
    # The pages count as scanned before any of them is freed, which sets the count to zero.
    if zone_get(m, z, Z_SCAN + SCAN_PAGES_SCANNED) == UNTOUCHED:
        # A batch of 2.6.14 counts one page more than it takes.
        before += taken + (0 if int(m.system[S_LUMPY]) else 1)
        zone_set(m, z, Z_SCAN + SCAN_PAGES_SCANNED, before)
    return scanned, freed


@helper
def shrink_once(
    m: Mem, tables: PolicyTables, z: int, sc: ScanControl, active: int, inactive: int
) -> tuple[int, int]:
    """Age a batch of active pages and scan one of inactive pages; return pages scanned, freed."""
    if active:
        scan_list(m, tables, z, sc, 1, min(active, SWAP_CLUSTER_MAX))
    if inactive:
        return scan_list(m, tables, z, sc, 0, min(inactive, SWAP_CLUSTER_MAX))
    return 0, 0


@helper
def shrink_zone(m: Mem, tables: PolicyTables, z: int, sc: ScanControl) -> tuple[int, int]:
    """Scan a zone's lists in turns until a batch is freed; return pages scanned, and freed."""
    active, inactive = scan_amounts(m, z, sc.priority)
    scanned, freed = 0, 0
    while (active > 0 or inactive > 0) and freed < SWAP_CLUSTER_MAX:
        looked, gone = shrink_once(m, tables, z, sc, active, inactive)
        active = max(active - SWAP_CLUSTER_MAX, 0)
        inactive = max(inactive - SWAP_CLUSTER_MAX, 0)
        scanned += looked
        freed += gone
    return scanned, freed
