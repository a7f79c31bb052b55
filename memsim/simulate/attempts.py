"""One observed attempt of a trial: the state right before it, and every step that was taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.memory import Memory
from memsim.mm import OP_FREE, Status, WhyNot
from memsim.scenario import Trial
from memsim.schema import Request
from memsim.simulate import BATCH_SIZE, _Run
from memsim.simulate.interleave import Interleaved, in_batches, interleave

FAILURES = (Status.NOPAGE, Status.NEEDS_RECLAIM)
LOG_ROWS = 1 << 16


class Attempt(NamedTuple):
    """An observed attempt to get a block that failed."""

    before: Memory
    """Everything as it was right before; a copy."""
    workload: str
    """Whose attempt it was: the name of a workload or event."""
    request: Request
    time_ns: int
    order: int
    cpu: int
    status: Status
    why: WhyNot
    extfrag: int
    """Fragmentation index of the preferred zone at the end, in thousandths."""
    log: NDArray[np.int32]
    """(n, LOG_FIELDS) what happened during the attempt."""


def failed_attempt(trial: Trial, number: int, *, batch_size: int = BATCH_SIZE) -> Attempt | int:
    """Carry out a trial up to its ``number``-th failed observed attempt (from 1) and return that.

    Returns how many failed where these are fewer. Raises what ``simulate`` raises, and TrialError
    for a trial that cannot be carried out.
    """
    place, seen = _place(trial, number, batch_size)
    if place is None:
        return seen
    batch_number, position = place
    run = _Run(trial, 0)
    for i, batch in enumerate(_batches(run, batch_size)):
        if i == batch_number:
            break
        run.carry_out(batch)
    if position:
        run.carry_out(batch.part(0, position))
    before = run.memory.copy()
    run.memory.keep_log(LOG_ROWS)
    run.observed.clear()
    event = batch.part(position, position + 1)
    run.carry_out(event)
    ((_, outcome),) = run.observed
    stream = int(event.stream[0])
    return Attempt(
        before=before,
        workload=run.names[stream],
        request=run.streams[stream].requests[int(event.batch.request[0])],
        time_ns=int(event.batch.time[0]),
        order=int(event.batch.op[0]) & 0xF,
        cpu=int(event.batch.cpu[0]),
        status=Status(outcome.status[0]),
        why=WhyNot(outcome.why[0]),
        extfrag=int(outcome.extfrag[0]),
        log=run.memory.take_log(),
    )


def _place(trial: Trial, number: int, batch_size: int) -> tuple[tuple[int, int] | None, int]:
    """Find the batch of an attempt and its place in there; count the failures up to there."""
    run = _Run(trial, 0)
    seen = 0
    for i, batch in enumerate(_batches(run, batch_size)):
        run.observed.clear()
        run.carry_out(batch)
        outcomes = [outcome.status for _, outcome in run.observed]
        failed = np.flatnonzero(np.isin(np.concatenate([*outcomes, []]), FAILURES))
        if seen + len(failed) >= number:
            rows = np.flatnonzero(run.is_observed[batch.stream] & (batch.batch.op < OP_FREE))
            return (i, int(rows[failed[number - seen - 1]])), number
        seen += len(failed)
    return None, seen


def _batches(run: _Run, batch_size: int) -> Iterator[Interleaved]:
    return in_batches(interleave([stream.batches for stream in run.streams]), batch_size)
