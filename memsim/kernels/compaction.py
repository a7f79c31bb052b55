"""Compaction: one run over a zone, and the runs that a request makes.

Source: mm/compaction.c, Linux 6.1.192 (compact_zone, try_to_compact_pages; spec 6.1-6.7).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import CMA, MOVABLE
from memsim.kernels.compact_control import (
    CC_ALLOC_FLAGS,
    CC_CAPTURE,
    CC_CAPTURED,
    CC_CPU,
    CC_DIRECT,
    CC_FREE_PFN,
    CC_FREE_SCANNED,
    CC_FS,
    CC_HIGHEST_ZONE,
    CC_IGNORE_BLOCK_SUITABLE,
    CC_IGNORE_SKIP_HINT,
    CC_IN_STEP,
    CC_LAST_MIGRATED_PFN,
    CC_MIGRATE_PFN,
    CC_MIGRATE_SCANNED,
    CC_MIGRATED,
    CC_MIGRATETYPE,
    CC_MODE,
    CC_NR_MIGRATEPAGES,
    CC_ORDER,
    CC_PROACTIVE,
    CC_RESCAN,
    CC_WHOLE_ZONE,
    CC_ZONE,
    MIGRATE_ASYNC,
    MIGRATE_SYNC_LIGHT,
    WHOLE_MEMORY,
    control,
    control_add,
    control_set,
    new_control,
    pageblock_aligned,
    pageblock_start_pfn,
    push_target,
)
from memsim.kernels.compaction_score import fragmentation_score_wmark, fragmentation_score_zone
from memsim.kernels.compaction_skip import (
    compact_get,
    compact_set,
    reset_cached_positions,
    reset_zone_isolation_suitable,
)
from memsim.kernels.compaction_sources import (
    block_end_pfn,
    gives_up_windows,
    isolate_migratepages,
    putback_sources,
)
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_CONTINUE,
    COMPACT_DEFERRED,
    COMPACT_NO_SUITABLE_PAGE,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    compaction_defer_reset,
    compaction_deferred,
    compaction_restarting,
    compaction_suitable,
    defer_compaction,
)
from memsim.kernels.compaction_targets import compaction_alloc, release_freepages
from memsim.kernels.fallback import fallback_type
from memsim.kernels.layout import (
    COMPACT_BLOCKSKIP_FLUSH,
    COMPACT_FREE_PFN,
    COMPACT_INIT_MIGRATE_PFN,
    COMPACT_MIGRATE_ASYNC_PFN,
    COMPACT_MIGRATE_SYNC_PFN,
    REQ_FS,
    REQ_IO,
    Z_END_PFN,
    Z_NODE,
    Z_START_PFN,
    Mem,
    free_mask,
    zone_get,
)
from memsim.kernels.migrate import MIGRATE_PASSES, migrate_page
from memsim.kernels.pcp_free import drain_pages_zone
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.system import (
    N_KSWAPD_WOKE,
    NODE_FIELDS,
    S_MIGRATE_NS,
    S_SCAN_NS,
    book_stall,
)
from memsim.kernels.trace_log import (
    COMPACTION_BEGIN,
    COMPACTION_END,
    COMPACTION_FINISHED,
    COMPACTION_MIGRATEPAGES,
    LOG_COMPACTION,
    log_event,
)
from memsim.kernels.vmstat import (
    COMPACT_FREE_SCANNED,
    COMPACT_MIGRATE_SCANNED,
    COMPACT_MIGRATED,
    COMPACT_NOT_MIGRATED,
)
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone
from memsim.mm import PAGEBLOCK_ORDER

PRIO_SYNC_FULL, PRIO_SYNC_LIGHT, PRIO_ASYNC = range(3)
"""enum compact_priority: from the most thorough to the least."""


@inline
def compact_scanners_met(m: Mem) -> bool:
    """Say whether the scanners have come to the same pageblock, or passed each other."""
    free_block = control(m, CC_FREE_PFN) >> PAGEBLOCK_ORDER
    return free_block <= control(m, CC_MIGRATE_PFN) >> PAGEBLOCK_ORDER


@helper
def has_suitable_page(m: Mem, tables: PolicyTables, z: int, order: int, migratetype: int) -> bool:
    """Say whether a block of the order is free that the type may take without fragmenting."""
    for current in range(order, m.max_page_order + 1):
        if free_mask(m, z, migratetype) >> current & 1:
            return True
        if migratetype == MOVABLE and free_mask(m, z, CMA) >> current & 1:
            return True
        whole = current >= int(tables.whole_from[migratetype])
        if whole and fallback_type(m, tables, z, current, migratetype) >= 0:
            return True
    return False


@helper
def finish_result(m: Mem, tables: PolicyTables) -> int:
    """Say how the run stands: CONTINUE, NO_SUITABLE_PAGE (go on as well), or how it ended."""
    z = control(m, CC_ZONE)
    if compact_scanners_met(m):
        reset_cached_positions(m, z)
        if control(m, CC_DIRECT):
            compact_set(m, z, COMPACT_BLOCKSKIP_FLUSH, 1)
        return COMPACT_COMPLETE if control(m, CC_WHOLE_ZONE) else COMPACT_PARTIAL_SKIPPED
    if control(m, CC_PROACTIVE):
        if int(m.nodes[zone_get(m, z, Z_NODE) * NODE_FIELDS + N_KSWAPD_WOKE]):
            return COMPACT_PARTIAL_SKIPPED
        low = fragmentation_score_wmark(m, True)
        return COMPACT_CONTINUE if fragmentation_score_zone(m, z) > low else COMPACT_SUCCESS
    order = control(m, CC_ORDER)
    if order == WHOLE_MEMORY or not pageblock_aligned(control(m, CC_MIGRATE_PFN)):
        return COMPACT_CONTINUE
    found = has_suitable_page(m, tables, z, order, control(m, CC_MIGRATETYPE))
    return COMPACT_SUCCESS if found else COMPACT_NO_SUITABLE_PAGE


@helper
def compact_finished(m: Mem, tables: PolicyTables) -> int:
    """Say how the run stands, CONTINUE as long as it goes on (spec 6.7)."""
    result = finish_result(m, tables)
    pfn = control(m, CC_MIGRATE_PFN)
    z = control(m, CC_ZONE)
    log_event(m, LOG_COMPACTION, pfn, COMPACTION_FINISHED, z, control(m, CC_ORDER), result)
    return COMPACT_CONTINUE if result == COMPACT_NO_SUITABLE_PAGE else result


@helper
def migrate_pages(m: Mem) -> tuple[int, bool]:
    """Move the pages that were taken; those that could not be moved stay on the list, in order.

    Returns how many stayed, and whether there were no targets: then all that is left was given up.
    """
    left = control(m, CC_NR_MIGRATEPAGES)
    wanted = left
    failed = 0
    starved = False
    for _ in range(MIGRATE_PASSES):
        stayed = 0
        bottom = left
        for i in range(left - 1, -1, -1):
            source = int(m.isolated[i])
            target = -1 if starved else compaction_alloc(m)
            starved = target < 0
            if starved or not migrate_page(m, control(m, CC_CPU), source, target):
                bottom -= 1
                m.isolated[bottom] = source
                if not starved:
                    push_target(m, target)
                    stayed += 1
                elif failed == 0:
                    failed = stayed + 1
        for i in range(bottom, left):
            m.isolated[i - bottom] = m.isolated[i]
        left -= bottom
        if left == 0 or starved:
            break
    control_set(m, CC_NR_MIGRATEPAGES, left)
    control_add(m, CC_MIGRATED, wanted - left)
    m.events[COMPACT_MIGRATED] += wanted - left
    m.events[COMPACT_NOT_MIGRATED] += failed if starved else left
    pfn = control(m, CC_MIGRATE_PFN)
    log_event(m, LOG_COMPACTION, pfn, COMPACTION_MIGRATEPAGES, wanted - left, left)
    return left, starved


@helper
def set_scanners(m: Mem) -> None:
    """Let the scanners begin at the zone's ends, or where earlier runs stopped (spec 6.3)."""
    z = control(m, CC_ZONE)
    start = zone_get(m, z, Z_START_PFN)
    end = zone_get(m, z, Z_END_PFN)
    last = pageblock_start_pfn(end - 1)
    if control(m, CC_WHOLE_ZONE):
        control_set(m, CC_MIGRATE_PFN, start)
        control_set(m, CC_FREE_PFN, last)
        return
    asynchronous = control(m, CC_MODE) == MIGRATE_ASYNC
    field = COMPACT_MIGRATE_ASYNC_PFN if asynchronous else COMPACT_MIGRATE_SYNC_PFN
    migrate_pfn = compact_get(m, z, field)
    free_pfn = compact_get(m, z, COMPACT_FREE_PFN)
    if free_pfn < start or free_pfn >= end:
        free_pfn = last
        compact_set(m, z, COMPACT_FREE_PFN, free_pfn)
    if migrate_pfn < start or migrate_pfn >= end:
        migrate_pfn = start
        compact_set(m, z, COMPACT_MIGRATE_ASYNC_PFN, migrate_pfn)
        compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, migrate_pfn)
    control_set(m, CC_MIGRATE_PFN, migrate_pfn)
    control_set(m, CC_FREE_PFN, free_pfn)
    if migrate_pfn <= compact_get(m, z, COMPACT_INIT_MIGRATE_PFN):
        control_set(m, CC_WHOLE_ZONE, 1)


@inline
def trace_run(m: Mem, event: int, last: int) -> None:
    """Log the begin or the end of a run, with its mode or its result."""
    pfn, free_pfn = control(m, CC_MIGRATE_PFN), control(m, CC_FREE_PFN)
    z, order = control(m, CC_ZONE), control(m, CC_ORDER)
    log_event(m, LOG_COMPACTION, pfn, event, free_pfn, z, order, last)


@helper
def compact_zone(m: Mem, tables: PolicyTables) -> int:
    """Carry out the run that ``compact_control`` describes; return a COMPACT_* result."""
    result = may_compact(m)
    if result != COMPACT_CONTINUE:
        return result
    result = begin_run(m, tables)
    while result == COMPACT_CONTINUE:
        result = step_run(m, tables)
    return end_run(m, result)


@helper
def may_compact(m: Mem) -> int:
    """Say CONTINUE if the run makes sense, else what came of it."""
    z, order = control(m, CC_ZONE), control(m, CC_ORDER)
    flags, highest_zone = control(m, CC_ALLOC_FLAGS), control(m, CC_HIGHEST_ZONE)
    return compaction_suitable(m, z, order, flags, highest_zone)


@helper
def begin_run(m: Mem, tables: PolicyTables) -> int:
    """Put the scanners in their places; return CONTINUE unless there is nothing to be done."""
    z = control(m, CC_ZONE)
    if compaction_restarting(m, z, control(m, CC_ORDER)):
        reset_zone_isolation_suitable(m, z)
    set_scanners(m)
    trace_run(m, COMPACTION_BEGIN, control(m, CC_MODE))
    lru_add_drain(m, control(m, CC_CPU))
    asynchronous_pfn = compact_get(m, z, COMPACT_MIGRATE_ASYNC_PFN)
    if control(m, CC_MODE) != MIGRATE_ASYNC:
        same = asynchronous_pfn == compact_get(m, z, COMPACT_MIGRATE_SYNC_PFN)
        control_set(m, CC_IN_STEP, 1 if same else 0)
    return compact_finished(m, tables)


@helper
def end_run(m: Mem, result: int) -> int:
    """Give back the targets that were not needed, count, and return the result."""
    release_freepages(m)
    m.events[COMPACT_MIGRATE_SCANNED] += control(m, CC_MIGRATE_SCANNED)
    m.events[COMPACT_FREE_SCANNED] += control(m, CC_FREE_SCANNED)
    trace_run(m, COMPACTION_END, result)
    return result


@helper
def step_run(m: Mem, tables: PolicyTables) -> int:
    """Take pages and move them, once; return CONTINUE until the run has finished (spec 6.6)."""
    z = control(m, CC_ZONE)
    order = control(m, CC_ORDER)
    start = control(m, CC_MIGRATE_PFN)
    same = pageblock_start_pfn(control(m, CC_LAST_MIGRATED_PFN)) == pageblock_start_pfn(start)
    control_set(m, CC_RESCAN, 1 if same else 0)
    if isolate_migratepages(m):
        control_set(m, CC_IN_STEP, 0)
        control_set(m, CC_LAST_MIGRATED_PFN, start)
        left, starved = migrate_pages(m)
        if left:
            putback_sources(m)
            if starved and not compact_scanners_met(m):
                return COMPACT_CONTENDED
            if gives_up_windows(m):
                beyond = block_end_pfn(control(m, CC_MIGRATE_PFN) - 1, order)
                control_set(m, CC_MIGRATE_PFN, beyond)
                control_set(m, CC_LAST_MIGRATED_PFN, 0)
    elif control(m, CC_IN_STEP):
        ahead = compact_get(m, z, COMPACT_MIGRATE_ASYNC_PFN)
        compact_set(m, z, COMPACT_MIGRATE_SYNC_PFN, ahead)
    drain_behind(m)
    if control(m, CC_CAPTURED) >= 0:
        return COMPACT_SUCCESS
    return compact_finished(m, tables)


@inline
def drain_behind(m: Mem) -> None:
    """Return what was freed to the buddy lists, once the block wanted there is behind the run."""
    order = control(m, CC_ORDER)
    last = control(m, CC_LAST_MIGRATED_PFN)
    if order > 0 and last and last < control(m, CC_MIGRATE_PFN) >> order << order:
        cpu = control(m, CC_CPU)
        lru_add_drain(m, cpu)
        drain_pages_zone(m, control(m, CC_ZONE), cpu, cpu)
        control_set(m, CC_LAST_MIGRATED_PFN, 0)


@inline
def run_cost(m: Mem) -> int:
    """Return what the run took, in nanoseconds."""
    scanned = control(m, CC_MIGRATE_SCANNED) + control(m, CC_FREE_SCANNED)
    moved = control(m, CC_MIGRATED)
    return scanned * int(m.system[S_SCAN_NS]) + moved * int(m.system[S_MIGRATE_NS])


@helper
def new_direct_control(
    m: Mem, tables: PolicyTables, z: int, ac: AllocContext, alloc_flags: int, priority: int
) -> None:
    """Begin a run on behalf of a request."""
    mode = MIGRATE_ASYNC if priority == PRIO_ASYNC else MIGRATE_SYNC_LIGHT
    full = 1 if priority == PRIO_SYNC_FULL else 0
    new_control(m, tables, z, ac.order, mode, ac.cpu)
    control_set(m, CC_MIGRATETYPE, ac.migratetype)
    control_set(m, CC_ALLOC_FLAGS, alloc_flags)
    control_set(m, CC_HIGHEST_ZONE, ac.highest_zone)
    control_set(m, CC_FS, 1 if ac.flags & REQ_FS else 0)
    control_set(m, CC_DIRECT, 1)
    control_set(m, CC_WHOLE_ZONE, full)
    control_set(m, CC_IGNORE_SKIP_HINT, full)
    control_set(m, CC_IGNORE_BLOCK_SUITABLE, full)
    control_set(m, CC_CAPTURE, 1)


@helper
def compact_zone_order(
    m: Mem, tables: PolicyTables, z: int, ac: AllocContext, alloc_flags: int, priority: int
) -> int:
    """Compact a zone for a request, which waits; what it gets is CC_CAPTURED."""
    new_direct_control(m, tables, z, ac, alloc_flags, priority)
    result = compact_zone(m, tables)
    control_set(m, CC_CAPTURE, 0)
    book_stall(m, run_cost(m))
    return COMPACT_SUCCESS if control(m, CC_CAPTURED) >= 0 else result


@helper
def try_to_compact_pages(
    m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int, priority: int
) -> tuple[int, int]:
    """Compact the zones of a request's list; return the result and the captured page or -1."""
    result = COMPACT_SKIPPED
    if not ac.flags & REQ_IO:
        return result, -1
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        position = next_zone(m, ac, position + 1)
        if priority > PRIO_SYNC_FULL and compaction_deferred(m, z, ac.order):
            result = max(result, COMPACT_DEFERRED)
            continue
        status = compact_zone_order(m, tables, z, ac, alloc_flags, priority)
        result = max(result, status)
        if status == COMPACT_SUCCESS:
            compaction_defer_reset(m, z, ac.order, False)
            return result, control(m, CC_CAPTURED)
        if priority != PRIO_ASYNC and status in (COMPACT_COMPLETE, COMPACT_PARTIAL_SKIPPED):
            defer_compaction(m, z, ac.order)
    return result, -1
