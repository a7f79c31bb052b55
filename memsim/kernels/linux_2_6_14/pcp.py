"""Per-CPU lists of single pages: hot and cold ones, each held against its own limits.

Source: mm/page_alloc.c, Linux 2.6.14 (spec 4); a policy may split each list in two (V20).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import ISOLATE
from memsim.kernels.layout import (
    P_BATCH,
    P_COLD_BATCH,
    P_COLD_HIGH,
    P_COUNT,
    P_HIGH,
    P_LOW,
    PAGE_PCP,
    TYPE_SHIFT,
    Z_NR_FREE_PAGES,
    Z_VMSTAT,
    Mem,
    page_type,
    zone_add,
)
from memsim.kernels.linux_2_6_14.fallback import (
    free_one_page,
    free_range,
    free_type,
    rmqueue_locked,
)
from memsim.kernels.pcp import (
    pcp_list,
    pcp_pop_head,
    pcp_pop_tail,
    pcp_push_head,
    pcp_push_range,
    pcp_push_tail,
    pcp_row,
    pcp_tail,
    refill_whole,
)
from memsim.kernels.pcp_free import prefetch_tail, range_at_tail
from memsim.kernels.placement import OPT_GROUPING, OPT_PCP_HIGH_SHIFT, PolicyTables
from memsim.kernels.trace_log import LOG_PCPU_DRAIN, keeps_log, log_event
from memsim.kernels.vmstat import PCP_DRAINED_BLOCKS, PCP_REFILLS
from memsim.mm import NR_PLACEMENT_TYPES

COLD_LISTS = 2
"""Number of the first cold list; the hot ones stand before it."""
NR_LISTS = 4


@inline
def pcp_pindex(tables: PolicyTables, migratetype: int, cold: int) -> int:
    """Return the list of a type; the reserve's pages share that of the last type."""
    return COLD_LISTS * cold + int(tables.pcp_of[min(migratetype, NR_PLACEMENT_TYPES - 1)])


@inline
def pcp_batch(m: Mem, row: int, cold: int) -> int:
    """Say how many pages a list takes and gives back at a time."""
    return max(int(m.pcps[row + (P_COLD_BATCH if cold else P_BATCH)]), 1)


@helper
def rmqueue_bulk(
    m: Mem, tables: PolicyTables, z: int, row: int, migratetype: int, cold: int
) -> None:
    """Take a batch of single pages from the buddy lists to a list's tail, in 2.6.21 to its head."""
    lst = pcp_list(row, pcp_pindex(tables, migratetype, cold))
    wanted = pcp_batch(m, row, cold)
    taken = 0
    if not keeps_log(m) and int(tables.options[OPT_GROUPING]) == 0:
        taken = refill_whole(m, z, 0, migratetype, lst, wanted)
    while taken < wanted:
        pfn = rmqueue_locked(m, tables, z, 0, migratetype)
        if pfn < 0:
            break
        m.state[pfn] = migratetype << TYPE_SHIFT | PAGE_PCP
        if int(tables.options[OPT_GROUPING]):
            pcp_push_head(m, lst, pfn)
        else:
            pcp_push_tail(m, lst, pfn)
        taken += 1
    zone_add(m, z, Z_NR_FREE_PAGES, -taken)
    m.pcps[row + P_COUNT] += taken
    zone_add(m, z, Z_VMSTAT + PCP_REFILLS, 1 if taken else 0)


@helper
def pcp_pop_type(m: Mem, lst: int, migratetype: int) -> int:
    """Take the first page of a type from a per-CPU list; -1 if there is none."""
    head, length = int(m.pcps[lst]), int(m.pcps[lst + 1])
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    for i in range(length):
        pfn = int(m.rings[offset + (head + i & mask)])
        if page_type(m, pfn) == migratetype:
            for k in range(i, 0, -1):
                m.rings[offset + (head + k & mask)] = m.rings[offset + (head + k - 1 & mask)]
            m.pcps[lst], m.pcps[lst + 1] = head + 1 & mask, length - 1
            return pfn
    return -1


@helper
def rmqueue_pcplist_grouped(
    m: Mem, tables: PolicyTables, z: int, row: int, migratetype: int, cold: int
) -> int:
    """Take a page of a type from a per-CPU list, refilled if there is none; -1 without any page.

    Where nothing of the type is to be had the list's head goes, whatever its type (spec 7.1).
    """
    lst = pcp_list(row, pcp_pindex(tables, migratetype, cold))
    pfn = pcp_pop_type(m, lst, migratetype)
    if pfn < 0:
        rmqueue_bulk(m, tables, z, row, migratetype, cold)
        if int(m.pcps[lst + 1]) == 0:
            return -1
        pfn = pcp_pop_head(m, lst)
    m.pcps[row + P_COUNT] -= 1
    m.state[pfn] = migratetype << TYPE_SHIFT
    return pfn


@inline
def rmqueue_pcplist(
    m: Mem, tables: PolicyTables, z: int, cpu: int, migratetype: int, cold: int
) -> int:
    """Take the head of a per-CPU list, refilled if it is low; -1 if the zone has no page.

    2.6.14 then asks the buddy lists once more, which have just been found empty. Source:
    buffered_rmqueue, mm/page_alloc.c, 2.6.14 (spec 4, rule 3).
    """
    row = pcp_row(m, z, cpu)
    if int(tables.options[OPT_GROUPING]):
        return rmqueue_pcplist_grouped(m, tables, z, row, migratetype, cold)
    lst = pcp_list(row, pcp_pindex(tables, migratetype, cold))
    low = 0 if cold else int(m.pcps[row + P_LOW])
    if int(m.pcps[lst + 1]) <= low:
        rmqueue_bulk(m, tables, z, row, migratetype, cold)
        if int(m.pcps[lst + 1]) == 0:
            return -1
    m.pcps[row + P_COUNT] -= 1
    pfn = pcp_pop_head(m, lst)
    m.state[pfn] = migratetype << TYPE_SHIFT
    return pfn


@inline
def drain_range(m: Mem, tables: PolicyTables, z: int, lst: int, first: int, pages: int) -> None:
    """Return the pages at the tail of a list that follow ``first``, taken off it, and that one."""
    m.pcps[lst + 1] -= pages - 1
    migratetype = free_type(m, tables, first)
    for pfn in range(first, first + pages):
        m.state[pfn] = 0
    free_range(m, z, first, first + pages, migratetype)


@helper
def free_pages_bulk(
    m: Mem, tables: PolicyTables, z: int, row: int, pindex: int, count: int
) -> None:
    """Return up to ``count`` pages of a list to the buddy lists, the oldest first."""
    lst = pcp_list(row, pindex)
    count = min(count, int(m.pcps[lst + 1]))
    left = count
    while left > 0:
        pages = 1 if keeps_log(m) else range_at_tail(m, lst, left)
        pfn = pcp_pop_tail(m, lst)
        if pages > 1 and free_type(m, tables, pfn) == free_type(m, tables, pfn + pages - 1):
            drain_range(m, tables, z, lst, pfn, pages)
            left -= pages
            continue
        left -= 1
        prefetch_tail(m, lst, pcp_tail(m, lst), 0)
        migratetype = free_type(m, tables, pfn)
        m.state[pfn] = 0
        log_event(m, LOG_PCPU_DRAIN, pfn, 0, migratetype)
        free_one_page(m, z, pfn, 0, migratetype)
    m.pcps[row + P_COUNT] -= count
    zone_add(m, z, Z_VMSTAT + PCP_DRAINED_BLOCKS, count)


@inline
def free_hot_cold_page(
    m: Mem, tables: PolicyTables, z: int, cpu: int, pfn: int, migratetype: int, cold: int
) -> None:
    """Put a freed page at a list's head; give a batch back if the list is full (spec 4, rule 4).

    A page of memory that is to go does not wait to be used again (history-2005 4.2).
    """
    if migratetype == ISOLATE:
        m.state[pfn] = 0
        free_one_page(m, z, pfn, 0, migratetype)
        return
    row = pcp_row(m, z, cpu)
    pindex = pcp_pindex(tables, migratetype, cold)
    lst = pcp_list(row, pindex)
    m.state[pfn] = migratetype << TYPE_SHIFT | PAGE_PCP
    pcp_push_head(m, lst, pfn)
    m.pcps[row + P_COUNT] += 1
    high = int(m.pcps[row + (P_COLD_HIGH if cold else P_HIGH)])
    if int(m.pcps[lst + 1]) >= high >> int(tables.options[OPT_PCP_HIGH_SHIFT]):
        free_pages_bulk(m, tables, z, row, pindex, pcp_batch(m, row, cold))


@inline
def hot_high(m: Mem, tables: PolicyTables, row: int) -> int:
    """Say at how many pages a hot list is full."""
    return int(m.pcps[row + P_HIGH]) >> int(tables.options[OPT_PCP_HIGH_SHIFT])


@inline
def free_hot_pages(
    m: Mem, tables: PolicyTables, z: int, cpu: int, first: int, pages: int, migratetype: int
) -> None:
    """Put pages side by side at a hot list's head, the last of which may fill the list."""
    if migratetype == ISOLATE:
        for pfn in range(first, first + pages):
            m.state[pfn] = 0
        free_range(m, z, first, first + pages, migratetype)
        return
    row = pcp_row(m, z, cpu)
    pindex = pcp_pindex(tables, migratetype, 0)
    lst = pcp_list(row, pindex)
    for pfn in range(first, first + pages):
        m.state[pfn] = migratetype << TYPE_SHIFT | PAGE_PCP
    pcp_push_range(m, lst, first, pages)
    m.pcps[row + P_COUNT] += pages
    if int(m.pcps[lst + 1]) >= hot_high(m, tables, row):
        free_pages_bulk(m, tables, z, row, pindex, pcp_batch(m, row, 0))


@helper
def drain_pages_zone(m: Mem, tables: PolicyTables, z: int, cpu: int) -> None:
    """Return all pages of a CPU's lists of a zone: hot before cold."""
    row = pcp_row(m, z, cpu)
    for pindex in range(NR_LISTS):
        free_pages_bulk(m, tables, z, row, pindex, int(m.pcps[row + P_COUNT]))
