"""Pages that are moved many at a time leave what they leave one by one.

A Memory that keeps a log moves every page by itself. So the same calls on two Memories, one with a
log, must end alike, in every array.
"""

import numpy as np
import pytest

from memsim import plugins
from memsim.kernels import layout as L
from memsim.memory import migrating, migrating_2005
from memsim.memory.start import kernel_of, start
from memsim.mm import (
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    OP_FREE,
    OP_TOUCH,
    OP_WRITE,
    Use,
    gfp_from_text,
)
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node, Swap
from memsim.schema import Request

POLICIES = {"linux-6.1": ("mobility", "none"), "linux-2.6.14": ("none", "light", "full")}
MIB = 1 << 20
HANDLES = 40_000
STALE = ("next", "prev", "rings", "swap_slot", "log", "log_cursor")
"""What may differ: in links and rings, lists leave something behind, in swap_slot pages do."""
TRAITS = (L.TRAIT_SHARED, L.TRAIT_LOCKED, L.TRAIT_NO_MIGRATE_OP, L.TRAIT_BUFFERS_IN_USE)
KINDS = (
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.ANON, lru=True),
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.PAGE_CACHE, lru=True),
    Request(gfp_from_text("GFP_HIGHUSER"), Use.ANON, lru=True),
    Request(gfp_from_text("GFP_KERNEL"), Use.KERNEL),
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.ANON, lru=True, preferred=1),
)


def lists(memory):
    """All lists of pages, in order."""
    zones, cpus = range(len(memory.setup.zones)), range(len(memory.setup.cpu_node))
    free = {
        (z, order, kind): memory.free_list(z, order, kind).tolist()
        for z in zones
        for order in range(NR_PAGE_ORDERS)
        for kind in range(MIGRATE_TYPES)
    }
    kept = {
        (z, cpu, pindex): memory.pcp_list(z, cpu, pindex).tolist()
        for z in zones
        for cpu in cpus
        for pindex in range(NR_PCP_LISTS)
    }
    owners = zones if memory.mem.lru_per_zone else range(memory.mem.nr_nodes)
    lru = {
        (owner, kind): memory.lru_list(owner, kind).tolist()
        for owner in owners
        for kind in range(L.NR_LRU_LISTS)
    }
    return free, kept, lru


def events(memory, op, request, cpu, handle):
    columns = np.broadcast_arrays(op, request, cpu, handle)
    dtypes = np.uint8, np.uint16, np.uint16, np.int32
    columns = [np.ascontiguousarray(c, t) for c, t in zip(columns, dtypes, strict=True)]
    at = 0
    while at < len(handle):
        at += len(memory.run(*(column[at:] for column in columns)).pfn)
        memory.take_log()


def new_memory(profile, seed, *, log):
    """Two nodes with pages of all kinds, in order or mixed up, some with a reason to stay."""
    rng = np.random.default_rng(seed)
    cpus = int(rng.choice((1, 2, 8)))
    nodes = tuple(
        Node(id=n, cpus=tuple(range(n * cpus, (n + 1) * cpus)), memory=128 * MIB) for n in range(2)
    )
    swap = Swap(size=int(rng.choice((8, 256))) * MIB) if profile == "linux-2.6.14" else None
    machine = Machine(profile=profile, nodes=nodes, swap=swap)
    policy = str(rng.choice(POLICIES[profile]))
    tables = plugins.model_of("policies", policy)().tables(kernel_of(machine, profile))
    memory = start(machine, profile, Cmdline(), tables, "")
    if log:
        memory.keep_log(1 << 14)
    memory.add_requests(list(KINDS))
    memory.add_handles(HANDLES)
    at = 0
    while at < HANDLES:
        run = min(int(rng.choice((40, 900, 6000))), HANDLES - at)
        kind = rng.choice(len(KINDS), p=(0.5, 0.15, 0.1, 0.05, 0.2))
        kinds = rng.integers(0, len(KINDS), run) if rng.random() < 0.3 else kind
        events(memory, 0, kinds, 0, np.arange(at, at + run))
        at += run
    events(memory, OP_TOUCH | OP_WRITE, 1, 0, rng.integers(0, HANDLES, HANDLES // 9))
    gone = rng.permutation(HANDLES)[: int(HANDLES * rng.choice((0.05, 0.4)))]
    events(memory, OP_FREE, 0, cpus - 1, gone)
    for handles, mark in zip(np.split(rng.permutation(HANDLES)[:400], 2), (1, 0), strict=True):
        held = handles[memory.page_table[handles] > 0]
        if mark:
            memory.mem.state[memory.page_table[held] - 1] |= L.PAGE_PINNED
        elif rng.random() < 0.7:
            memory.mem.traits[held] = rng.choice(TRAITS, len(held))
    return memory, rng


def calls(profile, memory, rng):
    """Move pages to and fro: all, parts in order, and parts at random."""
    outcomes = []
    for _ in range(6):
        how, node = rng.choice(("all", "part", "any order")), int(rng.integers(2))
        cpu = int(rng.integers(len(memory.setup.cpu_node)))
        first = int(rng.integers(HANDLES))
        part = np.arange(first, min(first + int(rng.integers(1, 20_000)), HANDLES))
        if how == "all":
            part = np.arange(HANDLES)
        elif how == "any order":
            part = rng.permutation(HANDLES)[: int(rng.integers(1, 9_000))]
        move = move_today if profile == "linux-6.1" else move_2005
        outcomes.append(move(memory, rng, part.astype(np.int32), node, cpu))
        memory.take_log()
    return outcomes


def move_today(memory, rng, part, node, cpu):
    """Move pages; return how many there were to move, and all that is known of them."""
    move = migrating.mbind if rng.random() < 0.3 else migrating.migrate_pages
    where = ([node],) if move is migrating.mbind else ([1 - node], [node])
    outcome = move(memory, part, *where, cpu=cpu)
    columns = ("handles", "codes", "tries", "sources", "targets", "split")
    columns = [getattr(outcome, name).tolist() for name in columns]
    return len(outcome.handles), columns, outcome.counters, outcome.took_ns


def move_2005(memory, rng, part, node, cpu):
    """Move pages directly; return how many went, and all that is known of them."""
    code = str(rng.choice(("v1", "linux-2.6.16")))
    full = str(rng.choice(("swap", "enomem", "other_node")))
    budget = int(rng.integers(1, 40_000_000)) if rng.random() < 0.3 else None
    outcome = migrating_2005.migrate(
        memory, part, node, code=code, target_full=full, budget_ns=budget, cpu=cpu
    )
    columns = ("fate", "passes", "waits", "page_model_ns", "old_pfn", "new_pfn")
    columns = [getattr(outcome, name).tolist() for name in columns]
    moved = outcome.count(migrating_2005.Fate.MOVED_DIRECT)
    return moved, columns, outcome.counters, outcome.model_ns


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("profile", POLICIES)
def test_pages_moved_together_equal_pages_moved_one_by_one(profile, seed):
    singly, rng = new_memory(profile, seed, log=True)
    expected = calls(profile, singly, rng)
    together, rng = new_memory(profile, seed, log=False)
    found = calls(profile, together, rng)
    assert sum(moved for moved, *_ in found) > 1000
    assert found == expected
    assert lists(together) == lists(singly)
    columns = [name for name in L.Mem._fields if name not in STALE]
    differ = [
        name
        for name in columns
        if not np.array_equal(getattr(together.mem, name), getattr(singly.mem, name))
    ]
    assert differ == []
    cached = np.flatnonzero(singly.mem.state[: singly.nr_pages] & L.PAGE_SWAPCACHE)
    assert np.array_equal(together.mem.swap_slot[cached], singly.mem.swap_slot[cached])
    together.check()
