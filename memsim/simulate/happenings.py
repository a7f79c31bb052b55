"""What happens to the machine at instants of a trial, besides its workloads' requests."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from memsim.kernels.system import FOREVER
from memsim.memory import Memory, balancing, migrating
from memsim.memory.migrate_call import MigrateOutcome
from memsim.memory.migrating_2005 import Touches
from memsim.mm import PAGE_SIZE, WhyStayed
from memsim.scenario import Trial
from memsim.scenario.event import Event
from memsim.schema import Accesses, Migration, Pin, Removal, Stream
from memsim.simulate.locality import NEVER, Locality, paid_back
from memsim.simulate.mappings import Mappings
from memsim.simulate.movements import Moved, move, pin_pages, user_pages
from memsim.simulate.pieces import Pieces
from memsim.simulate.plan import generator
from memsim.simulate.probes import timed
from memsim.simulate.ranges import Ranges
from memsim.simulate.removals import Removals

ATTEMPTS = ("probe", "high_alloc")
"""Events that are requests, and so streams of their own."""
Action = Callable[[], int | None]
"""Does something now; says when it is to be called again, None: never."""


class Happenings:
    """A trial's events by their times, and what became of them."""

    def __init__(
        self,
        trial: Trial,
        memory: Memory,
        names: Sequence[str],
        streams: Sequence[Stream],
        first_handle: Sequence[int],
        locality: Locality,
        next_event: Callable[[], int],
        touches: Callable[[int], Touches],
        drop: Callable[[int], None],
    ) -> None:
        """Plan; ``touches`` gives the workloads' accesses up to an instant, ``drop`` ends one."""
        self._next_event, self._touches = next_event, touches
        self.memory, self._seed, self._locality = memory, trial.seed, locality
        self._duration = trial.scenario.duration
        self._readings: list[tuple[int, Accesses]] = []
        self.moved: list[Moved] = []
        self.pieces = Pieces()
        self.removals = Removals(memory, trial.scenario.machine.memory_block_size)
        self.ranges = Ranges(memory, trial.scenario.machine.memory_block_size)
        self._handles = {
            name: np.arange(first, first + stream.handles, dtype=np.int32)
            for name, first, stream in zip(names, first_handle, streams, strict=True)
            if name in trial.scenario.workloads
        }
        self.watched = (-1, -1)
        """Number of a migration, and the place of one of its pages, whose steps are kept."""
        self._due: list[tuple[int, int, Action]] = []
        self._count = 0
        for first, stream in zip(first_handle, streams, strict=True):
            for pin in stream.pins:
                self._add(pin.time_ns, partial(self._pin_planned, pin, first))
        self.mappings = Mappings(memory, names, streams, first_handle, self._add, drop)
        for event in trial.scenario.events:
            for instant in event.times(self._duration) if event.do not in ATTEMPTS else ():
                self._add(instant, partial(self._carry_out, event))
        vm = trial.scenario.machine.vm
        if vm.numa_balancing and memory.setup.mechanism == "linux-6.1":
            self._period = vm.numa_balancing_scan_period
            self._scanned = vm.numa_balancing_scan_size // PAGE_SIZE
            self._cursor = dict.fromkeys(self._handles, 0)
            self._add(self._period, self._scan)

    def _scan(self) -> int:
        """Let accesses to the next part of each workload's memory be noticed (task_numa_work)."""
        for name, handles in self._handles.items():
            first = self._cursor[name]
            balancing.scan(self.memory, handles[first : first + self._scanned])
            at_end = first + self._scanned >= len(handles)
            self._cursor[name] = 0 if at_end else first + self._scanned
        return self.memory.now + self._period

    def _add(self, instant: int, action: Action) -> None:
        heapq.heappush(self._due, (instant, self._count, action))
        self._count += 1

    @property
    def next_ns(self) -> int | None:
        """When something happens next."""
        return self._due[0][0] if self._due else None

    def happen(self) -> None:
        """Do what happens next; the simulation has come to that instant."""
        action = heapq.heappop(self._due)[2]
        removed = len(self.removals.done)
        again = action()
        for one in self.removals.done[removed:]:
            self.pieces.add(one.outcome.split)
        if again is not None:
            self._add(again, action)

    @property
    def removed(self) -> tuple[Removal, ...]:
        """The rows of hotplug.csv, in order of time."""
        rows = [one.row for one in self.removals.done] + self.ranges.rows
        return tuple(sorted(rows, key=lambda row: row.time_ns))

    def end(self) -> None:
        """End what is going on at the end of the trial."""
        self.removals.stop()
        self._see_what_it_brought()

    def _pin_planned(self, pin: Pin, first: int) -> None:
        pin_pages(self.memory, pin.handles + np.int32(first), long_term=pin.long_term)

    def _carry_out(self, event: Event) -> None:
        if event.do == "compact_memory":
            self.memory.compact_memory()
        elif event.do == "offline":
            self._offline(event)
        elif event.do == "online":
            self.ranges.bring_online(event, named(event))
        elif event.do == "virtio_mem":
            self.ranges.unplug(event, named(event))
        elif event.do == "cma_alloc":
            self.ranges.take_cma(event, named(event))
        elif event.do == "pin":
            self._pin(event)
        elif event.do == "unpin":
            migrating.unpin(self.memory, self._of(event))
        else:
            self._move(event)

    def _of(self, event: Event) -> NDArray[np.int32]:
        assert event.workload is not None
        return self._handles[event.workload]

    def _move(self, event: Event) -> None:
        row = Migration(
            time_ns=self.memory.now,
            event=named(event),
            workload=event.workload or "",
            mode="direct",
            attempted=0,
            moved_direct=0,
            moved_swap=0,
            stayed=(0,) * len(WhyStayed),
            passes=0,
            waits=0,
            result=0,
            errno="",
            migrate_model_ns=0,
            faults_waited=0,
            fault_wait_model_ns=0,
            access_ps_before=0,
            access_ps_after=0,
            payback_model_ns=NEVER,
        )
        self._readings.append((self.memory.now, self._locality.of(row.workload)))
        number, page = self.watched
        watch = page if len(self.moved) == number else -1
        moved = move(self.memory, event, self._of(event), row, self._touches, watch=watch)
        self.moved.append(moved)
        if isinstance(moved.outcome, MigrateOutcome):
            self.pieces.add(map(tuple, moved.outcome.split.tolist()))

    def _see_what_it_brought(self) -> None:
        """Fill in what accesses cost between the migrations of each workload."""
        ends = {one.workload: one for one in self._locality.all()}
        for name in {moved.row.workload for moved in self.moved}:
            mine = [i for i, moved in enumerate(self.moved) if moved.row.workload == name]
            counts = [self._readings[i] for i in mine]
            nothing = Accesses(name, 0, 0, 0)
            counts = [(0, nothing), *counts, (self._duration, ends.get(name, nothing))]
            for k, i in enumerate(mine):
                (_, before), (begin, then), (end, after) = counts[k : k + 3]
                row = paid_back(self.moved[i].row, before, then, after, end - begin)
                self.moved[i] = self.moved[i]._replace(row=row)

    def _pin(self, event: Event) -> None:
        pages = user_pages(self.memory, self._of(event))
        rng = generator(self._seed, f"{named(event)} {self.memory.now}")
        chosen = pages[rng.random(len(pages)) < event.share]
        pin_pages(self.memory, chosen, long_term=event.term == "long")

    def _offline(self, event: Event) -> None:
        busy = self.removals.is_busy
        self.removals.begin(event, named(event))
        if not busy:
            self._add(self.memory.now, self._remove)

    def _remove(self) -> int | None:
        return self.removals.go_on(min(self._next_event(), self.next_ns or FOREVER))


def named(event: Event) -> str:
    """Return what tables call an event."""
    return event.name or timed(event)
