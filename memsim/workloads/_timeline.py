"""Events of a workload in order of time, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memsim.errors import TrialError
from memsim.schema import AllocBatch

WINDOW_EVENTS = 1 << 19
"""Events that a workload plans at a time."""
MAX_BATCH = 1 << 20
MAX_HANDLES = (1 << 31) - 1
SECOND = 10**9
FREEING_NS = 100
"""Time between two pages of many that are freed at once: 10 million pages a second."""


def events(
    time: NDArray[np.int64], op: ArrayLike, request: ArrayLike, cpu: ArrayLike, handle: ArrayLike
) -> AllocBatch:
    """Put events together; what is the same for all of them can be a single number."""
    n = len(time)
    return AllocBatch(
        time.astype(np.int64),
        np.broadcast_to(np.asarray(op, np.uint8), n),
        np.broadcast_to(np.asarray(request, np.uint16), n),
        np.broadcast_to(np.asarray(cpu, np.uint16), n),
        np.broadcast_to(np.asarray(handle, np.int32), n),
    )


def joined(parts: Sequence[AllocBatch]) -> AllocBatch:
    """Put events one after the other, in no order of time."""
    return AllocBatch._make(np.concatenate(column) for column in zip(*parts, strict=True))


def instants(index: NDArray[np.int64], count: int, span_ns: int) -> NDArray[np.int64]:
    """Return where part ``index`` of ``count`` equal parts of a span begins."""
    return (index * (span_ns / count)).astype(np.int64)


def spaced(
    index: NDArray[np.int64],
    count: int,
    start_ns: ArrayLike,
    span_ns: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Give event ``index`` of ``count`` a random instant in its part of the span.

    Instants of ascending indices ascend, and none lies before its part (see ``instants``).
    """
    after = ((index + rng.random(len(index))) * (span_ns / count)).astype(np.int64)
    within: NDArray[np.int64] = np.minimum(after, max(span_ns - 1, 0))
    return within + np.asarray(start_ns, np.int64)


def parts_before(instant: int, count: int, start_ns: int, span_ns: int) -> int:
    """Count those of ``count`` equal parts of a span that begin before an instant."""
    if instant <= start_ns:
        return 0
    return min(-(-(instant - start_ns) * count // max(span_ns, 1)), count)


def windows(count: int, events_each: int = 1) -> Iterator[tuple[int, int]]:
    """Cut 0 .. count into half-open ranges of about WINDOW_EVENTS events."""
    step = max(WINDOW_EVENTS // events_each, 1)
    for first in range(0, count, step):
        yield first, min(first + step, count)


def in_order(parts: Iterable[tuple[int, AllocBatch]], end_ns: int) -> Iterator[AllocBatch]:
    """Sort events by time; those at one instant stay in their order, those from the end on go.

    A part is (until, events): its own events may lie later than ``until``, but those of later
    parts do not lie before it (less than a rounding error, which is corrected).
    """
    waiting = events(np.zeros(0, np.int64), 0, 0, 0, 0)
    begun = 0
    for until, part in parts:
        part = part._replace(time=np.maximum(part.time, begun))
        waiting = joined([waiting, part])
        order = np.argsort(waiting.time, kind="stable")
        time = waiting.time[order]
        ready, stop = np.searchsorted(time, [min(until, end_ns), end_ns])
        yield from _pieces(taken(waiting, order[:ready]))
        waiting = taken(waiting, order[ready:stop])
        begun = until
    yield from _pieces(waiting)


def taken(batch: AllocBatch, rows: NDArray[np.intp]) -> AllocBatch:
    """Return some of the events, in the order of ``rows``."""
    return AllocBatch._make(column[rows] for column in batch)


def _pieces(batch: AllocBatch) -> Iterator[AllocBatch]:
    for first in range(0, len(batch.time), MAX_BATCH):
        yield AllocBatch._make(column[first : first + MAX_BATCH] for column in batch)


def check_handles(name: str, count: int, most: int = MAX_HANDLES) -> int:
    """Return the number of handles if there can be so many; raises TrialError."""
    if count > most:
        raise TrialError(
            f"workload {name} asks for memory {count} times, {most} is the most: "
            "make it smaller, slower or shorter"
        )
    return count
