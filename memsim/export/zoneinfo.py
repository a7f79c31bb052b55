"""/proc/zoneinfo: sizes, watermarks, gauges and per-CPU lists of each zone."""

from __future__ import annotations

from collections.abc import Iterator

from memsim.export._gauges import lines, node_gauges, zone_gauges
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.mm import ZONE_NAMES, Migratetype, Wmark

SIZES = ("boost", "min", "low", "high", "spanned", "present", "managed", "cma")


def text(memory: Memory) -> str:
    """Write the zones of all nodes (zoneinfo_show_print, mm/vmstat.c, 6.1; spec 11.6).

    Zones without memory are written as far as the kernel writes them, to ``protection``.
    """
    zones = memory.setup.zones
    written = []
    for node in sorted({zone.node for zone in zones}):
        mine = {zone.name: z for z, zone in enumerate(zones) if zone.node == node}
        first = min(mine.values())
        for name in ZONE_NAMES:
            written.append(f"Node {node}, zone {name:>8}")
            if name not in mine:
                written += _sizes([0] * (1 + len(SIZES)), [0] * len(ZONE_NAMES))
                continue
            if mine[name] == first:
                written.append("  per-node stats")
                written += lines(node_gauges(memory, mine.values()), " " * 6)
            written += _zone(memory, mine[name])
    return "\n".join([*written, ""])


def _zone(memory: Memory, z: int) -> Iterator[str]:
    def field(number: int) -> int:
        return memory.zone_field(z, number)

    boost = field(L.Z_BOOST)
    marks = [field(L.Z_WMARK + mark) + boost for mark in (Wmark.MIN, Wmark.LOW, Wmark.HIGH)]
    spanned = field(L.Z_END_PFN) - field(L.Z_START_PFN)
    sizes = [spanned, field(L.Z_PRESENT), field(L.Z_MANAGED)]
    cma = int(memory.census().pageblocks[z, Migratetype.CMA]) << memory.setup.pageblock_order
    reserve = [field(L.Z_LOWMEM_RESERVE + i) for i in range(len(ZONE_NAMES))]
    free = memory.nr_free_pages(z)
    yield from _sizes([free, boost, *marks, *sizes, cma], reserve)
    yield from lines(zone_gauges(memory, z), " " * 6)
    yield "  pagesets"
    for cpu in range(len(memory.setup.cpu_node)):
        yield f"    cpu: {cpu}"
        for name, number in (("count:", L.P_COUNT), ("high:", L.P_HIGH), ("batch:", L.P_BATCH)):
            yield f"              {name:<6} {memory.pcp_field(z, cpu, number)}"
        yield f"  vm stats threshold: {field(L.Z_STAT_THRESHOLD)}"
    yield "  node_unreclaimable:  0"
    yield f"  start_pfn:           {field(L.Z_START_PFN)}"


def _sizes(values: list[int], reserve: list[int]) -> Iterator[str]:
    free, *others = values
    yield f"  pages free     {free}"
    for name, value in zip(SIZES, others, strict=True):
        yield f"        {name:<8} {value}"
    yield f"        protection: ({', '.join(map(str, reserve))})"
