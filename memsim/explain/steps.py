"""The steps of the slow path, as the log has them, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import trace_log as T
from memsim.mm import WhyNot

PRIORITIES = ("full", "synchronous", "asynchronous")
"""enum compact_priority."""
RESULTS = (
    "no suitable zone",
    "skipped: not worth while",
    "put off after earlier failures",
    "no suitable page",
    "not finished",
    "went through the whole zone",
    "went through a part of the zone",
    "gave way to others",
    "made a block",
)
"""enum compact_result."""
RETRIES = ("reclaim may yet help", "compaction may yet help", "the request cannot fail")
OOM = ("not for this request", "a workload is to be killed", "nobody is left to be killed")


class Step(NamedTuple):
    """One step of the slow path."""

    name: str
    outcome: str


def steps_of(log: NDArray[np.int32]) -> tuple[Step, ...]:
    """Return the steps in a log, in their order."""
    rows = log[log[:, 1] == T.LOG_STEP, 2:].tolist()
    return tuple(Step(WORDS[code][0], WORDS[code][1](values)) for code, *values in rows)


def _page(pfn: int) -> str:
    return f"got {pfn:#x}" if pfn >= 0 else "found nothing"


def _walk(values: Sequence[int]) -> str:
    return f"{_page(values[1])} (ALLOC flags {values[0]:#x})"


def _compact(values: Sequence[int]) -> str:
    result = RESULTS[values[1]] if values[1] < len(RESULTS) else str(values[1])
    return f"{PRIORITIES[values[0]]}: {result}; {_page(values[2])}"


def _retry(values: Sequence[int]) -> str:
    return f"{RETRIES[values[0]]} ({values[1]} rounds without progress)"


def _fail(values: Sequence[int]) -> str:
    why = WhyNot(values[0]).name.lower().replace("_", " ")
    return f"{why}, fragmentation index {values[1] / 1000:.3f}"


WORDS: dict[int, tuple[str, Callable[[Sequence[int]], str]]] = {
    T.STEP_ENTER: ("slow path", lambda v: f"the fast path found nothing of order {v[0]}"),
    T.STEP_WAKE: ("wake kswapd", lambda v: f"for order {v[0]}"),
    T.STEP_WALK: ("walk the zones", _walk),
    T.STEP_COMPACT: ("compact", _compact),
    T.STEP_RECLAIM: ("reclaim", lambda v: f"{v[0]:,} pages" if v[0] else "no progress"),
    T.STEP_UNRESERVE: (
        "give a high-atomic pageblock back", lambda v: "done" if v[1] else "there is none",
    ),
    T.STEP_DRAIN: ("drain the per-CPU lists", lambda _: "done"),
    T.STEP_RETRY: ("begin anew", _retry),
    T.STEP_OOM: ("kill for want of memory", lambda v: OOM[v[0]]),
    T.STEP_FAIL: ("give up", _fail),
}  # fmt: skip
