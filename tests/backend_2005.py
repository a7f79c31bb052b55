"""The interface of ``backend`` for the kernels and placement patches of 2005.

A backend is a callable ``Machine2005 -> Machine``: the oracle's ``NaiveMachine2614``, memsim's
kernels, or a third with the methods of ``Machine``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from kernel_backend_2005 import KernelMachine2614
from oracle.naive_2614_machine import NaiveMachine2614

from memsim.mm import MAX_NR_ZONES, NR_PLACEMENT_TYPES, ZoneType2005

NORCLM, EASY, KERN, FALLBACK = TYPES = range(NR_PLACEMENT_TYPES)
DMA, DMA32, NORMAL, HIGHMEM, EASYRCLM = ZoneType2005
POLICIES = ("none", "disabled", "usemap", "page_flag", "full")
"""``disabled``: the light patch configured off. ``usemap``, ``page_flag``: V20 and V21."""


@dataclass(frozen=True)
class Zone2005:
    """A zone at the start; what is neither in ``free`` nor freed by boot is never freed."""

    start: int
    end: int
    free: tuple[tuple[int, int, int], ...] = ()
    """(pfn, order, list type), put to list tails one after the other."""
    reserved: tuple[tuple[int, int], ...] | None = None
    """What boot does not free, half-open; None: the zone does not boot, it starts as ``free``."""
    nid: int = 0
    index: int = NORMAL
    wmark: tuple[int, int, int] = (0, 0, 0)
    lowmem_reserve: tuple[int, ...] = (0,) * MAX_NR_ZONES
    """By the type of the class zone."""
    batch: int = 1
    low: int = 0
    high: int = 0
    """Lists of batch 1, low 0 and high 0 keep nothing ("no pcp")."""
    cold_high: int = 0
    cold_batch: int = 1


@dataclass(frozen=True)
class Machine2005:
    zones: tuple[Zone2005, ...]
    """A zone's number everywhere is its place here."""
    policy: str = "none"
    cpu_nid: tuple[int, ...] = (0,)
    zonelists: dict[int, tuple[int, ...]] = field(default_factory=lambda: {0: (0,)})
    pageblocks: dict[int, int] = field(default_factory=dict)
    """Max-order block number to type; a block that is not here is NORCLM."""
    max_page_order: int = 10
    word_order: int = 5
    """Order of what boot frees at once: 5 on 32-bit machines, 6 on 64-bit ones."""


@dataclass(frozen=True)
class Request2005:
    order: int = 0
    kind: Literal["kernel", "user", "reclaimable"] = "kernel"
    """What policies tell apart: GFP_KERNEL, with __GFP_EASYRCLM, kernel reclaimable (V19)."""
    zone: Literal["dma", "dma32", "normal", "highmem"] = "normal"
    """The zone bits of the gfp flags."""
    cold: bool = False
    wait: bool = False
    high: bool = False
    memalloc: bool = False
    nomemalloc: bool = False
    nid: int = 0
    thisnode: bool = False
    nodemask: frozenset[int] | None = None


class Machine(Protocol):
    kswapd_wakeups: int

    def alloc(self, cpu: int, request: Request2005) -> tuple[int, int]: ...  # (Status, pfn or -1)
    def free(self, cpu: int, pfn: int, order: int, cold: bool = False) -> None: ...
    def drain_all(self, cpu: int) -> None: ...
    def free_list(self, zone: int, order: int, kind: int) -> list[int]: ...  # head first
    def nr_free(self, zone: int, order: int) -> int: ...
    def nr_free_pages(self, zone: int) -> int: ...
    def pcp_list(self, zone: int, cpu: int, cold: bool, which: int) -> list[int]: ...  # head first
    def pageblock_type(self, pfn: int) -> int: ...
    def freed_to(self, pfn: int) -> int: ...  # type that a held block would be freed to
    def reserve(self, zone: int) -> int: ...  # pages of max-order blocks of type FALLBACK
    def numa(self, zone: int) -> dict[str, int]: ...
    def counts(self, zone: int) -> dict[str, int]: ...  # what the mechanism did, by vmstat names


BACKENDS_2005: dict[str, Callable[[Machine2005], Machine]] = {
    "oracle": NaiveMachine2614,
    "kernels": KernelMachine2614,
}


def snapshot(spec: Machine2005, machine: Machine, live: dict[int, int]) -> dict[Any, Any]:
    """All state that two backends must share, one entry per thing to name in a difference."""
    state: dict[Any, Any] = {("freed_to", pfn): machine.freed_to(pfn) for pfn in live}
    state["kswapd_wakeups"] = machine.kswapd_wakeups
    for z, zone in enumerate(spec.zones):
        for order in range(spec.max_page_order + 1):
            state["nr_free", z, order] = machine.nr_free(z, order)
            for kind in TYPES:
                state["free_list", z, order, kind] = machine.free_list(z, order, kind)
        for cpu in range(len(spec.cpu_nid)):
            for cold in (False, True):
                for which in (0, 1):
                    state["pcp", z, cpu, cold, which] = machine.pcp_list(z, cpu, cold, which)
        for name in ("nr_free_pages", "reserve", "numa", "counts"):
            state[name, z] = getattr(machine, name)(z)
        for pfn in range(zone.start, zone.end, 1 << spec.max_page_order):
            state["pageblock", pfn] = machine.pageblock_type(pfn)
    return state


def check(spec: Machine2005, machine: Machine, live: dict[int, int], pages: list[int]) -> None:
    """Assert that each zone's ``pages`` are free, on a CPU's list or held, each once and merged."""
    for z, zone in enumerate(spec.zones):
        listed = {
            pfn: order
            for order in range(spec.max_page_order + 1)
            for kind in TYPES
            for pfn in machine.free_list(z, order, kind)
        }
        cached = [
            (pfn, 0)
            for cpu in range(len(spec.cpu_nid))
            for cold in (False, True)
            for which in (0, 1)
            for pfn in machine.pcp_list(z, cpu, cold, which)
        ]
        mine = [(pfn, order) for pfn, order in live.items() if zone.start <= pfn < zone.end]
        free = sum(1 << order for order in listed.values())
        assert machine.nr_free_pages(z) == free
        for order in range(spec.max_page_order + 1):
            assert machine.nr_free(z, order) == list(listed.values()).count(order)
        blocks = sorted([*listed.items(), *cached, *mine])
        ends = [pfn + (1 << order) for pfn, order in blocks]
        assert all(pfn % (1 << order) == 0 for pfn, order in blocks)
        assert all(end <= pfn for end, (pfn, _) in zip(ends, blocks[1:], strict=False))
        assert not blocks or (zone.start <= blocks[0][0] and ends[-1] <= zone.end)
        assert sum(1 << order for _, order in blocks) == pages[z]
        for pfn, order in listed.items():
            assert order == spec.max_page_order or listed.get(pfn ^ (1 << order)) != order
