"""One observed attempt of a trial: the state right before it, and every step that was taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.memory import Memory
from memsim.mm import Status, WhyNot
from memsim.scenario import Trial
from memsim.schema import Request
from memsim.simulate import BATCH_SIZE, _Run

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
    run = _Run(trial, 0)
    while run.events < place:
        run.step(min(batch_size, place - run.events))
    run.observed.clear()
    while not run.observed:
        before = run.memory.copy()
        run.memory.keep_log(LOG_ROWS)
        run.step(1)
    ((event, outcome),) = run.observed
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


def _place(trial: Trial, number: int, batch_size: int) -> tuple[int | None, int]:
    """Count the events before a failed attempt, None if it does not come; count the failures."""
    run = _Run(trial, 0)
    seen, goes_on = 0, True
    while goes_on:
        run.observed.clear()
        run.observed_at.clear()
        goes_on = run.step(batch_size)
        for place, (_, outcome) in zip(run.observed_at, run.observed, strict=True):
            failed = place[np.isin(outcome.status, FAILURES)]
            if seen + len(failed) >= number:
                return int(failed[number - seen - 1]), number
            seen += len(failed)
    return None, seen
