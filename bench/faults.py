"""Migrations and removals in whose middle something goes wrong (``make soak``).

Each case is a small machine with pages of all kinds, of 6.1 or of 2005, on which one thing is under
way when another happens: a timeout, a signal, the target node or swap fills up, a process exits, a
page gets pinned, somebody else wants the same memory. Afterwards every page must be accounted for.
"""

from __future__ import annotations

import argparse
import errno
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bench.fault_machines import NAMES, Machine, machine_of_6_1, verify
from bench.faults_2005 import migrate_2005
from memsim.kernels import layout as L
from memsim.memory import migrating
from memsim.memory.balancing import demote_to
from memsim.memory.contiguous import alloc_contig, free_contig
from memsim.memory.hotplug import OfflineOutcome, Offlining, offline
from memsim.memory.migrate_call import Call
from memsim.memory.obstacles import Reason
from memsim.memory.onlining import online
from memsim.memory.virtio_mem import VirtioMem, virtio_mem_plug, virtio_mem_unplug
from memsim.mm import (
    PAGEBLOCK_NR_PAGES,
    SECTION_PAGES,
    MigrateMode,
    MigrateReason,
    Migratetype,
    Use,
)
from memsim.schema import Request

FAULTS = ("none", "timeout", "signal", "target full", "swap full", "exit", "pin", "second")
EVERY = 500
"""Cases between two lines of progress."""
LARGE = tuple(NAMES.index(name) for name in ("huge", "hugetlb"))


class Case(NamedTuple):
    """What was under way, what went wrong, and what came of it."""

    action: str
    fault: str
    result: str


def carry_out(seed: int) -> Case:
    """Carry out the case of a seed; raises AssertionError where something does not hold."""
    action, fault = kind_of(seed)
    return Case(action, fault, ACTIONS[action](np.random.default_rng((seed, 1)), fault))


def kind_of(seed: int) -> tuple[str, str]:
    """Say what is under way in the case of a seed, and what goes wrong."""
    rng = np.random.default_rng(seed)
    return str(rng.choice(list(ACTIONS))), str(rng.choice(FAULTS))


def _code(number: int) -> str:
    return errno.errorcode[abs(number)] if number else "done"


# --- 6.1 ------------------------------------------------------------------------------------------


def _populated(rng: np.random.Generator, whole_section: bool = False) -> Machine:
    machine = machine_of_6_1(rng, whole_section)
    pages = min(sum(z.managed for z in machine.memory.setup.zones), 9_000)
    weights = {name: 0 for name in ("kernel", "inode")} if rng.random() < 0.7 else {}
    if rng.random() < 0.4:
        weights |= {"huge": 1, "hugetlb": int(rng.random() < 0.3)}
    machine.populate(int(pages * rng.choice((0.1, 0.3, 0.6))), weights)
    if rng.random() < 0.3:
        nodes = len(machine.memory.setup.cpu_node)
        demote_to(machine.memory, 0, tuple(range(1, nodes)))
        machine.demotes = True
    if rng.random() < 0.5:
        machine.pin(long_term=bool(rng.integers(2)), most=5)
    return machine


def _happening(machine: Machine, fault: str, start: int, end: int) -> Callable[[], None] | None:
    """Return what goes wrong in the middle; ``start`` and ``end`` say what others want too."""
    nodes, rng = len(machine.memory.setup.cpu_node), machine.rng
    return {
        "target full": lambda: machine.fill("atomic", int(rng.integers(nodes)), 30_000),
        "swap full": machine.fill_swap,
        "exit": machine.exit,
        "pin": lambda: machine.pin(long_term=bool(rng.integers(2))),
        "second": lambda: _take_too(machine, start, end),
    }.get(fault)


def _take_too(machine: Machine, start: int, end: int) -> None:
    """Try to take memory, some of which may be on its way already; then that must be refused."""
    memory, whole = machine.memory, bool(machine.rng.integers(2))
    first = start if whole else int(machine.rng.integers(start, end))
    blocks = slice(first // PAGEBLOCK_NR_PAGES, end // PAGEBLOCK_NR_PAGES)
    before = memory.mem.pageblocks[blocks].copy()
    isolated = before == Migratetype.ISOLATE
    if whole:
        code = offline(memory, start, end - start, 1000).errno
    else:
        done = alloc_contig(memory, first, end - first)
        machine.given.append((done.handle, end - first if done.errno == 0 else 0))
        code = done.errno
    if isolated.any():
        assert code == -errno.EBUSY, f"a second removal came to {code}"
        assert np.array_equal(memory.mem.pageblocks[blocks][isolated], before[isolated])


def _offline(rng: np.random.Generator, fault: str) -> str:
    machine = _populated(rng)
    memory = machine.memory
    node = int(rng.integers(len(memory.setup.cpu_node)))
    end = (node + 1) * SECTION_PAGES
    start = end - int(rng.choice((1024, 2048, 4096)))
    before = machine.look()
    types = memory.mem.pageblocks.copy()
    pcps = memory.mem.pcps.reshape(-1, L.PCP_FIELDS)[:, [L.P_HIGH, L.P_BATCH]].copy()
    timeout = int(rng.choice((0, 10_000, 1_000_000))) if fault == "timeout" else 20_000_000
    signal = int(memory.now + rng.integers(0, 2_000_000)) if fault == "signal" else None
    attempt = Offlining(memory, start, end - start, timeout, signal, int(rng.integers(2)))
    happens = _happening(machine, fault, start, end)
    memory.happens = happens if rng.integers(2) else None
    memory.countdown = between = int(rng.integers(0, 6))
    while (outcome := attempt.step(attempt.stops_at)) is None:
        between -= 1
        if between == 0 and happens is not None and memory.happens is None:
            happens()
    memory.happens = None
    if fault != "second" or not outcome.removed:
        _judge_offline(machine, outcome, types, fault)
    if outcome.errno:
        now = memory.mem.pcps.reshape(-1, L.PCP_FIELDS)[:, [L.P_HIGH, L.P_BATCH]]
        assert np.array_equal(now, pcps) or fault == "second", "per-CPU lists have other sizes"
    verify(machine, before, freely=fault == "pin")
    machine.go_on()
    if outcome.removed:
        assert online(memory, start, end - start, "movable").errno == 0
        machine.go_on()
    return _code(outcome.errno)


def _judge_offline(
    machine: Machine, outcome: OfflineOutcome, types: np.ndarray, fault: str
) -> None:
    memory = machine.memory
    blocks = slice(outcome.start_pfn // 512, (outcome.start_pfn + outcome.nr_pages) // 512)
    now = memory.mem.pageblocks[blocks]
    assert outcome.errno in (0, -errno.EBUSY, -errno.EINTR, -errno.EINVAL)
    if outcome.errno == -errno.EINTR:
        assert (now == Migratetype.MOVABLE).all(), "a pageblock was not given back as Movable"
    elif outcome.errno and fault == "none":
        kept = (now == types[blocks]) | (now == Migratetype.MOVABLE)
        assert kept.all(), "a pageblock has another type"
    for obstacle in outcome.obstacles:
        state = int(memory.mem.state[obstacle.pfn])
        assert state & (L.PAGE_ALLOCATED | L.PAGE_RESERVED), f"{obstacle} is nobody's page"
    if outcome.errno == -errno.EINTR:
        state = memory.mem.state[outcome.start_pfn : outcome.start_pfn + outcome.nr_pages]
        left = int(np.count_nonzero(state & L.PAGE_ALLOCATED))
        assert outcome.pages_left <= left, f"{outcome.pages_left} left of {left}"
        assert outcome.reason != Reason.NONE


def _contig(rng: np.random.Generator, fault: str) -> str:
    machine = _populated(rng)
    memory = machine.memory
    zone = memory.setup.zones[int(rng.integers(len(memory.setup.zones)))]
    size = int(rng.integers(1, 1200))
    start = int(rng.integers(zone.start_pfn, zone.end_pfn - size))
    before = machine.look()
    memory.happens = _happening(machine, fault, zone.end_pfn - 1024, zone.end_pfn)
    if zone.end_pfn % SECTION_PAGES:
        memory.happens = None if fault == "second" else memory.happens
    memory.countdown = int(rng.integers(1, 8))
    outcome = alloc_contig(memory, start, size, cpu=int(rng.integers(2)))
    memory.happens = None
    machine.given.append((outcome.handle, size if outcome.errno == 0 else 0))
    assert outcome.errno in (0, -errno.EBUSY, -errno.ENOMEM)
    first, last = start // PAGEBLOCK_NR_PAGES, -(-(start + size) // PAGEBLOCK_NR_PAGES)
    if outcome.errno == 0 or outcome.migrate_calls:
        assert (memory.mem.pageblocks[first:last] == Migratetype.MOVABLE).all()
    if outcome.errno == 0:
        taken = memory.page_table[outcome.handle : outcome.handle + size]
        assert np.array_equal(taken - 1, np.arange(start, start + size))
        verify(machine, before, freely=True)
        free_contig(memory, outcome.handle, size)
    verify(machine, before, freely=fault == "pin")
    machine.go_on()
    return _code(outcome.errno)


def _virtio(rng: np.random.Generator, fault: str) -> str:
    machine = _populated(rng, whole_section=True)
    memory = machine.memory
    device = VirtioMem(SECTION_PAGES, 2 * SECTION_PAGES)
    before = machine.look()
    managed = sum(zone.managed for zone in memory.setup.zones)
    memory.happens = _happening(machine, fault if fault != "second" else "exit", 0, 0)
    memory.countdown = int(rng.integers(1, 60))
    size = int(rng.choice((512, 8192, SECTION_PAGES)))
    outcome = virtio_mem_unplug(memory, device, size)
    machine.given += [(one.handle, one.nr_pages) for one in outcome.attempts if one.errno == 0]
    memory.happens = None
    assert outcome.errno in (0, -errno.EBUSY, -errno.ENOMEM)
    assert outcome.unplugged_pages == SECTION_PAGES - device.plugged_pages
    now = sum(zone.managed for zone in memory.setup.zones)
    assert managed - now == outcome.unplugged_pages
    verify(machine, before, freely=True)
    back = virtio_mem_plug(memory, device, outcome.unplugged_pages, "movable")
    assert back == outcome.unplugged_pages, f"{back} of {outcome.unplugged_pages} pages came back"
    assert sum(zone.managed for zone in memory.setup.zones) == managed
    machine.go_on()
    return _code(outcome.errno)


def _others_moved(machine: Machine, counters: Mapping[str, int]) -> bool:
    """Say whether compaction or demotion moved pages meanwhile, or may have tried to."""
    names = ("compact_migrated", "compact_not_migrated")
    return machine.demotes or any(counters.get(name, 0) for name in names)


def _syscall(rng: np.random.Generator, fault: str) -> str:
    """Isolate what a process has on one node, let things happen, then move it."""
    machine = _populated(rng)
    memory = machine.memory
    users = machine.users()
    nodes = len(memory.setup.cpu_node)
    node = int(rng.integers(nodes))
    mine = users[migrating.query(memory, users) != node].astype(np.int32)
    before = machine.look()
    call = Call(memory, int(rng.integers(2)))
    taken = mine[call.isolate(mine)]
    happens = _happening(machine, fault if fault != "second" else "exit", 0, 0)
    if happens is not None and rng.integers(2):
        happens()
    elif happens is not None:
        memory.happens, memory.countdown = happens, 0
    mode = MigrateMode(int(rng.integers(3)))
    request = Request(migrating.MOVE_GFP, Use.ANON, preferred=node)
    alive = taken[memory.page_table[taken] > 0]
    result = call.migrate(alive, request, mode, MigrateReason.SYSCALL)
    done = call.outcome(result, np.zeros(0, np.int32))
    memory.happens = None
    pages = alive[(done.codes == 0) & (done.tries > 0)]
    if not _others_moved(machine, done.counters):
        here = migrating.query(memory, pages)
        assert np.isin(here, (node, migrating.NOT_PRESENT)).all(), "a page is on another node"
    counts = fault != "pin" and not _others_moved(machine, done.counters)
    if counts and not np.isin(machine.kinds[alive], LARGE).any():
        moved, failed = (done.counters.get(f"pgmigrate_{n}", 0) for n in ("success", "fail"))
        assert moved == np.count_nonzero(done.codes == 0)
        assert failed <= np.count_nonzero(done.codes < 0)
        assert result < 0 or failed == result == np.count_nonzero(done.codes < 0)
    verify(machine, before, freely=fault == "pin")
    machine.go_on()
    return _code(result) if result < 0 else "moved"


def _pinning(rng: np.random.Generator, fault: str) -> str:
    """Pin pages for long, so that they leave Movable."""
    machine = _populated(rng)
    memory = machine.memory
    happens = _happening(machine, fault if fault != "second" else "exit", 0, 0)
    if happens is not None:
        happens()
    before = machine.look()
    users = machine.rng.permutation(machine.users())[:200]
    done = migrating.pin(memory, users, long_term=True)
    if done.errno == 0:
        held = users[memory.page_table[users] > 0]
        state = memory.mem.state[memory.page_table[held] - 1]
        assert (state & L.PAGE_PINNED != 0).all()
        zones = memory.mem.zone_of[memory.page_table[held] - 1 >> 10]
        assert all(memory.setup.zones[z].name != "Movable" for z in set(zones.tolist()))
    verify(machine, before, freely=True)
    machine.go_on()
    return _code(done.errno)


ACTIONS: dict[str, Callable[[np.random.Generator, str], str]] = {
    "offline": _offline,
    "alloc_contig": _contig,
    "virtio-mem": _virtio,
    "migrate": _syscall,
    "pin": _pinning,
    "migrate 2005": migrate_2005,
}


def main() -> int:
    """Print what came of the cases, and those at once in which something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first case")
    given = parser.parse_args()
    began, found, failed = time.perf_counter(), Counter[Case](), 0
    for seed in range(given.seed, given.seed + given.cases):
        try:
            found[carry_out(seed)] += 1
        except Exception as error:
            failed += 1
            print(f"seed {seed}, {' '.join(kind_of(seed))}: {error!r}", flush=True)
        done = seed - given.seed + 1
        if done % EVERY == 0 or done == given.cases:
            took = time.perf_counter() - began
            print(f"{done:>8,} cases  {failed} failed  {took:,.0f} s", flush=True)
    for case, count in sorted(found.items()):
        print(f"{case.action:>14}  {case.fault:<12} {case.result:<8} {count:>6,}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
