"""Looks at the memory of a trial at even instants: numbers for the timeline, cells for the map."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.counting import removable_bytes
from memsim.memory.mapping import cell_order, zone_cells
from memsim.mm import NR_ORDERS, PAGEBLOCK_ORDER

MAP_EVERY = 2
"""Samples of the timeline from one of the map to the next."""


class Sample(NamedTuple):
    """A zone at one instant of the timeline."""

    time_ns: int
    zone: str
    nr_free_pages: int
    free_blocks_order_9_up: int
    """Order-9 blocks that lie in free blocks of order 9 and above: one of order 10 is two."""
    removable_bytes: int
    """Of what is meant to be removed: in memory blocks without a page that could not go."""
    free_blocks: tuple[int, ...]
    """Free blocks of each order, 0 to 12."""


class MapSample(NamedTuple):
    """A zone's memory at one instant of the map."""

    time_ns: int
    zone: str
    start_pfn: int
    """Of the first cell."""
    cell_pages: int
    cells: str
    """Three characters for each, see memory.mapping."""


class Sampler:
    """Looks at instants k/n of a trial, 0 and 1 included; with no n, never."""

    def __init__(
        self, memory: Memory, duration_ns: int, n: int, memory_block_order: int, keeps_map: bool
    ) -> None:
        self.memory = memory
        self.due = deque(duration_ns * k // n for k in range(n + 1) if n)
        self.memory_block_order = memory_block_order
        self.cell_order = cell_order(memory.setup) if keeps_map else None
        self.timeline: list[Sample] = []
        self.map: list[MapSample] = []

    def look(self) -> None:
        """Take the sample that is due now."""
        time_ns = self.due.popleft()
        for z, zone in enumerate(self.memory.setup.zones):
            name = f"node{zone.node} {zone.name}"
            free = [self.memory.zone_field(z, L.Z_NR_FREE + order) for order in range(NR_ORDERS)]
            mem, setup = self.memory.mem, self.memory.setup
            self.timeline.append(
                Sample(
                    time_ns,
                    name,
                    self.memory.nr_free_pages(z),
                    sum(n << k for k, n in enumerate(free[PAGEBLOCK_ORDER:])),
                    removable_bytes(mem, setup, zone, self.memory_block_order),
                    tuple(free),
                )
            )
            if self.cell_order is not None and len(self.due) % MAP_EVERY == 0:
                start, cells = zone_cells(mem, setup, zone, self.cell_order)
                self.map.append(MapSample(time_ns, name, start, 1 << self.cell_order, cells))
