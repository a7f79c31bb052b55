"""Machines under pressure, asked one request at a time, and the steps that their slow path took."""

from __future__ import annotations

import random

import numpy as np
from backend import M, MachineSpec, ZoneSpec
from kernel_backend import KernelMachine

from memsim.kernels import trace_log
from memsim.memory.setup import Pressure
from memsim.memory.start import put_under_pressure
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, Status, Use, gfp_from_text
from memsim.schema import Request

STEPS = {
    value: name.removeprefix("STEP_")
    for name, value in vars(trace_log).items()
    if name.startswith("STEP_")
}


class PressedMachine:
    """A machine of one zone; every free block that is not given is held since before the start."""

    def __init__(self, pages, free=None, pressure=None, pageblocks=None, **zone):
        blocks = [(pfn, 10, M) for pfn in range(0, pages, 1024)] if free is None else free
        spec = ZoneSpec(0, pages, tuple(blocks), **{"index": 2, **zone})
        self.memory = KernelMachine(MachineSpec((spec,), pageblocks=pageblocks or {})).memory
        put_under_pressure(self.memory, pressure or Pressure())
        self.handles = 0

    def ask(self, gfp, order=0, use=Use.KERNEL, **attributes):
        """Carry out one request; return its outcome, or None if it needs an OOM kill.

        ``order`` may have flags of an op beside it.
        """
        request = self.memory.add_requests([Request(gfp_from_text(gfp), use, **attributes)])
        self.handles += 1
        return self._run(order, request, self.handles - 1)

    def touch(self, handle, gfp, order=0, use=Use.ANON):
        """Access what a handle holds; if that is not in memory it is asked for."""
        request = self.memory.add_requests([Request(gfp_from_text(gfp), use, lru=True)])
        return self._run(order | OP_TOUCH, request, handle)

    def fill(self, count, gfp="GFP_HIGHUSER_MOVABLE", use=Use.ANON, lru=True, **attributes):
        """Take single pages; return their handles."""
        request = Request(gfp_from_text(gfp), use, lru=lru, **attributes)
        row = self.memory.add_requests([request])
        first, self.handles = self.handles, self.handles + count
        for start in range(first, self.handles, 500):
            handle = np.arange(start, min(start + 500, self.handles), dtype=np.int32)
            same = np.zeros(len(handle), np.uint16)
            outcome = self.memory.run(same.astype(np.uint8), same + row, same, handle)
            assert outcome.status.tolist() == [Status.OK] * len(handle)
            self.memory.take_log()
        self.memory.check()
        return range(first, self.handles)

    def free(self, handle, order=0):
        return self._run(order | OP_FREE, 0, handle)

    def _run(self, op, request, handle):
        outcome = self.memory.run(
            np.array([op], np.uint8),
            np.array([request], np.uint16),
            np.zeros(1, np.uint16),
            np.array([handle], np.int32),
        )
        self.memory.check()
        if not len(outcome.status):
            assert self.memory.needs_oom_kill
            return None
        return outcome

    def steps(self):
        """Return the steps since last asked, each with what the log says of it."""
        log = self.memory.take_log()
        rows = log[log[:, 1] == trace_log.LOG_STEP].tolist()
        return [(STEPS[row[2]], *row[3:7]) for row in rows]

    def vmstat(self, name):
        return self.memory.vmstat()[name]


def touch_at_random(pair, seed, weights, steps, handles=350):
    """Touch, write and free at random; where a kill is needed, some handles are freed.

    ``pair`` is of kernels and twin, ``weights`` say how often a handle is of each kind. Returns the
    kills.
    """
    draw = random.Random(seed)
    time, kinds, kills = 0, {}, 0
    for _ in range(steps):
        time += draw.choice((1000, 30_000, 2_000_000, 10**9)) if draw.random() < 0.2 else 0
        handle = draw.randrange(handles)
        op = OP_TOUCH | (OP_WRITE if draw.random() < 0.3 else 0)
        kind = kinds.setdefault(handle, draw.choices(list(weights), weights.values())[0])
        if draw.random() < 0.05:
            op = OP_FREE
        done = pair.run(op, kind, handle, time)
        if op == OP_FREE:
            del kinds[handle]
        if not done:
            kills += 1
            for victim in draw.sample(sorted(kinds), 40):
                pair.run(OP_FREE, kinds.pop(victim), victim, time)
    pair.memory.check()
    return kills


def random_events(seed, n, weights, handles=350):
    """Columns of events for a Memory with a request class for each of ``weights``."""
    draw = np.random.default_rng(seed)
    kinds = draw.choice(len(weights), handles, p=np.array(weights) / sum(weights))
    handle = draw.integers(0, handles, n).astype(np.int32)
    op = np.where(draw.random(n) < 0.3, OP_TOUCH | OP_WRITE, OP_TOUCH)
    op = np.where(draw.random(n) < 0.05, OP_FREE, op).astype(np.uint8)
    gaps = np.where(draw.random(n) < 0.3, draw.integers(0, 3_000_000, n), 0)
    request = kinds[handle].astype(np.uint16)
    return op, request, np.zeros(n, np.uint16), handle, np.cumsum(gaps)


def assert_same_one_by_one(whole, split, events):
    """Carry out events at once, and one by one with a look in between: both end the same."""
    assert len(whole.run(*events).pfn) == len(events[0])
    before = 0
    for i, time in enumerate(events[4].tolist()):
        split.advance((before + time) // 2)
        assert len(split.run(*(column[i : i + 1] for column in events)).pfn) == 1
        before = time
    assert whole.vmstat() == split.vmstat()
    for name, array in whole.mem._asdict().items():
        np.testing.assert_array_equal(array, getattr(split.mem, name), name)
