"""Entry points that only look: free lists in order, a count of everything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline, kernel, pointers, ptr
from memsim.kernels.hugetlb import is_huge_page
from memsim.kernels.layout import (
    FREE_ORDER_MASK,
    MOBILITY_MASK,
    MOBILITY_SHIFT,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ALLOCATED,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_PCP,
    PAGE_PINNED,
    PAGE_RESERVED,
    TYPE_MASK,
    TYPE_SHIFT,
    Mem,
    entry_pfn,
    free_entry,
    free_head,
    free_mask,
    pageblock_type,
    sentinel,
)
from memsim.mm import (
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    MIGRATE_TYPES,
    PAGEBLOCK_ORDER,
)

TOTAL_MIXED, TOTAL_PCP, TOTAL_MIXED_AREAS, TOTAL_EMPTY_AREAS = range(4)
NR_TOTALS = 4
"""What ``count_zone`` counts besides: pageblocks that hold allocations of more than one mobility,
pages on per-CPU lists, and of the aligned areas as large as the largest block those that hold
allocations of more than one mobility, and those all of whose pages are free or on such lists."""
BLOCK_UNMOVABLE, BLOCK_RESERVED, BLOCK_ALLOCATED = range(3)
BLOCK_FIELDS = 3
"""What ``count_memory_blocks`` counts in each memory block: allocated pages on no LRU list,
pages that were never given to the buddy allocator, and all allocated pages."""


@kernel
def walk_free_list(mem: Mem, z: int, order: int, migratetype: int, out: NDArray[np.int32]) -> int:
    """Write a free list's blocks into ``out``, head first; return how many there are."""
    m = pointers(mem)
    if not free_mask(m, z, migratetype) >> order & 1:
        return 0
    end = sentinel(m, z, order, migratetype)
    v = free_entry(m, free_head(m, z, order, migratetype), order)
    n = 0
    while v != end and n < len(out):
        pfn = entry_pfn(m, v, order)
        out[n] = pfn
        n += 1
        v = int(m.next[v])
    return n


@kernel
def walk_lru_list(mem: Mem, head: int, out: NDArray[np.int32]) -> int:
    """Write an LRU list's entries into ``out``, youngest first; return how many there are.

    ``head`` is the list's entry in ``Mem.next``. Stops where ``out`` is full.
    """
    m = pointers(mem)
    entry = int(m.next[head])
    n = 0
    while entry != head and n < len(out):
        out[n] = entry
        n += 1
        entry = int(m.next[entry])
    return n


@inline
def free_order_at(m: Mem, pfn: int) -> int:
    """Return the order of the free block that a page heads, -1 if it heads none."""
    if pfn & (MAX_ORDER_NR_PAGES - 1) == 0:
        top = int(m.state[free_entry(m, pfn, MAX_PAGE_ORDER)]) & FREE_ORDER_MASK
        if top:
            return top - 1
    return (int(m.state[pfn]) & FREE_ORDER_MASK) - 1


@inline
def reserved_order(m: Mem, pfn: int) -> int:
    """Return the order of the block reserved at a page, 0 or 10; -1 if it is not reserved."""
    if int(m.state[free_entry(m, pfn, MAX_PAGE_ORDER)]) & PAGE_RESERVED:
        return MAX_PAGE_ORDER if pfn & (MAX_ORDER_NR_PAGES - 1) == 0 else 0
    return 0 if int(m.state[pfn]) & PAGE_RESERVED else -1


@inline
def held_order(state: int) -> int:
    """Return the order of the allocated or per-CPU block that a page heads."""
    return (state & ORDER_MASK) >> ORDER_SHIFT


@kernel
def count_zone(
    mem: Mem,
    start: int,
    end: int,
    free_blocks: NDArray[np.int64],
    pageblocks: NDArray[np.int64],
    totals: NDArray[np.int64],
) -> None:
    """Count a zone's pages [start, end) in one walk.

    ``free_blocks`` is flat (13 * 6), ``pageblocks`` (6,), ``totals`` (NR_TOTALS,).
    """
    m = pointers(mem)
    free = ptr(free_blocks)
    blocks = ptr(pageblocks)
    total = ptr(totals)
    pfn = start
    block = area = -1
    seen = seen_in_area = empty = 0
    while pfn < end:
        if pfn >> m.max_page_order != area:
            total[TOTAL_MIXED_AREAS] += 1 if seen_in_area & (seen_in_area - 1) else 0
            total[TOTAL_EMPTY_AREAS] += empty >> m.max_page_order
            seen_in_area = empty = 0
            area = pfn >> m.max_page_order
        if pfn >> m.pageblock_order != block:
            total[TOTAL_MIXED] += 1 if seen & (seen - 1) else 0
            seen = 0
            block = pfn >> m.pageblock_order
            blocks[pageblock_type(m, pfn)] += 1
        order = free_order_at(m, pfn)
        if order >= 0:
            slot = free_entry(m, pfn, order)
            migratetype = (int(m.state[slot]) & TYPE_MASK) >> TYPE_SHIFT
            free[order * MIGRATE_TYPES + migratetype] += 1
            empty += 1 << order
        else:
            state = int(m.state[pfn])
            if state & PAGE_ALLOCATED:
                order = held_order(state)
                seen |= 1 << ((state & MOBILITY_MASK) >> MOBILITY_SHIFT)
                seen_in_area |= seen
            elif state & PAGE_PCP:
                order = held_order(state)
                total[TOTAL_PCP] += 1 << order
                empty += 1 << order
            else:
                order = max(reserved_order(m, pfn), 0)
        for other in range(1, 1 << max(order - m.pageblock_order, 0)):
            blocks[pageblock_type(m, pfn + (other << m.pageblock_order))] += 1
        pfn += 1 << order
    total[TOTAL_MIXED] += 1 if seen & (seen - 1) else 0
    total[TOTAL_MIXED_AREAS] += 1 if seen_in_area & (seen_in_area - 1) else 0
    total[TOTAL_EMPTY_AREAS] += empty >> m.max_page_order


@kernel
def count_memory_blocks(
    mem: Mem, start: int, end: int, block_order: int, counts: NDArray[np.int64]
) -> None:
    """Count what pages [start, end) hold, for each memory block of 2^block_order pages.

    ``counts`` is flat, (blocks * BLOCK_FIELDS,); its first row is the block that holds ``start``.
    """
    m = pointers(mem)
    count = ptr(counts)
    first = start >> block_order
    pfn = start
    while pfn < end:
        at = ((pfn >> block_order) - first) * BLOCK_FIELDS
        order = free_order_at(m, pfn)
        if order < 0:
            state = int(m.state[pfn])
            order = reserved_order(m, pfn)
            if order >= 0:
                count[at + BLOCK_RESERVED] += 1 << order
            elif state & PAGE_ALLOCATED:
                order = held_order(state)
                count[at + BLOCK_ALLOCATED] += 1 << order
                movable = state & (PAGE_LRU | PAGE_LRU_PENDING) != 0 or (
                    order == PAGEBLOCK_ORDER and is_huge_page(m, pfn)
                )
                if state & PAGE_PINNED or not movable:
                    count[at + BLOCK_UNMOVABLE] += 1 << order
            else:
                order = 0
        pfn += 1 << order
