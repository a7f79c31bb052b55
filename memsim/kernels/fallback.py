"""Taking blocks from a zone: its type's own lists, then another type's, then whole pageblocks.

Source: mm/page_alloc.c, Linux 6.1 (__rmqueue and what it falls back to).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import (
    CMA,
    HIGHATOMIC,
    MOVABLE,
    add_to_free_list,
    del_page_from_free_list,
    rmqueue_smallest,
)
from memsim.kernels.census import free_order_at
from memsim.kernels.ideal_room import make_own_room, make_pageblock
from memsim.kernels.layout import (
    FREE_ORDER_MASK,
    PAGE_ISOLATED,
    PAGE_LRU,
    Z_BOOST,
    Z_BOOST_FACTOR,
    Z_BOOSTED,
    Z_END_PFN,
    Z_MANAGED,
    Z_NR_FREE_CMA,
    Z_NR_FREE_PAGES,
    Z_START_PFN,
    Z_VMSTAT,
    Z_WMARK,
    Mem,
    free_head,
    free_mask,
    pageblock_type,
    zone_add,
    zone_get,
    zone_set,
)
from memsim.kernels.placement import (
    CLAIM_HALF,
    CLAIM_WHOLE,
    NR_FALLBACKS,
    OPT_BOOST,
    OPT_BOOT_TYPE,
    OPT_CMA,
    OPT_IDEAL,
    PolicyTables,
)
from memsim.kernels.system import S_MAY_MIX
from memsim.kernels.trace_log import LOG_EXTFRAG, log_event
from memsim.kernels.vmstat import (
    EXTFRAG_CHANGE_OWNERSHIP,
    EXTFRAG_EVENTS,
    EXTFRAG_FRAGMENTING,
    PAGEBLOCKS_CLAIMED,
    PAGES_STOLEN,
    WATERMARK_BOOSTS,
)
from memsim.mm import (
    MAX_PAGE_ORDER,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Wmark,
)

WMARK_HIGH = int(Wmark.HIGH)

ALLOC_WMARK_MASK = 0x3
ALLOC_NO_WATERMARKS = 1 << 2
ALLOC_MIN_RESERVE = 1 << 3
ALLOC_NON_BLOCK = 1 << 4
ALLOC_HIGHATOMIC = 1 << 5
ALLOC_OOM = 1 << 6
ALLOC_CMA = 1 << 7
ALLOC_NOFRAGMENT = 1 << 8
ALLOC_KSWAPD = 1 << 9


@inline
def fallback_type(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Return the first type of the fallback table with a block of this order, -1 if none."""
    first = int(tables.fallback[NR_FALLBACKS * migratetype])
    second = int(tables.fallback[NR_FALLBACKS * migratetype + 1])
    if first >= 0 and free_mask(m, z, first) >> order & 1:
        return first
    if second >= 0 and free_mask(m, z, second) >> order & 1:
        return second
    return -1


@helper
def boost_watermark(m: Mem, tables: PolicyTables, z: int) -> bool:
    """Raise a zone's watermarks by a pageblock after a fragmenting fallback (spec 3.6)."""
    factor = zone_get(m, z, Z_BOOST_FACTOR)
    cap = zone_get(m, z, Z_WMARK + WMARK_HIGH) * factor // 10000
    small = zone_get(m, z, Z_MANAGED) < 4 * PAGEBLOCK_NR_PAGES
    if int(tables.options[OPT_BOOST]) == 0 or small or cap == 0:
        return False
    boost = zone_get(m, z, Z_BOOST) + PAGEBLOCK_NR_PAGES
    zone_set(m, z, Z_BOOST, min(boost, max(cap, PAGEBLOCK_NR_PAGES)))
    zone_add(m, z, Z_VMSTAT + WATERMARK_BOOSTS, 1)
    return True


@helper
def move_to_free_list(m: Mem, z: int, pfn: int, order: int, migratetype: int) -> None:
    """Move a free block to the tail of another list."""
    del_page_from_free_list(m, z, pfn, order)
    add_to_free_list(m, z, pfn, order, migratetype, True)


@helper
def count_pageblock(m: Mem, start: int, end: int) -> tuple[int, int]:
    """Count the free pages and the pages on an LRU list of [start, end)."""
    free = 0
    lru = 0
    pfn = start
    while pfn < end:
        state = int(m.state[pfn])
        order = (state & FREE_ORDER_MASK) - 1
        if order >= 0:
            free += 1 << order
            pfn += 1 << order
            continue
        if state & (PAGE_LRU | PAGE_ISOLATED) == PAGE_LRU:
            lru += 1
        pfn += 1
    return free, lru


@helper
def move_freepages(m: Mem, z: int, start: int, end: int, migratetype: int) -> int:
    """Move every free block of [start, end) to a type's list tails; return the pages moved."""
    moved = 0
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        if order < 0:
            pfn += 1
            continue
        move_to_free_list(m, z, pfn, order, migratetype)
        moved += 1 << order
        pfn += 1 << order
    return moved


@helper
def pageblock_range(m: Mem, z: int, pfn: int) -> tuple[int, int]:
    """Return what may be moved of the pageblock of ``pfn``; empty if the zone ends inside it."""
    start = pfn & ~(PAGEBLOCK_NR_PAGES - 1)
    end = start + PAGEBLOCK_NR_PAGES
    if start < zone_get(m, z, Z_START_PFN):
        start = pfn
    if end > zone_get(m, z, Z_END_PFN):
        end = start
    return start, end


@helper
def steal_suitable_fallback(
    m: Mem,
    tables: PolicyTables,
    z: int,
    alloc_flags: int,
    pfn: int,
    order: int,
    migratetype: int,
    whole: bool,
) -> None:
    """Move a foreign block, and perhaps its pageblock's other free pages, to a type's lists.

    Source: steal_suitable_fallback, mm/page_alloc.c, 6.1 (spec 3.5).
    """
    old = pageblock_type(m, pfn)
    if old == HIGHATOMIC:
        move_to_free_list(m, z, pfn, order, migratetype)
        return
    if order >= PAGEBLOCK_ORDER:
        for block in range(pfn >> PAGEBLOCK_ORDER, (pfn + (1 << order)) >> PAGEBLOCK_ORDER):
            m.pageblocks[block] = migratetype
        zone_add(m, z, Z_VMSTAT + PAGEBLOCKS_CLAIMED, 1 << (order - PAGEBLOCK_ORDER))
        zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, 1 << order)
        move_to_free_list(m, z, pfn, order, migratetype)
        return
    if boost_watermark(m, tables, z) and alloc_flags & ALLOC_KSWAPD:
        zone_set(m, z, Z_BOOSTED, 1)
    start, end = pageblock_range(m, z, pfn)
    if not whole or start == end:
        zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, 1 << order)
        move_to_free_list(m, z, pfn, order, migratetype)
        return
    free, lru = count_pageblock(m, start, end)
    alike = 0
    if migratetype == MOVABLE:
        alike = lru
    elif old == MOVABLE:
        alike = PAGEBLOCK_NR_PAGES - (free + lru)
    zone_add(m, z, Z_VMSTAT + PAGES_STOLEN, move_freepages(m, z, start, end, migratetype))
    rule = int(tables.claim[migratetype])
    if rule == CLAIM_WHOLE or (rule == CLAIM_HALF and free + alike >= PAGEBLOCK_NR_PAGES // 2):
        m.pageblocks[pfn >> PAGEBLOCK_ORDER] = migratetype
        zone_add(m, z, Z_VMSTAT + PAGEBLOCKS_CLAIMED, 1)


@inline
def trace_extfrag(
    m: Mem, z: int, pfn: int, order: int, migratetype: int, fallback_order: int, other: int
) -> None:
    """Log and count a fallback, once its pageblock has been claimed or left.

    Source: trace_mm_page_alloc_extfrag, include/trace/events/kmem.h, 6.1.
    """
    change_ownership = 1 if pageblock_type(m, pfn) == migratetype else 0
    log_event(m, LOG_EXTFRAG, pfn, order, migratetype, fallback_order, other, change_ownership)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_EVENTS, 1)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_FRAGMENTING, 1 if fallback_order < m.pageblock_order else 0)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_CHANGE_OWNERSHIP, change_ownership)


@inline
def keeps_apart(m: Mem, tables: PolicyTables, migratetype: int) -> bool:
    """Say whether a type may take whole pageblocks only: policy ``ideal`` makes them for it."""
    if int(tables.options[OPT_IDEAL]) == 0 or int(m.system[S_MAY_MIX]):
        return False
    return migratetype != int(tables.options[OPT_BOOT_TYPE])


@helper
def rmqueue_fallback(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> bool:
    """Bring blocks of another type to a type's lists; say whether anything was moved.

    Largest order first, then the fallback table; movable requests that would split a small block
    take the smallest one instead. Source: __rmqueue_fallback, mm/page_alloc.c, 6.1 (spec 3.4).
    """
    lowest = order
    apart = alloc_flags & ALLOC_NOFRAGMENT or keeps_apart(m, tables, migratetype)
    if order < PAGEBLOCK_ORDER and apart:
        lowest = PAGEBLOCK_ORDER
    current = MAX_PAGE_ORDER
    other = -1
    while current >= lowest:
        other = fallback_type(m, tables, z, current, migratetype)
        if other >= 0:
            break
        current -= 1
    if other < 0:
        return False
    whole_from = int(tables.whole_from[migratetype])
    if current < whole_from and current > order:
        current = order
        other = fallback_type(m, tables, z, current, migratetype)
        while other < 0:
            current += 1
            other = fallback_type(m, tables, z, current, migratetype)
    pfn = free_head(m, z, current, other)
    steal_suitable_fallback(
        m, tables, z, alloc_flags, pfn, current, migratetype, current >= whole_from
    )
    trace_extfrag(m, z, pfn, order, migratetype, current, other)
    return True


@inline
def may_take_cma(tables: PolicyTables, migratetype: int, alloc_flags: int) -> bool:
    """Say whether a request may be served from CMA pageblocks."""
    return bool(alloc_flags & ALLOC_CMA and int(tables.options[OPT_CMA]) and migratetype == MOVABLE)


@inline
def cma_first(m: Mem, tables: PolicyTables, z: int, migratetype: int, alloc_flags: int) -> bool:
    """Say whether the CMA lists come first: they hold more than half of the zone's free pages."""
    if not may_take_cma(tables, migratetype, alloc_flags):
        return False
    # What CPUs hold back can make the zone's counters negative; they are read as zero then.
    free = max(zone_get(m, z, Z_NR_FREE_PAGES), 0)
    return zone_get(m, z, Z_NR_FREE_CMA) > free // 2


@helper
def rmqueue_cma(m: Mem, z: int, order: int) -> int:
    """Take from the CMA lists; -1 if they have none."""
    return rmqueue_smallest(m, z, order, CMA)


@helper
def rmqueue_apart(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> int:
    """Take a block for what ``ideal`` keeps apart: from pageblocks of its own, else a whole one."""
    if (
        make_own_room(m, tables, z, order, migratetype)
        or rmqueue_fallback(m, tables, z, order, migratetype, alloc_flags)
        or (
            make_pageblock(m, tables, z, order)
            and rmqueue_fallback(m, tables, z, order, migratetype, alloc_flags)
        )
    ):
        return rmqueue_smallest(m, z, order, migratetype)
    return -1


@helper
def rmqueue_elsewhere(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> int:
    """Take a block when the type's own lists have none: from CMA, then by fallback."""
    if may_take_cma(tables, migratetype, alloc_flags):
        pfn = rmqueue_smallest(m, z, order, CMA)
        if pfn >= 0:
            return pfn
    if keeps_apart(m, tables, migratetype):
        return rmqueue_apart(m, tables, z, order, migratetype, alloc_flags)
    while rmqueue_fallback(m, tables, z, order, migratetype, alloc_flags):
        pfn = rmqueue_smallest(m, z, order, migratetype)
        if pfn >= 0:
            return pfn
    return -1


@inline
def rmqueue_locked(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> int:
    """Take a block of a type from a zone, with fallback; -1 if the zone has none.

    Counters of free pages are the caller's. Source: __rmqueue, mm/page_alloc.c, 6.1.
    """
    pfn = -1
    if cma_first(m, tables, z, migratetype, alloc_flags):
        pfn = rmqueue_cma(m, z, order)
    if pfn < 0:
        pfn = rmqueue_smallest(m, z, order, migratetype)
    if pfn < 0:
        pfn = rmqueue_elsewhere(m, tables, z, order, migratetype, alloc_flags)
    return pfn
