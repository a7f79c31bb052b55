"""The run of compaction at hand, and the pages that it has taken.

Source: struct compact_control, mm/internal.h, Linux 6.1. Runs never overlap: each ends before
anybody else acts, so one set of fields is enough.
"""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import ISOLATED_PAGES, Mem
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import S_COMPACT
from memsim.mm import PAGEBLOCK_NR_PAGES, Migratetype, Use

MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC = range(3)
"""enum migrate_mode: how long compaction may wait."""
WHOLE_MEMORY = -1
"""In place of an order: compact all there is (proactive compaction, the sysctl)."""
(
    CC_ZONE,
    CC_ORDER,
    CC_MIGRATETYPE,
    CC_ALLOC_FLAGS,
    CC_HIGHEST_ZONE,
    CC_FS,
    CC_CPU,
    CC_MODE,
    CC_DIRECT,
    CC_PROACTIVE,
    CC_WHOLE_ZONE,
    CC_IGNORE_SKIP_HINT,
    CC_IGNORE_BLOCK_SUITABLE,
    CC_MIGRATE_PFN,
    CC_FREE_PFN,
    CC_FAST_START_PFN,
    CC_FAST_SEARCH_FAIL,
    CC_SEARCH_ORDER,
    CC_RESCAN,
    CC_NR_MIGRATEPAGES,
    CC_NR_FREEPAGES,
    CC_MIGRATE_SCANNED,
    CC_FREE_SCANNED,
    CC_MIGRATED,
    CC_CAPTURE,
    CC_CAPTURED,
    CC_MOVABLE,
    CC_IN_STEP,
    CC_LAST_MIGRATED_PFN,
) = range(29)
"""FS: the request may enter file systems. CAPTURE: 1 while a block of the order that is freed goes
straight to the request; CAPTURED: that block, or -1. MOVABLE: the type of pageblocks that become
movable, which is Unmovable where pages are not grouped. IN_STEP: as long as nothing is taken, the
start of synchronous runs follows that of asynchronous ones. LAST_MIGRATED_PFN: where pages were
last taken, 0 once the per-CPU lists were drained behind it."""
NR_CONTROL_FIELDS = 29
MOVABLE_REQUEST = 3 * int(Use.ANON) + int(Migratetype.MOVABLE)
"""Index of ``type_of_request`` for memory of users."""
NO_PFN = 1 << 40
"""Above every page frame number."""


@inline
def control(m: Mem, field: int) -> int:
    """Read a field of the run (CC_*)."""
    return int(m.system[S_COMPACT + field])


@inline
def control_set(m: Mem, field: int, value: int) -> None:
    """Write a field of the run."""
    m.system[S_COMPACT + field] = value


@inline
def control_add(m: Mem, field: int, value: int) -> None:
    """Add to a field of the run."""
    m.system[S_COMPACT + field] += value


@inline
def new_control(m: Mem, tables: PolicyTables, z: int, order: int, mode: int, cpu: int) -> None:
    """Begin a run on a zone that wants any free block of an order, on behalf of no request."""
    for field in range(NR_CONTROL_FIELDS):
        control_set(m, field, 0)
    control_set(m, CC_ZONE, z)
    control_set(m, CC_ORDER, order)
    control_set(m, CC_SEARCH_ORDER, order)
    control_set(m, CC_MODE, mode)
    control_set(m, CC_CPU, cpu)
    control_set(m, CC_FS, 1)
    control_set(m, CC_FAST_START_PFN, NO_PFN)
    control_set(m, CC_CAPTURED, -1)
    control_set(m, CC_MOVABLE, int(tables.type_of_request[MOVABLE_REQUEST]))


@inline
def push_source(m: Mem, pfn: int) -> None:
    """Put a page at the head of the list of pages to be moved."""
    n = control(m, CC_NR_MIGRATEPAGES)
    m.isolated[n] = pfn
    control_set(m, CC_NR_MIGRATEPAGES, n + 1)


@inline
def push_target(m: Mem, pfn: int) -> None:
    """Put a free page at the head of the list of targets."""
    n = control(m, CC_NR_FREEPAGES)
    m.isolated[ISOLATED_PAGES + n] = pfn
    control_set(m, CC_NR_FREEPAGES, n + 1)


@inline
def pop_target(m: Mem) -> int:
    """Take the free page at the head of the list of targets, which must not be empty."""
    n = control(m, CC_NR_FREEPAGES) - 1
    control_set(m, CC_NR_FREEPAGES, n)
    return int(m.isolated[ISOLATED_PAGES + n])


@inline
def pageblock_start_pfn(pfn: int) -> int:
    """Return where the pageblock of a page begins."""
    return pfn & -PAGEBLOCK_NR_PAGES


@inline
def pageblock_end_pfn(pfn: int) -> int:
    """Return where the next pageblock begins."""
    return (pfn & -PAGEBLOCK_NR_PAGES) + PAGEBLOCK_NR_PAGES


@inline
def pageblock_aligned(pfn: int) -> bool:
    """Say whether a pageblock begins at a page."""
    return pfn & (PAGEBLOCK_NR_PAGES - 1) == 0
