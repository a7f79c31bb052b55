"""Taking blocks from a zone: a type's own lists, a pool of whole pageblocks, another type's lists.

Source: mm/page_alloc.c, Linux 2.6.14, with the types that the patches of 2005 added to it (spec
history-2005 2.1, 2.2). What is found is split at once: no free block moves between lists.
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper, inline
from memsim.kernels.buddy import (
    ISOLATE,
    add_to_free_list,
    del_page_from_free_list,
    expand,
    merge_buddies,
    rmqueue_smallest,
)
from memsim.kernels.fallback import keeps_apart, trace_extfrag
from memsim.kernels.ideal_room import make_own_room, make_pageblock
from memsim.kernels.layout import (
    SCAN_ALL_UNRECLAIMABLE,
    SCAN_PAGES_SCANNED,
    TYPE_SHIFT,
    Z_MANAGED,
    Z_NR_FREE_PAGES,
    Z_NR_RESERVED_HIGHATOMIC,
    Z_SCAN,
    Z_VMSTAT,
    Mem,
    free_head,
    free_mask,
    page_type,
    pageblock_type,
    zone_add,
    zone_get,
    zone_set,
)
from memsim.kernels.linux_2_6_14.grouping import rmqueue_grouped
from memsim.kernels.placement import (
    CLAIM_FLIP,
    CLAIM_NEVER,
    NR_FALLBACKS,
    OPT_FLOOR,
    OPT_GROUPING,
    OPT_PAGE_FLAG,
    OPT_POOL,
    OPT_RESERVE_SHIFT,
    OPT_RESERVE_TYPE,
    OPT_TYPE_FIRST,
    REMAINDER_LENDER,
    REMAINDER_WHOLE,
    PolicyTables,
)
from memsim.kernels.vmstat import (
    LIST_PROBES,
    PAGEBLOCKS_CLAIMED,
    PAGES_STOLEN,
)
from memsim.mm import NR_PLACEMENT_TYPES


@inline
def free_type(m: Mem, tables: PolicyTables, pfn: int) -> int:
    """Say whose lists a page goes back to: its pageblock's, or those it was allocated for."""
    kind = pageblock_type(m, pfn)
    if int(tables.options[OPT_PAGE_FLAG]) and kind != ISOLATE:
        # Unlike Linux: pages return to the type they were allocated as from the first time on. V21
        # sets the flag when a page is freed, and most pages were freed at boot within a larger
        # block, whose first page alone got it.
        return page_type(m, pfn)
    return kind


@inline
def free_one_page(m: Mem, z: int, pfn: int, order: int, migratetype: int) -> None:
    """Merge a block with its free buddies, of whatever type, and put it at a list's head.

    Reclaim takes courage again; pages of memory that is to go do not count. Source:
    __free_pages_bulk, mm/page_alloc.c, 2.6.14 (spec 3.1).
    """
    zone_set(m, z, Z_SCAN + SCAN_ALL_UNRECLAIMABLE, 0)
    zone_set(m, z, Z_SCAN + SCAN_PAGES_SCANNED, 0)
    zone_add(m, z, Z_NR_FREE_PAGES, 0 if migratetype == ISOLATE else 1 << order)
    pfn, order = merge_buddies(m, z, pfn, order, migratetype)
    add_to_free_list(m, z, pfn, order, migratetype, False)


@inline
def free_range(m: Mem, z: int, pfn: int, end: int, migratetype: int) -> None:
    """Free the pages [pfn, end) of a pageblock as ``free_one_page`` does, the lowest first.

    Until the last page of an aligned block comes, its others only wait on lists of their own.
    """
    largest = 1 << m.pageblock_order
    while pfn < end:
        order = ctz(pfn | largest)
        while pfn + (1 << order) > end:
            order -= 1
        free_one_page(m, z, pfn, order, migratetype)
        pfn += 1 << order


@inline
def holds(m: Mem, z: int, order: int, migratetype: int) -> bool:
    """Look at one free list: has it a block?"""
    zone_add(m, z, Z_VMSTAT + LIST_PROBES, 1)
    return bool(free_mask(m, z, migratetype) >> order & 1)


@helper
def change_pageblock_type(m: Mem, tables: PolicyTables, z: int, pfn: int, migratetype: int) -> None:
    """Give a pageblock to a type, or to the reserve as long as that is short (V19)."""
    reserve = int(tables.options[OPT_RESERVE_TYPE])
    if reserve >= 0:
        size = 1 << m.pageblock_order
        held = zone_get(m, z, Z_NR_RESERVED_HIGHATOMIC)
        if held < zone_get(m, z, Z_MANAGED) >> int(tables.options[OPT_RESERVE_SHIFT]):
            migratetype = reserve
        if pageblock_type(m, pfn) == reserve:
            zone_add(m, z, Z_NR_RESERVED_HIGHATOMIC, -size)
        if migratetype == reserve:
            zone_add(m, z, Z_NR_RESERVED_HIGHATOMIC, size)
    m.pageblocks[pfn >> m.pageblock_order] = migratetype
    zone_add(m, z, Z_VMSTAT + PAGEBLOCKS_CLAIMED, 1)


@helper
def find_pool_block(m: Mem, z: int, migratetype: int) -> int:
    """Return the first other type with a block of the largest order on its list, -1 if none."""
    for other in range(NR_PLACEMENT_TYPES):
        if other != migratetype and holds(m, z, m.max_page_order, other):
            return other
    return -1


@helper
def find_type_first(
    m: Mem, tables: PolicyTables, z: int, lowest: int, migratetype: int
) -> tuple[int, int]:
    """Return type and order of the largest block of the first type that has one, or -1, -1."""
    for column in range(NR_FALLBACKS):
        other = int(tables.fallback[NR_FALLBACKS * migratetype + column])
        order = m.max_page_order if other >= 0 else -1
        while order >= lowest:
            if holds(m, z, order, other):
                return other, order
            order -= 1
    return -1, -1


@helper
def find_size_first(
    m: Mem, tables: PolicyTables, z: int, lowest: int, migratetype: int
) -> tuple[int, int]:
    """Return type and order of the largest block that any other type has, or -1, -1."""
    for order in range(m.max_page_order, lowest - 1, -1):
        for column in range(NR_FALLBACKS):
            other = int(tables.fallback[NR_FALLBACKS * migratetype + column])
            if other >= 0 and holds(m, z, order, other):
                return other, order
    return -1, -1


@helper
def take_foreign(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, other: int, current: int
) -> int:
    """Take the head of another type's list and split it, as the policy says; return the pfn."""
    pfn = free_head(m, z, current, other)
    del_page_from_free_list(m, z, pfn, current)
    whole = current >= int(tables.whole_from[migratetype])
    claim = int(tables.claim[migratetype]) if whole else CLAIM_NEVER
    if claim == CLAIM_FLIP and pageblock_type(m, pfn) == migratetype:
        change_pageblock_type(m, tables, z, pfn, other)
    elif claim != CLAIM_NEVER:
        change_pageblock_type(m, tables, z, pfn, migratetype)
    rule = int(tables.remainder[migratetype])
    lender = rule == REMAINDER_LENDER or (rule == REMAINDER_WHOLE and not whole)
    expand(m, z, pfn, order, current, other if lender else migratetype)
    zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, 1 << (order if lender else current))
    return pfn


@helper
def steal_maxorder_block(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, other: int
) -> int:
    """Take a whole free pageblock from another type's list (V19's "global pool")."""
    pfn = free_head(m, z, m.max_page_order, other)
    del_page_from_free_list(m, z, pfn, m.max_page_order)
    change_pageblock_type(m, tables, z, pfn, migratetype)
    expand(m, z, pfn, order, m.max_page_order, migratetype)
    zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, 1 << m.max_page_order)
    return pfn


@helper
def rmqueue_fallback(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Take a block from another type's lists and split it; -1 if the policy finds none.

    Source: __rmqueue_fallback of V20 and V21, fallback_alloc of V19 (spec history-2005 2.1, 2.2).
    """
    if int(tables.options[OPT_GROUPING]):
        return rmqueue_grouped(m, tables, z, order, migratetype)
    other = find_pool_block(m, z, migratetype) if int(tables.options[OPT_POOL]) else -1
    if other >= 0:
        current = m.max_page_order
        pfn = steal_maxorder_block(m, tables, z, order, migratetype, other)
    else:
        lowest = order + int(tables.options[OPT_FLOOR])
        if keeps_apart(m, tables, migratetype):
            lowest = m.max_page_order
        if int(tables.options[OPT_TYPE_FIRST]):
            other, current = find_type_first(m, tables, z, lowest, migratetype)
        else:
            other, current = find_size_first(m, tables, z, lowest, migratetype)
        if other < 0:
            return -1
        pfn = take_foreign(m, tables, z, order, migratetype, other, current)
    m.state[pfn] = migratetype << TYPE_SHIFT
    trace_extfrag(m, z, pfn, order, migratetype, current, other)
    return pfn


@helper
def rmqueue_elsewhere(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Take a block when the type's own lists have none: by fallback, or as policy ``ideal``."""
    apart = keeps_apart(m, tables, migratetype)
    if apart and make_own_room(m, tables, z, order, migratetype):
        return rmqueue_smallest(m, z, order, migratetype)
    pfn = rmqueue_fallback(m, tables, z, order, migratetype)
    if pfn < 0 and apart and make_pageblock(m, tables, z, order):
        pfn = rmqueue_fallback(m, tables, z, order, migratetype)
    return pfn


@inline
def rmqueue_locked(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Take a block of a type from a zone, with fallback; -1 if the zone has none.

    The page remembers the type; the count of free pages is the caller's. Source: __rmqueue,
    mm/page_alloc.c, 2.6.14.
    """
    pfn = rmqueue_smallest(m, z, order, migratetype)
    if pfn < 0:
        pfn = rmqueue_elsewhere(m, tables, z, order, migratetype)
    return pfn
