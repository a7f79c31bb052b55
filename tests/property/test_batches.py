"""The same events give the same pages: in batches of any size, compiled or not."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_backend import KernelMachine
from strategies import random_machine

from memsim.mm import OP_FREE, Status, Use, gfp_from_text
from memsim.schema import Request

EVENTS = 4000
HANDLES = 1500
GFP = (
    "GFP_KERNEL",
    "GFP_ATOMIC",
    "GFP_HIGHUSER_MOVABLE|__GFP_COMP",
    "GFP_KERNEL|__GFP_RECLAIMABLE",
    "GFP_NOWAIT",
)


def requests():
    return [Request(gfp_from_text(text), Use.KERNEL, lru="MOVABLE" in text) for text in GFP]


def events(seed, cpus):
    """Random allocations and frees by handle; a handle may be freed while it holds nothing."""
    rng = np.random.default_rng(seed)
    free = rng.random(EVENTS) < 0.45
    orders = rng.choice([0, 0, 0, 0, 1, 2, 3, 5, 9], size=HANDLES)
    handle = rng.integers(0, HANDLES, EVENTS).astype(np.int32)
    held = np.zeros(HANDLES, bool)
    for i, h in enumerate(handle):
        # A handle that is held is freed, one that is not is allocated: but let some frees miss.
        free[i] = held[h] or (free[i] and rng.random() < 0.1)
        held[h] = not free[i]
    op = orders[handle].astype(np.uint8) | np.where(free, OP_FREE, 0).astype(np.uint8)
    request = rng.integers(0, len(GFP), EVENTS).astype(np.uint16)
    return op, request, rng.integers(0, cpus, EVENTS).astype(np.uint16), handle


def digest(seed, batch_size, check=False):
    """Run a stream and hash every outcome and all state."""
    spec = random_machine(seed)
    memory = KernelMachine(spec).memory
    memory.take_log()
    memory.add_requests(requests())
    columns = events(seed, len(spec.cpu_nid))
    result = hashlib.sha256()
    pfns, statuses, at = [], [], 0
    while at < EVENTS:
        outcome = memory.run(*(column[at : at + batch_size] for column in columns))
        pfns.append(outcome.pfn)
        statuses.append(outcome.status)
        at += len(outcome.pfn)
        memory.take_log()
        if check:
            memory.check()
    pfn, status = np.concatenate(pfns), np.concatenate(statuses)
    mem = memory.mem
    for array in (pfn, status, mem.state, mem.zones, mem.pcps, mem.pageblocks, mem.events):
        result.update(np.ascontiguousarray(array).tobytes())
    result.update(memory.page_table.tobytes())
    return result.hexdigest(), status


@pytest.mark.parametrize("seed", range(6))
def test_batch_size_decides_nothing(seed):
    whole, status = digest(seed, 100_000)
    assert {digest(seed, size)[0] for size in (1, 7, 1000)} == {whole}
    assert {int(Status.OK), int(Status.FREED), int(Status.NOT_HELD)} <= set(status.tolist())


@pytest.mark.parametrize("seed", range(6))
def test_invariants_hold_and_pages_are_conserved(seed):
    _, status = digest(seed, 25, check=True)
    assert np.count_nonzero(status == Status.OK) > 100


def test_a_broken_invariant_is_found():
    memory = KernelMachine(random_machine(1)).memory
    memory.check()
    memory.mem.zones[:] += 1
    with pytest.raises(AssertionError, match="nr_free_pages is"):
        memory.check()


def test_compiled_equals_interpreted():
    here = Path(__file__).parent
    script = "from test_batches import digest; print([digest(s, 997)[0] for s in range(4)])"
    path = os.pathsep.join([str(here), str(here.parent)])
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "NUMBA_DISABLE_JIT": off, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert printed[0] == printed[1]
    assert len(set(printed[0].split())) == 4
