"""Whether compacting a zone makes sense: its watermarks, its fragmentation, earlier failures.

Source: mm/compaction.c, Linux 6.1.192 (compaction_suitable, defer_compaction; spec 6.2, 6.8).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.compact_control import WHOLE_MEMORY
from memsim.kernels.compaction_score import fragmentation_index
from memsim.kernels.compaction_skip import compact_get, compact_set
from memsim.kernels.compaction_targets import single_page
from memsim.kernels.fallback import ALLOC_CMA, ALLOC_WMARK_MASK
from memsim.kernels.layout import (
    COMPACT_CONSIDERED,
    COMPACT_DEFER_SHIFT,
    COMPACT_ORDER_FAILED,
    Z_BOOST,
    Z_NR_FREE_PAGES,
    Z_WMARK,
    Mem,
    zone_get,
)
from memsim.kernels.system import S_EXTFRAG_THRESHOLD
from memsim.kernels.zonelist import (
    WMARK_MIN,
    AllocContext,
    zone_watermark_ok,
    zone_watermark_ok_with,
)
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER, Wmark

WMARK_LOW = int(Wmark.LOW)
COMPACT_MAX_DEFER_SHIFT = 6
(
    COMPACT_SKIPPED,
    COMPACT_DEFERRED,
    COMPACT_NO_SUITABLE_PAGE,
    COMPACT_CONTINUE,
    COMPACT_COMPLETE,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_CONTENDED,
    COMPACT_SUCCESS,
) = range(1, 9)
"""enum compact_result, as include/linux/compaction.h numbers it (0 is not used here)."""


@inline
def wmark_pages(m: Mem, z: int, which: int) -> int:
    """Return a watermark of a zone with its boost."""
    return zone_get(m, z, Z_WMARK + which) + zone_get(m, z, Z_BOOST)


@helper
def suitable_with(
    m: Mem, z: int, order: int, alloc_flags: int, highest_zone: int, nr_free: int
) -> int:
    """Say whether to compact a zone if ``nr_free`` pages were free: SUCCESS, SKIPPED, CONTINUE."""
    if order == WHOLE_MEMORY:
        return COMPACT_CONTINUE
    request = AllocContext(order, 0, highest_zone, 0, 0, -1, 0)
    mark = wmark_pages(m, z, alloc_flags & ALLOC_WMARK_MASK)
    if zone_watermark_ok(m, z, request, mark, alloc_flags):
        return COMPACT_SUCCESS
    mark = wmark_pages(m, z, WMARK_LOW if order > PAGE_ALLOC_COSTLY_ORDER else WMARK_MIN)
    gap = 2 << order
    if not zone_watermark_ok_with(m, z, single_page(highest_zone), mark + gap, ALLOC_CMA, nr_free):
        return COMPACT_SKIPPED
    return COMPACT_CONTINUE


@helper
def compaction_suitable(m: Mem, z: int, order: int, alloc_flags: int, highest_zone: int) -> int:
    """Say whether to compact a zone: SUCCESS (nothing to do), SKIPPED or CONTINUE (spec 6.2)."""
    nr_free = max(zone_get(m, z, Z_NR_FREE_PAGES), 0)
    result = suitable_with(m, z, order, alloc_flags, highest_zone, nr_free)
    if result == COMPACT_CONTINUE and order > PAGE_ALLOC_COSTLY_ORDER:
        index = fragmentation_index(m, z, order)
        if index >= 0 and index <= int(m.system[S_EXTFRAG_THRESHOLD]):
            return COMPACT_SKIPPED
    return result


@helper
def defer_compaction(m: Mem, z: int, order: int) -> None:
    """Put off later runs, after one that did not help."""
    compact_set(m, z, COMPACT_CONSIDERED, 0)
    shift = compact_get(m, z, COMPACT_DEFER_SHIFT) + 1
    compact_set(m, z, COMPACT_DEFER_SHIFT, min(shift, COMPACT_MAX_DEFER_SHIFT))
    failed = compact_get(m, z, COMPACT_ORDER_FAILED)
    compact_set(m, z, COMPACT_ORDER_FAILED, min(failed, order))


@helper
def compaction_deferred(m: Mem, z: int, order: int) -> bool:
    """Count a run that is considered, and say whether it is put off."""
    if order < compact_get(m, z, COMPACT_ORDER_FAILED):
        return False
    limit = 1 << compact_get(m, z, COMPACT_DEFER_SHIFT)
    considered = compact_get(m, z, COMPACT_CONSIDERED) + 1
    compact_set(m, z, COMPACT_CONSIDERED, min(considered, limit))
    return considered < limit


@helper
def compaction_defer_reset(m: Mem, z: int, order: int, allocated: bool) -> None:
    """Forget failures, now that compaction has helped or seems to have (spec 6.8)."""
    if allocated:
        compact_set(m, z, COMPACT_CONSIDERED, 0)
        compact_set(m, z, COMPACT_DEFER_SHIFT, 0)
    if order >= compact_get(m, z, COMPACT_ORDER_FAILED):
        compact_set(m, z, COMPACT_ORDER_FAILED, order + 1)


@helper
def compaction_restarting(m: Mem, z: int, order: int) -> bool:
    """Say whether this is the first run after as many as can be were put off."""
    if order < compact_get(m, z, COMPACT_ORDER_FAILED):
        return False
    shift = compact_get(m, z, COMPACT_DEFER_SHIFT)
    return shift == COMPACT_MAX_DEFER_SHIFT and compact_get(m, z, COMPACT_CONSIDERED) >= 1 << shift
