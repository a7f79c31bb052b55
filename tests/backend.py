"""The small interface through which facts and streams drive an allocator.

A backend is a callable ``MachineSpec -> Machine``. The oracle's ``NaiveMachine`` is one; a second
needs only the methods of ``Machine`` and an entry in ``BACKENDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from kernel_backend import KernelMachine
from oracle.naive_machine import NaiveMachine

from memsim import mm

U, M, R, H, C, I = mm.Migratetype  # noqa: E741


@dataclass(frozen=True)
class ZoneSpec:
    """A zone at the start: what is not in ``free`` is allocated, off the LRU and never freed."""

    start: int
    end: int
    free: tuple[tuple[int, int, int], ...]
    """(pfn, order, list type), put to list tails one after the other."""
    nid: int = 0
    index: int = mm.ZoneType.DMA32
    managed: int = 0
    """0 means every page of the span."""
    wmark: tuple[int, int, int] = (0, 0, 0)
    """min, low, high without boost."""
    lowmem_reserve: tuple[int, ...] = (0,) * mm.MAX_NR_ZONES
    pcp_high: int = 0
    pcp_batch: int = 1
    """High 0 and batch 1 are the boot pagesets: nothing stays on a per-CPU list."""
    stat_threshold: int = 0
    nr_reserved_highatomic: int = 0


@dataclass(frozen=True)
class MachineSpec:
    zones: tuple[ZoneSpec, ...]
    """A zone's number everywhere is its place here."""
    cpu_nid: tuple[int, ...] = (0,)
    zonelists: dict[int, tuple[int, ...]] = field(default_factory=lambda: {0: (0,)})
    """Node to the zones of its FALLBACK list; its own zones among them are its NOFALLBACK list."""
    pageblocks: dict[int, int] = field(default_factory=dict)
    """Pageblock number (pfn >> 9) to type; a pageblock that is not here is Movable."""
    grouping: bool = True
    cma: bool = True
    watermark_boost_factor: int = 15000


@dataclass(frozen=True)
class Request:
    order: int = 0
    migratetype: int = U
    """The type the gfp flags ask for; a machine with grouping off makes it Unmovable."""
    highest_zoneidx: int = mm.ZoneType.NORMAL
    nid: int = 0
    direct_reclaim: bool = False
    kswapd: bool = False
    high: bool = False
    atomic: bool = False
    nomemalloc: bool = False
    memalloc: bool = False
    thisnode: bool = False
    cma: bool = True
    """False: CMA is not permitted to this request, even if it is Movable."""
    lru: bool = False
    nodemask: frozenset[int] | None = None


class Machine(Protocol):
    def alloc(self, cpu: int, request: Request) -> tuple[int, int]: ...  # (Status, pfn or -1)
    def free(self, cpu: int, pfn: int, order: int) -> None: ...
    def drain_all(self, cpu: int) -> None: ...  # every CPU's lists; the counts are booked on cpu
    def events(self) -> list[tuple[Any, ...]]: ...  # since the last call; see oracle/naive_zone.py
    def free_list(self, zone: int, order: int, mt: int) -> list[int]: ...  # head first
    def nr_free(self, zone: int, order: int) -> int: ...
    def nr_free_pages(self, zone: int) -> int: ...  # exact
    def nr_free_cma(self, zone: int) -> int: ...  # exact
    def counter(self, zone: int) -> tuple[int, list[int]]: ...  # nr_free_pages: global, per CPU
    def pcp_list(self, zone: int, cpu: int, pindex: int) -> list[int]: ...  # head first
    def pcp_count(self, zone: int, cpu: int) -> int: ...
    def free_factor(self, zone: int, cpu: int) -> int: ...
    def boost(self, zone: int) -> int: ...
    def wmark_pages(self, zone: int, wmark: int) -> int: ...  # boost included
    def reserved_highatomic(self, zone: int) -> int: ...
    def pageblock_type(self, pfn: int) -> int: ...
    def vmstat(self) -> dict[str, int]: ...  # pgalloc, pgfree (pages)
    def numa(self, zone: int) -> dict[str, int]: ...  # numa_hit _miss _foreign _local _other
    def kswapd_wakes(self) -> int: ...  # only zero or not is compared


BACKENDS: dict[str, Callable[[MachineSpec], Machine]] = {
    "oracle": NaiveMachine,
    "kernels": KernelMachine,
}


def snapshot(spec: MachineSpec, machine: Machine) -> dict[tuple[Any, ...], Any]:
    """All state that two backends must share, one entry per thing to name in a difference."""
    state: dict[tuple[Any, ...], Any] = {("vmstat",): machine.vmstat()}
    for z, zone in enumerate(spec.zones):
        for order in range(mm.NR_PAGE_ORDERS):
            state["nr_free", z, order] = machine.nr_free(z, order)
            for mt in range(mm.MIGRATE_TYPES):
                state["free_list", z, order, mt] = machine.free_list(z, order, mt)
        for cpu in range(len(spec.cpu_nid)):
            state["pcp_count", z, cpu] = machine.pcp_count(z, cpu)
            state["free_factor", z, cpu] = machine.free_factor(z, cpu)
            for pindex in range(mm.NR_PCP_LISTS):
                state["pcp_list", z, cpu, pindex] = machine.pcp_list(z, cpu, pindex)
        for name in ("nr_free_pages", "nr_free_cma", "counter", "boost", "reserved_highatomic"):
            state[name, z] = getattr(machine, name)(z)
        state["numa", z] = machine.numa(z)
        for block in range(zone.start >> mm.PAGEBLOCK_ORDER, -(-zone.end >> mm.PAGEBLOCK_ORDER)):
            state["pageblock", block] = machine.pageblock_type(block << mm.PAGEBLOCK_ORDER)
    return state


def check(spec: MachineSpec, machine: Machine, live: dict[int, int]) -> None:
    """Assert the invariants of spec 11.9 (1, 2, 3, 8); ``live`` maps held pfns to their orders."""
    held = [(pfn, order) for pfn, order in live.items()]
    vmstat = machine.vmstat()
    assert vmstat["pgalloc"] - vmstat["pgfree"] == sum(1 << order for _, order in held)
    for z, zone in enumerate(spec.zones):
        listed = _listed(machine, z)
        cached = _cached(spec, machine, z)
        mine = [(pfn, order) for pfn, order in held if zone.start <= pfn < zone.end]
        for order in range(mm.NR_PAGE_ORDERS):
            assert machine.nr_free(z, order) == sum(o == order for o, _ in listed.values())
        free = sum(1 << order for order, mt in listed.values() if mt != I)
        assert machine.nr_free_pages(z) == free
        assert machine.nr_free_cma(z) == sum(1 << o for o, mt in listed.values() if mt == C)
        total, deltas = machine.counter(z)
        assert total + sum(deltas) == free
        assert all(abs(delta) <= zone.stat_threshold for delta in deltas)
        blocks = sorted([(pfn, order) for pfn, (order, _) in listed.items()] + cached + mine)
        ends = [pfn + (1 << order) for pfn, order in blocks]
        assert all(pfn % (1 << order) == 0 for pfn, order in blocks)
        assert all(end <= pfn for end, (pfn, _) in zip(ends, blocks[1:], strict=False))
        assert not blocks or (zone.start <= blocks[0][0] and ends[-1] <= zone.end)
        pages = sum(1 << order for _, order in blocks)
        assert pages == sum(1 << order for _, order, _ in zone.free)
        for pfn, (order, mt) in listed.items():
            _check_buddy(machine, listed, pfn, order, mt)


def _check_buddy(machine: Machine, listed, pfn: int, order: int, mt: int) -> None:
    buddy = pfn ^ (1 << order)
    if order == mm.MAX_PAGE_ORDER or buddy not in listed or listed[buddy][0] != order:
        return
    types = {mt, listed[buddy][1], machine.pageblock_type(pfn), machine.pageblock_type(buddy)}
    assert order >= mm.PAGEBLOCK_ORDER and len(types) > 1 and types & {H, C, I}, (pfn, order)


def _listed(machine: Machine, zone: int) -> dict[int, tuple[int, int]]:
    return {
        pfn: (order, mt)
        for order in range(mm.NR_PAGE_ORDERS)
        for mt in range(mm.MIGRATE_TYPES)
        for pfn in machine.free_list(zone, order, mt)
    }


def _cached(spec: MachineSpec, machine: Machine, zone: int) -> list[tuple[int, int]]:
    blocks = []
    for cpu in range(len(spec.cpu_nid)):
        mine = []
        for pindex in range(mm.NR_PCP_LISTS):
            low = pindex < mm.NR_LOWORDER_PCP_LISTS
            order = pindex // mm.MIGRATE_PCPTYPES if low else mm.PAGEBLOCK_ORDER
            mine += [(pfn, order) for pfn in machine.pcp_list(zone, cpu, pindex)]
        assert machine.pcp_count(zone, cpu) == sum(1 << order for _, order in mine)
        blocks += mine
    return blocks
