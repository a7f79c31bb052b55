"""Go on through compaction: memsim's own runs, taken where the trace shows the kernel's.

What the trace says of a run is who made it, for which order, over which zone and when; what the
run then does is a prediction, held against the trace event by event. kcompactd's runs are taken
step by step, so that requests in between find what they found. Daemons act only where the trace
shows them: after each time kswapd has slept, it is taken; and a request has drained the per-CPU
lists where no free explains why blocks leave them. From the first run on requests may reclaim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsim.fidelity.freerun import FreeRun, hold_all
from memsim.fidelity.recorded import (
    Difference,
    Event,
    Followed,
    Run,
    drains_by_themselves,
    kswapd_acts,
    predicted_events,
    recorded_runs,
    say,
)
from memsim.kernels import compaction_run, trace_log
from memsim.kernels import layout as L
from memsim.kernels.compact_control import (
    CC_CAPTURE,
    MIGRATE_SYNC,
    MIGRATE_SYNC_LIGHT,
    WHOLE_MEMORY,
)
from memsim.kernels.compaction import PRIO_ASYNC, PRIO_SYNC_LIGHT
from memsim.kernels.compaction_suitable import COMPACT_CONTINUE
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD_DUE,
    N_KSWAPD_DUE,
    N_KSWAPD_WOKE,
    NODE_FIELDS,
    S_COMPACT,
    S_PRESSURE,
)
from memsim.memory.requests import request_row
from memsim.traces import TraceEvent, TraceTable
from memsim.traces.capture import CompactionEvent, CompactionTable

HELD = FOREVER - 1
"""When a daemon that is awake, but acts only where the trace shows it, has its turn."""
CONTEXT = 5


class Stop(Exception):
    """Exactness has ended here."""


@dataclass
class _Taking:
    """A run under way: how many of its events were held against the trace."""

    run: Run
    compared: int = 0

    @property
    def next_time(self) -> int:
        return int(self.run.time[min(self.compared, len(self.run.time) - 1)])


class Stepwise:
    """A free run that goes on through the compaction of its trace."""

    def __init__(self, run: FreeRun, trace: TraceTable, table: CompactionTable) -> None:
        self.run = run
        self.table = table
        self.time = trace.time[run.requests.row]
        begins = np.flatnonzero(trace.event == TraceEvent.MM_COMPACTION_BEGIN)
        self.event_of_begin = np.searchsorted(run.requests.row, begins)
        self.zone_starts = [zone.start_pfn for zone in run.memory.setup.zones]
        self.kswapd = kswapd_acts(table, self.time)
        self.kswapd_last = table.time[table.event == CompactionEvent.KSWAPD_LAST]
        self.drains = drains_by_themselves(trace)
        self.seen_until = 0
        self.nowhere = run.memory.add_handles(1)
        self.followed = Followed()
        hold_all(run.memory)

    def follow(self) -> Followed:
        """Carry out everything up to the end or to the first difference."""
        try:
            self._follow()
        except Stop as stop:
            self.followed.stopped_at = str(stop)
        return self.followed

    def _follow(self) -> None:
        runs = list(recorded_runs(self.table))
        if not runs:
            self._requests_until(len(self.time))
            return
        self._requests_until(int(self.event_of_begin[0]))
        self.run.memory.mem.system[S_PRESSURE] = 1
        done_ns = 0
        for i, run in enumerate(runs):
            if int(run.time[0]) < done_ns:
                if run.alone:
                    self._stop(run, 0, "two runs of compaction overlap")
                continue
            if run.alone:
                self._between_runs(int(run.time[0]))
                self._requests_until(int(self.event_of_begin[run.begin]))
                self._take(run)
                self.seen_until = done_ns = int(run.time[-1])
            else:
                done_ns = self._serve(runs[i:])
        self._requests_until(len(self.time))

    # --- requests ---------------------------------------------------------------------------

    def _requests_until(self, stop: int) -> None:
        """Carry out requests and frees in which the trace shows no compaction."""
        logged = len(self.run.log)
        self._hold_daemons(awake=True)
        turns = np.flatnonzero(np.diff(self.kswapd[self.run.done : stop])) + self.run.done + 1
        for until in (*turns, stop):
            self._balances(bool(self.kswapd[min(self.run.done, len(self.kswapd) - 1)]))
            self.run.until(int(until))
        self._balances(False)
        if self.run.wrong is not None:
            at = int(self.time[self.run.wrong])
            self.followed.stop_ns = int(self.time[max(self.run.wrong - 1, 0)]) + 1
            raise Stop(f"an allocation at {at / 1e9:.6f} s that is not where it was predicted")
        found = self._predicted(logged)
        if found:
            self._differs(int(self.time[stop - 1]), None, found[0])

    def _serve(self, runs: list[Run]) -> int:
        """Serve the request that made the first of these runs; return when it was served."""
        first = runs[0]
        self._requests_until(int(self.event_of_begin[first.begin]))
        end_ns = int(first.time[-1])
        ops = self.run.requests.batch.op
        event = int(self.event_of_begin[first.begin])
        while event < len(ops) and not (self.time[event] >= end_ns and ops[event] == first.order):
            event += 1
        if event == len(ops):
            self._stop(first, 0, "no request for what a run was made for")
        served_ns = int(self.time[event])
        mine = [run for run in runs if int(run.time[0]) < served_ns]
        if any(run.alone for run in mine):
            self._stop(first, 0, "two runs of compaction overlap")
        for i, run in enumerate(mine):
            again = i > 0 and run.zone_start >= mine[i - 1].zone_start
            self._between_runs(int(run.time[0]), reclaimed=again)
            self._requests_until(int(self.event_of_begin[run.begin]))
            z = self._take_for(run, event)
            self.seen_until = int(run.time[-1])
        self._requests_until(event)
        self.run.memory.mem.system[S_PRESSURE] = 0
        self._requests_until(event + 1)
        self.run.memory.mem.system[S_PRESSURE] = 1
        if self.run.pfn[event] >= 0:
            compaction_run.note_served(self.run.memory.mem, z, first.order)
        return served_ns

    def _take_for(self, run: Run, event: int) -> int:
        """Let memsim make a run for a request that the trace shows to compact; return the zone."""
        memory = self.run.memory
        taking = _Taking(run)
        z = self.zone_starts.index(run.zone_start)
        request = self.run.requests.requests[int(self.run.requests.batch.request[event])]
        row = np.array(request_row(request, memory.tables, memory.setup.mechanism), np.int64)
        priority = PRIO_SYNC_LIGHT if run.events[0][4] else PRIO_ASYNC
        before = memory.page_table.copy()
        result = compaction_run.begin_direct(
            memory.mem, memory.tables, row, 0, z, run.order, priority
        )
        self._compare(taking, before)
        while result == COMPACT_CONTINUE:
            memory.mem.system[S_COMPACT + CC_CAPTURE] = 0
            self._requests_before(taking.next_time)
            memory.mem.system[S_COMPACT + CC_CAPTURE] = 1
            before = memory.page_table.copy()
            result = compaction_run.step(memory.mem, memory.tables)
            self._compare(taking, before)
        before = memory.page_table.copy()
        captured = compaction_run.end_direct(memory.mem, result)
        self._compare(taking, before, ended=True)
        self.followed.runs += 1
        if captured >= 0:
            self._stop(run, -1, "a request's run captures a block")
        return z

    def _between_runs(self, until: int, *, reclaimed: bool = False) -> None:
        """Let kswapd sleep, and a request that has reclaimed drain, where the trace shows it."""
        slept = self.kswapd_last[(self.kswapd_last > self.seen_until) & (self.kswapd_last < until)]
        drained = self.drains[(self.drains > self.seen_until) & (self.drains < until)]
        if len(slept):
            self._requests_before(int(slept[-1]))
            compaction_run.let_kswapd_sleep(self.run.memory.mem)
        if reclaimed and len(drained):
            self._requests_before(int(drained[0]))
            self.run.memory.drain_all()
            self.run.log.append(self._log())

    def _log(self) -> NDArray[np.int32]:
        log = self.run.memory.take_log()
        log[:, 0] = max(self.run.done - 1, 0)
        return log

    # --- runs -------------------------------------------------------------------------------

    def _take(self, run: Run) -> None:
        """Let memsim make a run of its own where the trace has one."""
        memory = self.run.memory
        mode = MIGRATE_SYNC_LIGHT if run.daemon else MIGRATE_SYNC
        proactive = int(run.daemon and run.order == WHOLE_MEMORY)
        taking = _Taking(run)
        z = self.zone_starts.index(run.zone_start)
        self._hold_daemons(awake=self._kswapd_is_awake(taking, 1))
        before = memory.page_table.copy()
        result = compaction_run.begin(memory.mem, memory.tables, z, run.order, mode, proactive)
        self._compare(taking, before)
        while result == COMPACT_CONTINUE:
            self._requests_before(taking.next_time)
            self._balances(self._kswapd_is_awake(taking, taking.compared))
            self._hold_daemons(awake=self._kswapd_is_awake(taking, self._to_finished(taking)))
            before = memory.page_table.copy()
            result = compaction_run.step(memory.mem, memory.tables)
            self._compare(taking, before)
        before = memory.page_table.copy()
        self._balances(self._kswapd_is_awake(taking, taking.compared))
        compaction_run.end(memory.mem, result)
        self._compare(taking, before, ended=True)
        self.followed.runs += 1

    def _requests_before(self, ns: int) -> None:
        self._requests_until(max(self.run.done, int(np.searchsorted(self.time, ns))))

    def _compare(self, taking: _Taking, before: NDArray[np.int32], *, ended: bool = False) -> None:
        """Hold what memsim has just done against the trace, and let pages follow."""
        log = self._log()
        found = predicted_events(log, self.zone_starts)
        self._hold_against(taking, found, log, before, ended=ended)
        self.run.log.append(log)

    def _hold_against(
        self,
        taking: _Taking,
        found: list[Event],
        log: NDArray[np.int32],
        before: NDArray[np.int32],
        *,
        ended: bool,
    ) -> None:
        seen = taking.run.events
        since = taking.next_time
        last = int(taking.run.time[max(taking.compared - 1, 0)])
        for predicted in found:
            at = taking.compared
            theirs = seen[at] if at < len(seen) else None
            if theirs != predicted:
                self._differs(taking.next_time, theirs, predicted, since)
            taking.compared += 1
            self._count_equal(predicted)
        if ended and taking.compared < len(seen):
            self._differs(taking.next_time, seen[taking.compared], None, since)
        moved = self._follow_pages(before)
        self._drop_own_frees(taking, log, moved, last)

    def _count_equal(self, event: Event) -> None:
        self.followed.seen += 1
        self.followed.predicted += 1
        self.followed.equal += 1
        if event[0] == CompactionEvent.MIGRATEPAGES:
            self.followed.moved_seen += event[3]

    # --- pages ------------------------------------------------------------------------------

    def _follow_pages(self, before: NDArray[np.int32]) -> set[int]:
        """Let what the trace will free where a page has come to be what holds it; say who left."""
        memory = self.run.memory
        now = memory.page_table[: len(before)]
        moved = np.flatnonzero((before != now) & (before > 0) & (now > 0))
        left = {int(pfn) for pfn in before[moved] - 1}
        for handle in moved:
            pfn = int(now[handle]) - 1
            freed_as = self._next_free(pfn)
            if freed_as is not None and freed_as != handle:
                now[handle] = 0
                memory.page_table[freed_as] = pfn + 1
                memory.mem.rmap[pfn] = freed_as
        return left

    def _next_free(self, pfn: int) -> int | None:
        """Return the handle by which the trace frees a page next."""
        later = self.run.events_of(pfn, self.run.done)
        later = later[self.run.requests.batch.handle[later] != self.nowhere]
        if not len(later) or self.run.is_alloc[later[0]]:
            return None
        return int(self.run.requests.batch.handle[later[0]])

    def _drop_own_frees(
        self, taking: _Taking, log: NDArray[np.int32], moved: set[int], since: int
    ) -> None:
        """Leave out the frees in the trace that were the run's own; each must stand there."""
        batch = self.run.requests.batch
        until = int(taking.run.time[-1])
        self.followed.moved += len(moved)
        for pfn in log[log[:, 1] == trace_log.LOG_FREE, 2]:
            events = self.run.events_of(int(pfn), 0)
            mine = ~self.run.is_alloc[events] & (batch.handle[events] != self.nowhere)
            at = self.time[events]
            events = events[mine & (at >= since) & (at <= until)]
            if not len(events):
                continue
            event = int(events[0])
            batch.handle[event] = self.nowhere
            self.followed.dropped += 1
            self.followed.moved_equal += int(pfn) in moved

    # --- who is awake -----------------------------------------------------------------------

    def _hold_daemons(self, *, awake: bool) -> None:
        rows = self.run.memory.mem.nodes.reshape(-1, NODE_FIELDS)
        rows[:, N_KSWAPD_DUE] = HELD if awake else FOREVER
        rows[:, N_KSWAPD_WOKE] = awake
        rows[:, N_KCOMPACTD_DUE] = HELD

    def _balances(self, active: bool) -> None:
        rows = self.run.memory.mem.zones.reshape(-1, L.ZONE_FIELDS)
        rows[:, L.Z_RECLAIM_ACTIVE] = active

    def _to_finished(self, taking: _Taking) -> int:
        """Return the number of the event at which the run looks whether it has finished."""
        events = taking.run.events
        later = range(taking.compared, len(events))
        return next((i for i in later if events[i][0] == CompactionEvent.FINISHED), len(events) - 1)

    def _kswapd_is_awake(self, taking: _Taking, event: int) -> bool:
        """Say whether the trace has shown kswapd since kcompactd began its first run."""
        until = int(taking.run.time[min(event, len(taking.run.time) - 1)])
        events, daemon, past = self.table.event, self.table.daemon, self.table.time <= until
        slept = np.flatnonzero(past & (events == CompactionEvent.SLEEP))
        past[: slept[-1] + 1 if len(slept) else 0] = False
        begun = np.flatnonzero(past & daemon & (events == CompactionEvent.BEGIN))
        past[: begun[0] if len(begun) else 0] = False
        return bool((past & (events == CompactionEvent.KSWAPD)).any())

    # --- the end ----------------------------------------------------------------------------

    def _predicted(self, logged: int) -> list[Event]:
        return [
            event
            for log in self.run.log[logged:]
            for event in predicted_events(log, self.zone_starts)
        ]

    def _stop(self, run: Run, event: int, why: str) -> None:
        self.followed.stop_ns = int(run.time[event])
        raise Stop(f"{run.time[event] / 1e9:.6f} s: {why}: not modelled")

    def _differs(
        self, time: int, seen: Event | None, predicted: Event | None, cut: int | None = None
    ) -> None:
        """Note the first difference, and stop."""
        self.followed.seen += seen is not None
        self.followed.predicted += predicted is not None
        self.followed.stop_ns = time if cut is None else cut
        row, size = int(np.searchsorted(self.table.time, time)), len(self.table.time)
        near = range(max(0, row - CONTEXT), min(size, row + CONTEXT))
        self.followed.difference = Difference(
            index=self.followed.equal,
            time_ns=time,
            seen=say(seen),
            predicted=say(predicted),
            context=tuple(self._line(r, row) for r in near),
        )
        raise Stop(
            f"compaction event {self.followed.equal} at {time / 1e9:.6f} s: "
            f"seen {say(seen)}, predicted {say(predicted)}"
        )

    def _line(self, row: int, marked: int) -> str:
        who = "kcompactd" if self.table.daemon[row] else "task"
        event = (int(self.table.event[row]), *(int(x) for x in self.table.fields[row]))
        text = f"{self.table.time[row] / 1e9:.6f} {who} {say(event)}"
        return f"{'>' if row == marked else ' '} {text}"
