"""Whether another round of the slow path can help, and why it failed where none did.

Source: mm/page_alloc.c, Linux 6.1.192 (should_reclaim_retry, should_compact_retry; spec 5.5).
"""

from __future__ import annotations

from memsim.kernels._jit import ctz, helper, inline
from memsim.kernels.buddy import HIGHATOMIC
from memsim.kernels.compaction import PRIO_SYNC_FULL, PRIO_SYNC_LIGHT
from memsim.kernels.compaction_score import fragmentation_index
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_CONTINUE,
    COMPACT_DEFERRED,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    suitable_with,
)
from memsim.kernels.fallback import move_freepages, pageblock_range
from memsim.kernels.layout import (
    Z_BOOST,
    Z_NR_FREE_PAGES,
    Z_NR_RESERVED_HIGHATOMIC,
    Z_WMARK,
    Mem,
    free_head,
    free_mask,
    pageblock_type,
    zone_get,
    zone_set,
)
from memsim.kernels.system import S_EXTFRAG_INDEX, S_WHY
from memsim.kernels.trace_log import STEP_FAIL, STEP_UNRESERVE, log_step
from memsim.kernels.vmscan import zone_reclaimable_pages
from memsim.kernels.vmstat import HIGHATOMIC_UNRESERVED_BLOCKS
from memsim.kernels.zonelist import (
    WMARK_MIN,
    AllocContext,
    next_zone,
    usable_orders,
    zone_watermark_ok,
    zone_watermark_ok_with,
    zonelist_zone,
)
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, WhyNot

MAX_RECLAIM_RETRIES = 16
MAX_COMPACT_RETRIES = 16
NO_MEMORY = int(WhyNot.NO_MEMORY)
FRAGMENTATION = int(WhyNot.FRAGMENTATION)
WATERMARK = int(WhyNot.WATERMARK)
DEFERRED = int(WhyNot.DEFERRED)


@inline
def min_mark(m: Mem, z: int) -> int:
    """Return a zone's min mark with its boost (min_wmark_pages)."""
    return zone_get(m, z, Z_WMARK + WMARK_MIN) + zone_get(m, z, Z_BOOST)


@helper
def unreserve_highatomic_pageblock(m: Mem, ac: AllocContext, force: bool) -> bool:
    """Give one HighAtomic pageblock back to the request's type (spec 3.9); say whether there was.

    Each zone keeps its last pageblock unless ``force``.
    """
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        reserved = zone_get(m, z, Z_NR_RESERVED_HIGHATOMIC)
        blocks = free_mask(m, z, HIGHATOMIC)
        if blocks and (force or reserved > PAGEBLOCK_NR_PAGES):
            pfn = free_head(m, z, ctz(blocks), HIGHATOMIC)
            convert_highatomic_pageblock(m, z, pfn, ac.migratetype)
            log_step(m, STEP_UNRESERVE, force, 1)
            return True
        position = next_zone(m, ac, position + 1)
    log_step(m, STEP_UNRESERVE, force, 0)
    return False


@helper
def convert_highatomic_pageblock(m: Mem, z: int, pfn: int, migratetype: int) -> None:
    """Give the pageblock of a free HighAtomic block a type, and its free blocks to that list."""
    if pageblock_type(m, pfn) == HIGHATOMIC:
        reserved = zone_get(m, z, Z_NR_RESERVED_HIGHATOMIC)
        zone_set(m, z, Z_NR_RESERVED_HIGHATOMIC, max(reserved - PAGEBLOCK_NR_PAGES, 0))
        m.events[HIGHATOMIC_UNRESERVED_BLOCKS] += 1
    m.pageblocks[pfn >> PAGEBLOCK_ORDER] = migratetype
    start, end = pageblock_range(m, z, pfn)
    move_freepages(m, z, start, end, migratetype)


@helper
def should_reclaim_retry(
    m: Mem, ac: AllocContext, alloc_flags: int, no_progress_loops: int
) -> bool:
    """Say whether reclaim may yet bring some zone above its min mark.

    After too many rounds without progress only a HighAtomic pageblock that is given back helps.
    """
    if no_progress_loops > MAX_RECLAIM_RETRIES:
        return unreserve_highatomic_pageblock(m, ac, True)
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        available = max(zone_get(m, z, Z_NR_FREE_PAGES), 0) + zone_reclaimable_pages(m, z)
        if zone_watermark_ok_with(m, z, ac, min_mark(m, z), alloc_flags, available):
            return True
        position = next_zone(m, ac, position + 1)
    return False


@helper
def compaction_zonelist_suitable(m: Mem, ac: AllocContext, alloc_flags: int) -> bool:
    """Say whether reclaim could make some zone of the list suitable for compaction."""
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        reclaimable = zone_reclaimable_pages(m, z) // ac.order
        available = max(zone_get(m, z, Z_NR_FREE_PAGES), 0) + reclaimable
        suitable = suitable_with(m, z, ac.order, alloc_flags, ac.highest_zone, available)
        if suitable == COMPACT_CONTINUE:
            return True
        position = next_zone(m, ac, position + 1)
    return False


@helper
def should_compact_retry(
    m: Mem, ac: AllocContext, alloc_flags: int, result: int, priority: int, retries: int
) -> tuple[bool, int, int]:
    """Say whether to compact again, at which priority, and how often that was tried so far."""
    if ac.order == 0:
        return False, priority, retries
    if result == COMPACT_SKIPPED:
        return compaction_zonelist_suitable(m, ac, alloc_flags), priority, retries
    costly = ac.order > PAGE_ALLOC_COSTLY_ORDER
    useless = (COMPACT_COMPLETE, COMPACT_DEFERRED, COMPACT_CONTENDED, COMPACT_PARTIAL_SKIPPED)
    if result == COMPACT_SUCCESS:
        retries += 1
    if result not in useless:
        most = MAX_COMPACT_RETRIES // 4 if costly else MAX_COMPACT_RETRIES
        if retries <= most:
            return True, priority, retries
    floor = PRIO_SYNC_LIGHT if costly else PRIO_SYNC_FULL
    if priority > floor:
        return True, priority - 1, 0
    return False, priority, retries


@helper
def note_failure(m: Mem, ac: AllocContext, alloc_flags: int, result: int) -> None:
    """Remember why a request failed, and how fragmented its preferred zone is."""
    preferred = zonelist_zone(m, ac, next_zone(m, ac, 0))
    index = fragmentation_index(m, preferred, ac.order)
    m.system[S_WHY] = why_not(m, ac, alloc_flags, result)
    m.system[S_EXTFRAG_INDEX] = index
    log_step(m, STEP_FAIL, int(m.system[S_WHY]), index)


@helper
def why_not(m: Mem, ac: AllocContext, alloc_flags: int, result: int) -> int:
    """Name the first that holds: no memory, the mark, compaction put off, fragmentation."""
    single = AllocContext(
        0, ac.migratetype, ac.highest_zone, ac.flags, ac.zonelist, ac.nodemask, ac.cpu
    )
    has_pages = False
    has_block = False
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        has_pages = has_pages or zone_watermark_ok(m, z, single, min_mark(m, z), alloc_flags)
        has_block = has_block or usable_orders(m, z, alloc_flags) >> ac.order != 0
        position = next_zone(m, ac, position + 1)
    if not has_pages:
        return NO_MEMORY
    if has_block:
        return WATERMARK
    return DEFERRED if result == COMPACT_DEFERRED else FRAGMENTATION
