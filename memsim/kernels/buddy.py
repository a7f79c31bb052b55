"""Free lists: splitting, merging, falling back to another type and stealing pageblocks.

Source: mm/page_alloc.c, Linux 6.1. Unlike kernels from 6.10 on, a free block may stand on a list
of another type than its pageblock's; nothing here derives the one from the other.
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper, inline, prefetch
from memsim.kernels.layout import (
    EXTFRAG_CHANGE_OWNERSHIP,
    EXTFRAG_EVENTS,
    EXTFRAG_FRAGMENTING,
    FREE_ORDER_MASK,
    LOG_EXTFRAG,
    LOG_ZONE_LOCKED,
    OPT_BOOST,
    OPT_CMA,
    P_CMA_DIFF,
    P_STAT_DIFF,
    PAGE_LRU,
    PAGEBLOCKS_CLAIMED,
    PAGES_STOLEN,
    PCP_FIELDS,
    TYPE_SHIFT,
    WATERMARK_BOOSTS,
    Z_BOOST,
    Z_BOOST_FACTOR,
    Z_BOOSTED,
    Z_END_PFN,
    Z_FREE_MASK,
    Z_MANAGED,
    Z_NR_FREE,
    Z_NR_FREE_CMA,
    Z_NR_FREE_PAGES,
    Z_START_PFN,
    Z_STAT_THRESHOLD,
    Z_VMSTAT,
    Z_WMARK,
    ZONE_FIELDS,
    Mem,
    PolicyTables,
    free_head,
    free_mask,
    link_slot,
    log_event,
    pageblock_type,
    sentinel,
    state_slot,
    zone_add,
    zone_get,
    zone_set,
)
from memsim.mm import (
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
    Wmark,
)

MOVABLE = int(Migratetype.MOVABLE)
HIGHATOMIC = int(Migratetype.HIGHATOMIC)
CMA = int(Migratetype.CMA)
ISOLATE = int(Migratetype.ISOLATE)
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
def pcp_allowed_order(order: int) -> bool:
    """Say whether blocks of this order go through the per-CPU lists."""
    return order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER


@inline
def mod_zone_page_state(m: Mem, z: int, cpu: int, diff: int, counter: int, delta: int) -> None:
    """Book a change on a CPU (P_*_DIFF); fold it into the zone when it exceeds the threshold.

    Source: __mod_zone_page_state, mm/vmstat.c, 6.1.
    """
    at = (z * m.nr_cpus + cpu) * PCP_FIELDS + diff
    x = int(m.pcps[at]) + delta
    if abs(x) > zone_get(m, z, Z_STAT_THRESHOLD):
        zone_add(m, z, counter, x)
        x = 0
    m.pcps[at] = x


@inline
def mod_zone_free_pages(m: Mem, z: int, cpu: int, delta: int) -> None:
    """Book a change of nr_free_pages."""
    mod_zone_page_state(m, z, cpu, P_STAT_DIFF, Z_NR_FREE_PAGES, delta)


@inline
def mod_zone_free_cma(m: Mem, z: int, cpu: int, delta: int) -> None:
    """Book a change of nr_free_cma."""
    mod_zone_page_state(m, z, cpu, P_CMA_DIFF, Z_NR_FREE_CMA, delta)


@inline
def mod_zone_freepage_state(m: Mem, z: int, cpu: int, pages: int, migratetype: int) -> None:
    """Book free pages of a type: all of them, and those of CMA apart."""
    mod_zone_free_pages(m, z, cpu, pages)
    if migratetype == CMA:
        mod_zone_free_cma(m, z, cpu, pages)


@inline
def add_to_free_list(m: Mem, z: int, pfn: int, order: int, migratetype: int, tail: bool) -> None:
    """Put a block on a free list and mark it free."""
    v = link_slot(m, pfn, order)
    head = sentinel(m, z, order, migratetype)
    if tail:
        before = int(m.links[head | 1])
        after = head
    else:
        before = head
        after = int(m.links[head])
    m.links[before & -2] = v
    m.links[v | 1] = before
    m.links[v & -2] = after
    m.links[after | 1] = v
    m.state[state_slot(m, pfn, order)] = order + 1 | migratetype << TYPE_SHIFT
    zone_add(m, z, Z_NR_FREE + order, 1)
    m.zones[z * ZONE_FIELDS + Z_FREE_MASK + migratetype] |= 1 << order


@inline
def del_page_from_free_list(m: Mem, z: int, pfn: int, order: int) -> None:
    """Take a block off whatever list it stands on."""
    v = link_slot(m, pfn, order)
    before = int(m.links[v | 1])
    after = int(m.links[v & -2])
    m.links[before & -2] = after
    m.links[after | 1] = before
    slot = state_slot(m, pfn, order)
    zone_add(m, z, Z_NR_FREE + order, -1)
    if before == after:
        # Only a sentinel is its block's both neighbours: the list is empty now.
        migratetype = int(m.state[slot]) >> TYPE_SHIFT
        m.zones[z * ZONE_FIELDS + Z_FREE_MASK + migratetype] &= ~(1 << order)
    m.state[slot] = 0


@inline
def expand(m: Mem, z: int, pfn: int, low: int, high: int, migratetype: int) -> None:
    """Split a block of order ``high``: upper halves to the list heads, the rest to the caller."""
    while high > low:
        high -= 1
        add_to_free_list(m, z, pfn + (1 << high), high, migratetype, False)


@inline
def rmqueue_smallest(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Take the head of the smallest sufficient list of a type; -1 if there is none.

    The page remembers the type. Source: __rmqueue_smallest, mm/page_alloc.c, 6.1.
    """
    orders = free_mask(m, z, migratetype) >> order
    if orders == 0:
        return -1
    current = order + ctz(orders)
    pfn = free_head(m, z, current, migratetype)
    del_page_from_free_list(m, z, pfn, current)
    prefetch(m.state, int(m.links[sentinel(m, z, current, migratetype)]))
    expand(m, z, pfn, order, current, migratetype)
    m.state[pfn] = migratetype << TYPE_SHIFT
    refill = pcp_allowed_order(order) and migratetype < MIGRATE_PCPTYPES
    log_event(m, LOG_ZONE_LOCKED, pfn, order, migratetype, 1 if refill else 0)
    return pfn


@inline
def merge_stops(m: Mem, buddy: int, migratetype: int) -> bool:
    """Say whether pageblocks' types keep two pageblock-sized buddies apart (spec 2.3 step 2c)."""
    other = pageblock_type(m, buddy)
    return other != migratetype and (other >= MIGRATE_PCPTYPES or migratetype >= MIGRATE_PCPTYPES)


@inline
def buddy_merge_likely(m: Mem, pfn: int, order: int) -> bool:
    """Say whether the block one order up would find its own buddy free already."""
    if order >= MAX_PAGE_ORDER - 1:
        return False
    higher_buddy = (pfn & ~(1 << order)) ^ (2 << order)
    return (int(m.state[higher_buddy]) & FREE_ORDER_MASK) == order + 2


@inline
def free_one_page(
    m: Mem, z: int, cpu: int, pfn: int, order: int, migratetype: int, tail: bool
) -> None:
    """Merge a block with its free buddies and put the result on a free list.

    Source: __free_one_page, mm/page_alloc.c, 6.1. ``migratetype`` is the list's, not looked up.
    """
    if migratetype != ISOLATE:
        mod_zone_freepage_state(m, z, cpu, 1 << order, migratetype)
    while order < MAX_PAGE_ORDER:
        buddy = pfn ^ (1 << order)
        if (int(m.state[buddy]) & FREE_ORDER_MASK) != order + 1:
            break
        if order >= PAGEBLOCK_ORDER and merge_stops(m, buddy, migratetype):
            break
        del_page_from_free_list(m, z, buddy, order)
        pfn &= buddy
        order += 1
    add_to_free_list(m, z, pfn, order, migratetype, tail or buddy_merge_likely(m, pfn, order))


@inline
def fallback_type(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> int:
    """Return the first type of the fallback table with a block of this order, -1 if none."""
    first = int(tables.fallback[2 * migratetype])
    second = int(tables.fallback[2 * migratetype + 1])
    if free_mask(m, z, first) >> order & 1:
        return first
    if free_mask(m, z, second) >> order & 1:
        return second
    return -1


@helper
def boost_watermark(m: Mem, tables: PolicyTables, z: int) -> bool:
    """Raise a zone's watermarks by a pageblock after a fragmenting fallback (spec 3.6)."""
    factor = zone_get(m, z, Z_BOOST_FACTOR)
    high = zone_get(m, z, Z_WMARK + WMARK_HIGH)
    small = zone_get(m, z, Z_MANAGED) < 4 * PAGEBLOCK_NR_PAGES
    if int(tables.options[OPT_BOOST]) == 0 or factor == 0 or small or high == 0:
        return False
    cap = max(high * factor // 10000, PAGEBLOCK_NR_PAGES)
    zone_set(m, z, Z_BOOST, min(zone_get(m, z, Z_BOOST) + PAGEBLOCK_NR_PAGES, cap))
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
        if state & PAGE_LRU:
            lru += 1
        pfn += 1
    return free, lru


@helper
def move_freepages(m: Mem, z: int, start: int, end: int, migratetype: int) -> int:
    """Move every free block of [start, end) to a type's list tails; return the pages moved."""
    moved = 0
    pfn = start
    while pfn < end:
        order = (int(m.state[pfn]) & FREE_ORDER_MASK) - 1
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
    claim = int(tables.claim_always[migratetype]) != 0
    if claim or free + alike >= PAGEBLOCK_NR_PAGES // 2:
        m.pageblocks[pfn >> PAGEBLOCK_ORDER] = migratetype
        zone_add(m, z, Z_VMSTAT + PAGEBLOCKS_CLAIMED, 1)


@helper
def rmqueue_fallback(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> bool:
    """Bring blocks of another type to a type's lists; say whether anything was moved.

    Largest order first, then the fallback table; movable requests that would split a small block
    take the smallest one instead. Source: __rmqueue_fallback, mm/page_alloc.c, 6.1 (spec 3.4).
    """
    lowest = order
    if order < PAGEBLOCK_ORDER and alloc_flags & ALLOC_NOFRAGMENT:
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
    change_ownership = 1 if pageblock_type(m, pfn) == migratetype else 0
    log_event(m, LOG_EXTFRAG, pfn, order, migratetype, current, other, change_ownership)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_EVENTS, 1)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_FRAGMENTING, 1 if current < PAGEBLOCK_ORDER else 0)
    zone_add(m, z, Z_VMSTAT + EXTFRAG_CHANGE_OWNERSHIP, change_ownership)
    return True


@helper
def rmqueue_cma(m: Mem, z: int, order: int) -> int:
    """Take from the CMA lists when they hold more than half of the zone's free pages."""
    if zone_get(m, z, Z_NR_FREE_CMA) > zone_get(m, z, Z_NR_FREE_PAGES) // 2:
        return rmqueue_smallest(m, z, order, CMA)
    return -1


@inline
def rmqueue_locked(
    m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int, alloc_flags: int
) -> int:
    """Take a block of a type from a zone, with fallback; -1 if the zone has none.

    Counters of free pages are the caller's. Source: __rmqueue, mm/page_alloc.c, 6.1.
    """
    cma = alloc_flags & ALLOC_CMA and int(tables.options[OPT_CMA]) and migratetype == MOVABLE
    if cma:
        pfn = rmqueue_cma(m, z, order)
        if pfn >= 0:
            return pfn
    pfn = rmqueue_smallest(m, z, order, migratetype)
    if pfn >= 0:
        return pfn
    if cma:
        pfn = rmqueue_smallest(m, z, order, CMA)
        if pfn >= 0:
            return pfn
    while rmqueue_fallback(m, tables, z, order, migratetype, alloc_flags):
        pfn = rmqueue_smallest(m, z, order, migratetype)
        if pfn >= 0:
            return pfn
    return -1
