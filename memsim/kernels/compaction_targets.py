"""The free scanner: free pages near the end of a zone, for others to be moved to.

Source: mm/compaction.c, Linux 6.1 (isolate_freepages, fast_isolate_freepages; spec 6.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import (
    CMA,
    ISOLATE,
    MOVABLE,
    del_page_from_free_list,
    mod_zone_freepage_state,
)
from memsim.kernels.census import free_order_at
from memsim.kernels.compact_control import (
    CC_CPU,
    CC_DIRECT,
    CC_FAST_SEARCH_FAIL,
    CC_FREE_PFN,
    CC_FREE_SCANNED,
    CC_IGNORE_BLOCK_SUITABLE,
    CC_MIGRATE_PFN,
    CC_MODE,
    CC_MOVABLE,
    CC_NR_FREEPAGES,
    CC_NR_MIGRATEPAGES,
    CC_ORDER,
    CC_SEARCH_ORDER,
    CC_ZONE,
    MIGRATE_ASYNC,
    control,
    control_add,
    control_set,
    pageblock_end_pfn,
    pageblock_start_pfn,
    pop_target,
    push_target,
)
from memsim.kernels.compaction_fast import (
    CLUSTER,
    freelist_scan_limit,
    next_search_order,
    search_targets,
)
from memsim.kernels.compaction_skip import (
    compact_get,
    compact_set,
    compound_order_at,
    isolation_suitable,
    pageblock_in_zone,
    set_pageblock_skip,
    update_pageblock_skip,
)
from memsim.kernels.fallback import ALLOC_CMA
from memsim.kernels.layout import (
    COMPACT_FREE_PFN,
    COMPACT_INIT_FREE_PFN,
    PAGE_ALLOCATED,
    TYPE_MASK,
    Z_END_PFN,
    Z_START_PFN,
    Z_WMARK,
    Mem,
    free_entry,
    free_mask,
    pageblock_type,
    zone_get,
)
from memsim.kernels.migrate import free_traced
from memsim.kernels.trace_log import (
    COMPACTION_ISOLATE_FREEPAGES,
    LOG_COMPACTION,
    log_event,
)
from memsim.kernels.vmstat import COMPACT_ISOLATED
from memsim.kernels.zonelist import WMARK_MIN, AllocContext, zone_watermark_ok
from memsim.mm import MIGRATE_PCPTYPES, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER


@inline
def single_page(highest_zone: int) -> AllocContext:
    """Describe a request for one page, as watermark tests need it."""
    return AllocContext(0, MOVABLE, highest_zone, 0, 0, -1, 0)


@helper
def isolate_free_page(m: Mem, z: int, pfn: int, order: int) -> bool:
    """Take a free block off its list; no, if the zone would then be at its min mark.

    Of a block of half a pageblock or more the pageblocks become movable. Source:
    __isolate_free_page, mm/page_alloc.c, 6.1.
    """
    blocktype = pageblock_type(m, pfn)
    if blocktype != ISOLATE:
        mark = zone_get(m, z, Z_WMARK + WMARK_MIN) + (1 << order)
        if not zone_watermark_ok(m, z, single_page(0), mark, ALLOC_CMA):
            return False
        mod_zone_freepage_state(m, z, control(m, CC_CPU), -(1 << order), blocktype)
    kept = int(m.state[free_entry(m, pfn, order)]) & TYPE_MASK
    del_page_from_free_list(m, z, pfn, order)
    if order >= PAGEBLOCK_ORDER - 1:
        for start in range(pfn, pfn + (1 << order), PAGEBLOCK_NR_PAGES):
            if pageblock_type(m, start) < MIGRATE_PCPTYPES:
                m.pageblocks[start >> PAGEBLOCK_ORDER] = control(m, CC_MOVABLE)
    for page in range(pfn, pfn + (1 << order)):
        m.state[page] = kept | PAGE_ALLOCATED
        push_target(m, page)
    m.events[COMPACT_ISOLATED] += 1 << order
    return True


@inline
def has_enough(m: Mem) -> bool:
    """Say whether there is a target for every page that is to be moved."""
    return control(m, CC_NR_FREEPAGES) >= control(m, CC_NR_MIGRATEPAGES)


@helper
def isolate_freepages_block(m: Mem, start: int, end: int, stride: int) -> tuple[int, int]:
    """Take free blocks of [start, end), all within one pageblock, until there are enough.

    Looks at every page, or at each ``stride``-th. Returns where it stopped, and the pages taken.
    """
    z = control(m, CC_ZONE)
    pfn = start
    scanned = 0
    taken = 0
    while pfn < end:
        scanned += 1
        order = free_order_at(m, pfn)
        if order < 0:
            pfn += (1 << compound_order_at(m, pfn)) - 1 + stride
            continue
        if not isolate_free_page(m, z, pfn, order):
            break
        scanned += (1 << order) - 1
        taken += 1 << order
        pfn += 1 << order
        if has_enough(m):
            break
        pfn += stride - 1
    pfn = min(pfn, end)
    control_add(m, CC_FREE_SCANNED, scanned)
    log_event(m, LOG_COMPACTION, start, COMPACTION_ISOLATE_FREEPAGES, pfn, scanned, taken)
    return pfn, taken


@inline
def suitable_migration_target(m: Mem, pfn: int) -> bool:
    """Say whether pages may be moved into the pageblock that begins at ``pfn``."""
    if free_order_at(m, pfn) >= PAGEBLOCK_ORDER:
        return False
    blocktype = pageblock_type(m, pfn)
    movable = blocktype in (MOVABLE, CMA)
    return control(m, CC_IGNORE_BLOCK_SUITABLE) != 0 or movable


@helper
def fast_isolate_around(m: Mem, pfn: int) -> None:
    """Take what else is free in the pageblock of a block that a search has found."""
    if has_enough(m) or (control(m, CC_DIRECT) and control(m, CC_MODE) == MIGRATE_ASYNC):
        return
    z = control(m, CC_ZONE)
    if not pageblock_in_zone(m, z, pfn):
        return
    start = max(pageblock_start_pfn(pfn), zone_get(m, z, Z_START_PFN))
    end = min(pageblock_end_pfn(pfn), zone_get(m, z, Z_END_PFN))
    stopped, _ = isolate_freepages_block(m, start, end, 1)
    if stopped == end:
        set_pageblock_skip(m, start)


@helper
def fast_isolate_freepages(m: Mem) -> None:
    """Search the movable free lists for a block high up between the scanners, and take it.

    The first search of a run goes deeper; when it finds nothing, the free scanner goes on at the
    highest pageblock seen, or for a direct run in the middle, and takes what is free there,
    whatever its type (capture ``frag_nogroup``: 0x10ca00 at 8.838306, an unmovable pageblock).
    """
    wanted = control(m, CC_ORDER)
    if wanted <= 0:
        return
    z = control(m, CC_ZONE)
    free_pfn = control(m, CC_FREE_PFN)
    begins = free_pfn >= compact_get(m, z, COMPACT_INIT_FREE_PFN)
    limit = PAGEBLOCK_NR_PAGES >> 1 if begins else max(1, freelist_scan_limit(m) >> 1)
    distance = free_pfn - control(m, CC_MIGRATE_PFN)
    low_pfn = pageblock_start_pfn(free_pfn - (distance >> 2))
    min_pfn = pageblock_start_pfn(free_pfn - (distance >> 1))
    control_set(m, CC_SEARCH_ORDER, min(wanted - 1, control(m, CC_SEARCH_ORDER)))
    found = -1
    scanned = 0
    highest = 0
    order = control(m, CC_SEARCH_ORDER)
    while order >= 0 and found < 0:
        if free_mask(m, z, MOVABLE) >> order & 1:
            found, preferred, looked, seen, limit = search_targets(
                m, z, order, low_pfn, min_pfn, limit
            )
            scanned += looked
            highest = max(highest, seen)
            if preferred:
                control_set(m, CC_FAST_SEARCH_FAIL, 0)
                control_set(m, CC_SEARCH_ORDER, order)
            if found >= 0:
                if isolate_free_page(m, z, found, order):
                    scanned += (1 << order) - 1
                    break
                found = -1
                order = control(m, CC_SEARCH_ORDER) + 1
            if looked >= limit:
                limit = max(1, limit >> 1)
        order = next_search_order(m, order)
    control_add(m, CC_FREE_SCANNED, scanned)
    if found < 0:
        control_add(m, CC_FAST_SEARCH_FAIL, 1)
        if begins and highest >= min_pfn:
            found = highest
        elif begins and control(m, CC_DIRECT):
            found = min_pfn
        if found >= 0:
            control_set(m, CC_FREE_PFN, found)
    if highest and highest >= compact_get(m, z, COMPACT_FREE_PFN):
        compact_set(m, z, COMPACT_FREE_PFN, highest - PAGEBLOCK_NR_PAGES)
    if found >= 0:
        fast_isolate_around(m, found)


@helper
def isolate_freepages(m: Mem) -> None:
    """Take free pages for all pages that are to be moved, as far as there are any."""
    fast_isolate_freepages(m)
    if control(m, CC_NR_FREEPAGES):
        return
    z = control(m, CC_ZONE)
    zone_end = zone_get(m, z, Z_END_PFN)
    start = control(m, CC_FREE_PFN)
    block = pageblock_start_pfn(start)
    lowest = pageblock_end_pfn(control(m, CC_MIGRATE_PFN))
    stride = CLUSTER if control(m, CC_MODE) == MIGRATE_ASYNC else 1
    while block >= lowest:
        end = min(block + PAGEBLOCK_NR_PAGES, zone_end)
        if (
            pageblock_in_zone(m, z, block)
            and suitable_migration_target(m, block)
            and isolation_suitable(m, block)
        ):
            start, taken = isolate_freepages_block(m, start, end, stride)
            if start == end:
                update_pageblock_skip(m, block)
            if has_enough(m):
                start = block - PAGEBLOCK_NR_PAGES if start >= end else start
                break
            if start < end:
                break
            stride = 1 if taken else min(CLUSTER, stride << 1)
        block -= PAGEBLOCK_NR_PAGES
        start = block
    control_set(m, CC_FREE_PFN, start)


@helper
def compaction_alloc(m: Mem) -> int:
    """Hand out a free page to move another to; -1 if there is none."""
    if control(m, CC_NR_FREEPAGES) == 0:
        isolate_freepages(m)
    return pop_target(m) if control(m, CC_NR_FREEPAGES) else -1


@helper
def release_freepages(m: Mem) -> None:
    """Free the targets that were not needed; later runs look there again."""
    highest = -1
    while control(m, CC_NR_FREEPAGES):
        pfn = pop_target(m)
        highest = max(highest, pfn)
        free_traced(m, control(m, CC_CPU), pfn)
    z = control(m, CC_ZONE)
    if highest >= 0 and pageblock_start_pfn(highest) > compact_get(m, z, COMPACT_FREE_PFN):
        compact_set(m, z, COMPACT_FREE_PFN, pageblock_start_pfn(highest))
