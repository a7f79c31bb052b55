"""Plan workloads and look at what they plan."""

import json
from collections import Counter

import numpy as np

from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import ALLOC_FLAGS, OP_COLD, OP_FALLBACK, OP_FREE, OP_TOUCH, ZoneType
from memsim.plugins import find, model_of
from memsim.policies import LINUX_6_1
from memsim.schema import AllocBatch
from memsim.workloads import Context

SECOND = 10**9
CPUS = {0: (0, 1), 1: (2, 3), 2: ()}
"""Node 2 has memory only."""


def context(seed=1, duration=10 * SECOND, cpus=None, directory="."):
    nodes = CPUS if cpus is None else cpus
    pages = dict.fromkeys(nodes, 1 << 16)
    return Context("app", duration, np.random.default_rng(seed), nodes, pages, str(directory))


def planned(kind, knobs=None, **kwargs):
    """Return a workload's stream and its batches; knobs are read as a trial reads them."""
    model = model_of("workloads", kind).model_validate_json(json.dumps(knobs or {}), strict=True)
    stream = model.stream(context(**kwargs))
    return stream, list(stream.batches)


def plan(kind, knobs=None, **kwargs):
    """Return a workload's stream and all its events."""
    stream, batches = planned(kind, knobs, **kwargs)
    return stream, together(batches)


def together(batches):
    if not batches:
        return AllocBatch(*(np.zeros(0, np.int64) for _ in AllocBatch._fields))
    return AllocBatch(*(np.concatenate(column) for column in zip(*batches, strict=True)))


def uses(stream, events):
    """Count the allocations by use and order."""
    allocs = np.flatnonzero(events.op < OP_FREE)
    pairs = zip(events.request[allocs].tolist(), events.op[allocs].tolist(), strict=True)
    return Counter((stream.requests[r].use.name, op & ~ALLOC_FLAGS) for r, op in pairs)


def faults(stream, events):
    """Say what is wrong with the handles; nothing if all is well."""
    before = stream.before.pfn if stream.before is not None else np.zeros(0, np.int64)
    first = stream.handles - len(before)
    held = {first + int(i): None for i in np.flatnonzero(before >= 0)}
    wrong, fallback = set(), set()
    for op, handle in zip(events.op.tolist(), events.handle.tolist(), strict=True):
        if not 0 <= handle < stream.handles:
            wrong.add("handle out of bounds")
        elif op < OP_FREE and op & OP_FALLBACK:
            fallback.add(handle)
        elif op < OP_FREE:
            if handle in held and not op & OP_TOUCH:
                wrong.add("allocated while held")
            held[handle] = op & ~ALLOC_FLAGS
        elif handle in fallback:
            fallback.remove(handle)
        elif handle not in held:
            wrong.add("freed but not held")
        elif held.pop(handle) not in (None, op & ~(OP_FREE | OP_COLD)):
            wrong.add("freed with another order")
    return wrong


def small_memory(nodes=3, pages=1 << 16):
    """One Normal zone on each node, all of it free, no reserves."""
    top = (1 << 20) + pages * nodes
    starts = range(1 << 20, top, pages)
    zones = tuple(
        ZoneSetup(
            n,
            ZoneType.NORMAL,
            s,
            s + pages,
            pages,
            pages,
            (32, 40, 48, 56),
            (0,) * 5,
            pcp_high=378,
            pcp_batch=63,
            stat_threshold=32,
            nofragment=True,
        )
        for n, s in enumerate(starts)
    )
    lists = [tuple((n + k) % nodes for k in range(nodes)) for n in range(nodes)]
    setup = MachineSetup(zones, tuple((row, row[:1]) for row in lists), (0, 0, 1, 1))
    memory = Memory(setup, find("policies", "mobility").Policy().tables(LINUX_6_1))
    for z, s in enumerate(starts):
        memory.free_boot_range(z, s, s + pages)
    return memory


def carry_out(memory, stream, batches):
    """Run a stream on a memory; return all statuses."""
    memory.add_requests(stream.requests)
    memory.add_handles(stream.handles)
    done = [
        memory.run(*(np.ascontiguousarray(c) for c in (b.op, b.request, b.cpu, b.handle)))
        for b in batches
    ]
    return np.concatenate([outcome.status for outcome in done])
