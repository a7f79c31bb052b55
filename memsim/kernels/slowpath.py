"""The slow path: reserves, kswapd, compaction, direct reclaim, retries, and at last failure.

Source: mm/page_alloc.c, Linux 6.1.192 (__alloc_pages_slowpath; spec 5.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import MOVABLE
from memsim.kernels.compaction import PRIO_ASYNC, PRIO_SYNC_LIGHT, try_to_compact_pages
from memsim.kernels.compaction_suitable import (
    COMPACT_DEFERRED,
    COMPACT_SKIPPED,
    compaction_defer_reset,
)
from memsim.kernels.daemons import let_daemons_go_first
from memsim.kernels.fallback import (
    ALLOC_CMA,
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_MIN_RESERVE,
    ALLOC_NO_WATERMARKS,
    ALLOC_NON_BLOCK,
    ALLOC_WMARK_MASK,
)
from memsim.kernels.ideal_walk import gives_way, ideal_walk
from memsim.kernels.layout import (
    COMPACT_BLOCKSKIP_FLUSH,
    REQ_DIRECT_RECLAIM,
    REQ_HIGH,
    REQ_IO,
    REQ_KSWAPD_RECLAIM,
    REQ_MEMALLOC,
    REQ_NO_CMA,
    REQ_NOFAIL,
    REQ_NOMEMALLOC,
    REQ_NORETRY,
    REQ_RETRY_MAYFAIL,
    REQ_THISNODE,
    Z_BOOST,
    Z_COMPACT,
    Z_NODE,
    Z_NR_FREE_PAGES,
    Z_WMARK,
    Mem,
    page_zone,
    zone_get,
    zone_set,
)
from memsim.kernels.page_alloc import (
    NEEDS_OOM_KILL,
    WOULD_RECLAIM,
    fast_path_flags,
    get_page_from_freelist,
    walk,
)
from memsim.kernels.pcp_free import drain_pages_zone
from memsim.kernels.placement import PolicyTables
from memsim.kernels.retry import (
    NO_MEMORY,
    note_failure,
    should_compact_retry,
    should_reclaim_retry,
    unreserve_highatomic_pageblock,
)
from memsim.kernels.system import S_EXTFRAG_INDEX, S_OOM_MAY_KILL, S_PRESSURE, S_WHY
from memsim.kernels.trace_log import (
    OOM_KILL,
    OOM_NO_VICTIM,
    OOM_NOT_FOR_THIS,
    RETRY_COMPACT,
    RETRY_NOFAIL,
    RETRY_RECLAIM,
    STEP_COMPACT,
    STEP_DRAIN,
    STEP_ENTER,
    STEP_OOM,
    STEP_RECLAIM,
    STEP_RETRY,
    STEP_WAKE,
    STEP_WALK,
    log_step,
)
from memsim.kernels.vmscan import try_to_free_pages, wakeup_kswapd
from memsim.kernels.vmstat import (
    COMPACT_FAIL,
    COMPACT_STALL,
    COMPACT_SUCCESS,
    KSWAPD_WAKEUPS,
    SLOWPATH,
)
from memsim.kernels.zonelist import (
    WMARK_MIN,
    AllocContext,
    next_zone,
    zone_watermark_ok_with,
    zonelist_zone,
)
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER, Wmark, ZoneType

WMARK_HIGH = int(Wmark.HIGH)
NORMAL = int(ZoneType.NORMAL)
NOFAIL_ROUNDS = 16
"""Times that a request which cannot fail begins anew when nobody is left to be killed."""
MAX_ROUNDS = 1 << 16
"""Times that any request begins anew, however much reclaim gets."""


@inline
def alloc_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Serve a request: fast path at the low mark, then the slow path (spec 5.4, 5.5).

    Returns a pfn, -1 if there is no page, NEEDS_OOM_KILL, or WOULD_RECLAIM.
    """
    pfn = get_page_from_freelist(m, tables, ac, fast_path_flags(m, tables, ac))
    if pfn < 0:
        pfn = alloc_pages_slowpath(m, tables, ac)
    return pfn


@helper
def drain_all_pages(m: Mem, cpu: int) -> None:
    """Return the pages of all per-CPU lists to the buddy lists; ``cpu`` does it for all."""
    for owner in range(m.nr_cpus):
        for z in range(m.nr_zones):
            drain_pages_zone(m, z, owner, cpu)


@helper
def zone_has_pages(m: Mem, z: int, ac: AllocContext, alloc_flags: int) -> bool:
    """Say whether a zone has the pages for a request, in whatever pieces."""
    single = AllocContext(
        0, ac.migratetype, ac.highest_zone, ac.flags, ac.zonelist, ac.nodemask, ac.cpu
    )
    free = max(zone_get(m, z, Z_NR_FREE_PAGES), 0) - (1 << ac.order) + 1
    mark = zone_get(m, z, Z_WMARK + (alloc_flags & ALLOC_WMARK_MASK)) + zone_get(m, z, Z_BOOST)
    return zone_watermark_ok_with(m, z, single, mark, alloc_flags, free)


alloc_pages_ideal = ideal_walk(walk, zone_has_pages)


@helper
def walk_again(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk the zonelist, under policy ``ideal`` until nothing more can give way."""
    pfn = walk(m, tables, ac, alloc_flags)
    if pfn < 0 and gives_way(tables, ac):
        drain_all_pages(m, ac.cpu)
        pfn = alloc_pages_ideal(m, tables, ac, alloc_flags)
    log_step(m, STEP_WALK, alloc_flags, pfn)
    return pfn


@inline
def gfp_to_alloc_flags(ac: AllocContext) -> int:
    """Build the slow path's flags from a request (spec 5.2)."""
    alloc_flags = WMARK_MIN
    if ac.flags & REQ_HIGH:
        alloc_flags |= ALLOC_MIN_RESERVE
    if not ac.flags & (REQ_DIRECT_RECLAIM | REQ_NOMEMALLOC):
        alloc_flags |= ALLOC_NON_BLOCK
        if ac.order > 0 and ac.flags & REQ_HIGH:
            alloc_flags |= ALLOC_HIGHATOMIC
    if ac.migratetype == MOVABLE and not ac.flags & REQ_NO_CMA:
        alloc_flags |= ALLOC_CMA
    if ac.flags & REQ_KSWAPD_RECLAIM:
        alloc_flags |= ALLOC_KSWAPD
    return alloc_flags


@inline
def ignores_watermarks(ac: AllocContext) -> bool:
    """Say whether the request may use all reserves (__GFP_MEMALLOC)."""
    return bool(ac.flags & REQ_MEMALLOC) and not ac.flags & REQ_NOMEMALLOC


@inline
def unrestricted(ac: AllocContext) -> AllocContext:
    """Return the context without its node mask, which requests of high priority come to ignore."""
    return AllocContext(
        ac.order, ac.migratetype, ac.highest_zone, ac.flags, ac.zonelist, -1, ac.cpu
    )


@helper
def wake_all_kswapds(m: Mem, ac: AllocContext) -> None:
    """Wake the kswapd of each node in the request's list."""
    if not ac.flags & REQ_KSWAPD_RECLAIM or int(m.system[S_PRESSURE]) == 0:
        return
    log_step(m, STEP_WAKE, ac.order, ac.highest_zone)
    last = -1
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        if zone_get(m, z, Z_NODE) != last:
            last = zone_get(m, z, Z_NODE)
            wakeup_kswapd(m, z, ac.order, ac.highest_zone, ac.flags)
        position = next_zone(m, ac, position + 1)


@helper
def alloc_pages_direct_compact(
    m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int, priority: int
) -> tuple[int, int]:
    """Compact, then walk; return the pfn or -1, and compaction's result (spec 11.3)."""
    if ac.order == 0 or not ac.flags & REQ_IO:
        return -1, COMPACT_SKIPPED
    result, pfn = try_to_compact_pages(m, tables, ac, alloc_flags, priority)
    log_step(m, STEP_COMPACT, priority, result, pfn)
    if result == COMPACT_SKIPPED:
        return -1, result
    m.events[COMPACT_STALL] += 1
    if pfn < 0:
        pfn = walk_again(m, tables, ac, alloc_flags)
    if pfn < 0:
        m.events[COMPACT_FAIL] += 1
        return -1, result
    z = page_zone(m, pfn)
    zone_set(m, z, Z_COMPACT + COMPACT_BLOCKSKIP_FLUSH, 0)
    compaction_defer_reset(m, z, ac.order, True)
    m.events[COMPACT_SUCCESS] += 1
    return pfn, result


@helper
def alloc_pages_direct_reclaim(
    m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int
) -> tuple[int, int]:
    """Reclaim, then walk; return the pfn or -1, and the pages reclaimed (spec 5.5 step 6)."""
    progress = try_to_free_pages(m, tables, ac)
    log_step(m, STEP_RECLAIM, progress)
    if progress == 0:
        return -1, 0
    pfn = walk_again(m, tables, ac, alloc_flags)
    if pfn < 0:
        unreserve_highatomic_pageblock(m, ac, False)
        drain_all_pages(m, ac.cpu)
        log_step(m, STEP_DRAIN)
        pfn = walk_again(m, tables, ac, alloc_flags)
    return pfn, progress


@inline
def compacts_first(ac: AllocContext) -> bool:
    """Say whether a request compacts before it reclaims (spec 5.5 step 3)."""
    if not ac.flags & REQ_DIRECT_RECLAIM or not ac.flags & REQ_IO or ignores_watermarks(ac):
        return False
    return ac.order > PAGE_ALLOC_COSTLY_ORDER or (ac.order > 0 and ac.migratetype != MOVABLE)


@inline
def gives_up_early(ac: AllocContext, result: int) -> bool:
    """Say whether a costly request that is not to be retried fails after its first compaction."""
    put_off = result in (COMPACT_SKIPPED, COMPACT_DEFERRED)
    return put_off or bool(ac.flags & REQ_THISNODE)


@helper
def alloc_pages_may_oom(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Walk a last time at the high mark, then ask for a victim (spec 5.5 step 12).

    Returns a pfn, NEEDS_OOM_KILL, or -1 where the request may not kill or nobody can be killed.
    """
    pfn = walk_again(m, tables, ac, WMARK_HIGH)
    if pfn >= 0:
        return pfn
    if (
        ac.order > PAGE_ALLOC_COSTLY_ORDER
        or ac.flags & (REQ_RETRY_MAYFAIL | REQ_THISNODE)
        or ac.highest_zone < NORMAL
    ):
        log_step(m, STEP_OOM, OOM_NOT_FOR_THIS)
        return -1
    may_kill = int(m.system[S_OOM_MAY_KILL]) != 0
    log_step(m, STEP_OOM, OOM_KILL if may_kill else OOM_NO_VICTIM)
    return NEEDS_OOM_KILL if may_kill else -1


@helper
def alloc_pages_slowpath(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Get a page when no zone is above its low mark; see ``alloc_pages`` for what is returned."""
    m.events[SLOWPATH] += 1
    if next_zone(m, ac, 0) < 0:
        m.system[S_WHY] = NO_MEMORY
        m.system[S_EXTFRAG_INDEX] = 0
        return -1
    if ac.flags & REQ_KSWAPD_RECLAIM:
        m.events[KSWAPD_WAKEUPS] += 1
    alloc_flags = gfp_to_alloc_flags(ac)
    log_step(m, STEP_ENTER, ac.order, ac.migratetype, alloc_flags)
    wake_all_kswapds(m, ac)
    pfn = walk_again(m, tables, ac, alloc_flags)
    if pfn >= 0:
        return pfn
    reclaims = ac.flags & REQ_DIRECT_RECLAIM and not ignores_watermarks(ac)
    if reclaims and int(m.system[S_PRESSURE]) == 0:
        return WOULD_RECLAIM
    pfn, result = alloc_pages_with_effort(m, tables, ac, alloc_flags)
    if pfn < 0:
        note_failure(m, ac, alloc_flags, result)
    return pfn


@inline
def retries(ac: AllocContext) -> bool:
    """Say whether a request begins anew where one round has not helped (spec 5.5 steps 8, 9)."""
    if ac.order <= PAGE_ALLOC_COSTLY_ORDER:
        return not ac.flags & REQ_NORETRY
    return ac.flags & (REQ_NORETRY | REQ_RETRY_MAYFAIL | REQ_IO) == REQ_RETRY_MAYFAIL | REQ_IO


@helper
def alloc_pages_with_effort(
    m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int
) -> tuple[int, int]:
    """Compact, reclaim and retry (spec 5.5 steps 3-13); return what was got and a COMPACT_* result.

    Unlike Linux: a request begins anew a bounded number of times, also one that cannot fail.
    """
    priority = PRIO_SYNC_LIGHT
    result = COMPACT_SKIPPED
    costly = ac.order > PAGE_ALLOC_COSTLY_ORDER
    if compacts_first(ac):
        let_daemons_go_first(m, tables)
        pfn, result = alloc_pages_direct_compact(m, tables, ac, alloc_flags, PRIO_ASYNC)
        if pfn >= 0:
            return pfn, result
        if costly and ac.flags & REQ_NORETRY:
            if gives_up_early(ac, result):
                return -1, result
            priority = PRIO_ASYNC
    compact_retries = 0
    no_progress_loops = 0
    nofail_rounds = 0
    for _ in range(MAX_ROUNDS):
        wake_all_kswapds(m, ac)
        pfn = walk_with_reserves(m, tables, ac, alloc_flags)
        if pfn >= 0 or not ac.flags & REQ_DIRECT_RECLAIM or ac.flags & REQ_MEMALLOC:
            return pfn, result
        pfn, progress = alloc_pages_direct_reclaim(m, tables, ac, alloc_flags)
        if pfn >= 0:
            return pfn, result
        pfn, result = alloc_pages_direct_compact(m, tables, ac, alloc_flags, priority)
        if pfn >= 0:
            return pfn, result
        no_progress_loops = 0 if progress > 0 and not costly else no_progress_loops + 1
        if retries(ac):
            if should_reclaim_retry(m, ac, alloc_flags, no_progress_loops):
                log_step(m, STEP_RETRY, RETRY_RECLAIM, no_progress_loops, compact_retries, priority)
                continue
            if progress > 0 and ac.flags & REQ_IO:
                retry, priority, compact_retries = should_compact_retry(
                    m, ac, alloc_flags, result, priority, compact_retries
                )
                if retry:
                    log_step(
                        m, STEP_RETRY, RETRY_COMPACT, no_progress_loops, compact_retries, priority
                    )
                    continue
            pfn = alloc_pages_may_oom(m, tables, ac)
        if pfn != -1 or not ac.flags & REQ_NOFAIL:
            return pfn, result
        pfn = walk_again(m, tables, ac, alloc_flags | ALLOC_MIN_RESERVE)
        nofail_rounds += 1
        if pfn >= 0 or nofail_rounds > NOFAIL_ROUNDS:
            return pfn, result
        log_step(m, STEP_RETRY, RETRY_NOFAIL, no_progress_loops, compact_retries, priority)
    return -1, result


@inline
def walk_with_reserves(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk with all that the request may use (spec 5.5 step 4)."""
    if ignores_watermarks(ac):
        kept = alloc_flags & (ALLOC_CMA | ALLOC_KSWAPD)
        return walk_again(m, tables, unrestricted(ac), ALLOC_NO_WATERMARKS | kept)
    if ac.flags & REQ_HIGH and not ac.flags & REQ_DIRECT_RECLAIM:
        return walk_again(m, tables, unrestricted(ac), alloc_flags)
    return walk_again(m, tables, ac, alloc_flags)
