"""/proc/pagetypeinfo: free blocks of each zone by list and order, and pageblocks by type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memsim.memory import Memory
from memsim.memory.setup import ZoneSetup
from memsim.mm import MIGRATETYPE_NAMES, Migratetype
from memsim.schema import Census

MOST = 100_000
"""The kernel counts no further, for it holds the zone's lock."""


def text(memory: Memory) -> str:
    """Write both tables of every node (pagetypeinfo_show, mm/vmstat.c, 6.1; spec 11.5).

    The column CMA is there where a zone has CMA pageblocks, as in a kernel that has them compiled
    in.
    """
    census = memory.census()
    has_cma = bool(census.pageblocks[:, Migratetype.CMA].any())
    types = [t for t in Migratetype if t != Migratetype.CMA or has_cma]
    nodes = sorted({zone.node for zone in memory.setup.zones})
    lines = [line for node in nodes for line in _node(memory, census, types, node)]
    return "\n".join([*lines, ""])


def _node(memory: Memory, census: Census, types: Sequence[Migratetype], node: int) -> Iterator[str]:
    zones = [(z, zone) for z, zone in enumerate(memory.setup.zones) if zone.node == node]
    order = memory.setup.pageblock_order
    orders = range(memory.setup.max_page_order + 1)
    yield from (f"Page block order: {order}", f"Pages per block:  {1 << order}", "")
    head = f"{'Free pages count per migrate type at order':<43} "
    yield head + "".join(f"{o:6} " for o in orders)
    for z, zone in zones:
        free = census.free_blocks[z]
        yield from (_free(zone, t, [int(free[o, t]) for o in orders]) for t in types)
    yield ""
    yield f"{'Number of blocks type':<23}" + "".join(f"{MIGRATETYPE_NAMES[t]:>12} " for t in types)
    for z, zone in zones:
        blocks = "".join(f"{int(census.pageblocks[z, t]):12} " for t in types)
        yield f"Node {zone.node}, zone {zone.name:>8} {blocks}"


def _free(zone: ZoneSetup, migratetype: Migratetype, counts: Sequence[int]) -> str:
    name = MIGRATETYPE_NAMES[migratetype]
    return f"Node {zone.node:4}, zone {zone.name:>8}, type {name:>12} " + "".join(
        map(_count, counts)
    )


def _count(count: int) -> str:
    return f">{MOST:6} " if count > MOST else f"{count:6} "
