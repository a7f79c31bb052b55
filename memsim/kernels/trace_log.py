"""The log of trace events that a batch caused: rows kept where somebody wants to see them."""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import Mem

LOG_FIELDS = 8
"""event of the batch, kind (LOG_*), pfn, then: zone_locked order, migratetype, percpu_refill;
drain order, migratetype; extfrag alloc_order, alloc_migratetype, fallback_order,
fallback_migratetype, change_ownership."""
LOG_ZONE_LOCKED, LOG_PCPU_DRAIN, LOG_EXTFRAG, LOG_FREE, LOG_STEP, LOG_COMPACTION = range(6)
LOG_MIGRATE_PAGE, LOG_MIGRATE_PAGES = 6, 7
"""LOG_FREE: a page that the kernel itself freed (pfn, order). LOG_STEP: a step of the slow path
(pfn is its STEP_* code). LOG_COMPACTION: compaction's own events (pfn begins the range).
LOG_MIGRATE_PAGE: an attempt to move a page (pfn; target or -1, pass, errno or 0, microseconds that
the caller has spent so far, and nanoseconds more). LOG_MIGRATE_PAGES: a call of migrate_pages
(pages succeeded in place of the pfn; pages failed; huge pages succeeded, failed, split; reason + 16
* mode)."""
(
    STEP_ENTER,
    STEP_WAKE,
    STEP_WALK,
    STEP_COMPACT,
    STEP_RECLAIM,
    STEP_UNRESERVE,
    STEP_DRAIN,
    STEP_RETRY,
    STEP_OOM,
    STEP_FAIL,
) = range(10)
"""Steps of the slow path (spec 5.5), in place of the pfn of a LOG_STEP row, and what follows:

====================  ==========================================================================
STEP_ENTER            order, migratetype, ALLOC_* flags: the fast path has found nothing
STEP_WAKE             order, highest zone type: the kswapd of every node in the list is woken
STEP_WALK             ALLOC_* flags, pfn or -1
STEP_COMPACT          priority (PRIO_*), result (COMPACT_*), pfn or -1
STEP_RECLAIM          pages reclaimed, 0 if that is no progress
STEP_UNRESERVE        1 if forced, 1 if a HighAtomic pageblock was given back
STEP_DRAIN            nothing: the per-CPU lists of all CPUs were drained
STEP_RETRY            RETRY_*, rounds without progress, compaction retries, priority
STEP_OOM              OOM_*
STEP_FAIL             mm.WhyNot, fragmentation index of the preferred zone
====================  ==========================================================================
"""
RETRY_RECLAIM, RETRY_COMPACT, RETRY_NOFAIL = range(3)
"""Why the slow path begins anew: reclaim may yet help, compaction may, the request cannot fail."""
OOM_NOT_FOR_THIS, OOM_KILL, OOM_NO_VICTIM = range(3)
"""The request may not kill, a victim is asked for, or there is none."""
(
    COMPACTION_BEGIN,
    COMPACTION_END,
    COMPACTION_ISOLATE_MIGRATEPAGES,
    COMPACTION_ISOLATE_FREEPAGES,
    COMPACTION_MIGRATEPAGES,
    COMPACTION_FINISHED,
) = range(6)
"""Compaction's events: the fourth field of a LOG_COMPACTION row, and what stands around it:

================================  ==============================================================
COMPACTION_BEGIN                  pfn: migrate scanner; free scanner, zone, order, mode
COMPACTION_END                    pfn: migrate scanner; free scanner, zone, order, result
COMPACTION_ISOLATE_MIGRATEPAGES   pfn: first of the range; end of the range, scanned, taken
COMPACTION_ISOLATE_FREEPAGES      pfn: first of the range; end of the range, scanned, taken
COMPACTION_MIGRATEPAGES           pfn: migrate scanner; migrated, failed
COMPACTION_FINISHED               pfn: migrate scanner; zone, order, result (COMPACT_*)
================================  ==============================================================
"""
LOG_USED, LOG_CAPACITY, LOG_HEADROOM, LOG_EVENT, LOG_ONLY = range(5)
"""Fields of ``log_cursor``, in rows; a batch stops where fewer than LOG_HEADROOM rows are left.
LOG_ONLY is 0, or else the pfn + 1 whose LOG_MIGRATE_PAGE rows alone are kept."""


@inline
def keeps_log(m: Mem) -> bool:
    """Say whether trace events are logged; then every page is handled by itself."""
    return int(m.log_cursor[LOG_CAPACITY]) > 0


@inline
def is_wanted(m: Mem, kind: int, pfn: int) -> bool:
    """Say whether an event is one of those that are kept."""
    only = int(m.log_cursor[LOG_ONLY])
    return only == 0 or (kind == LOG_MIGRATE_PAGE and pfn == only - 1)


@inline
def log_step(m: Mem, step: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
    """Write a step of the slow path (STEP_*) to the log where one is kept."""
    log_event(m, LOG_STEP, step, a, b, c, d)


@inline
def log_event(
    m: Mem, kind: int, pfn: int, a: int, b: int, c: int = 0, d: int = 0, e: int = 0
) -> None:
    """Write a row of the log where one is kept."""
    row = int(m.log_cursor[LOG_USED])
    if row < int(m.log_cursor[LOG_CAPACITY]) and is_wanted(m, kind, pfn):
        at = row * LOG_FIELDS
        m.log[at] = m.log_cursor[LOG_EVENT]
        m.log[at + 1] = kind
        m.log[at + 2] = pfn
        m.log[at + 3] = a
        m.log[at + 4] = b
        m.log[at + 5] = c
        m.log[at + 6] = d
        m.log[at + 7] = e
        m.log_cursor[LOG_USED] = row + 1
