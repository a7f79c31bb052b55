"""The run of compaction at hand, and the pages that it has taken.

Source: struct compact_control, mm/internal.h, Linux 6.1. A request's run ends before anybody else
acts; kcompactd's is put aside between its steps, with the free pages that it has taken.
"""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import ISOLATED_PAGES, Mem
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import N_COMPACT, NODE_FIELDS, S_COMPACT, SYSTEM_FIELDS
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
    CC_TARGETS,
) = range(30)
"""FS: the request may enter file systems. CAPTURE: 1 while a block of the order that is freed goes
straight to the request; CAPTURED: that block, or -1. MOVABLE: the type of pageblocks that become
movable, which is Unmovable where pages are not grouped. IN_STEP: as long as nothing is taken, the
start of synchronous runs follows that of asynchronous ones. LAST_MIGRATED_PFN: where pages were
last taken, 0 once the per-CPU lists were drained behind it. TARGETS: where its free pages begin in
``Mem.isolated``."""
NR_CONTROL_FIELDS = 30
assert S_COMPACT + NR_CONTROL_FIELDS <= SYSTEM_FIELDS
assert N_COMPACT + NR_CONTROL_FIELDS <= NODE_FIELDS
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
    control_set(m, CC_TARGETS, ISOLATED_PAGES)
    control_set(m, CC_MOVABLE, int(tables.type_of_request[MOVABLE_REQUEST]))


@inline
def put_aside(m: Mem, node: int) -> None:
    """Put the run at hand aside, as that of a node's kcompactd."""
    for field in range(NR_CONTROL_FIELDS):
        m.nodes[node * NODE_FIELDS + N_COMPACT + field] = control(m, field)


@inline
def take_up(m: Mem, node: int) -> None:
    """Go on with the run that a node's kcompactd has put aside."""
    for field in range(NR_CONTROL_FIELDS):
        control_set(m, field, int(m.nodes[node * NODE_FIELDS + N_COMPACT + field]))


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
    m.isolated[control(m, CC_TARGETS) + n] = pfn
    control_set(m, CC_NR_FREEPAGES, n + 1)


@inline
def pop_target(m: Mem) -> int:
    """Take the free page at the head of the list of targets, which must not be empty."""
    n = control(m, CC_NR_FREEPAGES) - 1
    control_set(m, CC_NR_FREEPAGES, n)
    return int(m.isolated[control(m, CC_TARGETS) + n])


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
