"""Record types that travel between the layers, and the declaration of result columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import Gfp, Use


@dataclass(frozen=True)
class Column:
    """One column of a result table."""

    name: str
    unit: str
    doc: str
    better: Literal["higher", "lower", "neither"] = "neither"
    tolerance: float = 0.0
    """Relative difference that ``memsim check`` lets pass; 0 means exact."""
    dtype: Literal["int64", "float64", "str"] = "int64"


@dataclass(frozen=True)
class Request:
    """One class of requests: everything about an allocation but its order, CPU and time.

    ``nodes`` are the nodes it may use (None: all); ``preferred`` is the node whose zonelist is
    walked (None: the node of the requesting CPU).
    """

    gfp: Gfp
    use: Use
    nodes: tuple[int, ...] | None = None
    preferred: int | None = None
    cma: bool = True
    """CMA pageblocks may serve it, if it is movable."""
    lru: bool = False
    """The pages go onto an LRU list (user memory and page cache): they can be migrated."""
    mapped: bool = False
    """Pages of files are mapped into processes; anonymous ones always are."""
    shmem: bool = False
    """Pages of shared memory or tmpfs: swap takes them, no file does."""
    mlocked: bool = False
    pinned: bool = False
    """The pages hold references that no page table explains."""
    waiters: int = 0
    """How many processes make these requests and wait for them (see Pace); 0: nobody waits."""


class AllocBatch(NamedTuple):
    """Requests of one stream, sorted by time (struct of arrays, all of length n)."""

    time: NDArray[np.int64]
    """Nanoseconds since the start of the trial."""
    op: NDArray[np.uint8]
    """Order; for a free of that order plus mm.OP_FREE, and mm.OP_COLD if it is of cold pages; for
    an access plus mm.OP_TOUCH, and mm.OP_WRITE if it writes; mm.OP_FALLBACK for base pages in place
    of a huge one."""
    request: NDArray[np.uint16]
    """Row of the stream's ``requests``; ignored by frees."""
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]
    """What the pages are known by until they are freed, 0 .. stream.handles-1."""


class Outcome(NamedTuple):
    """What became of each event of a batch (arrays of length n)."""

    pfn: NDArray[np.int32]
    """First page handed out or freed, -1 if none."""
    status: NDArray[np.uint8]
    """mm.Status."""
    why: NDArray[np.uint8]
    """mm.WhyNot of allocations that failed."""
    extfrag: NDArray[np.int16]
    """Fragmentation index of the preferred zone, in thousandths, when the allocation failed."""

    def take(self, rows: NDArray[np.intp]) -> Outcome:
        """Return the outcome of some of the events."""
        return Outcome(self.pfn[rows], self.status[rows], self.why[rows], self.extfrag[rows])


class HeldBlocks(NamedTuple):
    """Blocks allocated before the start (arrays of equal length)."""

    pfn: NDArray[np.int64]
    """-1 for a handle that holds nothing yet."""
    order: NDArray[np.int64]

    @property
    def handles(self) -> int:
        """How many handles they belong to."""
        return len(self.pfn)


class Pace(NamedTuple):
    """How a stream falls behind its plan: who asks goes on when he has what he asked for."""

    processes: int
    """They go on by themselves: what one of them waits holds up the stream by this part of it."""
    deadlines: tuple[int, ...] = ()
    """Instants (ns) at which the stream is as planned again. Of what it has not done by then it
    only gives back."""
    group: str = ""
    """Streams of one group fall behind together."""


class Pin(NamedTuple):
    """Pages that get references which no page table explains, at one instant."""

    time_ns: int
    handles: NDArray[np.int32]
    long_term: bool
    """FOLL_LONGTERM: they are moved out of Movable and CMA memory first."""


class HugeMapping(NamedTuple):
    """Huge pages of the pool that a workload maps, touches one after the other, and gives back."""

    start_ns: int
    """When it reserves all of them; a workload that cannot ends."""
    grow_ns: int
    """Time in which it touches them, at an even rate."""
    exit_ns: int
    """When it gives them back."""
    handles: NDArray[np.int32]
    preferred: tuple[int, ...]
    """Nodes that they come from in turn."""
    nodes: tuple[int, ...] | None
    """The only nodes that they may come from; None: any."""


class HugePages(NamedTuple):
    """The pool of huge pages at the end of a trial, by node."""

    total: tuple[int, ...]
    free: tuple[int, ...]
    reserved: int


@dataclass(frozen=True)
class Stream:
    """All that one workload will ask for, planned ahead."""

    requests: tuple[Request, ...]
    handles: int
    """Upper bound of the handles that the batches use; a freed handle may be used again."""
    batches: Iterable[AllocBatch]
    """Sorted by time within and across batches."""
    before: HeldBlocks | None = None
    """What the last handles hold when the trial starts, if the machine's start state has these
    blocks allocated."""
    killable: bool = False
    """The OOM killer may choose it: its pages are then freed, and the rest of it is left out."""
    oom_score_adj: int = 0
    """-1000 (never) to 1000, see /proc/PID/oom_score_adj."""
    observe: bool = False
    """Each allocation of this stream is a row of high_order.csv (probes)."""
    traits: NDArray[np.uint8] | None = None
    """What handles hold besides (layout.TRAIT_*), of length ``handles``; None: nothing."""
    pins: tuple[Pin, ...] = ()
    huge: HugeMapping | None = None
    pace: Pace | None = None
    """Without it, events happen when they were planned, whatever becomes of earlier ones."""
    notes: tuple[str, ...] = ()
    """Sentences that the run prints below its tables (what a replay had to leave out)."""


@dataclass(frozen=True)
class ZoneInfo:
    """A populated zone as the tables name it."""

    node: int
    name: str
    start_pfn: int
    spanned: int
    present: int
    managed: int
    hotpluggable_pages: int
    """Pages of the zone in memory that is meant to be removed (hotpluggable nodes, DIMMs)."""


class MemoryBlocks(NamedTuple):
    """Memory blocks (the unit of memory hot-remove) of memory that is meant to be removed."""

    total: int
    removable: int
    """Without a page that cannot be migrated, and without one that boot has kept."""
    free: int
    """Of these, without any allocated page."""


class Census(NamedTuple):
    """A count of everything at one instant (integers only).

    Z zones, O = 13 orders, M = 6 migratetypes.
    """

    free_blocks: NDArray[np.int64]
    """(Z, O, M) blocks on the free lists, by the list they stand on."""
    pageblocks: NDArray[np.int64]
    """(Z, M) pageblocks by type."""
    mixed_pageblocks: NDArray[np.int64]
    """(Z,) polluted pageblocks: those that hold allocations of more than one mobility."""
    mixed_areas: NDArray[np.int64]
    """(Z,) the same of aligned areas as large as the largest block, whatever a pageblock is."""
    empty_areas: NDArray[np.int64]
    """(Z,) such areas all of whose pages are free or on per-CPU lists."""
    pcp_pages: NDArray[np.int64]
    """(Z,) pages on per-CPU lists."""
    unmovable_hotpluggable: NDArray[np.int64]
    """(Z,) allocated pages that cannot be migrated and lie in hot-pluggable memory."""
    memory_blocks: MemoryBlocks


class Probes(NamedTuple):
    """Observed allocation attempts of a trial (struct of arrays)."""

    time: NDArray[np.int64]
    order: NDArray[np.int64]
    request: NDArray[np.int64]
    """Row of TrialRecord.probe_requests."""
    phase: NDArray[np.int64]
    """Row of TrialRecord.probe_phases (the name of the workload or event that asked)."""
    zone: NDArray[np.int64]
    """Row of TrialRecord.zones that served it, -1 if none did."""
    status: NDArray[np.uint8]
    why: NDArray[np.uint8]
    """mm.WhyNot of those that failed."""
    extfrag: NDArray[np.int16]
    """Fragmentation index at failure, in thousandths."""


class Migration(NamedTuple):
    """What became of the pages that one event was to move: a row of migration.csv."""

    time_ns: int
    event: str
    workload: str
    mode: str
    """``direct``, or ``swap`` (2005)."""
    attempted: int
    """Pages that were not where they were to be."""
    moved_direct: int
    moved_swap: int
    """Pages that went to swap, or back to their file, to come back where they are wanted."""
    stayed: tuple[int, ...]
    """Pages by mm.WhyStayed."""
    passes: int
    waits: int
    """For locks, and for writes to end."""
    result: int
    """What the call returned: pages that did not move, or -1."""
    errno: str
    migrate_model_ns: int
    faults_waited: int
    """Accesses to pages in flight, which waited until those were there (2005)."""
    fault_wait_model_ns: int
    """What they waited, all together."""
    access_ps_before: int
    """Mean cost of the workload's accesses since its last such event, in picoseconds; 0: none."""
    access_ps_after: int
    """The same until its next such event."""
    payback_model_ns: int
    """When cheaper accesses have saved what it cost, at the rate of accesses since; -1: never."""


class Accesses(NamedTuple):
    """How often a workload has accessed its memory, and what that cost."""

    workload: str
    number: int
    remote: int
    """Of these, to memory of another node than the CPU's."""
    cost_ps: int
    slow: int = 0
    """Of these, to nodes of slower memory."""
    waited_ns: int = 0
    """How long all of them waited for their pages: for reclaim, or to be read."""

    def mean_ps_since(self, before: Accesses) -> int:
        """Return the mean cost of an access since an earlier count; 0 if there was none."""
        number = self.number - before.number
        return (self.cost_ps - before.cost_ps) // number if number else 0


class Removal(NamedTuple):
    """What became of a memory block that was to be taken offline: a row of hotplug.csv."""

    time_ns: int
    event: str
    block: int
    zone: str
    result: str
    """``offline`` or ``online``: its state afterwards; ``taken`` by CMA."""
    errno: str
    reason: str
    """Why it stayed; empty if it went."""
    page: int
    """pfn of the page that stopped it, -1 if none did."""
    obstacles: int
    """Pages that stand in the way, each by itself."""
    pages_moved: int
    pages_left: int
    """Pages in use that were still there at the end."""
    tries: int
    offline_model_ns: int


@dataclass(frozen=True)
class TrialRecord:
    """What a trial leaves behind for the metrics: counters, a census, the probes."""

    zones: tuple[ZoneInfo, ...]
    vmstat: Mapping[str, int]
    """System-wide counters with their /proc/vmstat names, and memsim's own."""
    zone_vmstat: tuple[Mapping[str, int], ...]
    """numa_hit, numa_miss, numa_foreign, numa_local, numa_other of each zone."""
    census: Census
    probes: Probes
    probe_requests: tuple[Request, ...]
    probe_phases: tuple[str, ...]
    notes: tuple[str, ...]
    max_page_order: int
    pageblock_order: int
    memory_block_size: int
    old_types: int | None
    """In the kernels of 2005 the number of types of the placement policy, else None."""
    migrations: tuple[Migration, ...] = ()
    removals: tuple[Removal, ...] = ()
    accesses: tuple[Accesses, ...] = ()
    huge_pages: HugePages | None = None
    """None: the machine has no pool of them."""
    slower_nodes: tuple[int, ...] = ()
    """Nodes whose memory is slower than that of others."""
    grouped: bool = False
    """In these kernels: that policy groups by mobility and can reserve pageblocks (HighAtomic)."""
