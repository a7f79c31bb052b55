"""Several streams of requests as one, in order of time, as far as they keep to their times."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import OP_FREE
from memsim.schema import AllocBatch, Stream

FOREVER = int(np.iinfo(np.int64).max)


class Interleaved(NamedTuple):
    """Requests of all streams (arrays of length n), and whose they are."""

    stream: NDArray[np.uint16]
    """Position of the stream that asks."""
    batch: AllocBatch

    def __len__(self) -> int:
        return len(self.stream)

    def part(self, start: int, stop: int | None = None) -> Interleaved:
        """Return the events from ``start`` to ``stop``."""
        return self.take(slice(start, stop))

    def take(self, rows: slice | NDArray[np.intp]) -> Interleaved:
        """Return some of the events."""
        time, op, request, cpu, handle = self.batch
        batch = AllocBatch(time[rows], op[rows], request[rows], cpu[rows], handle[rows])
        return Interleaved(self.stream[rows], batch)


class _Source:
    """One stream: what was read of it and is not done yet, with the times that it had planned."""

    def __init__(self, number: int, stream: Stream) -> None:
        self.number = number
        self.batches = iter(stream.batches)
        self.rows = _joined([])
        self.begin = 0
        """The first row that is not done."""
        self.last = -1
        """No later event of this stream was planned for an earlier instant."""
        self.late = 0
        self.deadlines = deque(stream.pace.deadlines if stream.pace else ())

    @property
    def known_until(self) -> int:
        """All events before this instant have been read."""
        return FOREVER if self.last == FOREVER else self.last + self.late

    @property
    def deadline(self) -> int:
        """When a late stream is to be as planned again."""
        return self.deadlines[0] if self.late and self.deadlines else FOREVER

    def read(self) -> None:
        """Take the stream's next batch; at its end, ``last`` is FOREVER."""
        batch = next(self.batches, None)
        if batch is None:
            self.last = FOREVER
            return
        if not len(batch.time):
            return
        if int(batch.time[0]) < self.last or np.any(np.diff(batch.time) < 0):
            raise ValueError(f"stream {self.number} is not sorted by time")
        self.last = int(batch.time[-1])
        read = Interleaved(np.full(len(batch.time), self.number, np.uint16), batch)
        self.rows = _joined([self.rows.part(self.begin), read])
        self.begin = 0

    def before(self, instant: int) -> Interleaved:
        """Return the events earlier than an instant, as late as they are."""
        time = self.rows.batch.time
        stop = int(np.searchsorted(time, instant - self.late))
        some = self.rows.part(self.begin, max(stop, self.begin))
        if not self.late:
            return some
        return Interleaved(some.stream, some.batch._replace(time=some.batch.time + self.late))

    def done(self, count: int) -> None:
        """Forget the first events."""
        self.begin += count
        reached = int(self.rows.batch.time[self.begin - 1])
        while self.deadlines and self.deadlines[0] <= reached:
            self.deadlines.popleft()

    def meet_deadline(self) -> None:
        """Give up what should have been done by now, but give back what it would have."""
        deadline = self.deadlines.popleft()
        while self.last < deadline:
            self.read()
        rows = self.rows.part(self.begin)
        missed = int(np.searchsorted(rows.batch.time, deadline))
        op = rows.batch.op[:missed]
        freed = rows.take(np.flatnonzero(op & OP_FREE))
        batch = freed.batch._replace(time=np.full(len(freed), deadline))
        self.rows = _joined([Interleaved(freed.stream, batch), rows.part(missed)])
        self.begin = self.late = 0

    def end(self) -> None:
        """Do nothing any more."""
        self.rows, self.begin, self.last = _joined([]), 0, FOREVER


class Agenda:
    """What streams have yet to do, in order of time; at one instant the first stream comes first.

    Streams whose requests wait fall behind their plans, see ``schema.Pace``.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.sources = [_Source(number, stream) for number, stream in enumerate(streams)]
        groups = [stream.pace.group if stream.pace else "" for stream in streams]
        self.together = [
            [other for other, name in enumerate(groups) if name and name == group] or [number]
            for number, group in enumerate(groups)
        ]

    def take(self, most: int, until: int) -> Interleaved:
        """Return at most so many of the next events before an instant, none if there are none.

        They stay on the agenda until they are done. Raises ValueError for a stream that goes back
        in time.
        """
        while True:
            known = min((source.known_until for source in self.sources), default=FOREVER)
            deadline = min((source.deadline for source in self.sources), default=FOREVER)
            horizon = min(known, deadline, until)
            parts = [source.before(horizon) for source in self.sources]
            parts = [part for part in parts if len(part)]
            if parts or horizon == until:
                return _first(parts, most)
            for source in self.sources:
                if source.deadline == horizon:
                    source.meet_deadline()
                elif source.known_until == horizon:
                    source.read()

    def next_ns(self) -> int:
        """Return the instant of the next event."""
        coming = self.take(1, FOREVER)
        return int(coming.batch.time[0]) if len(coming) else FOREVER

    def coming(self, until: int) -> Interleaved:
        """Return all events before an instant, in no order; they stay on the agenda."""
        for source in self.sources:
            while source.known_until < until:
                source.read()
        return _joined([source.before(until) for source in self.sources])

    def done(self, events: Interleaved, count: int) -> None:
        """Take the first of the events that were taken off the agenda."""
        counts = np.bincount(events.stream[:count], minlength=len(self.sources))
        for number in np.flatnonzero(counts).tolist():
            self.sources[number].done(int(counts[number]))

    def delay(self, stream: int, ns: int) -> None:
        """Let a stream, and those that go with it, fall behind by so much more."""
        for number in self.together[stream]:
            self.sources[number].late += ns

    def left(self, stream: int) -> int:
        """Count the requests of a stream that were read and are not done."""
        source = self.sources[stream]
        return int(np.count_nonzero(source.rows.batch.op[source.begin :] < OP_FREE))

    def drop(self, stream: int) -> None:
        """Take all of a stream's events off the agenda."""
        self.sources[stream].end()


def _first(parts: Sequence[Interleaved], most: int) -> Interleaved:
    """Merge the first of the events, at most so many."""
    if sum(map(len, parts)) > most:
        share = most // len(parts)
        last = min(int(part.batch.time[share]) for part in parts if len(part) > share)
        stops = [int(np.searchsorted(part.batch.time, last, "right")) for part in parts]
        parts = [part.part(0, stop) for part, stop in zip(parts, stops, strict=True)]
    merged = _joined(parts)
    return merged.take(np.argsort(merged.batch.time, kind="stable")[:most])


def _joined(parts: Sequence[Interleaved]) -> Interleaved:
    if not parts:
        numbers = (np.zeros(0, t) for t in (np.int64, np.uint8, np.uint16, np.uint16, np.int32))
        return Interleaved(np.zeros(0, np.uint16), AllocBatch._make(numbers))
    columns = zip(*(part.batch for part in parts), strict=True)
    batch = AllocBatch(*(np.concatenate(column) for column in columns))
    return Interleaved(np.concatenate([part.stream for part in parts]), batch)
