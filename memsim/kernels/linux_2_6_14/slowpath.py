"""What a request does that finds no page at the low marks: reclaim, try again, have a task killed.

Source: __alloc_pages, mm/page_alloc.c, and try_to_free_pages, mm/vmscan.c, Linux 2.6.14 (spec 5,
6.3).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.compaction_score import fragmentation_index
from memsim.kernels.flusher import wakeup_flusher_threads
from memsim.kernels.ideal_walk import gives_way, ideal_walk
from memsim.kernels.layout import (
    REQ_DIRECT_RECLAIM,
    REQ_FS,
    REQ_HIGH,
    REQ_MEMALLOC,
    REQ_NOFAIL,
    REQ_NOMEMALLOC,
    REQ_NORETRY,
    REQ_RETRY_MAYFAIL,
    SCAN_ALL_UNRECLAIMABLE,
    SCAN_PREV_PRIORITY,
    SCAN_TEMP_PRIORITY,
    Z_NR_FREE,
    Z_SCAN,
    Z_TYPE,
    Mem,
    zone_get,
    zone_set,
)
from memsim.kernels.linux_2_6_14.daemons import io_schedule_timeout
from memsim.kernels.linux_2_6_14.kswapd import CONGESTION_WAIT_NS, WMARK_HIGH, wakeup_kswapd
from memsim.kernels.linux_2_6_14.page_alloc import (
    ALLOC_HARDER,
    ALLOC_HIGH,
    ALLOC_NO_WATERMARKS,
    WMARK_LOW,
    WMARK_MIN,
    get_page_from_freelist,
    has_pages,
    zone_watermark_ok,
)
from memsim.kernels.linux_2_6_14.page_reclaim import S_COST, ScanControl
from memsim.kernels.linux_2_6_14.pcp import drain_pages_zone
from memsim.kernels.linux_2_6_14.shrinker import shrink_slab
from memsim.kernels.linux_2_6_14.vmscan import (
    LEAST_PRIORITY_WITHOUT_WAIT,
    shrink_zone,
    zone_lru_pages,
)
from memsim.kernels.linux_2_6_14.writeback import too_much_writeback
from memsim.kernels.page_alloc import NEEDS_OOM_KILL, WOULD_RECLAIM
from memsim.kernels.placement import OPT_DRAIN, OPT_GROUPING, PolicyTables
from memsim.kernels.system import (
    S_EXTFRAG_INDEX,
    S_LUMPY,
    S_OOM_MAY_KILL,
    S_PRESSURE,
    S_WHY,
    book_stall,
)
from memsim.kernels.trace_log import (
    OOM_KILL,
    OOM_NO_VICTIM,
    STEP_DRAIN,
    STEP_ENTER,
    STEP_FAIL,
    STEP_OOM,
    STEP_RECLAIM,
    STEP_RETRY,
    STEP_WAKE,
    STEP_WALK,
    log_step,
)
from memsim.kernels.vmstat import ALLOCSTALL, SLOWPATH
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone
from memsim.mm import DEF_PRIORITY, PAGE_ALLOC_COSTLY_ORDER, SWAP_CLUSTER_MAX, WhyNot

RETRY_WAIT_NS = 20_000_000
TICK_NS = 4_000_000
MAX_WRITEOUT_WAITS = 10
MAX_RECLAIM_RETRIES = 16
"""Rounds without progress after which a request fails that Linux would let go on for ever."""
MAX_ROUNDS = 1000
"""The same of rounds with progress."""
NO_MEMORY = int(WhyNot.NO_MEMORY)
FRAGMENTATION = int(WhyNot.FRAGMENTATION)
WATERMARK = int(WhyNot.WATERMARK)


@helper
def drain_all_pages(m: Mem, tables: PolicyTables) -> None:
    """Return the pages of all per-CPU lists to the buddy lists."""
    for cpu in range(m.nr_cpus):
        for z in range(m.nr_zones):
            drain_pages_zone(m, tables, z, cpu)


@helper
def walk(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk the zonelist in the slow path, whose several walks share this one copy of the code."""
    return get_page_from_freelist(m, tables, ac, next_zone(m, ac, 0), alloc_flags)


@helper
def zone_has_pages(m: Mem, z: int, ac: AllocContext, alloc_flags: int) -> bool:
    """Say whether a zone has the pages for a request, in whatever pieces."""
    classzone = zone_get(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), Z_TYPE)
    return has_pages(m, z, ac.order, classzone, alloc_flags)


alloc_pages_ideal = ideal_walk(walk, zone_has_pages)


@helper
def walk_again(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk the zonelist, under policy ``ideal`` until nothing more can give way."""
    pfn = walk(m, tables, ac, alloc_flags)
    if pfn < 0 and gives_way(tables, ac):
        drain_all_pages(m, tables)
        pfn = alloc_pages_ideal(m, tables, ac, alloc_flags)
    log_step(m, STEP_WALK, alloc_flags, pfn)
    return pfn


@helper
def wake_all_kswapds(m: Mem, ac: AllocContext) -> None:
    """Wake the kswapd of every zone of the request's list that is low."""
    log_step(m, STEP_WAKE, ac.order, ac.highest_zone)
    position = next_zone(m, ac, 0)
    while position >= 0:
        wakeup_kswapd(m, zonelist_zone(m, ac, position), ac.order)
        position = next_zone(m, ac, position + 1)


# --- direct reclaim -----------------------------------------------------------------------------


@helper
def throttle_vm_writeout(m: Mem, tables: PolicyTables) -> None:
    """Wait while too much is on its way to the device.

    Unlike Linux: reclaim waits no longer than a second for what is under way to the device.
    """
    for _ in range(MAX_WRITEOUT_WAITS):
        if not too_much_writeback(m):
            return
        io_schedule_timeout(m, tables, CONGESTION_WAIT_NS)


@helper
def shrink_caches(
    m: Mem, tables: PolicyTables, ac: AllocContext, sc: ScanControl
) -> tuple[int, int]:
    """Shrink every zone of the request's list, low or not; return pages scanned, and freed."""
    scanned, freed = 0, 0
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        position = next_zone(m, ac, position + 1)
        if zone_get(m, z, Z_SCAN + SCAN_ALL_UNRECLAIMABLE) and sc.priority != DEF_PRIORITY:
            continue
        zone_set(m, z, Z_SCAN + SCAN_TEMP_PRIORITY, sc.priority)
        previous = zone_get(m, z, Z_SCAN + SCAN_PREV_PRIORITY)
        zone_set(m, z, Z_SCAN + SCAN_PREV_PRIORITY, min(previous, sc.priority))
        looked, gone = shrink_zone(m, tables, z, sc)
        scanned += looked
        freed += gone
        throttle_vm_writeout(m, tables)
    return scanned, freed


@helper
def begin_reclaim(m: Mem, ac: AllocContext) -> int:
    """Start from the top priority; return the pages on the LRU lists of the request's zones."""
    m.events[ALLOCSTALL] += 1
    pages = 0
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        zone_set(m, z, Z_SCAN + SCAN_TEMP_PRIORITY, DEF_PRIORITY)
        pages += zone_lru_pages(m, z)
        position = next_zone(m, ac, position + 1)
    return pages


@helper
def end_reclaim(m: Mem, ac: AllocContext) -> None:
    """Remember in each zone how far down reclaim had to go."""
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        priority = zone_get(m, z, Z_SCAN + SCAN_TEMP_PRIORITY)
        zone_set(m, z, Z_SCAN + SCAN_PREV_PRIORITY, priority)
        position = next_zone(m, ac, position + 1)


@helper
def reclaim_at(
    m: Mem, tables: PolicyTables, ac: AllocContext, priority: int, lru_pages: int
) -> tuple[int, int]:
    """Shrink zones and slab at one priority; return pages scanned, and freed."""
    order = ac.order if int(m.system[S_LUMPY]) else 0
    m.system[S_COST] = 0
    sc = ScanControl(order, ac.flags, priority, 0, ac.cpu)
    scanned, freed = shrink_caches(m, tables, ac, sc)
    freed += shrink_slab(m, tables, sc, scanned, lru_pages)
    book_stall(m, int(m.system[S_COST]))
    return scanned, freed


@helper
def try_to_free_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Reclaim on behalf of a request; return the pages freed, 0 if that is no progress (6.3)."""
    lru_pages = begin_reclaim(m, ac)
    total_scanned, total_freed = 0, 0
    for priority in range(DEF_PRIORITY, -1, -1):
        scanned, freed = reclaim_at(m, tables, ac, priority, lru_pages)
        total_scanned += scanned
        total_freed += freed
        if total_freed >= SWAP_CLUSTER_MAX:
            break
        if total_scanned > SWAP_CLUSTER_MAX + SWAP_CLUSTER_MAX // 2:
            wakeup_flusher_threads(m)
        if scanned and priority < LEAST_PRIORITY_WITHOUT_WAIT:
            io_schedule_timeout(m, tables, CONGESTION_WAIT_NS)
    end_reclaim(m, ac)
    return total_freed if total_freed >= SWAP_CLUSTER_MAX else 0


# --- the request --------------------------------------------------------------------------------


@helper
def why_not(m: Mem, ac: AllocContext, alloc_flags: int) -> int:
    """Say why a request found no page (WhyNot)."""
    reason = NO_MEMORY
    first = next_zone(m, ac, 0)
    classzone = zone_get(m, zonelist_zone(m, ac, first), Z_TYPE)
    position = first
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        large = 0
        for order in range(ac.order, m.max_page_order + 1):
            large += zone_get(m, z, Z_NR_FREE + order)
        if large:
            return WATERMARK if ac.order else NO_MEMORY
        if zone_watermark_ok(m, z, 0, classzone, alloc_flags):
            reason = FRAGMENTATION
        position = next_zone(m, ac, position + 1)
    return reason


@helper
def note_failure(m: Mem, ac: AllocContext, alloc_flags: int) -> None:
    """Keep why a request failed."""
    preferred = zonelist_zone(m, ac, next_zone(m, ac, 0))
    m.system[S_WHY] = why_not(m, ac, alloc_flags)
    m.system[S_EXTFRAG_INDEX] = fragmentation_index(m, preferred, ac.order)
    log_step(m, STEP_FAIL, int(m.system[S_WHY]), int(m.system[S_EXTFRAG_INDEX]))


@inline
def retries(ac: AllocContext) -> bool:
    """Say whether a request reclaims again when that has not given it a page."""
    if ac.flags & REQ_NORETRY:
        return False
    must = ac.flags & (REQ_RETRY_MAYFAIL | REQ_NOFAIL)
    return bool(ac.order <= PAGE_ALLOC_COSTLY_ORDER or must)


@helper
def alloc_pages_may_oom(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Walk a last time at the high mark, then have a task killed, whatever the order.

    Returns a pfn, NEEDS_OOM_KILL, or -1 where nobody can be killed.
    """
    pfn = walk_again(m, tables, ac, WMARK_HIGH)
    if pfn >= 0:
        return pfn
    may_kill = int(m.system[S_OOM_MAY_KILL]) != 0
    log_step(m, STEP_OOM, OOM_KILL if may_kill else OOM_NO_VICTIM)
    book_stall(m, TICK_NS)
    return NEEDS_OOM_KILL if may_kill else -1


@helper
def reclaim_and_retry(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Reclaim until there is a page (spec 5, steps 6 to 9).

    Unlike Linux: a request that would go on for ever fails after 16 rounds that free nothing, or
    after 1000 rounds.
    """
    hopeless = 0
    for _ in range(MAX_ROUNDS):
        progress = try_to_free_pages(m, tables, ac)
        log_step(m, STEP_RECLAIM, progress)
        if ac.order and int(tables.options[OPT_GROUPING]):
            drain_all_pages(m, tables)
            log_step(m, STEP_DRAIN)
        if progress:
            hopeless = 0
            pfn = walk_again(m, tables, ac, alloc_flags)
            if pfn < 0 and ac.order and int(tables.options[OPT_DRAIN]):
                drain_all_pages(m, tables)
                log_step(m, STEP_DRAIN)
                pfn = walk_again(m, tables, ac, alloc_flags)
            if pfn >= 0:
                return pfn
        elif ac.flags & REQ_FS and not ac.flags & REQ_NORETRY:
            return alloc_pages_may_oom(m, tables, ac)
        else:
            hopeless += 1
        if not retries(ac) or hopeless == MAX_RECLAIM_RETRIES:
            return -1
        io_schedule_timeout(m, tables, RETRY_WAIT_NS)
        log_step(m, STEP_RETRY, 0, hopeless)
    return -1


@helper
def alloc_pages_slowpath(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Wake kswapd, try again at the min mark, reclaim; see ``alloc_pages`` for what is returned."""
    m.events[SLOWPATH] += 1
    log_step(m, STEP_ENTER, ac.order, ac.migratetype)
    wake_all_kswapds(m, ac)
    alloc_flags = WMARK_MIN
    if not ac.flags & REQ_DIRECT_RECLAIM:
        alloc_flags |= ALLOC_HARDER
    if ac.flags & REQ_HIGH:
        alloc_flags |= ALLOC_HIGH
    pfn = walk_again(m, tables, ac, alloc_flags)
    if pfn >= 0:
        return pfn
    if ac.flags & REQ_MEMALLOC:
        if not ac.flags & REQ_NOMEMALLOC:
            pfn = walk_again(m, tables, ac, ALLOC_NO_WATERMARKS)
    elif ac.flags & REQ_DIRECT_RECLAIM:
        if int(m.system[S_PRESSURE]) == 0:
            return WOULD_RECLAIM
        pfn = reclaim_and_retry(m, tables, ac, alloc_flags)
    if pfn == -1:
        note_failure(m, ac, alloc_flags)
    return pfn


@inline
def alloc_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Serve a request (__alloc_pages, spec 5).

    Returns a pfn, -1 if there is no page, NEEDS_OOM_KILL, or WOULD_RECLAIM.
    """
    first = next_zone(m, ac, 0)
    if first < 0 or ac.order > m.max_page_order:
        m.system[S_WHY] = NO_MEMORY
        m.system[S_EXTFRAG_INDEX] = 0
        return -1
    pfn = get_page_from_freelist(m, tables, ac, first, WMARK_LOW)
    if pfn < 0:
        pfn = alloc_pages_slowpath(m, tables, ac)
    return pfn
