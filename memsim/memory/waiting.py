"""What requests have waited for, since anybody took note."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels.layout import R_WAITED, REQUEST_FIELDS
from memsim.kernels.system import PACE_NS, S_WAITED
from memsim.memory import Memory


def take_waits(memory: Memory) -> NDArray[np.int64] | None:
    """Return by how much each request class has held up its stream (ns), once it is worth a look.

    What a process waits holds up a stream by its part of the stream's processes (schema.Pace).
    """
    if memory.mem.system[S_WAITED] < PACE_NS:
        return None
    rows = memory.request_rows.reshape(-1, REQUEST_FIELDS)
    waited = rows[:, R_WAITED].copy()
    rows[:, R_WAITED] = 0
    memory.mem.system[S_WAITED] = 0
    return waited
