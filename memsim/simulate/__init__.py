"""The event loop of one trial: a pure function around Memory.

No terminal, no clock, no global random state, and no file but the trial's own inputs, which their
readers read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memsim import plugins
from memsim.errors import TrialError
from memsim.kernels.placement import OPT_GROUPING
from memsim.memory.balancing import slower_nodes
from memsim.memory.hugetlb import has_pool, huge_pages, set_nr_hugepages
from memsim.memory.migrating_2005 import Touches
from memsim.memory.start import start
from memsim.memory.waiting import take_waits
from memsim.metrics._validity import measure_all
from memsim.mm import (
    ALLOC_FLAGS,
    FREE_FLAGS,
    OP_FREE,
    OP_TOUCH,
)
from memsim.scenario import Trial
from memsim.schema import Migration, Outcome, Removal, Request, Stream, TrialRecord
from memsim.simulate.happenings import Happenings
from memsim.simulate.interleave import Agenda, Interleaved
from memsim.simulate.locality import Locality
from memsim.simulate.oom import OomKill, OomKiller
from memsim.simulate.pieces import Columns
from memsim.simulate.plan import (
    cpus_of_nodes,
    machine_notes,
    order_of,
    plan_streams,
    tables_of_trial,
    with_what_is_to_go,
)
from memsim.simulate.probes import (
    ProbeTally,
    gfp_text,
    probes_of,
    tally,
)
from memsim.simulate.sampling import MapSample, Sample, Sampler

BATCH_SIZE = 100_000
FEW_EVENTS = 256
SAMPLES = 100
Progress = Callable[[float], None]


@dataclass(frozen=True)
class TrialResult:
    """What a trial says; plain data, the same for the same trial."""

    status: Literal["ok", "failed"]
    error: str = ""
    metrics: dict[str, int | float | None] = field(default_factory=dict)
    counters: tuple[tuple[str, str, int], ...] = ()
    """Zone (``node0 Normal``, empty: of the whole machine), name as in /proc/vmstat, value."""
    high_order: tuple[ProbeTally, ...] = ()
    timeline: tuple[Sample, ...] = ()
    map: tuple[MapSample, ...] = ()
    oom: tuple[OomKill, ...] = ()
    migrations: tuple[Migration, ...] = ()
    removals: tuple[Removal, ...] = ()
    notes: tuple[str, ...] = ()
    events: int = 0
    """Requests and frees that were carried out."""


def simulate(
    trial: Trial,
    *,
    batch_size: int = BATCH_SIZE,
    samples: int = SAMPLES,
    check: bool = False,
    on_progress: Progress | None = None,
) -> TrialResult:
    """Carry out a trial.

    The result does not depend on ``batch_size``. ``check`` verifies the allocator's invariants
    after each batch. ``on_progress`` hears the share of simulated time that has passed, and may
    raise to end the trial. A trial that cannot be carried out is a result with status ``failed``,
    also because of a plug-in's code; raises InputError for inputs that are no good.
    """
    try:
        run = _Run(trial, samples)
        checked = 0
        while run.step(batch_size):
            if check and run.events >= checked + batch_size:
                run.memory.check()
                checked = run.events
            if on_progress is not None:
                on_progress(min(1.0, run.memory.now / run.duration_ns))
        if check:
            run.memory.check()
        if on_progress is not None:
            on_progress(1.0)
        return run.result()
    except TrialError as error:
        return TrialResult("failed", str(error))
    except plugins.PluginFault as fault:
        return TrialResult("failed", str(replace(fault.problems[0], hint="")))
    except AssertionError as error:
        if not plugins.is_outside("policies", trial.spec.placement):
            raise
        name, message = trial.spec.placement, f"breaks an invariant: {error}"
        return TrialResult("failed", str(plugins.fault("policies", name, "Policy", message)))
    except MemoryError:
        return TrialResult("failed", "this computer's memory does not suffice")


def planned_streams(trial: Trial) -> tuple[int, list[Stream]]:
    """Return the pages of a trial's machine and what will be asked for; nothing is carried out.

    Raises what ``simulate`` raises, and what it would say in a failed trial.
    """
    run = _Run(trial, 0)
    return sum(zone.present for zone in run.memory.setup.zones), run.streams


class _Run:
    """A trial in progress."""

    def __init__(self, trial: Trial, samples: int) -> None:
        scenario = trial.scenario
        self.duration_ns = scenario.duration
        self.memory = start(
            scenario.machine,
            trial.profile,
            trial.spec.kernel,
            tables_of_trial(trial),
            scenario.directory,
            trial.seed,
        )
        old = self.memory.setup.mechanism == "linux-2.6.14"
        types = getattr(plugins.model_of("policies", trial.spec.placement), "TYPES", ())
        self.old_types = len(types) if old else None
        self.grouped = bool(self.memory.tables.options[OPT_GROUPING])
        self.memory_block_size = scenario.machine.memory_block_size
        self.memory_block_order = order_of(self.memory_block_size)
        self.memory.setup = with_what_is_to_go(self.memory.setup, scenario)
        self.cpus = cpus_of_nodes(trial, self.memory)
        self.names, self.streams = plan_streams(trial, self.memory.setup.zones, self.cpus)
        self.notes = machine_notes(trial) + tuple(
            note for stream in self.streams for note in stream.notes
        )
        self._admit()
        if scenario.machine.nodes and any(scenario.machine.huge_pages):
            set_nr_hugepages(self.memory, scenario.machine.huge_pages)
        self.oom = OomKiller(self.memory, self.names, self.streams, self.first_handle.tolist())
        self.observed: list[tuple[Interleaved, Outcome]] = []
        # How many events had been carried out before each of them.
        self.observed_at: list[NDArray[np.int64]] = []
        requests = {
            name: range(first, first + count)
            for name, first, count in zip(
                self.names, self.first_request.tolist(), self.counts.tolist(), strict=True
            )
        }
        self.locality = Locality(self.memory, requests)
        self.agenda = Agenda(self.streams)
        self.happenings = Happenings(
            trial,
            self.memory,
            self.names,
            self.streams,
            self.first_handle.tolist(),
            self.locality,
            self.agenda.next_ns,
            self._touches,
            self.agenda.drop,
        )
        self.sampler = Sampler(
            self.memory, self.duration_ns, samples, self.memory_block_order, trial.keeps_map
        )
        self.events = 0
        self.at_once = FEW_EVENTS

    def _admit(self) -> None:
        """Give the streams their places among the machine's requests and handles."""
        counts = [len(stream.requests) for stream in self.streams]
        handles = [stream.handles for stream in self.streams]
        if sum(counts) > np.iinfo(np.uint16).max or sum(handles) > np.iinfo(np.int32).max:
            raise TrialError("the workloads together plan more than one trial can hold")
        self.first_request = np.cumsum([0, *counts])[:-1]
        self.first_handle = np.cumsum([0, *handles])[:-1]
        self.counts, self.handles = np.array(counts), np.array(handles)
        self.is_observed = np.array([stream.observe for stream in self.streams], bool)
        for name, stream in zip(self.names, self.streams, strict=True):
            self._check_requests(name, stream.requests)
            waiters = stream.pace.processes if stream.pace else 0
            self.memory.add_requests([replace(r, waiters=waiters) for r in stream.requests])
        self.memory.add_handles(sum(handles))
        for first, stream in zip(self.first_handle, self.streams, strict=True):
            if stream.traits is not None:
                self.memory.mem.traits[first : first + stream.handles] = stream.traits
            if stream.before is not None:
                self.memory.hold(int(first) + stream.handles - stream.before.handles, stream.before)

    def _check_requests(self, name: str, requests: Sequence[Request]) -> None:
        nodes = range(len(self.memory.setup.zonelists))
        for request in requests:
            first = () if request.preferred is None else (request.preferred,)
            for node in (*first, *(request.nodes or ())):
                if node not in nodes:
                    raise TrialError(f"{name} asks for memory of node {node}, which is not there")

    def _touches(self, until: int) -> Touches:
        """Return all accesses that are planned before an instant of the trial."""
        stream, batch = self.agenda.coming(min(until, self.duration_ns))
        handles = (batch.handle + self.first_handle[stream]).astype(np.int32)
        touches = (batch.op < OP_FREE) & (batch.op & OP_TOUCH != 0)
        return Touches(handles[touches], batch.time[touches])

    def step(self, most: int, stop_ns: int | None = None) -> bool:
        """Carry out at most so many events, or what comes before them; False at the end.

        The end is that of the trial, or comes with the events of the instant ``stop_ns``.
        """
        end = self.duration_ns if stop_ns is None else min(stop_ns, self.duration_ns)
        sample = self.sampler.due[0] if self.sampler.due else end
        happening = self.happenings.next_ns
        happens = happening is not None and happening <= sample
        instant = happening if happening is not None and happens else sample
        self.at_once = min(self.at_once, most)
        # What happens to the machine comes before the events of its instant, a sample after them.
        events = self.agenda.take(self.at_once, instant + (not happens))
        if len(events):
            self._check_events(events)
            self._carry_out(events)
            return True
        self.memory.advance(instant)
        if happens:
            self.happenings.happen()
        elif self.sampler.due:
            self.sampler.look()
        else:
            return False
        return True

    def _check_events(self, events: Interleaved) -> None:
        stream, (_, op, request, cpu, handle) = events
        allocates = op < OP_FREE
        largest = self.memory.setup.max_page_order
        flags = np.where(allocates, np.uint8(ALLOC_FLAGS), np.uint8(FREE_FLAGS))
        wrong = (
            ((op & ~flags) > largest)
            | (allocates & (request >= self.counts[stream]))
            | (cpu >= len(self.memory.setup.cpu_node))
            | (handle < 0)
            | (handle >= self.handles[stream])
        )
        if wrong.any():
            i = int(np.argmax(wrong))
            raise TrialError(
                f"{self.names[int(stream[i])]} asks for what cannot be: op {op[i]}, request "
                f"{request[i]}, CPU {cpu[i]}, handle {handle[i]}"
            )

    def _carry_out(self, events: Interleaved) -> None:
        """Carry out events as far as they happen at their times."""
        done = self._run(events)
        self.agenda.done(events, done)
        if done < len(events) and self.memory.needs_oom_kill:
            self._kill_for(events.part(done))
        # Nothing is merged in vain that must be merged again because somebody falls behind.
        self.at_once = 2 * self.at_once if done == len(events) else max(2 * done, FEW_EVENTS)
        waited = take_waits(self.memory)
        if waited is not None:
            for number, mine in enumerate(np.split(waited, self.first_request[1:])):
                self.agenda.delay(number, int(mine.sum()))

    def _run(self, events: Interleaved) -> int:
        """Carry out events in order, as many as the kernel carries out; return how many."""
        stream, (time, op, request, cpu, handle) = events
        columns, carried_out = self.happenings.pieces.expanded(
            Columns(
                np.ascontiguousarray(op, np.uint8),
                (request + self.first_request[stream]).astype(np.uint16),
                np.ascontiguousarray(cpu, np.uint16),
                (handle + self.first_handle[stream]).astype(np.int32),
                np.ascontiguousarray(time, np.int64),
            )
        )
        outcome = self._ask(columns)
        done = int(carried_out[len(outcome.status)])
        self.events += done
        mine = np.flatnonzero(self.is_observed[stream[:done]] & (op[:done] < OP_FREE))
        if len(mine):
            rows = np.searchsorted(carried_out, mine, "left")
            self.observed.append((events.take(mine), outcome.take(rows)))
            self.observed_at.append(self.events - done + mine)
        return done

    def _ask(self, columns: Columns) -> Outcome:
        return self.memory.run(*columns)

    def _kill_for(self, events: Interleaved) -> None:
        """Let the OOM killer choose on behalf of the first event; carry that out if he cannot."""
        stream, (time, op, request, cpu, _) = events
        asker = int(stream[0])
        gfp = self.streams[asker].requests[int(request[0])].gfp
        order = int(op[0]) & ~ALLOC_FLAGS
        victim = self.oom.kill_for(asker, int(time[0]), order, gfp_text(gfp), int(cpu[0]))
        if victim is not None:
            self.agenda.drop(victim)
            return
        self.oom.spare(True)
        self.agenda.done(events, self._run(events.part(0, 1)))
        self.oom.spare(self.oom.is_hopeless)

    def result(self) -> TrialResult:
        """Measure what the trial has left behind."""
        self.happenings.end()
        record = self._record()
        counters = [("", name, value) for name, value in record.vmstat.items()]
        for zone, numa in zip(record.zones, record.zone_vmstat, strict=True):
            counters += [(f"node{zone.node} {zone.name}", *item) for item in numa.items()]
        return TrialResult(
            status="ok",
            metrics=measure_all(record),
            counters=tuple(counters),
            high_order=tuple(tally(record)),
            timeline=tuple(self.sampler.timeline),
            map=tuple(self.sampler.map),
            oom=tuple(self.oom.kills),
            migrations=record.migrations,
            removals=record.removals,
            notes=tuple(dict.fromkeys((*record.notes, *self._said()))),
            events=self.events,
        )

    def _said(self) -> Iterator[str]:
        yield from self.oom.notes()
        yield from self.happenings.mappings.notes
        for number in np.flatnonzero(self.is_observed).tolist():
            left = self.agenda.left(number)
            if left:
                yield f"{self.names[number]}: the trial ended before {left} attempts were made"

    def _record(self) -> TrialRecord:
        observed = [i for i, stream in enumerate(self.streams) if stream.observe]
        return TrialRecord(
            zones=self.memory.zone_infos(),
            vmstat=self.memory.vmstat(),
            zone_vmstat=self.memory.zone_vmstat(),
            census=self.memory.census(self.memory_block_order),
            probes=probes_of(self.observed, self.counts, self.is_observed, self.memory.mem.zone_of),
            probe_requests=tuple(r for i in observed for r in self.streams[i].requests),
            probe_phases=tuple(self.names[i] for i in observed),
            notes=self.notes,
            max_page_order=self.memory.setup.max_page_order,
            memory_block_size=self.memory_block_size,
            pageblock_order=self.memory.setup.pageblock_order,
            old_types=self.old_types,
            migrations=tuple(moved.row for moved in self.happenings.moved),
            removals=self.happenings.removed,
            accesses=self.locality.all(),
            slower_nodes=slower_nodes(self.memory),
            huge_pages=huge_pages(self.memory) if has_pool(self.memory) else None,
            grouped=self.grouped,
        )
