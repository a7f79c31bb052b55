"""The bound: movable pages give way at no cost, so that nothing is fragmented for long.

No kernel does this. Policy ``ideal`` switches it on (placement.OPT_IDEAL), to say how far from what
placement and compaction could do at best the others are.
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper, inline
from memsim.kernels.buddy import add_to_free_list, del_page_from_free_list, expand, merge_buddies
from memsim.kernels.census import free_order_at, reserved_order
from memsim.kernels.layout import (
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PINNED,
    PAGE_SLAB,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    TYPE_MASK,
    TYPE_SHIFT,
    Z_END_PFN,
    Z_START_PFN,
    Mem,
    free_head,
    free_mask,
    page_zone,
    pageblock_type,
    zone_get,
)
from memsim.kernels.page_io import writeback_entry
from memsim.kernels.placement import OPT_BOOT_TYPE, PolicyTables
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.system import S_WRITEBACK_LENGTH
from memsim.mm import MIGRATE_PCPTYPES


@inline
def movable_type(tables: PolicyTables) -> int:
    """Return the type of what can be moved."""
    return int(tables.options[OPT_BOOT_TYPE])


@inline
def is_movable(state: int) -> bool:
    """Say whether a page head's state lets its block give way."""
    return bool(state & PAGE_ALLOCATED and state & PAGE_LRU and not state & PAGE_PINNED)


@inline
def state_order(state: int) -> int:
    """Return the order of the allocated block of a page head."""
    return (state & ORDER_MASK) >> ORDER_SHIFT


@helper
def pages_to_move(m: Mem, start: int, order: int) -> int:
    """Count the pages that must leave an area before it is one free block.

    -1 if something cannot leave it, or if it is free already or lies within a larger block.
    """
    end = start + (1 << order)
    pages = 0
    pfn = start
    while pfn < end:
        if reserved_order(m, pfn) >= 0:
            return -1
        size = free_order_at(m, pfn)
        if size < 0:
            state = int(m.state[pfn])
            if not is_movable(state):
                return -1
            size = state_order(state)
            pages += 1 << size
        if size >= order and (size > order or pages == 0):
            return -1
        pfn += 1 << size
    return pages


@helper
def cheapest_area(m: Mem, z: int, order: int, types: int, least: int, last: int) -> tuple[int, int]:
    """Find the area of an order that the fewest pages must leave; return pages and first page.

    Only areas in pageblocks of ``types`` (bits), and after (``least`` pages, ``last``) in this
    order; below pageblocks the first one of a higher address does. -1, -1 if there is none.
    """
    size = 1 << order
    small = order < m.pageblock_order
    best, found = -1, -1
    start = zone_get(m, z, Z_START_PFN) + size - 1 & ~(size - 1)
    if small and last >= 0:
        start = last + size
    while start + size <= zone_get(m, z, Z_END_PFN):
        if page_zone(m, start) == z and types >> pageblock_type(m, start) & 1:
            pages = pages_to_move(m, start, order)
            after = small or pages > least or (pages == least and start > last)
            if pages >= 0 and after and (best < 0 or pages < best):
                best, found = pages, start
                if small:
                    return best, found
        start += size
    return best, found


@helper
def take_target(m: Mem, z: int, order: int, limit: int, types: int) -> int:
    """Take the smallest free block for a page that moves; -1 if there is none.

    It is of an order below ``limit`` and of one of ``types`` (bits).
    """
    best, kind = limit, -1
    for migratetype in range(MIGRATE_PCPTYPES):
        orders = free_mask(m, z, migratetype) >> order
        if types >> migratetype & 1 and orders and order + ctz(orders) < best:
            best, kind = order + ctz(orders), migratetype
    if kind < 0:
        return -1
    pfn = free_head(m, z, best, kind)
    del_page_from_free_list(m, z, pfn, best)
    expand(m, z, pfn, order, best, kind)
    m.state[pfn] = kind << TYPE_SHIFT
    return pfn


@helper
def repoint_write(m: Mem, source: int, target: int) -> None:
    """Let the device write a page where it is now."""
    for i in range(int(m.system[S_WRITEBACK_LENGTH])):
        at = writeback_entry(m, i)
        if int(m.writeback[at]) == source:
            m.writeback[at] = target


@helper
def take_place(m: Mem, source: int, target: int) -> None:
    """Put a block in another one's place: what it is, who holds it, where it stands on its list."""
    state = int(m.state[source])
    kept = int(m.state[target]) & TYPE_MASK
    for i in range(1 << state_order(state)):
        m.state[target + i] = m.state[source + i]
        m.state[source + i] = PAGE_ISOLATED
    m.state[target] = state & ~TYPE_MASK | kept
    handle = int(m.rmap[source])
    m.rmap[target] = handle
    if int(m.page_table[handle]) == source + 1:
        m.page_table[handle] = target + 1
    if state & PAGE_SWAPCACHE:
        m.swap_slot[target] = m.swap_slot[source]
    if state & PAGE_WRITEBACK:
        repoint_write(m, source, target)
    if state & (PAGE_LRU | PAGE_SLAB):
        after, before = int(m.next[source]), int(m.prev[source])
        m.next[before], m.prev[after] = target, target
        m.next[target], m.prev[target] = after, before


@helper
def set_free_aside(m: Mem, z: int, start: int, end: int) -> None:
    """Take an area's free blocks off their lists, so that nothing moves there."""
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        if order < 0:
            order = allocated_order(m, pfn)
        elif pfn + (1 << order) <= end:
            del_page_from_free_list(m, z, pfn, order)
            for page in range(pfn, pfn + (1 << order)):
                m.state[page] = PAGE_ISOLATED
        pfn += 1 << order


@inline
def allocated_order(m: Mem, pfn: int) -> int:
    """Return the order of the block that a page heads, 0 where it heads none."""
    state = int(m.state[pfn])
    return state_order(state) if state & PAGE_ALLOCATED else 0


@helper
def give_back(m: Mem, z: int, start: int, end: int) -> None:
    """Put what was set aside, and what has become free, back on the lists; merge it."""
    pfn = start
    while pfn < end:
        if int(m.state[pfn]) != PAGE_ISOLATED:
            pfn += 1 << allocated_order(m, pfn)
            continue
        m.state[pfn] = 0
        head, order = merge_buddies(m, z, pfn, 0, pageblock_type(m, pfn))
        add_to_free_list(m, z, head, order, pageblock_type(m, head), False)
        pfn += 1


@helper
def evacuate(
    m: Mem, tables: PolicyTables, z: int, start: int, end: int, limit: int, types: int
) -> tuple[int, bool]:
    """Move what is movable out of an area, into free blocks of ``types`` and orders below a limit.

    Returns the pages moved, and whether none is left. Counts nothing: as many pages are free as
    before, and time stands still.
    """
    set_free_aside(m, z, start, end)
    moved = 0
    empty = True
    pfn = start
    while pfn < end:
        state = int(m.state[pfn])
        order = allocated_order(m, pfn)
        if is_movable(state) and pfn + (1 << order) <= end:
            target = take_target(m, z, order, limit, types)
            if target >= 0:
                take_place(m, pfn, target)
                moved += 1 << order
            else:
                empty = False
        pfn += 1 << order
    if empty:
        claim_empty(m, tables, start, end)
    give_back(m, z, start, end)
    return moved, empty


@helper
def claim_empty(m: Mem, tables: PolicyTables, start: int, end: int) -> None:
    """Give pageblocks that have nothing left in them to the movable type."""
    for page in range(start, end):
        if int(m.state[page]) != PAGE_ISOLATED:
            return
    unit = 1 << m.pageblock_order
    first = start + unit - 1 & ~(unit - 1)
    while first + unit <= end:
        m.pageblocks[first >> m.pageblock_order] = movable_type(tables)
        first += unit


@helper
def drain_lru_batches(m: Mem) -> None:
    """Put the pages that wait on any CPU onto their LRU lists: only there they can be moved."""
    for cpu in range(m.nr_cpus):
        lru_add_drain(m, cpu)
