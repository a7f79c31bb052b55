"""Free lists: splitting and merging blocks.

Source: mm/page_alloc.c, Linux 6.1. Unlike kernels from 6.10 on, a free block may stand on a list
of another type than its pageblock's; nothing here derives the one from the other.
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper, inline, popcount, prefetch
from memsim.kernels.compact_control import (
    CC_CAPTURE,
    CC_CAPTURED,
    CC_ORDER,
    CC_ZONE,
    control,
    control_set,
)
from memsim.kernels.layout import (
    FREE_ORDER_MASK,
    P_CMA_DIFF,
    P_STAT_DIFF,
    PCP_FIELDS,
    TYPE_SHIFT,
    Z_FREE_MASK,
    Z_NR_FREE,
    Z_NR_FREE_CMA,
    Z_NR_FREE_PAGES,
    Z_STAT_THRESHOLD,
    Z_VMSTAT,
    ZONE_FIELDS,
    Mem,
    free_entry,
    free_head,
    free_mask,
    pageblock_type,
    sentinel,
    zone_add,
    zone_get,
)
from memsim.kernels.trace_log import LOG_ZONE_LOCKED, log_event
from memsim.kernels.vmstat import LIST_PROBES
from memsim.mm import (
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
)

MOVABLE = int(Migratetype.MOVABLE)
HIGHATOMIC = int(Migratetype.HIGHATOMIC)
CMA = int(Migratetype.CMA)
ISOLATE = int(Migratetype.ISOLATE)


@inline
def pcp_allowed_order(order: int) -> bool:
    """Say whether blocks of this order go through the per-CPU lists."""
    return order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER


@inline
def prefetch_buddies(m: Mem, pfn: int, order: int) -> None:
    """Ask for the marks of a block's next buddies."""
    prefetch(m.state, pfn ^ (1 << order))
    prefetch(m.state, pfn ^ (2 << order))
    prefetch(m.state, pfn ^ (4 << order))


@inline
def prefetch_neighbours(m: Mem, pfn: int, buddy: int, is_free: bool) -> None:
    """Ask for a buddy's neighbours on its list if it is free.

    Without a branch: whether it is free is anybody's guess, and ``pfn`` itself is at hand.
    """
    after, before = int(m.next[buddy]), int(m.prev[buddy])
    prefetch(m.state, after if is_free else pfn)
    prefetch(m.state, before if is_free else pfn)


@inline
def prefetch_merge(m: Mem, pfn: int, order: int) -> None:
    """Ask for what merging a block touches: its free buddies' neighbours, and further buddies."""
    if order > PAGE_ALLOC_COSTLY_ORDER:
        return
    buddy = pfn ^ (1 << order)
    is_free = int(m.state[buddy]) & FREE_ORDER_MASK == order + 1
    prefetch_neighbours(m, pfn, buddy, is_free)
    buddy = pfn & ~(1 << order) ^ (2 << order)
    is_free &= int(m.state[buddy]) & FREE_ORDER_MASK == order + 2
    prefetch_neighbours(m, pfn, buddy, is_free)
    if is_free:
        prefetch(m.state, pfn & ~(7 << order) ^ (8 << order))
        prefetch(m.state, pfn & ~(15 << order) ^ (16 << order))
        prefetch(m.state, pfn & ~(31 << order) ^ (32 << order))


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
def mod_zone_page_state_singly(
    m: Mem, z: int, cpu: int, diff: int, counter: int, pages: int
) -> None:
    """Book a change of one page ``pages`` times over: the zone's counter ends where it then would.

    A CPU holds back at most the threshold; one page more folds all of it.
    """
    at = (z * m.nr_cpus + cpu) * PCP_FIELDS + diff
    full = zone_get(m, z, Z_STAT_THRESHOLD) + 1
    x = int(m.pcps[at]) + pages
    if x >= full:
        zone_add(m, z, counter, x - x % full)
        x %= full
    m.pcps[at] = x


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
    v = free_entry(m, pfn, order)
    head = sentinel(m, z, order, migratetype)
    # Both ends are read: a branch on where a freed block goes would be a guess.
    first, last = int(m.next[head]), int(m.prev[head])
    before = last if tail else head
    after = head if tail else first
    m.next[before] = v
    m.prev[v] = before
    m.next[v] = after
    m.prev[after] = v
    m.state[v] = order + 1 | migratetype << TYPE_SHIFT
    zone_add(m, z, Z_NR_FREE + order, 1)
    m.zones[z * ZONE_FIELDS + Z_FREE_MASK + migratetype] |= 1 << order


@inline
def del_page_from_free_list(m: Mem, z: int, pfn: int, order: int) -> None:
    """Take a block off whatever list it stands on."""
    v = free_entry(m, pfn, order)
    before = int(m.prev[v])
    after = int(m.next[v])
    m.next[before] = after
    m.prev[after] = before
    zone_add(m, z, Z_NR_FREE + order, -1)
    if before == after:
        # Only a sentinel is its block's both neighbours: the list is empty now.
        migratetype = int(m.state[v]) >> TYPE_SHIFT
        m.zones[z * ZONE_FIELDS + Z_FREE_MASK + migratetype] &= ~(1 << order)
    m.state[v] = 0


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
        zone_add(m, z, Z_VMSTAT + LIST_PROBES, m.max_page_order + 1 - order)
        return -1
    current = order + ctz(orders)
    zone_add(m, z, Z_VMSTAT + LIST_PROBES, current + 1 - order)
    pfn = free_head(m, z, current, migratetype)
    del_page_from_free_list(m, z, pfn, current)
    expand(m, z, pfn, order, current, migratetype)
    m.state[pfn] = migratetype << TYPE_SHIFT
    refill = pcp_allowed_order(order) and migratetype < MIGRATE_PCPTYPES
    log_event(m, LOG_ZONE_LOCKED, pfn, order, migratetype, 1 if refill else 0)
    return pfn


@inline
def take(m: Mem, z: int, order: int, migratetype: int, wanted: int) -> tuple[int, int]:
    """Take up to ``wanted`` blocks side by side off a type's own lists.

    Returns the lowest and how many there are, 0 if the lists have none. They are the ones that
    ``rmqueue_smallest`` takes one after the other, and the lists become what it leaves: it splits
    a block from the lower end, and what remains are blocks of different orders. Marks no page, and
    counts no probe where it finds nothing.
    """
    orders = free_mask(m, z, migratetype) >> order
    if orders == 0:
        return -1, 0
    current = order + ctz(orders)
    first = free_head(m, z, current, migratetype)
    del_page_from_free_list(m, z, first, current)
    blocks = min(wanted, 1 << (current - order))
    probes = current - order + 2 * blocks - 1 - popcount(blocks - 1)
    zone_add(m, z, Z_VMSTAT + LIST_PROBES, probes)
    pfn = first + (blocks << order)
    while pfn < first + (1 << current):
        rest = ctz(pfn)
        add_to_free_list(m, z, pfn, rest, migratetype, False)
        pfn += 1 << rest
    return first, blocks


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


@helper
def merge_large(m: Mem, z: int, pfn: int, order: int) -> tuple[int, int]:
    """Go on merging from order 10 where blocks may be larger; return pfn and order."""
    while order < m.max_page_order:
        buddy = pfn ^ (1 << order)
        if (int(m.state[free_entry(m, buddy, order)]) & FREE_ORDER_MASK) != order + 1:
            break
        del_page_from_free_list(m, z, buddy, order)
        pfn &= buddy
        order += 1
    return pfn, order


@inline
def merge_up_to(
    m: Mem, z: int, pfn: int, order: int, migratetype: int, largest: int
) -> tuple[int, int]:
    """Merge a block with its free buddies until it is of the order ``largest``, at most 10."""
    while order < largest:
        buddy = pfn ^ (1 << order)
        if (int(m.state[buddy]) & FREE_ORDER_MASK) != order + 1:
            return pfn, order
        if order >= m.pageblock_order and merge_stops(m, buddy, migratetype):
            return pfn, order
        del_page_from_free_list(m, z, buddy, order)
        pfn &= buddy
        order += 1
    return pfn, order


@inline
def merge_buddies(m: Mem, z: int, pfn: int, order: int, migratetype: int) -> tuple[int, int]:
    """Merge a block with its free buddies; return pfn and order of the result, on no list."""
    pfn, order = merge_up_to(m, z, pfn, order, migratetype, MAX_PAGE_ORDER)
    if order == MAX_PAGE_ORDER and order < m.max_page_order:
        return merge_large(m, z, pfn, order)
    return pfn, order


@inline
def is_capturing(m: Mem) -> bool:
    """Say whether a request that compacts waits for a freed block (capture_control)."""
    return control(m, CC_CAPTURE) != 0


@helper
def compaction_capture(
    m: Mem, z: int, cpu: int, pfn: int, order: int, migratetype: int
) -> tuple[int, int]:
    """Merge a freed block; if it comes to the order waited for, hand it to the request.

    Returns pfn and order of the merged block, pfn -1 if it was handed over. Blocks of CMA are not,
    nor movable ones smaller than a pageblock. Source: compaction_capture, mm/page_alloc.c, 6.1.
    """
    wanted = control(m, CC_ORDER)
    small = migratetype == MOVABLE and wanted < m.pageblock_order
    if z == control(m, CC_ZONE) and migratetype < CMA and not small and wanted < MAX_PAGE_ORDER:
        pfn, order = merge_up_to(m, z, pfn, order, migratetype, wanted)
        if order == wanted:
            mod_zone_freepage_state(m, z, cpu, -(1 << order), migratetype)
            m.state[pfn] = migratetype << TYPE_SHIFT
            control_set(m, CC_CAPTURE, 0)
            control_set(m, CC_CAPTURED, pfn)
            return -1, order
    return merge_buddies(m, z, pfn, order, migratetype)


@inline
def free_one_page(
    m: Mem, z: int, cpu: int, pfn: int, order: int, migratetype: int, tail: bool
) -> None:
    """Merge a block with its free buddies and put the result on a free list.

    Source: __free_one_page, mm/page_alloc.c, 6.1. ``migratetype`` is the list's, not looked up.
    """
    if migratetype != ISOLATE:
        mod_zone_freepage_state(m, z, cpu, 1 << order, migratetype)
    if is_capturing(m):
        pfn, order = compaction_capture(m, z, cpu, pfn, order, migratetype)
        if pfn < 0:
            return
    else:
        pfn, order = merge_buddies(m, z, pfn, order, migratetype)
    add_to_free_list(m, z, pfn, order, migratetype, tail or buddy_merge_likely(m, pfn, order))


@inline
def free_range(m: Mem, z: int, cpu: int, pfn: int, end: int, migratetype: int) -> None:
    """Free the pages [pfn, end) as ``free_one_page`` does one by one, the lowest first.

    Until the last page of an aligned block comes, its others only wait on lists of their own; no
    pageblock's type matters below the pageblock's order.
    """
    mod_zone_page_state_singly(m, z, cpu, P_STAT_DIFF, Z_NR_FREE_PAGES, end - pfn)
    if migratetype == CMA:
        mod_zone_page_state_singly(m, z, cpu, P_CMA_DIFF, Z_NR_FREE_CMA, end - pfn)
    while pfn < end:
        order = ctz(pfn | PAGEBLOCK_NR_PAGES)
        while pfn + (1 << order) > end:
            order -= 1
        head, top = merge_buddies(m, z, pfn, order, migratetype)
        add_to_free_list(m, z, head, top, migratetype, buddy_merge_likely(m, head, top))
        pfn += 1 << order
