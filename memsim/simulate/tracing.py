"""A trial carried out with everything that the kernel would have traced on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.errors import TrialError
from memsim.kernels import trace_log
from memsim.scenario import Trial
from memsim.schema import Outcome, Request
from memsim.simulate import BATCH_SIZE, _Run
from memsim.simulate.pieces import Columns

LOG_ROWS = 1 << 20


class Traced(NamedTuple):
    """Events in order, what became of them, and what they caused."""

    events: Columns
    """Those that were carried out; none where the machine did something by itself."""
    stream: NDArray[np.int64]
    """Whose they are, by place in ``Tracing.names``."""
    outcome: Outcome
    log: NDArray[np.int32]
    """(k, LOG_FIELDS); its first column counts ``events``."""
    now: int
    """The instant of what belongs to no event, in nanoseconds."""


class Tracing(_Run):
    """A trial in progress that keeps what a tracer would see."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial, 0)
        self.memory.keep_log(LOG_ROWS)
        self.seen: list[Traced] = []

    def requests(self) -> list[Request]:
        """Return what ``Columns.request`` counts."""
        return [request for stream in self.streams for request in stream.requests]

    def pieces(
        self, stop_ns: int | None = None, *, batch_size: int = BATCH_SIZE
    ) -> Iterator[Traced]:
        """Carry out the trial to an instant (None: its end) piece by piece.

        Raises what ``simulate`` raises, and TrialError for what the log cannot hold.
        """
        goes_on = True
        while goes_on:
            goes_on = self.step(batch_size, stop_ns)
            self._keep_log()
            yield from self.seen
            self.seen.clear()

    def _ask(self, columns: Columns) -> Outcome:
        self._keep_log()
        outcome = super()._ask(columns)
        done = Columns._make(column[: len(outcome.status)] for column in columns)
        stream = np.searchsorted(self.first_handle, done.handle, "right") - 1
        self.seen.append(Traced(done, stream, outcome, self._take_log(), self.memory.now))
        return outcome

    def _keep_log(self) -> None:
        """Keep what the machine did by itself since the last event."""
        log = self._take_log()
        if len(log):
            self.seen.append(Traced(NOTHING, NO_STREAM, NO_OUTCOME, log, self.memory.now))

    def _take_log(self) -> NDArray[np.int32]:
        used, capacity = self.memory.mem.log_cursor[[trace_log.LOG_USED, trace_log.LOG_CAPACITY]]
        if used == capacity:
            raise TrialError(f"more than {capacity:,} trace events at one instant")
        return self.memory.take_log()


NOTHING = Columns(
    np.zeros(0, np.uint8),
    np.zeros(0, np.uint16),
    np.zeros(0, np.uint16),
    np.zeros(0, np.int32),
    np.zeros(0, np.int64),
)
NO_STREAM = np.zeros(0, np.int64)
NO_OUTCOME = Outcome(
    np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros(0, np.int16)
)
