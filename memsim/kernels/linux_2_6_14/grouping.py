"""Grouping pages by mobility as in 2.6.21-rc6-mm1: taking another type's blocks, and a reserve.

Source: mm/page_alloc.c of that tree, and the patches v28 (spec linux-2.6.14 7.1).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import (
    add_to_free_list,
    del_page_from_free_list,
    expand,
    rmqueue_smallest,
)
from memsim.kernels.fallback import trace_extfrag
from memsim.kernels.layout import (
    FREE_ORDER_MASK,
    PAGE_RESERVED,
    TYPE_SHIFT,
    Z_END_PFN,
    Z_START_PFN,
    Z_VMSTAT,
    Z_WMARK,
    Mem,
    entry_pfn,
    free_entry,
    free_head,
    free_mask,
    pageblock_type,
    sentinel,
    zone_add,
    zone_get,
)
from memsim.kernels.placement import NR_FALLBACKS, PolicyTables
from memsim.kernels.vmstat import LIST_PROBES, PAGEBLOCKS_CLAIMED, PAGES_STOLEN
from memsim.mm import MAX_PAGE_ORDER, Migratetype, Wmark

UNMOVABLE = int(Migratetype.UNMOVABLE)
MOVABLE = int(Migratetype.MOVABLE)
HIGHATOMIC = int(Migratetype.HIGHATOMIC)
RESERVE = 4
"""Type of pageblocks that are kept for when nothing else is left."""
WMARK_MIN = int(Wmark.MIN)


@inline
def free_order(m: Mem, pfn: int) -> int:
    """Return the order of the free block that a page heads, -1 if it heads none."""
    order = (int(m.state[pfn]) & FREE_ORDER_MASK) - 1
    if order < 0 and pfn & (1 << MAX_PAGE_ORDER) - 1 == 0:
        order = (int(m.state[free_entry(m, pfn, MAX_PAGE_ORDER)]) & FREE_ORDER_MASK) - 1
    return order


@helper
def move_freepages_block(m: Mem, z: int, pfn: int, migratetype: int) -> int:
    """Move the free blocks of a pageblock to the heads of a type's lists; return how many.

    A pageblock that the zone begins in is moved from ``pfn`` on only; one that the zone ends in,
    and the zone's last one, is not moved at all.
    """
    size = 1 << m.pageblock_order
    page = pfn & -size
    end = page + size
    if page < zone_get(m, z, Z_START_PFN):
        page = pfn
    if end >= zone_get(m, z, Z_END_PFN):
        return 0
    blocks = 0
    while page < end:
        order = free_order(m, page)
        if order < 0:
            page += 1
            continue
        del_page_from_free_list(m, z, page, order)
        add_to_free_list(m, z, page, order, migratetype, False)
        zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, 1 << order)
        blocks += 1
        page += 1 << order
    return blocks


@helper
def lowest_block(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Return the block of a free list, which must not be empty, with the lowest pfn."""
    lowest = free_head(m, z, order, migratetype)
    end = sentinel(m, z, order, migratetype)
    v = free_entry(m, lowest, order)
    while v != end:
        pfn = entry_pfn(m, v, order)
        lowest = min(lowest, pfn)
        v = int(m.next[v])
    return lowest


@inline
def claim_pageblock(m: Mem, z: int, pfn: int, migratetype: int) -> None:
    """Give a pageblock to a type."""
    if pageblock_type(m, pfn) != migratetype:
        m.pageblocks[pfn >> m.pageblock_order] = migratetype
        zone_add(m, z, Z_VMSTAT + PAGEBLOCKS_CLAIMED, 1)


@helper
def take_from(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, other: int, current: int
) -> int:
    """Take a block of another type, with its pageblock if that is the rule, and split it."""
    first = migratetype == MOVABLE
    pfn = free_head(m, z, current, other) if first else lowest_block(m, z, current, other)
    whole = current >= int(tables.whole_from[migratetype])
    if whole:
        blocks = move_freepages_block(m, z, pfn, migratetype)
        if blocks << current >= 1 << (m.pageblock_order - 1) and other != HIGHATOMIC:
            claim_pageblock(m, z, pfn, migratetype)
    del_page_from_free_list(m, z, pfn, current)
    if current == m.max_page_order:
        claim_pageblock(m, z, pfn, migratetype)
    expand(m, z, pfn, order, current, migratetype if whole else other)
    return pfn


@helper
def find_other_type(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, highatomic: bool
) -> tuple[int, int]:
    """Return type and order of the largest block that the fallback table leads to, or -1, -1."""
    for current in range(m.max_page_order, order - 1, -1):
        for column in range(NR_FALLBACKS):
            other = int(tables.fallback[NR_FALLBACKS * migratetype + column])
            if other < 0 or (other == HIGHATOMIC and not highatomic):
                continue
            zone_add(m, z, Z_VMSTAT + LIST_PROBES, 1)
            if free_mask(m, z, other) >> current & 1:
                return other, current
    return -1, -1


@helper
def rmqueue_grouped(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Take a block that is not the type's own: another type's, at last the reserve's; -1 if none.

    Only unmovable requests take high-atomic blocks before all others have been looked at.
    """
    other, current = find_other_type(m, tables, z, order, migratetype, migratetype == UNMOVABLE)
    if other < 0:
        other, current = find_other_type(m, tables, z, order, migratetype, True)
    if other < 0:
        return rmqueue_smallest(m, z, order, RESERVE)
    pfn = take_from(m, tables, z, order, migratetype, other, current)
    m.state[pfn] = migratetype << TYPE_SHIFT
    trace_extfrag(m, z, pfn, order, migratetype, current, other)
    return pfn


@inline
def is_reserved(m: Mem, pfn: int) -> bool:
    """Say whether boot has kept a page to itself."""
    large = int(m.state[free_entry(m, pfn, MAX_PAGE_ORDER)])
    return bool((int(m.state[pfn]) | large) & PAGE_RESERVED)


@helper
def reserve_pageblocks(m: Mem, z: int) -> None:
    """Set as many pageblocks aside as cover the min mark, and give back what is too much."""
    size = 1 << m.pageblock_order
    wanted = (zone_get(m, z, Z_WMARK + WMARK_MIN) + size - 1) // size
    for pfn in range(zone_get(m, z, Z_START_PFN), zone_get(m, z, Z_END_PFN), size):
        if is_reserved(m, pfn):
            continue
        migratetype = pageblock_type(m, pfn)
        if wanted > 0 and migratetype in (MOVABLE, RESERVE):
            wanted -= 1
            if migratetype == MOVABLE:
                m.pageblocks[pfn >> m.pageblock_order] = RESERVE
                move_freepages_block(m, z, pfn, RESERVE)
        elif migratetype == RESERVE:
            m.pageblocks[pfn >> m.pageblock_order] = MOVABLE
            move_freepages_block(m, z, pfn, MOVABLE)
