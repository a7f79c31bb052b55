"""Invariants and conservation under pressure: swap, no swap, swap full, OOM, every policy."""

import random
from dataclasses import replace

import numpy as np
import pytest

from memsim import plugins
from memsim.conformance import small_machine
from memsim.kernels import layout as L
from memsim.kernels.system import S_OOM, S_SWAP_FREE
from memsim.memory import Memory
from memsim.memory.killing import kill, let_fail
from memsim.memory.setup import Pressure
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, Gfp, Status, Use, gfp_from_text
from memsim.policies import KERNELS
from memsim.profiles import PROFILES
from memsim.schema import Request

KERNEL = gfp_from_text("GFP_KERNEL")
USER = gfp_from_text("GFP_HIGHUSER_MOVABLE")
KINDS = {
    "anon": Request(USER, Use.ANON, lru=True),
    "file": Request(USER, Use.PAGE_CACHE, lru=True),
    "written": Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True),
    "mapped": Request(USER, Use.PAGE_CACHE, lru=True, mapped=True),
    "locked": Request(USER, Use.ANON, lru=True, mlocked=True),
    "pinned": Request(USER, Use.ANON, lru=True, pinned=True),
    "slab": Request(KERNEL | Gfp.RECLAIMABLE, Use.INODE),
    "kernel": Request(KERNEL, Use.KERNEL),
    "atomic": Request(gfp_from_text("GFP_ATOMIC"), Use.KERNEL),
    "try": Request(USER | Gfp.NORETRY, Use.ANON, lru=True),
}
SHARES = (30, 12, 8, 6, 1, 1, 8, 4, 1, 1)
PROCESSES = 4
EACH = 20_000
"""Handles of a process."""
LOADS = {"no swap": 0, "swap": 30_000, "swap full": 700}
PAIRS = sorted(
    (name, profile)
    for name in plugins.offered("policies")
    for profile in plugins.find("policies", name).Policy.PROFILES
)


class Desk:
    """A small machine under pressure, and what its processes hold."""

    def __init__(self, policy, profile, swap_slots, seed):
        kernel = KERNELS[PROFILES[profile].mechanism]
        setup = small_machine(PROFILES[profile], kernel)
        self.rng = random.Random(f"{policy} {profile} {swap_slots} {seed}")
        lumpy = profile == "linux-2.6.21"
        setup = replace(setup, pressure=Pressure(swap_slots=swap_slots, lumpy=lumpy))
        tables = plugins.build("policies", policy, {}).tables(kernel)
        self.memory = Memory(setup, tables)
        for z, zone in enumerate(setup.zones):
            self.memory.free_boot_range(z, zone.start_pfn, zone.end_pfn)
        self.memory.drain_all()
        self.memory.add_requests(list(KINDS.values()))
        self.memory.add_handles(PROCESSES * EACH)
        self.next = [0] * PROCESSES
        self.alive = [[] for _ in range(PROCESSES)]
        self.order: dict[int, int] = {}
        self.kind: dict[int, int] = {}
        self.time = 0
        self.kills = 0
        self.seen = set()

    def event(self):
        """Plan one event: op, request, handle."""
        process = self.rng.randrange(PROCESSES)
        mine = self.alive[process]
        dice = self.rng.random()
        if mine and dice < 0.12:
            handle = mine.pop(self.rng.randrange(len(mine)))
            return self.order[handle] | OP_FREE, 0, handle
        if mine and dice < 0.35:
            handle = mine[int(len(mine) * self.rng.random() ** 2)]
            op = self.order[handle] | OP_TOUCH | OP_WRITE * (self.rng.random() < 0.5)
            return op, self.kind[handle], handle
        return self.allocation(process)

    def allocation(self, process):
        handle = process * EACH + self.next[process] % EACH
        self.next[process] += 1
        kind = self.rng.choices(range(len(KINDS)), SHARES)[0]
        small = kind == list(KINDS).index("kernel")
        order = self.rng.choice((0, 0, 0, 0, 1, 2, 3)) if small else 0
        if kind == list(KINDS).index("try"):
            order = self.rng.choice((3, 9))
        self.order[handle], self.kind[handle] = order, kind
        self.alive[process].append(handle)
        return order, kind, handle

    def step(self, events):
        """Carry out events, killing where that is asked for."""
        plan = [self.event() for _ in range(events)]
        self.time += self.rng.choice((0, 1_000, 100_000, 3_000_000))
        op, request, handle = (np.array(column) for column in zip(*plan, strict=True))
        done = 0
        while done < len(op):
            out = self.memory.run(
                op[done:].astype(np.uint8),
                request[done:].astype(np.uint16),
                np.full(len(op) - done, self.time % 2, np.uint16),
                handle[done:].astype(np.int32),
                np.full(len(op) - done, self.time, np.int64),
            )
            self.seen |= {Status(status) for status in out.status.tolist()}
            done += len(out.status)
            if done < len(op):
                assert self.memory.mem.system[S_OOM]
                self.kill()

    def kill(self):
        """Take all from the process that holds most; spare the last one."""
        victim = max(range(PROCESSES), key=lambda p: len(self.alive[p]))
        if self.alive[victim]:
            kill(self.memory, victim * EACH, (victim + 1) * EACH, 0)
            self.alive[victim].clear()
            self.kills += 1
        else:
            let_fail(self.memory, True)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(("policy", "profile"), PAIRS)
def test_the_invariants_hold_after_every_step(policy, profile, load):
    desk = Desk(policy, profile, LOADS[load], 1)
    desk.memory.check()
    for _ in range(50):
        desk.step(400)
        desk.memory.check()
    counters = desk.memory.vmstat()
    assert counters["pgsteal_file"] + counters["pgsteal_direct"] + counters["pgsteal_kswapd"] > 0
    swapped = (desk.memory.page_table < 0) & (desk.memory.page_table != L.GONE)
    assert (counters["pswpout"] > 0) == (load != "no swap")
    if load == "swap full":
        assert desk.memory.mem.system[S_SWAP_FREE] < 100 or desk.kills
    if load != "no swap":
        assert swapped.any() or desk.kills
    for start, stop in ((p * EACH, (p + 1) * EACH) for p in range(PROCESSES)):
        kill(desk.memory, start, stop, 0)
    desk.memory.drain_all()
    desk.memory.check()
    assert not desk.memory.page_table.any()
    assert desk.memory.mem.system[S_SWAP_FREE] == LOADS[load]
