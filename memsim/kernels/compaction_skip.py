"""Which pageblocks compaction need not look at again, and where its scanners go on.

Source: mm/compaction.c, Linux 6.1 (isolation_suitable, update_cached_migrate,
__reset_isolation_suitable). One bit per pageblock serves both scanners.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import MOVABLE
from memsim.kernels.census import free_order_at
from memsim.kernels.compact_control import (
    CC_IGNORE_SKIP_HINT,
    CC_MODE,
    CC_ZONE,
    MIGRATE_ASYNC,
    control,
    pageblock_end_pfn,
    pageblock_start_pfn,
)
from memsim.kernels.layout import (
    COMPACT_BLOCKSKIP_FLUSH,
    COMPACT_FREE_PFN,
    COMPACT_INIT_FREE_PFN,
    COMPACT_INIT_MIGRATE_PFN,
    COMPACT_MIGRATE_ASYNC_PFN,
    COMPACT_MIGRATE_SYNC_PFN,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_LRU,
    PAGE_SLAB,
    Z_COMPACT,
    Z_END_PFN,
    Z_NODE,
    Z_START_PFN,
    Mem,
    page_zone,
    pageblock_type,
    zone_get,
    zone_set,
)
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER

NEVER_SCANNED = 2
"""Beside a skip bit: the zone's memory ends inside of the pageblock, and another zone's comes next;
compaction leaves it alone."""


@inline
def compact_get(m: Mem, z: int, field: int) -> int:
    """Read what compaction remembers of a zone (COMPACT_*)."""
    return zone_get(m, z, Z_COMPACT + field)


@inline
def compact_set(m: Mem, z: int, field: int, value: int) -> None:
    """Write what compaction remembers of a zone."""
    zone_set(m, z, Z_COMPACT + field, value)


@inline
def pageblock_in_zone(m: Mem, z: int, pfn: int) -> bool:
    """Say whether a pageblock is a zone's, to its last page (pageblock_pfn_to_page)."""
    never = int(m.pageblock_skip[pfn >> PAGEBLOCK_ORDER]) & NEVER_SCANNED != 0
    return page_zone(m, pfn) == z and not never


@inline
def get_pageblock_skip(m: Mem, pfn: int) -> bool:
    """Say whether a pageblock is marked to be skipped."""
    return int(m.pageblock_skip[pfn >> PAGEBLOCK_ORDER]) & 1 != 0


@inline
def set_pageblock_skip(m: Mem, pfn: int) -> None:
    """Mark a pageblock to be skipped."""
    m.pageblock_skip[pfn >> PAGEBLOCK_ORDER] |= 1


@inline
def isolation_suitable(m: Mem, pfn: int) -> bool:
    """Say whether a scanner may look at a pageblock."""
    return control(m, CC_IGNORE_SKIP_HINT) != 0 or not get_pageblock_skip(m, pfn)


@inline
def compound_order_at(m: Mem, pfn: int) -> int:
    """Return the order of the compound page that a page heads, 0 if it heads none.

    User pages and slab come as compound pages; other blocks of the kernel are seen page by page.
    """
    state = int(m.state[pfn])
    return (state & ORDER_MASK) >> ORDER_SHIFT if state & (PAGE_LRU | PAGE_SLAB) else 0


@inline
def pageblock_skip_persistent(m: Mem, pfn: int) -> bool:
    """Say whether a pageblock is one huge page, which compaction never takes."""
    return compound_order_at(m, pageblock_start_pfn(pfn)) >= PAGEBLOCK_ORDER


@helper
def update_cached_migrate(m: Mem, pfn: int) -> None:
    """Let later runs begin behind the pageblock of ``pfn``, unless they do so already.

    Callers give where the scanner has come to, the first page of the next pageblock: that one too
    is passed over (capture ``frag``: behind 0x100200 a run begins at 0x100400).
    """
    z = control(m, CC_ZONE)
    after = pageblock_end_pfn(pfn)
    if after > compact_get(m, z, COMPACT_MIGRATE_ASYNC_PFN):
        compact_set(m, z, COMPACT_MIGRATE_ASYNC_PFN, after)
    if control(m, CC_MODE) != MIGRATE_ASYNC and after > compact_get(m, z, COMPACT_MIGRATE_SYNC_PFN):
        compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, after)


@helper
def update_pageblock_skip(m: Mem, pfn: int) -> None:
    """Mark a pageblock that the free scanner has seen all of; later runs begin no higher."""
    z = control(m, CC_ZONE)
    set_pageblock_skip(m, pfn)
    if pfn < compact_get(m, z, COMPACT_FREE_PFN):
        compact_set(m, z, COMPACT_FREE_PFN, pfn)


@helper
def reset_cached_positions(m: Mem, z: int) -> None:
    """Let both scanners begin at the ends of the zone."""
    start = zone_get(m, z, Z_START_PFN)
    compact_set(m, z, COMPACT_MIGRATE_ASYNC_PFN, start)
    compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, start)
    compact_set(m, z, COMPACT_FREE_PFN, pageblock_start_pfn(zone_get(m, z, Z_END_PFN) - 1))


@helper
def reset_isolation_pfn(m: Mem, z: int, pfn: int, check_source: bool, check_target: bool) -> bool:
    """Clear a pageblock's mark where a sample of its pages finds work; say whether it did.

    A pageblock without a mark needs no sample once both scanners have where to begin; before that
    it does (capture ``frag``: at 19.102307 they begin at 0x101800 and 0x1169ff, though pageblocks
    below and above had no mark).
    """
    if not pageblock_in_zone(m, z, pfn) or pageblock_skip_persistent(m, pfn):
        return False
    if check_source and check_target and not get_pageblock_skip(m, pfn):
        return True
    if not check_source and check_target and pageblock_type(m, pfn) != MOVABLE:
        return False
    page = max(pageblock_start_pfn(pfn), zone_get(m, z, Z_START_PFN))
    end = min(pageblock_end_pfn(pfn), zone_get(m, z, Z_END_PFN))
    while page < end:
        lru = check_source and int(m.state[page]) & PAGE_LRU
        if lru or (check_target and free_order_at(m, page) >= 0):
            m.pageblock_skip[pfn >> PAGEBLOCK_ORDER] = 0
            return True
        page += 1 << PAGE_ALLOC_COSTLY_ORDER
    return False


@helper
def reset_zone_isolation_suitable(m: Mem, z: int) -> None:
    """Clear a zone's skip bits where there is work, if a run has asked for it.

    The scanners then begin at the outermost such pageblocks, or do not begin at all.
    """
    if not compact_get(m, z, COMPACT_BLOCKSKIP_FLUSH):
        return
    compact_set(m, z, COMPACT_BLOCKSKIP_FLUSH, 0)
    migrate_pfn = zone_get(m, z, Z_START_PFN)
    free_pfn = zone_get(m, z, Z_END_PFN) - 1
    reset_migrate = free_pfn
    reset_free = migrate_pfn
    source_set = False
    free_set = False
    while migrate_pfn < free_pfn:
        found = reset_isolation_pfn(m, z, migrate_pfn, True, source_set)
        if found and migrate_pfn < reset_migrate:
            source_set = True
            reset_migrate = migrate_pfn
            compact_set(m, z, COMPACT_INIT_MIGRATE_PFN, migrate_pfn)
            compact_set(m, z, COMPACT_MIGRATE_ASYNC_PFN, migrate_pfn)
            compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, migrate_pfn)
        found = reset_isolation_pfn(m, z, free_pfn, free_set, True)
        if found and free_pfn > reset_free:
            free_set = True
            reset_free = free_pfn
            compact_set(m, z, COMPACT_INIT_FREE_PFN, free_pfn)
            compact_set(m, z, COMPACT_FREE_PFN, free_pfn)
        migrate_pfn += PAGEBLOCK_NR_PAGES
        free_pfn -= PAGEBLOCK_NR_PAGES
    if reset_migrate >= reset_free:
        compact_set(m, z, COMPACT_MIGRATE_ASYNC_PFN, migrate_pfn)
        compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, migrate_pfn)
        compact_set(m, z, COMPACT_FREE_PFN, free_pfn)


@helper
def reset_isolation_suitable(m: Mem, node: int) -> None:
    """Clear the skip bits of zones that ask for it; kswapd does so when it goes to sleep."""
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            reset_zone_isolation_suitable(m, z)
