"""The compaction that a capture recorded: its runs, and its events beside memsim's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import trace_log as T
from memsim.kernels.compact_control import MIGRATE_ASYNC, WHOLE_MEMORY
from memsim.traces import TraceEvent, TraceTable
from memsim.traces.capture import CompactionEvent, CompactionTable

BEGIN, END, FINISHED = CompactionEvent.BEGIN, CompactionEvent.END, CompactionEvent.FINISHED
KIND_OF_LOG = {
    T.COMPACTION_BEGIN: BEGIN,
    T.COMPACTION_END: END,
    T.COMPACTION_ISOLATE_MIGRATEPAGES: CompactionEvent.ISOLATE_MIGRATEPAGES,
    T.COMPACTION_ISOLATE_FREEPAGES: CompactionEvent.ISOLATE_FREEPAGES,
    T.COMPACTION_MIGRATEPAGES: CompactionEvent.MIGRATEPAGES,
    T.COMPACTION_FINISHED: FINISHED,
}
AT_ONCE_NS = 50_000
"""Within this time after a free blocks leave the per-CPU lists because of it."""
Event = tuple[int, ...]
"""Kind (CompactionEvent) and four fields, as a CompactionTable has them."""


class Run(NamedTuple):
    """One run of compaction over a zone."""

    begin: int
    """Number among the runs of the trace."""
    time: NDArray[np.int64]
    events: tuple[Event, ...]
    """From BEGIN on, to END if the trace holds it."""
    daemon: bool
    order: int
    zone_start: int

    @property
    def ended(self) -> bool:
        """The trace holds the run's end."""
        return self.events[-1][0] == END

    @property
    def alone(self) -> bool:
        """No request made the run: kcompactd did, or a write to compact_memory."""
        return self.daemon or self.order == WHOLE_MEMORY


@dataclass(frozen=True)
class Difference:
    """The first place where a run is not what the trace holds."""

    index: int
    """Compaction events before it."""
    time_ns: int
    seen: str
    predicted: str
    context: tuple[str, ...]


@dataclass
class Followed:
    """How far the recorded compaction was predicted."""

    runs: int = 0
    """Runs predicted to their end."""
    seen: int = 0
    predicted: int = 0
    equal: int = 0
    """Compaction events."""
    moved_seen: int = 0
    moved: int = 0
    moved_equal: int = 0
    """Pages that were moved away, and whose freeing stands in the trace."""
    difference: Difference | None = None
    stopped_at: str = ""
    """Empty: it went on to the end."""
    stop_ns: int = 0
    dropped: int = 0
    """Frees in the trace that were the runs' own."""


def recorded_runs(table: CompactionTable) -> Iterator[Run]:
    """Yield the runs in the order in which they began; two may overlap."""
    moves = table.event <= FINISHED
    for number, row in enumerate(np.flatnonzero(table.event == BEGIN)):
        mine = moves & (table.daemon == table.daemon[row])
        mine[:row] = False
        rows = np.flatnonzero(mine)
        ends = np.flatnonzero(table.event[rows] == END)
        again = np.flatnonzero(table.event[rows] == BEGIN)[1:]
        last = min([*ends[:1] + 1, *again[:1], len(rows)])
        rows = rows[:last]
        orders = table.fields[rows[table.event[rows] == FINISHED], 2]
        yield Run(
            begin=number,
            time=table.time[rows],
            events=tuple(_event(table, int(row)) for row in rows),
            daemon=bool(table.daemon[row]),
            order=int(orders[0]) if len(orders) else WHOLE_MEMORY,
            zone_start=int(table.fields[row, 2]),
        )


def _event(table: CompactionTable, row: int) -> Event:
    return int(table.event[row]), *(int(x) for x in table.fields[row])


def predicted_events(log: NDArray[np.int32], zone_starts: list[int]) -> list[Event]:
    """Read compaction's rows of memsim's log."""
    return [_of_log(row, zone_starts) for row in log[log[:, 1] == T.LOG_COMPACTION]]


def _of_log(row: NDArray[np.int32], zone_starts: list[int]) -> Event:
    pfn, what, a, b, c, d = (int(x) for x in row[2:8])
    kind = int(KIND_OF_LOG[what])
    if kind == BEGIN:
        return kind, pfn, a, zone_starts[b], int(d != MIGRATE_ASYNC)
    if kind == END:
        return kind, pfn, a, zone_starts[b], d
    if kind == FINISHED:
        return kind, 0, 0, b, c
    if kind == CompactionEvent.MIGRATEPAGES:
        return kind, 0, 0, a, b
    return kind, pfn, a, b, c


def say(event: Event | None) -> str:
    """Write an event as a person reads it."""
    if event is None:
        return "nothing"
    kind, a, b, c, d = event
    name = f"mm_compaction_{CompactionEvent(kind).name.lower()}"
    if kind > FINISHED:
        return CompactionEvent(kind).name.lower()
    if kind == FINISHED:
        return f"{name} order={c} result={d}"
    if kind == CompactionEvent.MIGRATEPAGES:
        return f"{name} nr_migrated={c} nr_failed={d}"
    if kind in (BEGIN, END):
        last = "sync" if kind == BEGIN else "result"
        return f"{name} migrate_pfn={a:#x} free_pfn={b:#x} zone_start={c:#x} {last}={d}"
    return f"{name} range=({a:#x} ~ {b:#x}) nr_scanned={c} nr_taken={d}"


def kswapd_acts(table: CompactionTable, time: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of which instants (n,) the trace shows kswapd at work."""
    begins = table.time[table.event == CompactionEvent.KSWAPD]
    ends = table.time[table.event == CompactionEvent.KSWAPD_LAST]
    begun = np.searchsorted(begins, time, side="right")
    ended = np.searchsorted(ends, time, side="left")
    return begun > ended


def drains_by_themselves(trace: TraceTable) -> NDArray[np.int64]:
    """Return the instants at which blocks left the per-CPU lists without a free just before."""
    drains: NDArray[np.int64] = trace.time[trace.event == TraceEvent.MM_PAGE_PCPU_DRAIN]
    others = trace.time[trace.event != TraceEvent.MM_PAGE_PCPU_DRAIN]
    before = np.searchsorted(others, drains, side="right") - 1
    alone: NDArray[np.int64] = drains[drains - others[np.maximum(before, 0)] > AT_ONCE_NS]
    return alone
