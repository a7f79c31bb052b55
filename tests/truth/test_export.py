"""The trace of a replay is the trace that it came from."""

from pathlib import Path

import numpy as np
import pytest
from trials import small

from memsim.export import export
from memsim.traces import TraceEvent, read_trace

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
COLUMNS = (
    "pfn", "order", "migratetype", "cpu", "fallback_order", "fallback_migratetype",
    "change_ownership", "percpu_refill",
)  # fmt: skip
REPLAY = """
memsim: 1
name: replay
duration: 100s
seeds: [1]
policies: {{mobility: {{placement: mobility}}}}
machine: {{from: {capture}}}
workloads: {{guest: {{kind: replay, trace: {capture}}}}}
"""


def kernels_view(trace):
    """Rows of kmem events, each freed page once: where a batched line follows, it counts."""
    trace = trace.select(trace.event <= TraceEvent.MM_PAGE_ALLOC_EXTFRAG)
    frees = np.flatnonzero(trace.event <= TraceEvent.MM_PAGE_FREE_BATCHED)
    frees = frees[np.lexsort((frees, trace.pfn[frees]))]
    event, pfn = trace.event[frees], trace.pfn[frees]
    again = (event[1:] == TraceEvent.MM_PAGE_FREE_BATCHED) & (pfn[1:] == pfn[:-1])
    keep = np.ones(len(trace), bool)
    keep[frees[:-1][again & (event[:-1] == TraceEvent.MM_PAGE_FREE)]] = False
    trace = trace.select(keep)
    event = np.where(
        trace.event == TraceEvent.MM_PAGE_FREE_BATCHED, TraceEvent.MM_PAGE_FREE, trace.event
    )
    gfp = np.array([*trace.gfp_texts, ""])[trace.gfp]
    return [event, *(getattr(trace, name) for name in COLUMNS), gfp], trace.time


@pytest.mark.parametrize("name", ["orders", "mixed"])
def test_every_event_is_the_kernels(tmp_path, name):
    capture = COMMITTED / name
    scenario = small(REPLAY.format(capture=capture))
    path = tmp_path / "trace.txt"
    path.write_text("".join(export(next(iter(scenario.trials())), "ftrace")))
    seen, times = kernels_view(read_trace(capture))
    ours, our_times = kernels_view(read_trace(path))
    assert len(times) > 200_000
    for kernels, memsims in zip(seen, ours, strict=True):
        assert np.array_equal(kernels, memsims)
    asked = seen[0] <= TraceEvent.MM_PAGE_FREE
    assert np.array_equal(times[asked] - times[0], our_times[asked] - our_times[0])
