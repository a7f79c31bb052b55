"""Room for a request under policy ``ideal``: which areas are emptied, and who gets them.

What cannot be moved shares pageblocks of its own type; it gets another one only when there is no
other way.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.census import free_order_at, reserved_order
from memsim.kernels.ideal import (
    allocated_order,
    cheapest_area,
    evacuate,
    give_back,
    movable_type,
    set_free_aside,
)
from memsim.kernels.layout import (
    PAGE_ALLOCATED,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_PINNED,
    Z_END_PFN,
    Z_NR_FREE_PAGES,
    Z_START_PFN,
    Mem,
    free_mask,
    page_zone,
    pageblock_type,
    zone_get,
)
from memsim.kernels.placement import PolicyTables
from memsim.mm import MIGRATE_PCPTYPES

TRIES = 8
"""Areas that are tried for one block, the cheapest first."""
ALL_TYPES = (1 << MIGRATE_PCPTYPES) - 1


@helper
def make_area(m: Mem, tables: PolicyTables, z: int, order: int, types: int, limit: int) -> int:
    """Make one more free block of an order, of what only movable pages are in; its pfn or -1.

    It is in a pageblock of ``types`` (bits); pages move to free blocks of orders below ``limit``.
    """
    if zone_get(m, z, Z_NR_FREE_PAGES) < 1 << order:
        return -1
    least, last = -1, -1
    for _ in range(TRIES):
        least, last = cheapest_area(m, z, order, types, least, last)
        if last < 0:
            return -1
        _, empty = evacuate(m, tables, z, last, last + (1 << order), limit, ALL_TYPES)
        if empty:
            return last
    return -1


@inline
def first_block(m: Mem, z: int) -> int:
    """Return the first pageblock that a zone has pages of."""
    return zone_get(m, z, Z_START_PFN) >> m.pageblock_order


@inline
def last_block(m: Mem, z: int) -> int:
    """Return the last pageblock that a zone has pages of."""
    return zone_get(m, z, Z_END_PFN) - 1 >> m.pageblock_order


@inline
def in_zone(m: Mem, z: int, block: int) -> tuple[int, int]:
    """Return what a zone has of a pageblock."""
    start = max(block << m.pageblock_order, zone_get(m, z, Z_START_PFN))
    end = min(block + 1 << m.pageblock_order, zone_get(m, z, Z_END_PFN))
    return start, end


@helper
def relist(m: Mem, z: int, block: int) -> None:
    """Put a pageblock's free pages on the lists of its type."""
    start, end = in_zone(m, z, block)
    set_free_aside(m, z, start, end)
    give_back(m, z, start, end)


@helper
def collect(m: Mem, z: int, order: int, migratetype: int) -> bool:
    """Put the free pages of a type's pageblocks on its lists; say whether that makes a block."""
    for block in range(first_block(m, z), last_block(m, z) + 1):
        start, _ = in_zone(m, z, block)
        if page_zone(m, start) == z and pageblock_type(m, start) == migratetype:
            relist(m, z, block)
            if free_mask(m, z, migratetype) >> order:
                return True
    return False


@helper
def empty_own_pageblocks(m: Mem, tables: PolicyTables, z: int, migratetype: int) -> bool:
    """Move movable pages out of a type's own pageblocks; say whether there is a free page."""
    for block in range(first_block(m, z), last_block(m, z) + 1):
        start, end = in_zone(m, z, block)
        if page_zone(m, start) == z and pageblock_type(m, start) == migratetype:
            evacuate(m, tables, z, start, end, m.pageblock_order, 1 << movable_type(tables))
            if free_mask(m, z, migratetype):
                return True
    return False


@helper
def claim_pageblock(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> bool:
    """Give a type a pageblock that not all movable pages can leave, for there is no other room.

    It is the one that the fewest have to leave, or one that a block of ``order`` can be made in.
    """
    if order > 0:
        pfn = make_area(m, tables, z, order, ALL_TYPES, order)
    else:
        pages, pfn = cheapest_area(m, z, m.pageblock_order, ALL_TYPES, -1, -1)
        if pages == 1 << m.pageblock_order:
            return False
    if pfn < 0:
        return False
    m.pageblocks[pfn >> m.pageblock_order] = migratetype
    relist(m, z, pfn >> m.pageblock_order)
    return free_mask(m, z, migratetype) >> order != 0


@inline
def is_fixed(state: int) -> bool:
    """Say whether a block stays where it is, by its head's state, also once batches are drained."""
    user = state & (PAGE_LRU | PAGE_LRU_PENDING) and not state & PAGE_PINNED
    return bool(state & PAGE_ALLOCATED) and not user


@helper
def is_spoilt(m: Mem, start: int, end: int) -> bool:
    """Say whether a pageblock can never be free as a whole: a part of one, or with fixed pages.

    What lies in a larger block has no room either way.
    """
    for order in range(m.pageblock_order + 1, m.max_page_order + 1):
        head = start & ~((1 << order) - 1)
        if free_order_at(m, head) >= order or allocated_order(m, head) >= order:
            return False
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        if order < 0:
            if reserved_order(m, pfn) >= 0 or is_fixed(int(m.state[pfn])):
                return True
            order = allocated_order(m, pfn)
        pfn += 1 << order
    return end - start < 1 << m.pageblock_order


@helper
def claim_spoilt(m: Mem, z: int, migratetype: int) -> bool:
    """Give a type all pageblocks that are spoilt already; say whether there was another one."""
    found = False
    for block in range(first_block(m, z), last_block(m, z) + 1):
        start, end = in_zone(m, z, block)
        kind = pageblock_type(m, start)
        other = kind != migratetype and kind < MIGRATE_PCPTYPES
        if other and page_zone(m, start) == z and is_spoilt(m, start, end):
            m.pageblocks[block] = migratetype
            found = True
    return found


@helper
def make_own_room(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> bool:
    """Make a block for what cannot be moved where that spoils no pageblock."""
    own = 1 << migratetype
    for _ in range(2):
        if collect(m, z, order, migratetype):
            return True
        if order == 0 and empty_own_pageblocks(m, tables, z, migratetype):
            return True
        if order > 0 and make_area(m, tables, z, order, own, m.pageblock_order) >= 0:
            return True
        if not claim_spoilt(m, z, migratetype):
            return False
    return False


@helper
def make_pageblock(m: Mem, tables: PolicyTables, z: int, order: int) -> bool:
    """Make a whole free pageblock or, if that is larger, a block of an order."""
    whole = max(order, m.pageblock_order)
    return make_area(m, tables, z, whole, ALL_TYPES, whole) >= 0


@helper
def make_room(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> bool:
    """Make a block for a request; say whether it may look again.

    What cannot be moved gets a pageblock that movable pages stay in only if there is no other way.
    """
    if migratetype == movable_type(tables):
        return make_area(m, tables, z, order, ALL_TYPES, order) >= 0
    if free_mask(m, z, migratetype) >> order:
        return make_pageblock(m, tables, z, order)
    return (
        make_own_room(m, tables, z, order, migratetype)
        or make_pageblock(m, tables, z, order)
        or claim_pageblock(m, tables, z, order, migratetype)
    )
