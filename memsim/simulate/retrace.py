"""A trial carried out again for what its tables do not say: whose pages stayed, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.memory import Memory
from memsim.mm import OP_FREE, OP_TOUCH, Use
from memsim.scenario import Trial
from memsim.simulate import BATCH_SIZE, _Run
from memsim.simulate.interleave import Interleaved
from memsim.simulate.movements import Moved
from memsim.simulate.removals import Removed

BEFORE = "before the start"
"""The owner of what no workload has asked for."""


class Owner(NamedTuple):
    """Who asked for a page, for what, and when."""

    workload: str
    use: str
    since_ns: int
    """-1 for what was there before the start."""


class Retraced(NamedTuple):
    """What became of a trial's migrations and removals, with everything that is known of them."""

    moved: tuple[Moved, ...]
    removed: tuple[Removed, ...]


def retrace(
    trial: Trial, *, watch: tuple[int, int] = (-1, -1), batch_size: int = BATCH_SIZE
) -> Retraced:
    """Carry out a trial and keep what became of every page that was to go.

    ``watch`` is the number of a migration (from 0) and the place of one of its pages: of that page
    the steps are kept, where the kernel is of 2005.
    Raises what ``simulate`` raises, and TrialError for a trial that cannot be carried out.
    """
    run = _Run(trial, 0)
    run.happenings.watched = watch
    while run.step(batch_size):
        pass
    run.happenings.end()
    return Retraced(tuple(run.happenings.moved), tuple(run.happenings.removals.done))


def at_instant(
    trial: Trial, instant_ns: int | None = None, *, batch_size: int = BATCH_SIZE
) -> Memory:
    """Carry out a trial to an instant (None: to its end), and return its memory as it is then."""
    run = _Run(trial, 0)
    stop = trial.scenario.duration if instant_ns is None else instant_ns
    while run.step(batch_size, stop):
        pass
    run.happenings.end()
    return run.memory


def owners(
    trial: Trial, handles: Iterable[int], until_ns: int, *, batch_size: int = BATCH_SIZE
) -> dict[int, Owner]:
    """Carry out a trial to an instant, and say who asked for what these handles hold then."""
    wanted = np.unique(np.fromiter((h for h in handles if h >= 0), np.int64))
    run = _Watching(trial, wanted)
    while run.step(batch_size, until_ns):
        pass
    found = {}
    for place, handle in enumerate(wanted.tolist()):
        stream = int(np.searchsorted(run.first_handle, handle, "right")) - 1
        if run.since_ns[place] < 0:
            found[handle] = Owner(run.names[stream], BEFORE, -1)
            continue
        request = run.streams[stream].requests[int(run.request[place])]
        use = Use(request.use).name.lower().replace("_", " ")
        found[handle] = Owner(run.names[stream], use, int(run.since_ns[place]))
    return found


class _Watching(_Run):
    """A trial that remembers when some handles got what they hold."""

    def __init__(self, trial: Trial, wanted: NDArray[np.int64]) -> None:
        super().__init__(trial, 0)
        self.wanted = wanted
        self.since_ns = np.full(len(wanted), -1, np.int64)
        self.request = np.zeros(len(wanted), np.int64)

    def _run(self, events: Interleaved) -> int:
        done = super()._run(events)
        stream, (time, op, request, _, handle) = events.part(0, done)
        handles = handle + self.first_handle[stream]
        mine = np.flatnonzero((op < OP_FREE) & np.isin(handles, self.wanted))
        for i in mine.tolist():
            place = int(np.searchsorted(self.wanted, handles[i]))
            if not _is_access(int(op[i])) or self.since_ns[place] < 0:
                self.since_ns[place], self.request[place] = time[i], request[i]
        return done


def _is_access(op: int) -> bool:
    return bool(op & OP_TOUCH)
