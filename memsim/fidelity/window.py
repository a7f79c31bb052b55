"""The part of a capture that memsim can replay, replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError, Problem
from memsim.fidelity.freerun import Prediction, begin_run, grouping_switch, preferred_nodes
from memsim.fidelity.recorded import Followed
from memsim.fidelity.removals import MovedPages, offline_rows, replay_offlines, take_out
from memsim.fidelity.stepwise import Stepwise
from memsim.mm import Status, gfp_from_text
from memsim.traces import TraceEvent, TraceTable
from memsim.traces.capture import NO_COMPACTION, Capture, CompactionTable
from memsim.workloads.replay import TraceRequests, trace_requests

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Window:
    """What is left of a trace, and why the rest is not."""

    trace: TraceTable
    stopped_at: str
    whole: bool
    """The window reaches the capture's end state."""


class Replayed(NamedTuple):
    """A capture and what memsim predicts for it."""

    window: Window
    requests: TraceRequests
    run: Prediction
    switch: int | None
    """The event before which grouping by mobility was switched off, None if never."""
    followed: Followed | None
    """How far recorded compaction was predicted, None where the capture has none."""
    moved: MovedPages | None = None
    """How memory blocks that went offline were emptied, None where none did."""


def replay(capture: Capture, *, follow: bool = True) -> Replayed:
    """Replay a capture from its start state, as far as memsim models what happened.

    Where the capture holds what compaction did, the replay goes on through it, unless it is not to
    ``follow``: the requests can then be made of any memory.
    Raises InputError for requests that the start state's machine cannot have made.
    """
    _check(capture)
    removes = follow and capture.pages is not None and bool(offline_rows(capture.trace))
    if removes or not follow:
        capture = replace(capture, compaction=NO_COMPACTION)
    window = _window(capture, removes)
    if removes:
        return _replay_offlines(capture, window)
    trace = window.trace
    requests = trace_requests(trace, preferred_nodes(trace, capture.start))
    switch = grouping_switch(trace, requests)
    pages = capture.pages if _goes_on(capture) else None
    run = begin_run(capture.start, trace, requests, switch, pages)
    if not _goes_on(capture):
        run.until(len(requests.row))
        return Replayed(*_until_reclaim(window, requests, run.prediction()), switch, None)
    followed = Stepwise(run, trace, _between(capture)).follow()
    return Replayed(*_until_stop(window, requests, run.prediction(), followed), switch, followed)


def _replay_offlines(capture: Capture, window: Window) -> Replayed:
    """Replay a capture through the blocks that were taken offline in it."""
    trace, offlines = take_out(window.trace)
    window = replace(window, trace=trace)
    requests = trace_requests(trace, preferred_nodes(trace, capture.start))
    switch = grouping_switch(trace, requests)
    run = begin_run(capture.start, trace, requests, switch, capture.pages)
    moved = replay_offlines(run, requests.row, offlines)
    return Replayed(*_until_reclaim(window, requests, run.prediction()), switch, None, moved)


def _goes_on(capture: Capture) -> bool:
    """Say whether a capture holds what it takes to go on through compaction."""
    return len(capture.compaction.time) > 0 and capture.pages is not None


def _between(capture: Capture) -> CompactionTable:
    """Return the compaction events between the snapshots."""
    time = capture.compaction.time
    keep = time >= capture.start.time_ns
    if capture.end is not None:
        keep &= time <= capture.end.time_ns
    return CompactionTable._make(column[keep] for column in capture.compaction)


def _check(capture: Capture) -> None:
    problems = []
    path = str(capture.path)
    cpus = max(pcp.cpu for zone in capture.start.zones for pcp in zone.pcp) + 1
    if len(capture.trace) and int(capture.trace.cpu.max()) >= cpus:
        found = f"the trace has events of CPU {capture.trace.cpu.max()}"
        problems.append(Problem(path, 0, 0, f"{found}, the start state has {cpus} CPUs"))
    for text in capture.trace.gfp_texts:
        try:
            gfp_from_text(text)
        except KeyError as error:
            message = f"unknown gfp flag {error} in {text}"
            problems.append(
                Problem(path, 0, 0, message, "record flags by name: not raw, no option fields")
            )
    if problems:
        raise InputError(problems)


def _window(capture: Capture, removes: bool) -> Window:
    """Cut the trace to the time between the snapshots, or to what memsim does not model."""
    trace = capture.trace
    keep = trace.time >= capture.start.time_ns
    stopped_at = "the end of the trace: there is no end state"
    if capture.end is not None:
        keep &= trace.time <= capture.end.time_ns
        stopped_at = "the end state"
    not_modelled = _not_modelled(trace, _goes_on(capture) or removes, removes)
    stops = np.flatnonzero(keep & not_modelled)
    if len(stops) == 0:
        return Window(trace.select(keep), stopped_at, capture.end is not None)
    keep[stops[0] :] = False
    return Window(trace.select(keep), f"{_reason(trace, int(stops[0]))}: not modelled", False)


def _not_modelled(trace: TraceTable, goes_on: bool, removes: bool) -> NDArray[np.bool_]:
    events = (TraceEvent.MM_COMPACTION_BEGIN, TraceEvent.MM_MIGRATE_PAGES)
    stops = np.isin(trace.event, () if goes_on else events)
    if not removes:
        stops[[row for row, _ in offline_rows(trace)]] = True
    return stops


def _reason(trace: TraceTable, row: int) -> str:
    name = TraceEvent(trace.event[row]).name.lower()
    if trace.event[row] == TraceEvent.MARKER:
        name = trace.marker_texts[trace.marker[row]]
    return f"{name} at {trace.time[row] / NS_PER_S:.6f} s"


def _until_reclaim(
    window: Window, requests: TraceRequests, run: Prediction
) -> tuple[Window, TraceRequests, Prediction]:
    """Cut everything at the first request that the kernel served by reclaim or compaction."""
    served = window.trace.pfn[requests.row] >= 0
    stuck = np.flatnonzero((run.status == Status.NEEDS_RECLAIM) & served)
    if len(stuck) == 0:
        return window, requests, run
    event = int(stuck[0])
    row = int(requests.row[event])
    keep = np.arange(len(window.trace)) < row
    reason = f"a request at {window.trace.time[row] / NS_PER_S:.6f} s needs reclaim: not modelled"
    return (
        Window(window.trace.select(keep), reason, whole=False),
        requests.first(event),
        run.first(event),
    )


def _until_stop(
    window: Window, requests: TraceRequests, run: Prediction, followed: Followed
) -> tuple[Window, TraceRequests, Prediction]:
    """Cut everything where following the compaction came to its end."""
    run = replace(run, not_held=run.not_held - followed.dropped)
    if not followed.stopped_at:
        return window, requests, run
    trace = window.trace
    events = int(np.searchsorted(requests.batch.time, followed.stop_ns))
    kept = trace.select(trace.time < followed.stop_ns)
    return (
        Window(kept, followed.stopped_at, whole=False),
        requests.first(events),
        run.first(events),
    )
