"""What holds for every workload that the folder offers."""

from itertools import zip_longest

import numpy as np
import pytest
from workload_runs import SECOND, context, faults, plan, planned, together

from memsim.mm import ALLOC_FLAGS, FREE_FLAGS, MAX_PAGE_ORDER, OP_FREE
from memsim.plugins import find, model_of, offered, summary
from memsim.workloads import _processes, _timeline

CASES = {
    "buffers": [
        {},
        {"size": 0, "churn": "8MiB/s", "lifetime": {"constant": "10ms"}, "nodes": [2]},
        {"drop": "4s"},
    ],
    "high_order": [{}, {"hold": True, "orders": [0, 4, 10], "attempts": 500, "every": "1s"}],
    "hugetlb": [
        {},
        {"size": "8MiB", "grow": 0, "exit": "2s", "touch": "100/s", "mem": {"interleave": [0, 1]}},
    ],
    "interleaved": [
        {},
        {"size": "4MiB", "movable": 3, "grow": 0, "drop": 0, "shrink": 0, "nodes": [2]},
    ],
    "kernel_build": [
        {
            "trees": 2,
            "unpack": "1s",
            "sources": "4MiB",
            "objects": "1MiB",
            "headers": "1MiB",
            "files": 300,
            "units": 20,
            "anon": "1MiB",
            "compile": "100ms",
            "reads": "256KiB",
            "stop": "4s",
            "delete": "4500ms",
        },
        {"unpack": "10s", "sources": "1MiB", "headers": "1MiB", "files": 10},
    ],
    "memory_hog": [
        {"anon": "8MiB", "grow": "1s", "touch": "2000/s", "exit": "4s"},
        {"anon": "1MiB", "grow": 0, "mlocked": True, "killable": False},
    ],
    "page_cache": [
        {"size": "8MiB"},
        {"size": "128KiB", "churn": "40MiB/s", "replace": "random", "grow": 0, "dirty": "50%"},
        {"size": "4KiB", "churn": "4MiB/s"},
        {"size": "2MiB", "churn": "4MiB/s", "replace": "random", "drop": "3s"},
        {"size": "2MiB", "buffers": "30%", "locked": "5%", "pinned": {"share": "10%"}},
        {"size": "2MiB", "filesystem": "tmpfs", "mapped": True, "shared": "50%"},
    ],
    "process": [
        {"anon": "16MiB"},
        {"anon": "64MiB", "exit": "2s", "thp": "50%", "grow": "3s"},
        {
            "anon": "1MiB",
            "count": 50,
            "spread": "4s",
            "grow": "100ms",
            "lifetime": {"lognormal": {"median": "300ms", "sigma": 1.0}},
            "arguments": 3,
        },
    ],
    "replay": [{"trace": "tests/data/captures/frag"}],
    "streaming": [
        {"size": "8MiB", "rate": "8MiB/s", "steps": ["write", "read", "delete"]},
        {"size": "100MiB", "steps": ["read"], "start": "1s"},
    ],
    "thp_faulter": [
        {"rate": "5/s"},
        {"rate": "4/s", "start": "1s", "lifetime": {"constant": "1s"}, "most": "16MiB"},
    ],
    "updatedb": [{"files": 500}, {"rate": "100/s", "start": "1s", "stop": "4s"}],
    "slab": [{}, {"lifetime": {"constant": "1us"}, "nodes": [2], "rate": "5000/s"}],
}
DURATION = 5 * SECOND
SILENT = {kind: {"freed but not held"} for kind in ("kernel_build", "replay")}
"""A replay frees pages that a bulk allocation took, which no line of the trace tells of; who
deletes trees does not ask which objects have been built."""
each_case = pytest.mark.parametrize(
    ("kind", "knobs"),
    [(kind, knobs) for kind in offered("workloads") for knobs in CASES[kind]],
    ids=lambda value: value if isinstance(value, str) else ",".join(value) or "defaults",
)


@pytest.fixture
def directory(request):
    return request.config.rootpath


@each_case
def test_the_same_seed_plans_the_same(kind, knobs, directory):
    first, again = (plan(kind, knobs, duration=DURATION, directory=directory) for _ in range(2))
    assert first[0].requests == again[0].requests
    assert first[0].handles == again[0].handles
    assert len(first[1].time) > 0
    for column, other in zip(first[1], again[1], strict=True):
        np.testing.assert_array_equal(column, other)


@each_case
def test_another_stream_beside_it_changes_nothing(kind, knobs, directory):
    alone = plan(kind, knobs, duration=DURATION, directory=directory)[1]
    model = model_of("workloads", kind).model_validate(knobs)
    stream = model.stream(context(duration=DURATION, directory=directory))
    beside = find("workloads", "slab").Workload().stream(context(2, DURATION))
    pairs = list(zip_longest(stream.batches, beside.batches))
    for column, other in zip(alone, together([b for b, _ in pairs if b]), strict=True):
        np.testing.assert_array_equal(column, other)


@each_case
def test_events_are_in_order_and_before_the_end(kind, knobs, directory):
    _, events = plan(kind, knobs, duration=DURATION, directory=directory)
    assert (np.diff(events.time) >= 0).all()
    assert events.time.min() >= 0 and events.time.max() < DURATION


@each_case
def test_columns_have_their_types(kind, knobs, directory):
    stream, events = plan(kind, knobs, duration=DURATION, directory=directory)
    assert [c.dtype.str[1:] for c in events] == ["i8", "u1", "u2", "u2", "i4"]
    assert len({len(column) for column in events}) == 1
    is_free = events.op >= OP_FREE
    assert ((events.op[~is_free] & ~np.uint8(ALLOC_FLAGS)) <= MAX_PAGE_ORDER).all()
    assert ((events.op[is_free] & ~np.uint8(FREE_FLAGS)) <= MAX_PAGE_ORDER).all()
    assert (events.request[events.op < OP_FREE] < len(stream.requests)).all()
    assert set(np.unique(events.cpu)) <= {0, 1, 2, 3}


@each_case
def test_only_what_is_held_is_freed(kind, knobs, directory):
    stream, events = plan(kind, knobs, duration=DURATION, directory=directory)
    assert faults(stream, events) <= SILENT.get(kind, set())


@each_case
def test_planning_in_small_windows_keeps_order_and_handles(kind, knobs, directory, monkeypatch):
    count = len(plan(kind, knobs, duration=DURATION, directory=directory)[1].time)
    monkeypatch.setattr(_timeline, "WINDOW_EVENTS", 100)
    monkeypatch.setattr(_processes, "WINDOW_EVENTS", 100)
    monkeypatch.setattr(_timeline, "MAX_BATCH", 64)
    stream, batches = planned(kind, knobs, duration=DURATION, directory=directory)
    assert all(0 < len(batch.time) <= 64 for batch in batches)
    events = together(batches)
    assert (np.diff(events.time) >= 0).all()
    assert faults(stream, events) <= SILENT.get(kind, set())
    assert len(events.time) == pytest.approx(count, rel=0.1)


@pytest.mark.parametrize("kind", offered("workloads"))
def test_a_workload_says_what_it_is(kind):
    assert summary("workloads", kind).endswith(".")
    schema = model_of("workloads", kind).model_json_schema()
    assert schema["properties"]
