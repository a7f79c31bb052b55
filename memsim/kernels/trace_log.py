"""The log of trace events that a batch caused: rows kept where somebody wants to see them."""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import Mem

LOG_FIELDS = 8
"""event of the batch, kind (LOG_*), pfn, then: zone_locked order, migratetype, percpu_refill;
drain order, migratetype; extfrag alloc_order, alloc_migratetype, fallback_order,
fallback_migratetype, change_ownership."""
LOG_ZONE_LOCKED, LOG_PCPU_DRAIN, LOG_EXTFRAG, LOG_FREE, LOG_STEP, LOG_COMPACTION = range(6)
"""LOG_FREE: a page that the kernel itself freed (pfn, order). LOG_STEP: a step of the slow path
(pfn is its STEP_* code). LOG_COMPACTION: compaction's own events (pfn begins the range)."""
LOG_USED, LOG_CAPACITY, LOG_HEADROOM, LOG_EVENT = range(4)
"""Fields of ``log_cursor``, in rows; a batch stops where fewer than LOG_HEADROOM rows are left."""


@inline
def keeps_log(m: Mem) -> bool:
    """Say whether trace events are logged; then every page is handled by itself."""
    return int(m.log_cursor[LOG_CAPACITY]) > 0


@inline
def log_event(
    m: Mem, kind: int, pfn: int, a: int, b: int, c: int = 0, d: int = 0, e: int = 0
) -> None:
    """Write a row of the log where one is kept."""
    row = int(m.log_cursor[LOG_USED])
    if row < int(m.log_cursor[LOG_CAPACITY]):
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
