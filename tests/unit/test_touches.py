"""Accesses of processes to the memory that they have, pins and shared pages."""

import numpy as np
import pytest
from workload_runs import plan

from memsim.kernels.layout import TRAIT_SHARED
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE

SECOND = 10**9


def touches(events):
    return (events.op & (OP_FREE | OP_TOUCH)) == OP_TOUCH


def test_accesses_come_at_their_rate_from_when_the_process_has_grown():
    knobs = {"anon": "4MiB", "grow": "1s", "exit": "6s", "touch": {"rate": "2000/s"}}
    _, events = plan("process", knobs)
    time = events.time[touches(events)]
    assert len(time) == pytest.approx(10_000, abs=2)
    assert time.min() >= SECOND and time.max() < 6 * SECOND + SECOND // 2000
    assert np.bincount(time // SECOND)[1:6] == pytest.approx(2000, abs=2)
    write = events.op[touches(events)] & OP_WRITE > 0
    assert write.mean() == pytest.approx(0.3, abs=0.02)


def test_hot_pages_are_accessed_as_zipf_says():
    knobs = {"anon": "4MiB", "grow": "1s", "touch": {"rate": "20000/s", "zipf": 1, "hot": "10%"}}
    _, events = plan("process", knobs)
    handle = events.handle[touches(events)]
    count = np.sort(np.bincount(handle))[::-1]
    count = count[count > 0]
    assert len(count) == 102
    harmonic = (1 / np.arange(1, 103)).sum()
    assert count[0] / count.sum() == pytest.approx(1 / harmonic, rel=0.05)
    assert count[0] / count[9] == pytest.approx(10, rel=0.15)


def test_a_process_that_moves_accesses_from_elsewhere():
    knobs = {"anon": "1MiB", "grow": "1s", "nodes": [0]}
    moved = {"rate": "1000/s", "move_at": "5s", "move_to": [1]}
    stream, events = plan("process", {**knobs, "touch": moved})
    mine = touches(events)
    before = mine & (events.time < 5 * SECOND)
    after = mine & (events.time >= 5 * SECOND)
    assert not set(events.cpu[before]) & set(events.cpu[after])
    assert {stream.requests[r].preferred for r in events.request[after]} == {1}
    with pytest.raises(ValueError, match="go together"):
        plan("process", {**knobs, "touch": {"move_at": "5s"}})


def test_pins_and_shared_pages_are_chosen_by_their_share():
    knobs = {"anon": "8MiB", "grow": "2s", "pinned": {"share": "25%", "term": "short"},
             "shared": "50%", "mlocked": True}  # fmt: skip
    stream, events = plan("process", knobs)
    (pin,) = stream.pins
    assert (pin.time_ns, pin.long_term) == (2 * SECOND, False)
    assert len(pin.handles) == pytest.approx(512, rel=0.15)
    assert len(set(pin.handles.tolist())) == len(pin.handles)
    assert (stream.traits == TRAIT_SHARED).sum() == pytest.approx(1024, rel=0.1)
    page = {r for r, request in enumerate(stream.requests) if request.mlocked}
    pinned = np.isin(events.handle, pin.handles) & (events.op < OP_FREE)
    assert set(events.request[pinned].tolist()) <= page
