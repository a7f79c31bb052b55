"""A Memory that Linux 6.1 has just booted with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memsim.bootup import layout_6_1
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import (
    MAX_DMA32_PFN,
    MAX_ORDER_NR_PAGES,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
    ZoneType,
)
from memsim.mm_init import MachineLayout
from memsim.mm_init.memblock import (
    QEMU_PC,
    BootReservations,
    NodeSpec,
    Range,
    intersect,
    joined,
    machine_error,
    subtract,
)
from memsim.mm_init.zones import ZoneSpan
from memsim.policies import LINUX_6_1
from memsim.policies.none import Policy as Ungrouped
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine


def boot(
    machine: Machine,
    cmdline: Cmdline,
    tables: PolicyTables,
    reservations: BootReservations = QEMU_PC,
) -> Memory:
    """Boot Linux 6.1: all memory is free but for what the kernel keeps; DIMMs are online.

    A machine too small for grouping by mobility gets the tables of policy ``none`` (spec 3.8).
    """
    layout = layout_6_1(machine, cmdline, reservations)
    if layout.page_group_by_mobility_disabled:
        tables = Ungrouped().tables(LINUX_6_1)._replace(options=tables.options)
    memory = Memory(_boot_setup(layout, machine.vm.watermark_boost_factor), tables)
    for start_pfn, end_pfn in layout.boot_reserved:
        memory.reserve(start_pfn, end_pfn)
    _free_boot_memory(memory, layout, machine.cma // PAGE_SIZE)
    return memory


def _boot_setup(layout: MachineLayout, boost_factor: int) -> MachineSetup:
    kinds = {(zone.nid, zone.zone_type) for zone in layout.zones}
    plug = sorted(piece for node in layout.nodes if node.hotpluggable for piece in node.ram)
    plug += [(dimm.start_pfn, dimm.end_pfn) for node in layout.nodes for dimm in node.dimms]
    present = [piece for zone in layout.zones for piece in zone.present_ranges]
    return MachineSetup(
        zones=tuple(
            ZoneSetup(
                node=zone.nid,
                zone_type=zone.zone_type,
                start_pfn=zone.start_pfn,
                end_pfn=zone.end_pfn,
                present=zone.present,
                managed=zone.managed,
                watermark=layout.watermark[z],
                lowmem_reserve=layout.lowmem_reserve[z],
                pcp_high=layout.pcp_high[z],
                pcp_batch=layout.pcp_batch[z],
                stat_threshold=layout.stat_threshold[z],
                nofragment=zone.zone_type == ZoneType.NORMAL
                and (len(layout.nodes) == 1 or (zone.nid, ZoneType.DMA32) in kinds),
                boost_factor=boost_factor,
                ranges=_zone_ranges(zone),
                partial_pageblocks=_partial_pageblocks(zone),
            )
            for z, zone in enumerate(layout.zones)
        ),
        zonelists=tuple((lists.fallback, lists.nofallback) for lists in layout.zonelists),
        cpu_node=cpu_nodes(layout.nodes),
        rules=layout.rules,
        hotpluggable=tuple(cut for s, e in plug for cut in intersect(present, s, e)),
    )


def cpu_nodes(nodes: Sequence[NodeSpec]) -> tuple[int, ...]:
    """Give the node of each CPU; numbers without a CPU, which nobody asks for, get node 0."""
    home = {cpu: node.nid for node in nodes for cpu in node.cpus}
    return tuple(home.get(cpu, 0) for cpu in range(max(home) + 1))


def _partial_pageblocks(zone: ZoneSpan) -> tuple[int, ...]:
    """Name the pageblock in which the zone's memory ends before its span does, if there is one.

    Holes between pieces of one zone's memory are the zone's: its memory goes on behind them.
    """
    last = max((end for _, end in zone.present_ranges), default=0)
    ends_early = last % PAGEBLOCK_NR_PAGES and last < zone.end_pfn
    return (last >> PAGEBLOCK_ORDER,) if ends_early else ()


def _zone_ranges(zone: ZoneSpan) -> tuple[Range, ...]:
    """Give the zone's memory in whole 4 MiB, so that small holes part no pageblock."""
    whole = [
        (
            start // MAX_ORDER_NR_PAGES * MAX_ORDER_NR_PAGES,
            -(-end // MAX_ORDER_NR_PAGES) * MAX_ORDER_NR_PAGES,
        )
        for start, end in sorted(zone.present_ranges)
    ]
    return tuple(intersect(joined(whole), zone.start_pfn, zone.end_pfn))


def _free_boot_memory(memory: Memory, layout: MachineLayout, cma_pages: int) -> None:
    cma = _cma_range(layout, cma_pages) if cma_pages else None
    if cma is not None:
        memory.mem.pageblocks[cma[0] >> PAGEBLOCK_ORDER : cma[1] >> PAGEBLOCK_ORDER] = (
            Migratetype.CMA
        )
    for z, zone in enumerate(layout.zones):
        for start_pfn, end_pfn in subtract(zone.free_ranges, [cma] if cma else []):
            memory.free_boot_range(z, start_pfn, end_pfn)
        if cma is not None and zone.start_pfn <= cma[0] and intersect(zone.free_ranges, *cma):
            memory.free_boot_range(z, *cma)


def _cma_range(layout: MachineLayout, pages: int) -> Range:
    """Place the CMA area: as low as it goes above 4 GiB, else as high as it goes below.

    Unlike Linux: the CMA area is taken after the other boot reservations, not among them, and
    stands in whole 4 MiB of one zone.
    """
    fits = sorted(_cma_places(layout, pages))
    above = [place for place in fits if place[0] >= MAX_DMA32_PFN]
    if not fits:
        raise machine_error(
            f"no zone has room for a CMA area of {pages} pages in one piece",
            "take a smaller cma",
        )
    return above[0] if above else fits[-1]


def _cma_places(layout: MachineLayout, pages: int) -> Iterator[Range]:
    """Yield the lowest and the highest place of each free range of boot memory."""
    boot = [piece for node in layout.nodes for piece in node.ram]
    for zone in layout.zones:
        if zone.zone_type == ZoneType.MOVABLE:
            continue
        for first, end in zone.free_ranges:
            lowest = -(-first // MAX_ORDER_NR_PAGES) * MAX_ORDER_NR_PAGES
            highest = (end - pages) // MAX_ORDER_NR_PAGES * MAX_ORDER_NR_PAGES
            if lowest <= highest and intersect(boot, first, end):
                yield lowest, lowest + pages
                yield highest, highest + pages
