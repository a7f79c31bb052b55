"""Several streams of requests as one, in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.schema import AllocBatch

FOREVER = np.iinfo(np.int64).max


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
    """One stream with what was read of it and not yet passed on."""

    def __init__(self, number: int, batches: Iterable[AllocBatch]) -> None:
        self.number = number
        self.batches = iter(batches)
        self.parts: list[Interleaved] = []
        self.last = -1
        """No later event of this stream is earlier than this."""

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
        self.parts.append(Interleaved(np.full(len(batch.time), self.number, np.uint16), batch))

    def pass_on(self, before: int) -> list[Interleaved]:
        """Give up the events earlier than ``before``."""
        passed, kept = [], []
        for part in self.parts:
            cut = int(np.searchsorted(part.batch.time, before))
            passed += [part.part(0, cut)] if cut else []
            kept += [part.part(cut)] if cut < len(part) else []
        self.parts = kept
        return passed


def interleave(streams: Sequence[Iterable[AllocBatch]]) -> Iterator[Interleaved]:
    """Merge streams that are sorted by time; of one instant, the first stream's events come first.

    Yields parts of any length. Raises ValueError for a stream that goes back in time.
    """
    sources = [_Source(number, batches) for number, batches in enumerate(streams)]
    waiting = [(source.last, source.number) for source in sources]
    begun = -1
    while waiting:
        earliest = sources[waiting[0][1]]
        earliest.read()
        if earliest.last == FOREVER:
            heapq.heappop(waiting)
        else:
            heapq.heapreplace(waiting, (earliest.last, earliest.number))
        horizon = waiting[0][0] if waiting else FOREVER
        if horizon == begun:
            continue
        begun = horizon
        passed = [part for source in sources if source.parts for part in source.pass_on(horizon)]
        if passed:
            yield _by_time(passed)


def _by_time(parts: Sequence[Interleaved]) -> Interleaved:
    merged = _joined(parts)
    return merged.take(np.argsort(merged.batch.time, kind="stable"))


def _joined(parts: Sequence[Interleaved]) -> Interleaved:
    columns = zip(*(part.batch for part in parts), strict=True)
    batch = AllocBatch(*(np.concatenate(column) for column in columns))
    return Interleaved(np.concatenate([part.stream for part in parts]), batch)


def in_batches(parts: Iterable[Interleaved], size: int) -> Iterator[Interleaved]:
    """Cut and join parts to batches of ``size`` events; the last one may be shorter."""
    waiting: list[Interleaved] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count < size:
            continue
        whole = _joined(waiting)
        full = count // size * size
        for start in range(0, full, size):
            yield whole.part(start, start + size)
        waiting, count = [whole.part(full)], count - full
    if count:
        yield _joined(waiting)
