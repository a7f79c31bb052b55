"""The migrate scanner: pages near the start of a zone that can be moved away.

Source: mm/compaction.c, Linux 6.1 (isolate_migratepages, isolate_migratepages_block; spec 6.4).
Unlike Linux: nobody ever waits because half of a node is isolated, since what one run has taken is
back on the lists before another begins; and only user pages and slab are compound pages, blocks of
the kernel are looked at page by page.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import CMA, MOVABLE
from memsim.kernels.census import free_order_at
from memsim.kernels.compact_control import (
    CC_DIRECT,
    CC_FAST_SEARCH_FAIL,
    CC_FREE_PFN,
    CC_FS,
    CC_IGNORE_SKIP_HINT,
    CC_MIGRATE_PFN,
    CC_MIGRATE_SCANNED,
    CC_MIGRATETYPE,
    CC_MODE,
    CC_NR_MIGRATEPAGES,
    CC_ORDER,
    CC_RESCAN,
    CC_ZONE,
    MIGRATE_ASYNC,
    MIGRATE_SYNC,
    control,
    control_add,
    control_set,
    pageblock_aligned,
    pageblock_end_pfn,
    push_source,
)
from memsim.kernels.compaction_fast import CLUSTER, fast_find_migrateblock
from memsim.kernels.compaction_skip import (
    compound_order_at,
    isolation_suitable,
    pageblock_in_zone,
    pageblock_skip_persistent,
    set_pageblock_skip,
    update_cached_migrate,
)
from memsim.kernels.layout import (
    ORDER_MASK,
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    Z_START_PFN,
    Mem,
    pageblock_type,
    zone_get,
)
from memsim.kernels.migrate import isolate_lru_page, putback_lru_page
from memsim.kernels.system import S_COMPACT_UNEVICTABLE_ALLOWED
from memsim.kernels.trace_log import (
    COMPACTION_ISOLATE_MIGRATEPAGES,
    LOG_COMPACTION,
    log_event,
)
from memsim.kernels.vmstat import COMPACT_ISOLATED
from memsim.mm import PAGEBLOCK_NR_PAGES


@inline
def block_end_pfn(pfn: int, order: int) -> int:
    """Return where the next aligned block of an order begins."""
    return (pfn >> order) + 1 << order


@inline
def gives_up_windows(m: Mem) -> bool:
    """Say whether one page that stays makes the run give up the whole block it wants there."""
    return control(m, CC_MODE) == MIGRATE_ASYNC and control(m, CC_DIRECT) != 0


@helper
def may_isolate(m: Mem, pfn: int) -> bool:
    """Say whether a page is one that this run may take."""
    state = int(m.state[pfn])
    single = state & (PAGE_ALLOCATED | ORDER_MASK | PAGE_LRU | PAGE_ISOLATED)
    if single != PAGE_ALLOCATED | PAGE_LRU:
        return False
    if not state & PAGE_ANON and not control(m, CC_FS):
        return False
    if state & PAGE_ANON and state & PAGE_PINNED and not state & PAGE_SWAPCACHE:
        return False
    if state & PAGE_UNEVICTABLE and int(m.system[S_COMPACT_UNEVICTABLE_ALLOWED]) == 0:
        return False
    return control(m, CC_MODE) == MIGRATE_SYNC or not state & PAGE_WRITEBACK


@helper
def putback_sources(m: Mem) -> None:
    """Put what is on the list of pages to be moved back on the LRU lists."""
    for i in range(control(m, CC_NR_MIGRATEPAGES) - 1, -1, -1):
        putback_lru_page(m, int(m.isolated[i]))
    control_set(m, CC_NR_MIGRATEPAGES, 0)


@helper
def scan_for_sources(m: Mem, start: int, end: int) -> tuple[int, int, bool]:
    """Take pages of [start, end) until there are 32.

    Returns where to go on, the pages scanned, and whether none was taken, not even to be put back.
    A pageblock whose first page is taken is marked to be skipped (capture ``frag_nogroup``: 0x400
    at 8.849723, so that 0x600 comes next at 8.851059).
    """
    order = control(m, CC_ORDER)
    windows = gives_up_windows(m)
    window_end = block_end_pfn(start, order) if windows else end
    rescan = control(m, CC_RESCAN)
    pfn = start
    scanned = 0
    untaken = True
    while pfn < end:
        if windows and pfn >= window_end:
            if control(m, CC_NR_MIGRATEPAGES):
                break
            window_end = block_end_pfn(pfn, order)
        scanned += 1
        free_order = free_order_at(m, pfn)
        if free_order >= 0:
            pfn += 1 << free_order
        elif may_isolate(m, pfn):
            if untaken and pageblock_aligned(pfn) and control(m, CC_IGNORE_SKIP_HINT) == 0:
                set_pageblock_skip(m, pfn)
            untaken = False
            isolate_lru_page(m, pfn)
            push_source(m, pfn)
            pfn += 1
            if control(m, CC_NR_MIGRATEPAGES) >= CLUSTER and not rescan:
                break
        else:
            pfn += 1 << compound_order_at(m, pfn)
            if windows:
                putback_sources(m)
                if pfn <= window_end:
                    pfn = window_end
                    window_end += 1 << order
    return min(pfn, end), scanned, untaken


@helper
def isolate_migratepages_block(m: Mem, start: int, end: int) -> None:
    """Take pages of [start, end), all within one pageblock, and let the scanner go on behind them.

    A pageblock that yields nothing is marked to be skipped; but not if pages were taken and put
    back (capture ``frag_nogroup``: 0x800 at 8.638374, which is looked at again at 8.859605).
    """
    aligned = pageblock_aligned(start)
    if aligned and not isolation_suitable(m, start):
        pfn, scanned, untaken = end, 1, True
    else:
        pfn, scanned, untaken = scan_for_sources(m, start, end)
    taken = control(m, CC_NR_MIGRATEPAGES)
    if pfn == end and (taken == 0 or control(m, CC_RESCAN)):
        if aligned and untaken:
            set_pageblock_skip(m, start)
        update_cached_migrate(m, pfn)
    m.events[COMPACT_ISOLATED] += taken
    log_event(m, LOG_COMPACTION, start, COMPACTION_ISOLATE_MIGRATEPAGES, pfn, scanned, taken)
    control_add(m, CC_MIGRATE_SCANNED, scanned)
    control_set(m, CC_MIGRATE_PFN, pfn)


@inline
def suitable_migration_source(m: Mem, pfn: int) -> bool:
    """Say whether pages may be moved out of the pageblock of ``pfn``."""
    if pageblock_skip_persistent(m, pfn):
        return False
    if not gives_up_windows(m):
        return True
    blocktype = pageblock_type(m, pfn)
    if control(m, CC_MIGRATETYPE) == MOVABLE:
        return blocktype in (MOVABLE, CMA)
    return blocktype == control(m, CC_MIGRATETYPE)


@helper
def isolate_migratepages(m: Mem) -> bool:
    """Take pages from the next pageblock that may have some; say whether there were any."""
    z = control(m, CC_ZONE)
    pfn = fast_find_migrateblock(m)
    searched = pfn != control(m, CC_MIGRATE_PFN) and control(m, CC_FAST_SEARCH_FAIL) == 0
    end = pageblock_end_pfn(pfn)
    while end <= control(m, CC_FREE_PFN):
        at_start = pageblock_aligned(pfn) or pfn == zone_get(m, z, Z_START_PFN)
        marked = at_start and not searched and not isolation_suitable(m, pfn)
        if pageblock_in_zone(m, z, pfn) and not marked:
            if suitable_migration_source(m, pfn):
                isolate_migratepages_block(m, pfn, end)
                return control(m, CC_NR_MIGRATEPAGES) > 0
            update_cached_migrate(m, end)
        pfn = end
        end += PAGEBLOCK_NR_PAGES
        control_set(m, CC_MIGRATE_PFN, pfn)
        searched = False
    return False
