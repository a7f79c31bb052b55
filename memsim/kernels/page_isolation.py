"""Keeping the allocator out of pageblocks, so that their pages can be emptied.

Source: mm/page_isolation.c, Linux 6.1 (spec 9.2 step 4, 9.3, 9.6).
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper
from memsim.kernels.buddy import (
    CMA,
    ISOLATE,
    del_page_from_free_list,
    free_one_page,
    mod_zone_freepage_state,
)
from memsim.kernels.census import free_order_at, held_order, reserved_order
from memsim.kernels.fallback import move_freepages
from memsim.kernels.hugetlb import is_huge_page
from memsim.kernels.layout import (
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_PCP,
    PAGE_SLAB,
    Z_NR_ISOLATE_PAGEBLOCK,
    Z_TYPE,
    Mem,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.mm import (
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Unmovable,
    ZoneType,
)

NONE = int(Unmovable.NONE)
ISOLATED = int(Unmovable.ISOLATED)
IN_CMA = int(Unmovable.CMA)
RESERVED = int(Unmovable.RESERVED)
SLAB = int(Unmovable.SLAB)
KERNEL = int(Unmovable.KERNEL)
LRU_BATCH = int(Unmovable.LRU_BATCH)
TAKEN = int(Unmovable.TAKEN)
COMPOUND = int(Unmovable.COMPOUND)
ZONE_MOVABLE = int(ZoneType.MOVABLE)


@helper
def why_unmovable(m: Mem, z: int, pfn: int) -> tuple[int, int]:
    """Judge the page ``pfn``; return mm.Unmovable, and how many pages that holds for (spec 9.3)."""
    order = reserved_order(m, pfn)
    if order >= 0:
        return RESERVED, 1 << order
    order = free_order_at(m, pfn)
    if order >= 0:
        return NONE, 1 << order
    state = int(m.state[pfn])
    if not state & (PAGE_ALLOCATED | PAGE_PCP):
        return NONE, 1
    pages = 1 << held_order(state)
    if state & PAGE_PCP or (zone_get(m, z, Z_TYPE) == ZONE_MOVABLE and not m.lru_per_zone):
        return NONE, pages
    if state & PAGE_LRU_PENDING:
        return LRU_BATCH, pages
    if state & PAGE_ISOLATED:
        return TAKEN, pages
    if state & PAGE_LRU or is_huge_page(m, pfn):
        return NONE, pages
    return (SLAB if state & PAGE_SLAB else KERNEL), pages


@helper
def has_unmovable_pages(m: Mem, z: int, start: int, migratetype: int) -> tuple[int, int]:
    """Look for a page of a pageblock that cannot be moved; return mm.Unmovable and its pfn.

    ``migratetype`` is CMA for callers on behalf of CMA.
    """
    if pageblock_type(m, start) == CMA:
        return (NONE, -1) if migratetype == CMA else (IN_CMA, start)
    pfn = start
    while pfn < start + PAGEBLOCK_NR_PAGES:
        why, pages = why_unmovable(m, z, pfn)
        if why:
            return why, pfn
        pfn += pages
    return NONE, -1


@helper
def set_migratetype_isolate(
    m: Mem, z: int, cpu: int, start: int, migratetype: int
) -> tuple[int, int]:
    """Isolate a pageblock; return why it cannot be (mm.Unmovable), and the page."""
    if pageblock_type(m, start) == ISOLATE:
        return ISOLATED, start
    why, pfn = has_unmovable_pages(m, z, start, migratetype)
    if why:
        return why, pfn
    old = pageblock_type(m, start)
    m.pageblocks[start >> PAGEBLOCK_ORDER] = ISOLATE
    zone_add(m, z, Z_NR_ISOLATE_PAGEBLOCK, 1)
    moved = move_freepages(m, z, start, start + PAGEBLOCK_NR_PAGES, ISOLATE)
    mod_zone_freepage_state(m, z, cpu, -moved, old)
    return NONE, -1


@helper
def unset_migratetype_isolate(m: Mem, z: int, cpu: int, start: int, migratetype: int) -> None:
    """Give a pageblock back to the allocator as one of a type, its free blocks to list tails.

    A whole free pageblock merges with a free buddy that is not isolated.
    """
    if pageblock_type(m, start) != ISOLATE:
        return
    order = free_order_at(m, start)
    merges = PAGEBLOCK_ORDER <= order < MAX_PAGE_ORDER
    merges = merges and free_order_at(m, start ^ (1 << order)) == order
    if merges and pageblock_type(m, start ^ (1 << order)) != ISOLATE:
        del_page_from_free_list(m, z, start, order)
        m.pageblocks[start >> PAGEBLOCK_ORDER] = migratetype
        free_one_page(m, z, cpu, start, order, migratetype, True)
    else:
        moved = move_freepages(m, z, start, start + PAGEBLOCK_NR_PAGES, migratetype)
        mod_zone_freepage_state(m, z, cpu, moved, migratetype)
        m.pageblocks[start >> PAGEBLOCK_ORDER] = migratetype
    zone_add(m, z, Z_NR_ISOLATE_PAGEBLOCK, -1)


@helper
def split_free_page(m: Mem, z: int, cpu: int, pfn: int, order: int, offset: int) -> None:
    """Split a free block at ``offset`` pages, each part to the lists of its own pageblock."""
    kind = pageblock_type(m, pfn)
    if kind != ISOLATE:
        mod_zone_freepage_state(m, z, cpu, -(1 << order), kind)
    del_page_from_free_list(m, z, pfn, order)
    end = pfn + (1 << order)
    stop = pfn + offset
    while pfn < end:
        part = min(ctz(pfn | MAX_ORDER_NR_PAGES), order)
        while pfn + (1 << part) > stop:
            part -= 1
        free_one_page(m, z, cpu, pfn, part, pageblock_type(m, pfn), False)
        pfn += 1 << part
        if pfn == stop:
            stop = end


@helper
def part_at_boundary(m: Mem, z: int, cpu: int, boundary: int) -> int:
    """Part the free block that crosses a boundary; return the first page of one that is in use.

    -1 if none crosses it. Only blocks of more than a pageblock can.
    """
    pfn = boundary & -MAX_ORDER_NR_PAGES
    while pfn < boundary:
        order = free_order_at(m, pfn)
        if order >= 0:
            if pfn + (1 << order) > boundary:
                split_free_page(m, z, cpu, pfn, order, boundary - pfn)
                return -1
            pfn += 1 << order
        else:
            state = int(m.state[pfn])
            pages = 1 << held_order(state) if state & PAGE_ALLOCATED else 1
            if pfn + pages > boundary:
                return pfn
            pfn += pages
    return -1


@helper
def isolate_single_pageblock(
    m: Mem, z: int, cpu: int, start: int, boundary: int, migratetype: int, again: bool
) -> tuple[int, int]:
    """Isolate a pageblock at an edge of a range, at which larger blocks are parted.

    ``again``: the pageblock is isolated already, being the range's other edge too.
    """
    if not again:
        why, pfn = set_migratetype_isolate(m, z, cpu, start, migratetype)
        if why:
            return why, pfn
    crossing = part_at_boundary(m, z, cpu, boundary)
    if crossing >= 0:
        unset_migratetype_isolate(m, z, cpu, start, migratetype)
        return COMPOUND, crossing
    return NONE, -1


@helper
def start_isolate_page_range(
    m: Mem, z: int, cpu: int, start: int, end: int, migratetype: int
) -> tuple[int, int]:
    """Isolate whole pageblocks [start, end): the first, the last, then the rest ascending.

    Returns mm.Unmovable and the page that stopped it; then those isolated before are of
    ``migratetype``, whatever they were.
    """
    last = end - PAGEBLOCK_NR_PAGES
    why, pfn = isolate_single_pageblock(m, z, cpu, start, start, migratetype, False)
    if why:
        return why, pfn
    why, pfn = isolate_single_pageblock(m, z, cpu, last, end, migratetype, last == start)
    if why:
        unset_migratetype_isolate(m, z, cpu, start, migratetype)
        return why, pfn
    block = start + PAGEBLOCK_NR_PAGES
    while block < last:
        why, pfn = set_migratetype_isolate(m, z, cpu, block, migratetype)
        if why:
            undo_isolate_page_range(m, z, cpu, start, block, migratetype)
            unset_migratetype_isolate(m, z, cpu, last, migratetype)
            return why, pfn
        block += PAGEBLOCK_NR_PAGES
    return NONE, -1


@helper
def undo_isolate_page_range(
    m: Mem, z: int, cpu: int, start: int, end: int, migratetype: int
) -> None:
    """Give whole pageblocks [start, end) back, ascending."""
    for block in range(start, end, PAGEBLOCK_NR_PAGES):
        unset_migratetype_isolate(m, z, cpu, block, migratetype)


@helper
def test_pages_isolated(m: Mem, start: int, end: int) -> int:
    """Return the first page of an isolated range that is in no free block; ``end`` if all are."""
    pfn = start & -MAX_ORDER_NR_PAGES
    while pfn < end:
        order = free_order_at(m, pfn)
        if order >= 0:
            pfn += 1 << order
        elif pfn >= start:
            return pfn
        else:
            pfn += 1
    return end
