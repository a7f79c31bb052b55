"""The pages that others are moved to: one node's free pages, or those of several.

Source: migrate_pages_to, mm/mempolicy.c, Linux 2.6.16 (spec history-2005 3.2, linux-mm 10.2).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    P_COUNT,
    P_LOW,
    PAGE_ALLOCATED,
    TYPE_SHIFT,
    Z_TYPE,
    Z_VMSTAT,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)
from memsim.kernels.linux_2_6_14.kswapd import wakeup_kswapd
from memsim.kernels.linux_2_6_14.migration import (
    ROW_NEXT_TARGET,
    ROW_NR_TARGETS,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_alloc import (
    WMARK_LOW,
    WMARK_MIN,
    get_page_from_freelist,
    zone_watermark_ok,
)
from memsim.kernels.linux_2_6_14.pcp import pcp_pindex
from memsim.kernels.linux_2_6_14.swap_migration import (
    free_old_page,
)
from memsim.kernels.page_alloc import count_numa, prep_new_page
from memsim.kernels.pcp import pcp_list, pcp_row
from memsim.kernels.placement import OPT_GROUPING, PolicyTables
from memsim.kernels.trace_log import keeps_log
from memsim.kernels.vmstat import PGALLOC
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone


@helper
def alloc_target(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Allocate a page to move to; -1 if the node is full.

    Unlike Linux: nothing is reclaimed for target pages; kswapd is woken, and the node is full when
    all of its zones are below their min marks.
    """
    first = next_zone(m, ac, 0)
    if first < 0:
        return -1
    pfn = get_page_from_freelist(m, tables, ac, first, WMARK_LOW)
    if pfn < 0:
        position = first
        while position >= 0:
            wakeup_kswapd(m, zonelist_zone(m, ac, position), 0)
            position = next_zone(m, ac, position + 1)
        pfn = get_page_from_freelist(m, tables, ac, first, WMARK_MIN)
    return pfn


@helper
def take_pcp_pages(
    m: Mem, tables: PolicyTables, v: Migration, ac: AllocContext, last: int, got: int, wanted: int
) -> int:
    """Allocate what the per-CPU list has that the ``last`` page came from; return how many pages.

    Taking from the list changes nothing that the walk to it reads.
    """
    z = page_zone(m, last)
    row = pcp_row(m, z, ac.cpu)
    lst = pcp_list(row, pcp_pindex(tables, ac.migratetype, 0))
    spare = int(m.pcps[lst + 1]) - int(m.pcps[row + P_LOW])
    if int(tables.options[OPT_GROUPING]) or keeps_log(m) or not above_low_mark(m, ac, z):
        return 0
    count = max(min(spare, wanted - got), 0)
    head, offset, mask = int(m.pcps[lst]), int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    for k in range(count):
        pfn = int(m.rings[offset + (head + k & mask)])
        m.state[pfn] = ac.migratetype << TYPE_SHIFT | PAGE_ALLOCATED
        m.rmap[pfn] = 0
        v.targets[got + k] = pfn
    m.pcps[lst] = head + count & mask
    m.pcps[lst + 1] -= count
    m.pcps[row + P_COUNT] -= count
    count_numa(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), z, ac.cpu, count)
    zone_add(m, z, Z_VMSTAT + PGALLOC, count)
    return count


@inline
def above_low_mark(m: Mem, ac: AllocContext, z: int) -> bool:
    """Say whether a zone is the first of its list, and above its low mark."""
    first = zonelist_zone(m, ac, next_zone(m, ac, 0))
    return first == z and zone_watermark_ok(m, z, 0, zone_get(m, first, Z_TYPE), WMARK_LOW)


@helper
def alloc_targets(m: Mem, tables: PolicyTables, v: Migration, ac: AllocContext, wanted: int) -> int:
    """Allocate the pages to move to; return how many there are."""
    got = 0
    while got < wanted:
        pfn = alloc_target(m, tables, ac)
        if pfn < 0:
            break
        prep_new_page(m, ac, pfn, 0, 0)
        v.targets[got] = pfn
        got += 1
        got += take_pcp_pages(m, tables, v, ac, pfn, got, wanted)
    v.row[ROW_NEXT_TARGET] = 0
    v.row[ROW_NR_TARGETS] = got
    return got


@inline
def targets_left(v: Migration) -> int:
    """Count the target pages that are not in use yet."""
    return int(v.row[ROW_NR_TARGETS]) - int(v.row[ROW_NEXT_TARGET])


@helper
def free_targets(m: Mem, tables: PolicyTables, v: Migration) -> None:
    """Give back the target pages that are left over."""
    for k in range(int(v.row[ROW_NEXT_TARGET]), int(v.row[ROW_NR_TARGETS])):
        free_old_page(m, tables, v.cpu, int(v.targets[k]))
    v.row[ROW_NEXT_TARGET] = v.row[ROW_NR_TARGETS]
