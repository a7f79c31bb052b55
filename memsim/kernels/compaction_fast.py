"""Compaction's short cuts: looking through the free lists for where to scan first.

Source: mm/compaction.c, Linux 6.1 (fast_find_migrateblock, fast_isolate_freepages).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import MOVABLE
from memsim.kernels.compact_control import (
    CC_DIRECT,
    CC_FAST_SEARCH_FAIL,
    CC_FAST_START_PFN,
    CC_FREE_PFN,
    CC_IGNORE_SKIP_HINT,
    CC_MIGRATE_PFN,
    CC_MIGRATE_SCANNED,
    CC_MIGRATETYPE,
    CC_ORDER,
    CC_SEARCH_ORDER,
    CC_ZONE,
    NO_PFN,
    control,
    control_add,
    control_set,
    pageblock_aligned,
    pageblock_start_pfn,
)
from memsim.kernels.compaction_skip import (
    get_pageblock_skip,
    set_pageblock_skip,
)
from memsim.kernels.layout import (
    Z_START_PFN,
    Mem,
    entry_pfn,
    free_mask,
    sentinel,
    zone_get,
)
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER

CLUSTER = 32
"""COMPACT_CLUSTER_MAX: pages that are moved at a time."""


@inline
def freelist_scan_limit(m: Mem) -> int:
    """Say how many blocks of a free list to look at; after failures fewer."""
    return (CLUSTER >> min(control(m, CC_FAST_SEARCH_FAIL), 31)) + 1


@inline
def turn_free_list(m: Mem, head: int, before: int, after: int) -> None:
    """Let the ring of a free list begin with ``after`` and end with ``before``, its neighbour."""
    last = int(m.prev[head])
    first = int(m.next[head])
    m.next[last] = first
    m.prev[first] = last
    m.next[before] = head
    m.prev[head] = before
    m.next[head] = after
    m.prev[after] = head


@helper
def move_freelist_tail(m: Mem, head: int, v: int) -> None:
    """Bring a block, and all before it, to the tail of its list."""
    after = int(m.next[v])
    if after != head:
        turn_free_list(m, head, v, after)


@helper
def move_freelist_head(m: Mem, head: int, v: int) -> None:
    """Bring a block, and all behind it, to the head of its list."""
    before = int(m.prev[v])
    if before != head:
        turn_free_list(m, head, before, v)


@inline
def searches_for_source(m: Mem) -> bool:
    """Say whether the migrate scanner looks through the free lists where it now stands."""
    pfn = control(m, CC_MIGRATE_PFN)
    at_start = pfn == zone_get(m, control(m, CC_ZONE), Z_START_PFN) or pageblock_aligned(pfn)
    not_movable = control(m, CC_DIRECT) and control(m, CC_MIGRATETYPE) != MOVABLE
    return (
        not control(m, CC_IGNORE_SKIP_HINT)
        and at_start
        and control(m, CC_ORDER) > PAGE_ALLOC_COSTLY_ORDER
        and not not_movable
    )


@inline
def reinit_migrate_pfn(m: Mem) -> int:
    """Go to the lowest block that searches have found, or stay."""
    lowest = control(m, CC_FAST_START_PFN)
    if lowest == NO_PFN:
        return control(m, CC_MIGRATE_PFN)
    control_set(m, CC_MIGRATE_PFN, lowest)
    control_set(m, CC_FAST_START_PFN, NO_PFN)
    return lowest


@helper
def fast_find_migrateblock(m: Mem) -> int:
    """Look for a pageblock that is worth emptying: one with a large free block, low in the zone.

    Returns where to scan. The pageblock found gets its skip bit at once, so that the scan gives it
    up after one page (capture ``frag``: one scanned, none taken); when a search finds nothing, the
    scan goes on at the lowest block found so far.
    """
    if not searches_for_source(m):
        return control(m, CC_MIGRATE_PFN)
    z = control(m, CC_ZONE)
    start = control(m, CC_MIGRATE_PFN)
    limit = freelist_scan_limit(m)
    distance = (control(m, CC_FREE_PFN) - start) >> 1
    if start != zone_get(m, z, Z_START_PFN):
        distance >>= 2
    high_pfn = pageblock_start_pfn(start + distance)
    scanned = 0
    order = control(m, CC_ORDER) - 1
    while order >= PAGE_ALLOC_COSTLY_ORDER and scanned < limit:
        if free_mask(m, z, MOVABLE) >> order & 1:
            found, looked = search_sources(m, z, order, high_pfn, limit - scanned)
            scanned += looked
            if found >= 0:
                control_add(m, CC_MIGRATE_SCANNED, scanned)
                control_set(m, CC_FAST_SEARCH_FAIL, 0)
                control_set(m, CC_FAST_START_PFN, min(control(m, CC_FAST_START_PFN), found))
                return max(pageblock_start_pfn(found), zone_get(m, z, Z_START_PFN))
        order -= 1
    control_add(m, CC_MIGRATE_SCANNED, scanned)
    control_add(m, CC_FAST_SEARCH_FAIL, 1)
    return reinit_migrate_pfn(m)


@helper
def search_sources(m: Mem, z: int, order: int, high_pfn: int, limit: int) -> tuple[int, int]:
    """Look from the head of a free list for a block below ``high_pfn`` in an unmarked pageblock.

    Returns the block or -1, and how many were looked at. Those looked at go to the tail.
    """
    head = sentinel(m, z, order, MOVABLE)
    v = int(m.next[head])
    looked = 0
    while v != head:
        looked += 1
        if looked > limit:
            move_freelist_tail(m, head, v)
            return -1, looked
        pfn = entry_pfn(m, v, order)
        if pfn < high_pfn and not get_pageblock_skip(m, pfn):
            move_freelist_tail(m, head, v)
            set_pageblock_skip(m, pfn)
            return pfn, looked
        v = int(m.next[v])
    return -1, looked


@inline
def next_search_order(m: Mem, order: int) -> int:
    """Return the order to search after another: downwards, and around; -1 when all were searched.

    The next search then begins one order lower.
    """
    order -= 1
    if order < 0:
        order = control(m, CC_ORDER) - 1
    first = control(m, CC_SEARCH_ORDER)
    if order == first:
        control_set(m, CC_SEARCH_ORDER, first - 1 if first > 0 else control(m, CC_ORDER) - 1)
        return -1
    return order


@helper
def search_targets(
    m: Mem, z: int, order: int, low_pfn: int, min_pfn: int, limit: int
) -> tuple[int, int, int, int, int]:
    """Look from the tail of a free list for a block at or above ``low_pfn``.

    Returns that block, else the best at or above ``min_pfn``, else -1; 1 if it was the former; how
    many were looked at; the highest pageblock seen, or 0; and what is left of ``limit``. Those
    looked at go to the head.
    """
    head = sentinel(m, z, order, MOVABLE)
    v = int(m.prev[head])
    best = -1
    best_v = -1
    highest = 0
    looked = 0
    while v != head:
        looked += 1
        pfn = entry_pfn(m, v, order)
        highest = max(highest, pageblock_start_pfn(pfn), zone_get(m, z, Z_START_PFN))
        if pfn >= low_pfn:
            move_freelist_head(m, head, v)
            return pfn, 1, looked, highest, limit
        if pfn >= min_pfn and pfn > best:
            best = pfn
            best_v = v
            limit >>= 1
        if looked >= limit:
            break
        v = int(m.prev[v])
    if best >= 0:
        move_freelist_head(m, head, best_v)
    elif v != head:
        move_freelist_head(m, head, v)
    return best, 0, looked, highest, limit
