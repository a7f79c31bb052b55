"""The steps of the slow path, as the log has them, in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import trace_log
from memsim.profiles import Mechanism


class Step(NamedTuple):
    """One step of the slow path."""

    name: str
    outcome: str


def steps_of(log: NDArray[np.int32], mechanism: Mechanism) -> tuple[Step, ...]:
    """Return the steps in a log, in their order."""
    rows = log[log[:, 1] == trace_log.LOG_STEP, 2:].tolist()
    return tuple(Step(f"step {code}", " ".join(map(str, values))) for code, *values in rows)
