"""Small machines with pages of all kinds, on which migrations and removals go wrong.

Handles from 0 on are those of processes, whose kinds are known; what each of them holds is
remembered, and held against what it holds later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.compact_control import CC_NR_FREEPAGES
from memsim.kernels.system import N_COMPACT, NODE_FIELDS, S_LRU_CACHE_DISABLED, S_SWAP_FREE
from memsim.memory import Memory, migrating
from memsim.memory.killing import kill, let_fail
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import (
    OP_FREE,
    OP_TOUCH,
    OP_WRITE,
    SECTION_PAGES,
    Gfp,
    Migratetype,
    Use,
    ZoneType,
    ZoneType2005,
    gfp_from_text,
)
from memsim.mm_init.resize import SizeRules
from memsim.policies import LINUX_6_1, Kernel, mobility, none
from memsim.schema import Request

USER, CORE = gfp_from_text("GFP_HIGHUSER_MOVABLE"), gfp_from_text("GFP_KERNEL")
HUGE = gfp_from_text("GFP_TRANSHUGE_LIGHT")
NOTHING, IN_MEMORY, IN_SWAP, IN_A_FILE = range(4)
"""Where what a handle holds is; reclaim has freed what is IN_A_FILE only."""
PROCESSES = 4
LATER_NS = 300_000_000


class Kind(NamedTuple):
    """What a handle holds."""

    request: Request
    weight: int
    order: int = 0
    traits: int = 0


ANON_KINDS = ("anon", "mlocked", "shared", "locked anon", "huge")
KINDS = {
    "anon": Kind(Request(USER, Use.ANON, lru=True), 30),
    "mlocked": Kind(Request(USER, Use.ANON, lru=True, mlocked=True), 2),
    "shared": Kind(Request(USER, Use.ANON, lru=True), 2, 0, L.TRAIT_SHARED),
    "locked anon": Kind(Request(USER, Use.ANON, lru=True), 1, 0, L.TRAIT_LOCKED),
    "huge": Kind(Request(HUGE, Use.ANON, lru=True), 0, 9),
    "file": Kind(Request(USER, Use.PAGE_CACHE, lru=True), 15),
    "mapped": Kind(Request(USER, Use.PAGE_CACHE, lru=True, mapped=True), 6),
    "dirty": Kind(Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True), 6),
    "buffers": Kind(Request(USER, Use.PAGE_CACHE, lru=True), 2, 0, L.TRAIT_BUFFERS),
    "buffers in use": Kind(Request(USER, Use.PAGE_CACHE, lru=True), 1, 0, L.TRAIT_BUFFERS_IN_USE),
    "no operation": Kind(
        Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True), 2, 0, L.TRAIT_NO_MIGRATE_OP
    ),
    "locked": Kind(Request(USER, Use.PAGE_CACHE, lru=True), 1, 0, L.TRAIT_LOCKED),
    "shmem": Kind(Request(USER, Use.PAGE_CACHE, lru=True, mapped=True), 2, 0, L.TRAIT_SHMEM),
    "ramfs": Kind(Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True), 1, 0, L.TRAIT_RAMFS),
    "inode": Kind(Request(CORE | Gfp.RECLAIMABLE, Use.INODE), 1),
    "kernel": Kind(Request(CORE, Use.KERNEL), 1),
    "atomic": Kind(Request(gfp_from_text("GFP_ATOMIC"), Use.KERNEL), 0),
    "hugetlb": Kind(Request(CORE | Gfp.HIGHMEM | Gfp.MOVABLE, Use.KERNEL), 0, 9, L.TRAIT_HUGETLB),
}
NAMES = tuple(KINDS)
FIXED = tuple(NAMES.index(name) for name in ("kernel", "atomic"))
ANON = tuple(NAMES.index(name) for name in ANON_KINDS)


class World(Memory):
    """A Memory in which something happens when time comes for the ``countdown``-th time."""

    countdown = -1
    happens: Callable[[], None] | None = None
    spare: list[tuple[int, int]]
    """Handles that the memory itself has added, for the pages of huge pages that are split."""
    adds_own = False

    def advance(self, now: int) -> None:
        """Let time come to ``now``; the world acts first."""
        self.countdown -= 1
        happens = self.happens
        if happens is not None and self.countdown < 0:
            self.happens = None
            happens()
        super().advance(now)

    def add_handles(self, count: int) -> int:
        """Make room for handles."""
        first = super().add_handles(count)
        if not self.adds_own:
            self.spare.append((first, first + count))
        return first


class Machine:
    """A machine, its processes, and what they hold."""

    def __init__(self, setup: MachineSetup, rng: np.random.Generator) -> None:
        self.rng = rng
        self.old = setup.mechanism == "linux-2.6.14"
        tables = (
            none.Policy().tables(Kernel("linux-2.6.14", 10, 10))
            if self.old
            else mobility.Policy().tables(LINUX_6_1)
        )
        self.memory = World(setup, tables)
        self.memory.spare = []
        for z, zone in enumerate(setup.zones):
            for start, end in zone.pieces:
                self.memory.free_boot_range(z, start, end, 32)
        self.memory.drain_all()
        self.memory.add_requests([kind.request for kind in KINDS.values()])
        let_fail(self.memory, True)
        self.kinds = np.zeros(0, np.int64)
        self.demotes = False
        self.gone: set[int] = set()
        self.given: list[tuple[int, int]] = []
        """First handle and number of pages that whole ranges were given to."""

    def add(self, count: int) -> int:
        """Make room for handles of somebody's own; return the first."""
        self.memory.adds_own = True
        first = self.memory.add_handles(count)
        self.memory.adds_own = False
        return first

    def run(self, op: NDArray[np.int64], kinds: NDArray[np.int64], handles: NDArray[np.int64],
            cpu: int | NDArray[np.int64] = 0) -> NDArray[np.int32]:  # fmt: skip
        """Carry out events now; return the pages."""
        n = len(handles)
        return self.memory.run(
            np.broadcast_to(op, n).astype(np.uint8),
            np.broadcast_to(kinds, n).astype(np.uint16),
            np.broadcast_to(cpu, n).astype(np.uint16),
            handles.astype(np.int32),
        ).pfn

    def populate(self, count: int, weights: dict[str, int]) -> None:
        """Let processes take pages of all kinds, come back to some, and free some."""
        rng, first = self.rng, self.add(count)
        chances = np.array([weights.get(name, KINDS[name].weight) for name in NAMES], float)
        self.kinds = rng.choice(len(NAMES), count, p=chances / chances.sum())
        orders = np.array([kind.order for kind in KINDS.values()])[self.kinds]
        handles = first + rng.permutation(count)
        cpus = rng.integers(0, len(self.memory.setup.cpu_node), count)
        self.run(orders[handles], self.kinds[handles], handles, cpus)
        traits = np.array([kind.traits for kind in KINDS.values()])[self.kinds]
        held = np.flatnonzero(self.memory.page_table[:count] > 0)
        self.memory.mem.traits[held] = traits[held]
        used = rng.permutation(held)[: len(held) // 4]
        write = np.where(rng.random(len(used)) < 0.5, OP_WRITE, 0)
        self.run(OP_TOUCH | write | orders[used], self.kinds[used], used)
        self.end(np.flatnonzero(rng.random(count) < rng.choice((0.05, 0.3))))

    def end(self, handles: NDArray[np.int64]) -> None:
        """Free what handles hold."""
        table = self.memory.page_table[handles]
        orders = self.memory.mem.state[np.maximum(table, 1) - 1] >> L.ORDER_SHIFT & 0xF
        op = OP_FREE | np.where(table > 0, orders, 0)
        held = table != 0
        self.run(op[held], np.zeros(held.sum(), np.int64), handles[held])
        self.gone |= set(handles.tolist())

    def exit(self) -> None:
        """Let one of the processes exit."""
        size = len(self.kinds) // PROCESSES + 1
        first = int(self.rng.integers(PROCESSES)) * size
        stop = min(first + size, len(self.kinds))
        kill(self.memory, first, stop, 0)
        self.gone |= set(range(first, stop))

    def fill(self, kind: str, cpu: int, most: int) -> None:
        """Let somebody take pages until there are none, or ``most``."""
        first, number = self.add(most), NAMES.index(kind)
        for at in range(first, first + most, 32):
            handles = np.arange(at, min(at + 32, first + most))
            if (self.run(np.zeros(1), np.array([number]), handles, cpu) < 0).any():
                return

    def fill_swap(self) -> None:
        """Let anonymous memory grow until swap is full."""
        pages = sum(zone.managed for zone in self.memory.setup.zones)
        for _ in range(4):
            if int(self.memory.mem.system[S_SWAP_FREE]) == 0:
                return
            self.fill("anon", 0, pages // 2)

    def users(self) -> NDArray[np.int64]:
        """Return the processes' handles whose pages are in memory and on an LRU list."""
        held = np.flatnonzero(self.memory.page_table[: len(self.kinds)] > 0)
        state = self.memory.mem.state[self.memory.page_table[held] - 1]
        return held[state & L.PAGE_LRU != 0]

    def pin(self, long_term: bool = False, most: int = 20) -> None:
        """Pin some pages of processes."""
        users = self.users()
        chosen = self.rng.permutation(users)[: int(self.rng.integers(1, most + 1))]
        if long_term and not self.old:
            migrating.pin(self.memory, chosen, long_term=True)
        else:
            self.memory.mem.state[self.memory.page_table[chosen] - 1] |= L.PAGE_PINNED

    def go_on(self) -> None:
        """Let time pass, and see that all still holds."""
        before = self.look()
        self.memory.advance(self.memory.now + LATER_NS)
        verify(self, before, freely=True)

    # --- accounts -----------------------------------------------------------------------------

    def where(self) -> NDArray[np.int64]:
        """Say where what each handle of a process holds is."""
        table = self.memory.page_table[: len(self.kinds)].astype(np.int64)
        return np.select(
            [table > 0, table == L.GONE, table < 0], [IN_MEMORY, IN_A_FILE, IN_SWAP], NOTHING
        )

    def look(self) -> Look:
        """Note what must not change."""
        mem = self.memory.mem
        table = self.memory.page_table[: len(self.kinds)].astype(np.int64)
        state = mem.state[np.maximum(table, 1) - 1]
        pinned = (
            (table > 0)
            & (state & L.PAGE_PINNED != 0)
            & (mem.swap_slot[np.maximum(table, 1) - 1] >= 0)
        )
        return Look(self.where(), table, pinned, mem.traits[: len(table)].copy(), self.splits())

    def splits(self) -> int:
        """Count the huge pages that were split."""
        return self.memory.vmstat()["thp_migration_split"]

    def targets_of_kcompactd(self) -> NDArray[np.int32]:
        """Return the free pages that kcompactd has taken and keeps between its steps."""
        mem = self.memory.mem
        counts = mem.nodes.reshape(-1, NODE_FIELDS)[:, N_COMPACT + CC_NR_FREEPAGES]
        rows = mem.isolated.reshape(-1, L.ISOLATED_PAGES)[2:]
        return np.concatenate([row[:n] for row, n in zip(rows, counts.tolist(), strict=False)])

    def pieces(self) -> int:
        """Count the pages of split huge pages that spare handles hold."""
        table = self.memory.page_table.copy()
        for first, pages in self.given:
            table[first : first + pages] = 0
        return sum(int(np.count_nonzero(table[a:b])) for a, b in self.memory.spare)


class Look(NamedTuple):
    """What processes hold."""

    where: NDArray[np.int64]
    table: NDArray[np.int64]
    pinned: NDArray[np.bool_]
    traits: NDArray[np.uint8]
    splits: int


def verify(machine: Machine, before: Look, freely: bool = False) -> None:
    """Hold what processes have now against what they had: nothing lost, doubled or left locked.

    ``freely``: pins came or went meanwhile, and pages were locked and unlocked. Raises
    AssertionError.
    """
    memory, after = machine.memory, machine.look()
    memory.check()
    state = memory.mem.state[: memory.nr_pages]
    heads = np.flatnonzero(state & L.PAGE_ALLOCATED)
    held = memory.page_table[memory.mem.rmap[heads]] == heads + 1
    held |= np.isin(heads, machine.targets_of_kcompactd())
    assert held.all(), f"nobody holds {heads[~held][:5]}"
    assert not (state & L.PAGE_ISOLATED).any()
    alive = np.ones(len(before.where), bool)
    alive[sorted(machine.gone)] = False
    assert (after.where[~alive] == NOTHING).all(), "an ended process still holds something"
    alive &= before.where != NOTHING
    lost = np.flatnonzero(alive & (after.where == NOTHING))
    assert len(lost) == 0, f"handles {lost[:5]} have lost what they held"
    anon = alive & np.isin(machine.kinds, ANON)
    assert not (anon & (after.where == IN_A_FILE)).any(), "anonymous memory was dropped"
    stays = alive & np.isin(machine.kinds, FIXED)
    if not freely:
        stays |= alive & before.pinned
    moved = np.flatnonzero(stays & (before.table != after.table))
    assert len(moved) == 0, f"handles {moved[:5]} moved, which cannot"
    passing = L.TRAIT_LOCKED | (L.TRAIT_BUFFERS if machine.old else 0)
    changed = (before.traits ^ after.traits) & ~np.uint8(passing)
    assert freely or not changed[alive].any(), "traits changed"
    assert machine.pieces() == 511 * after.splits, "pages of split huge pages were lost"
    assert int(memory.mem.system[S_LRU_CACHE_DISABLED]) == 0
    assert not (memory.mem.pageblocks == Migratetype.ISOLATE).any() or machine.old


# --- machines ---------------------------------------------------------------------------------


def _zone(node: int, kind: ZoneType, start: int, end: int, scale: int) -> ZoneSetup:
    return ZoneSetup(
        node=node, zone_type=kind, start_pfn=start, end_pfn=end, present=end - start,
        managed=end - start, watermark=(scale, 5 * scale // 4, 3 * scale // 2, 2 * scale),
        lowmem_reserve=(0,) * 5, pcp_high=4 * scale, pcp_batch=max(scale // 4, 1),
        stat_threshold=8, nofragment=False,
    )  # fmt: skip


def machine_of_6_1(rng: np.random.Generator, whole_section: bool = False) -> Machine:
    """Build two or three nodes that end with sections; the others than 0 may have Movable."""
    nodes = int(rng.integers(2, 4))
    scale = int(rng.choice((4, 16, 40)))
    zones: list[ZoneSetup] = []
    for node in range(nodes):
        end = (node + 1) * SECTION_PAGES
        sizes = (
            [SECTION_PAGES] if whole_section and node == 1 else [4096, 2048][: rng.integers(1, 3)]
        )
        start = end - sum(sizes)
        only = ZoneType.MOVABLE if node and rng.random() < 0.4 else ZoneType.NORMAL
        for kind, size in zip((only, ZoneType.MOVABLE), sizes, strict=False):
            if zones and (zones[-1].node, zones[-1].zone_type) == (node, kind):
                last = zones[-1]
                pages = last.present + size
                zones[-1] = replace(last, end_pfn=start + size, present=pages, managed=pages)
            else:
                zones.append(_zone(node, kind, start, start + size, scale))
            start += size
    own = [
        tuple(z for z in reversed(range(len(zones))) if zones[z].node == n) for n in range(nodes)
    ]
    lists = tuple(
        (own[n] + tuple(z for other in range(nodes) if other != n for z in own[other]), own[n])
        for n in range(nodes)
    )
    far = tuple(tuple(10 if a == b else 20 for b in range(nodes)) for a in range(nodes))
    slots = int(rng.choice((0, 64, 4096)))
    pressure = Pressure(swap_slots=slots, swappiness=int(rng.choice((10, 60, 100))))
    setup = MachineSetup(
        tuple(zones), lists, tuple(range(nodes)), pressure=pressure, distances=far,
        rules=SizeRules((1,) * nodes, far, khugepaged=False),
    )  # fmt: skip
    return Machine(setup, rng)


def machine_of_2005(rng: np.random.Generator) -> Machine:
    """Build two or three nodes of 4 MiB under a kernel of 2005."""
    nodes, pages = int(rng.integers(2, 4)), 1024
    full = rng.random() < 0.5
    marks = tuple(rng.choice(((0, 0, 0), (8, 16, 24))))
    zones = tuple(
        ZoneSetup(
            node=node, zone_type=ZoneType2005.NORMAL, start_pfn=node * pages,
            end_pfn=(node + 1) * pages, present=pages, managed=pages,
            watermark=(*marks, marks[2]), lowmem_reserve=(0,) * 5, stat_threshold=0,
            nofragment=False, boost_factor=0, pcp_high=42 if full else 0,
            pcp_batch=7 if full else 1, pcp_low=14 if full else 0,
            pcp_cold_high=14 if full else 0, pcp_cold_batch=7 if full else 1,
        )
        for node in range(nodes)
    )  # fmt: skip
    order = [tuple(sorted(range(nodes), key=lambda n: (n != node, n))) for node in range(nodes)]
    setup = MachineSetup(
        zones, tuple((order[node], (node,)) for node in range(nodes)), tuple(range(nodes)),
        mechanism="linux-2.6.14", pageblock_order=10,
        pressure=Pressure(swap_slots=int(rng.choice((8, 200, 2000)))),
    )  # fmt: skip
    return Machine(setup, rng)
