"""What one trial will need, found from what its workloads plan; nothing is carried out.

The memory is an upper bound: of trials of a million events and more, measured in processes of their
own, it was 1.1 to 2.3 times what they took.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from memsim.mm import OP_FREE
from memsim.plugins import PluginTimeout
from memsim.scenario import Trial
from memsim.schema import Stream
from memsim.simulate import planned_streams
from memsim.workloads._timeline import WINDOW_EVENTS

TRIAL_BYTES = 8 << 20
PAGE_BYTES = 16
"""Of a page that is handed out: its state, owner and links."""
UNTOUCHED_PAGE_BYTES = 0.06
HANDLE_BYTES = 4
EVENT_BYTES = 250
"""Of an event while its part of a stream is planned and carried out."""
WAITING_BYTES = 40
"""Of a planned event that waits for those of other streams."""
OBSERVED_BYTES = 400
"""Of an event that becomes a row of high_order.csv."""
FEW_EVENTS = 300_000
"""So many are counted, of more the number is a guess."""
LARGE_MACHINE = 1 << 23
"""Pages (32 GiB) from which on it is looked up how large the blocks are."""


class Cost(NamedTuple):
    """What one trial needs."""

    bytes: int
    """An upper bound; the process that it runs in is not in it."""
    events: int
    """Counted if they are few, else a guess."""


def trial_costs(trials: Iterable[Trial], *, events: bool = False) -> dict[str, Cost]:
    """Return the cost of each trial by its name; neither policy nor seed makes a difference to it.

    Without ``events``, large trials are looked at no longer than their memory takes. Trials that
    cannot be planned are left out: they will say why. Raises PluginTimeout.
    """
    by_load: dict[tuple[object, ...], Cost | None] = {}
    found: dict[str, Cost] = {}
    for trial in trials:
        load = _load(trial)
        if load not in by_load:
            by_load[load] = _cost(trial, events=events)
        cost = by_load[load]
        if cost is not None:
            found[trial.name] = cost
    return found


def _load(trial: Trial) -> tuple[object, ...]:
    s = trial.scenario
    workloads = tuple((name, spec.canonical) for name, spec in s.workloads.items())
    events = tuple(event.canonical for event in s.events)
    return trial.profile, s.duration, s.machine.canonical, workloads, events


def _cost(trial: Trial, *, events: bool) -> Cost | None:
    try:
        pages, streams = planned_streams(trial)
        seen = _Seen(trial.scenario.duration)
        for stream in streams:
            if events or stream.observe or seen.complete or pages >= LARGE_MACHINE:
                seen.look_at(stream)
    except PluginTimeout:
        raise
    except Exception:  # whatever it is, the trial meets it too
        return None
    return Cost(_bytes(pages, streams, seen), seen.events)


def _bytes(pages: int, streams: Sequence[Stream], seen: _Seen) -> int:
    handles = [stream.handles for stream in streams]
    touched, planned = min(pages, seen.pages), seen.events * EVENT_BYTES
    if not seen.complete:
        touched = min(pages, sum(handles) * seen.largest) if pages >= LARGE_MACHINE else pages
        waiting = sum(min(8 * count, WINDOW_EVENTS) for count in handles)
        planned = WINDOW_EVENTS * EVENT_BYTES + waiting * WAITING_BYTES
    kernel = int(pages * UNTOUCHED_PAGE_BYTES) + touched * PAGE_BYTES
    observed = seen.observed * OBSERVED_BYTES
    return TRIAL_BYTES + kernel + planned + observed + sum(handles) * HANDLE_BYTES


class _Seen:
    """What is known of streams from their beginnings."""

    def __init__(self, duration_ns: int) -> None:
        self.duration_ns = duration_ns
        self.complete = True
        """All streams that were looked at have been seen to their ends."""
        self.events = 0
        self.pages = 0
        """Asked for, as often as they were."""
        self.largest = 1
        """Pages of the largest block."""
        self.observed = 0

    def look_at(self, stream: Stream) -> None:
        """Take note of a stream: of its beginning, or of all of it if that is short or observed."""
        count, first = 0, None
        for batch in stream.batches:
            sizes = 1 << batch.op[batch.op < OP_FREE].astype(np.int64)
            self.pages += int(sizes.sum())
            self.largest = max(self.largest, int(sizes.max(initial=1)))
            if first is None and len(batch.time):
                first = int(batch.time[0])
            count += len(batch.time)
            if count > FEW_EVENTS and not stream.observe:
                self.complete = False
                passed = max(int(batch.time[-1]) - (first or 0), 1)
                count = count * max(self.duration_ns - (first or 0), passed) // passed
                break
        self.events += count
        self.observed += count * stream.observe
