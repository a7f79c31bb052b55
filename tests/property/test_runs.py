"""Runs of like events, carried out together, leave what they leave one by one.

A Memory that keeps a log handles every page by itself: it refills, drains and serves one page at
a time. So the same events on two Memories, one with a log, must end in the same state.
"""

import ast
import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from kernel_backend import KernelMachine
from strategies import random_machine

from memsim.kernels import pcp, pcp_free, runs, trace_log
from memsim.mm import (
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    OP_COLD,
    OP_FREE,
    Use,
    gfp_from_text,
)
from memsim.schema import Request

SEEDS = range(60)
STEPS = 40
HANDLES = 4000
GFP = (
    "GFP_KERNEL",
    "GFP_ATOMIC",
    "GFP_HIGHUSER_MOVABLE|__GFP_COMP",
    "GFP_KERNEL|__GFP_RECLAIMABLE",
    "GFP_NOWAIT",
    "GFP_KERNEL|__GFP_MEMALLOC",
)


def requests():
    return [Request(gfp_from_text(text), Use.KERNEL, lru="MOVABLE" in text) for text in GFP]


def random_runs(seed, cpus):
    """Columns of events: runs of allocations, and of frees in the order, the reverse or none."""
    rng = random.Random(f"runs {seed}")
    idle, held = list(range(HANDLES)), []
    columns = [], [], [], []

    def add(op, request, cpu, handle):
        for column, value in zip(columns, (op, request, cpu, handle), strict=True):
            column.append(value)

    for _ in range(STEPS):
        cpu, request = rng.randrange(cpus), rng.randrange(len(GFP))
        size = rng.choice((1, 3, 4, 5, 30, 200, 900))
        if rng.random() < 0.55:
            order = rng.choice((0, 0, 0, 0, 1, 3, 5, 9))
            for _ in range(min(size >> order // 2, len(idle))):
                held.append((idle.pop(), order))
                add(order, request, cpu, held[-1][0])
            continue
        start = rng.randrange(len(held) + 1)
        part, held[start : start + size] = held[start : start + size], []
        how = rng.choice(("in order", "in order", "reversed", "shuffled", "some twice"))
        if how == "reversed":
            part.reverse()
        elif how == "shuffled":
            rng.shuffle(part)
        elif how == "some twice":
            part = [block for block in part for _ in range(rng.choice((1, 1, 1, 2)))]
        cold = rng.choice((0, 0, OP_COLD))
        for handle, order in part:
            add(OP_FREE | order | cold, request, cpu, handle)
        idle += {handle for handle, _ in part}
    dtypes = np.uint8, np.uint16, np.uint16, np.int32
    return [np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]


def new_memory(seed, *, log):
    """A small random machine; its kernels handle runs together unless a log is kept."""
    spec = random_machine(seed)
    memory = KernelMachine(spec).memory
    if not log:
        memory.mem.log_cursor[trace_log.LOG_CAPACITY] = 0
    memory.add_requests(requests())
    return memory, random_runs(seed, len(spec.cpu_nid))


def play(memory, columns):
    """Carry out all events; return what became of them, and take the log on the way."""
    outcomes, logged, at = [], 0, 0
    while at < len(columns[0]):
        outcomes.append(memory.run(*(column[at:] for column in columns)))
        at += len(outcomes[-1].pfn)
        logged += len(memory.take_log())
    return np.concatenate(outcomes, axis=1), logged


def full_state(memory):
    """Everything that a Memory holds, lists in order."""
    mem = memory.mem
    zones, cpus = range(len(memory.setup.zones)), range(len(memory.setup.cpu_node))
    state = {
        (z, order, kind): memory.free_list(z, order, kind).tolist()
        for z in zones
        for order in range(NR_PAGE_ORDERS)
        for kind in range(MIGRATE_TYPES)
    }
    for z in zones:
        for cpu in cpus:
            for pindex in range(NR_PCP_LISTS):
                state["pcp", z, cpu, pindex] = memory.pcp_list(z, cpu, pindex).tolist()
    for name in ("state", "rmap", "pageblocks", "zones", "pcps", "lru_batches", "events"):
        state[name] = getattr(mem, name).tolist()
    state["page_table"] = memory.page_table.tolist()
    return state


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_equal_their_events(seed):
    singly, columns = new_memory(seed, log=True)
    together, _ = new_memory(seed, log=False)
    expected, logged = play(singly, columns)
    found, unlogged = play(together, columns)
    assert logged > 0 == unlogged
    assert np.array_equal(found, expected)
    ours, theirs = full_state(together), full_state(singly)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    together.check()


def digest(seed):
    """Run a stream without a log and hash the outcome and all state."""
    memory, columns = new_memory(seed, log=False)
    outcome, _ = play(memory, columns)
    seen = hashlib.sha256(outcome.tobytes())
    seen.update(repr(full_state(memory)).encode())
    return seen.hexdigest()


def count_shortcuts():
    """Let the kernels, not compiled, count what they do together; return the counts by name."""
    counts = Counter()

    def counted(function, name, size):
        def call(*arguments):
            result = function(*arguments)
            counts[name] += size(result, arguments)
            return result

        return call

    runs.alloc_run = counted(runs.alloc_run, "served", lambda n, _: n)
    runs.free_run = counted(runs.free_run, "freed", lambda n, _: n)
    pcp.refill_whole = counted(pcp.refill_whole, "refilled", lambda n, _: n)
    drain_range, drain_singles = pcp_free.drain_range, pcp_free.drain_singles
    pcp_free.drain_range = counted(drain_range, "drained", lambda _, arguments: arguments[-1])
    pcp_free.drain_singles = counted(drain_singles, "drained singly", lambda n, _: n)
    return counts


def in_new_process(statement, jit_off):
    """Run a statement with this module's names; return what it prints."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    return subprocess.run(
        [sys.executable, "-c", f"from test_runs import *; {statement}"],
        env={**os.environ, "NUMBA_DISABLE_JIT": jit_off, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_compiled_runs_equal_interpreted_ones_and_happen():
    statement = "counts = count_shortcuts(); print([digest(s) for s in range(4)], dict(counts))"
    digests, counts = in_new_process(statement, "1").split("]")
    assert in_new_process("print([digest(s) for s in range(4)])", "0").strip() == digests + "]"
    assert len(set(digests.split())) == 4
    assert {name for name, n in ast.literal_eval(counts.strip()).items() if n > 500} == {
        "served",
        "freed",
        "refilled",
        "drained",
        "drained singly",
    }
