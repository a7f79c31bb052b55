"""Zones: where each begins and ends, where Movable is cut off, what hot-added memory joins.

Source: mm/page_alloc.c, mm/memory_hotplug.c (Linux 6.1.192); spec linux-mm 1.1 and 1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from memsim.mm import (
    MAX_DMA32_PFN,
    MAX_DMA_PFN,
    MAX_ORDER_NR_PAGES,
    PAGE_SIZE,
    ZONE_NAMES,
    ZoneType,
)
from memsim.mm_init.memblock import BootMemory, DimmSpec, NodeSpec, Range, align_up, intersect, size
from memsim.mm_init.options import BootOptions
from memsim.units import CmdlineSize


@dataclass(frozen=True)
class ZoneSpan:
    """One populated zone. ``managed`` = ``present`` less what boot reserved."""

    nid: int
    zone_type: ZoneType
    start_pfn: int
    end_pfn: int
    present: int
    managed: int
    hotpluggable: int
    """Pages in memory meant to be removed."""
    present_ranges: tuple[Range, ...] = field(repr=False)
    free_ranges: tuple[Range, ...] = field(repr=False)
    """What boot hands to the buddy allocator, in the order of freeing."""

    @property
    def name(self) -> str:
        """The kernel's name of the zone type."""
        return ZONE_NAMES[self.zone_type]

    @property
    def spanned(self) -> int:
        """Pages from start to end, holes included."""
        return self.end_pfn - self.start_pfn


def arch_zone_limits(end_of_ram: int) -> tuple[Range, Range, Range]:
    """Give the pfn ranges of DMA, DMA32 and Normal on x86-64 for RAM that ends there."""
    dma_end, dma32_end = min(MAX_DMA_PFN, end_of_ram), min(MAX_DMA32_PFN, end_of_ram)
    return (0, dma_end), (dma_end, dma32_end), (dma32_end, end_of_ram)


def find_usable_zone_for_movable(limits: Sequence[Range]) -> int:
    """Give the type of the zone that Movable is cut from: the highest that is not empty."""
    return max(i for i, (start, end) in enumerate(limits) if start < end)


def _pages(amount: CmdlineSize | None, total: int) -> int:
    if amount is None:
        return 0
    return total * 100 * amount.percent // 10000 if amount.percent else amount.bytes // PAGE_SIZE


def _required_kernelcore(options: BootOptions, total: int) -> int:
    core, movable = _pages(options.kernelcore, total), _pages(options.movablecore, total)
    if movable:
        movable = min(total, align_up(movable, MAX_ORDER_NR_PAGES))
        core = max(core, total - movable)
    return core


class _KernelCore:
    """Spreading ``required`` pages of kernel memory over the nodes, as evenly as they allow."""

    def __init__(self, ram: Sequence[Sequence[Range]], usable: int, required: int) -> None:
        self.ram = ram
        self.usable = usable
        self.required = required
        self.cut = [0] * len(ram)

    def spread(self) -> None:
        nodes = sum(bool(ranges) for ranges in self.ram)
        while True:
            per_node = self.required // nodes
            for nid, ranges in enumerate(self.ram):
                if not ranges:
                    continue
                if self.required < per_node:
                    per_node = self.required // nodes
                self._spread_node(nid, per_node)
            nodes -= 1
            if not nodes or self.required <= nodes:
                return

    def _spread_node(self, nid: int, remaining: int) -> None:
        for range_start, end in self.ram[nid]:
            start = max(range_start, self.cut[nid])
            if start >= end:
                continue
            if start < self.usable:
                below = min(end, self.usable) - start
                remaining = max(0, remaining - below)
                self.required = max(0, self.required - below)
                if end <= self.usable:
                    self.cut[nid] = end
                    continue
                start = self.usable
            taken = min(end - start, remaining)
            self.cut[nid] = start + taken
            self.required = max(0, self.required - taken)
            remaining -= taken
            if not remaining:
                return


def find_zone_movable_pfns_for_nodes(
    ram: Sequence[Sequence[Range]],
    options: BootOptions,
    usable: int,
    hotpluggable: Sequence[bool] = (),
) -> list[int]:
    """Give the pfn where each node's Movable zone starts, 0 where it has none (spec 1.3).

    ``usable`` is the architectural start of the zone that Movable is cut from.
    """
    ends = [max((e for _, e in ranges), default=0) for ranges in ram]
    if options.movable_node:
        cuts = [
            min(s for s, _ in ranges) if plug and ranges else 0
            for ranges, plug in zip(ram, hotpluggable, strict=True)
        ]
    else:
        total = sum(size(ranges) for ranges in ram)
        required = _required_kernelcore(options, total)
        if not 0 < required < total:
            return [0] * len(ram)
        core = _KernelCore(ram, usable, required)
        core.spread()
        cuts = core.cut
    rounded = [align_up(cut, MAX_ORDER_NR_PAGES) for cut in cuts]
    return [cut if cut < end else 0 for cut, end in zip(rounded, ends, strict=True)]


def _node_zone_ranges(node: Range, limits: Sequence[Range], cut: int) -> dict[ZoneType, Range]:
    start, end = node
    ranges = {}
    for zone_type, (low, high) in enumerate(limits):
        span = (max(start, low), min(end, high))
        if cut:
            span = (span[0], min(span[1], cut))
        ranges[ZoneType(zone_type)] = span
    if cut:
        source_end = limits[find_usable_zone_for_movable(limits)][1]
        ranges[ZoneType.MOVABLE] = (cut, min(end, source_end))
    return ranges


def boot_zones(
    nodes: Sequence[NodeSpec], memory: BootMemory, options: BootOptions
) -> list[ZoneSpan]:
    """Cut each node's boot memory into zones, and keep those that hold any (spec 1.1, 1.3)."""
    limits = arch_zone_limits(max(e for ranges in memory.ram for _, e in ranges))
    usable = limits[find_usable_zone_for_movable(limits)][0]
    cuts = find_zone_movable_pfns_for_nodes(memory.ram, options, usable, memory.hotplug)
    zones = []
    for node, ram, free, cut in zip(nodes, memory.ram, memory.free, cuts, strict=True):
        whole = (ram[0][0], ram[-1][1]) if ram else (0, 0)
        for zone_type, (start, end) in _node_zone_ranges(whole, limits, cut).items():
            present = intersect(ram, start, end)
            if not present:
                continue
            mine = intersect(free, start, end)
            pages = size(present)
            zones.append(
                ZoneSpan(
                    node.nid, zone_type, start, end, pages, size(mine),
                    pages if node.hotpluggable else 0, tuple(present), tuple(mine),
                )
            )  # fmt: skip
    return zones


def zone_for_pfn_range(
    zones: Sequence[ZoneSpan], nid: int, dimm: DimmSpec, *, movable_node: bool
) -> ZoneType:
    """Say which zone hot-added memory joins (mm/memory_hotplug.c, 6.1; spec 1.3, end)."""
    spanning = [
        zone.zone_type
        for zone in zones
        if zone.nid == nid and zone.start_pfn < dimm.end_pfn and dimm.start_pfn < zone.end_pfn
    ]
    ordinary = [zone_type for zone_type in spanning if zone_type <= ZoneType.NORMAL]
    kernel = min(ordinary, default=ZoneType.NORMAL)
    if dimm.online == "kernel":
        return kernel
    if dimm.online == "movable":
        return ZoneType.MOVABLE
    in_movable = ZoneType.MOVABLE in spanning
    if bool(ordinary) != in_movable:
        return ZoneType.MOVABLE if in_movable else kernel
    return ZoneType.MOVABLE if movable_node else kernel


def online_dimm(zones: list[ZoneSpan], nid: int, zone_type: ZoneType, dimm: DimmSpec) -> None:
    """Add a module to its zone, which is made if the node has none of that type."""
    new = (dimm.start_pfn, dimm.end_pfn)
    pages = new[1] - new[0]
    for index, zone in enumerate(zones):
        if (zone.nid, zone.zone_type) == (nid, zone_type):
            zones[index] = replace(
                zone,
                start_pfn=min(zone.start_pfn, new[0]),
                end_pfn=max(zone.end_pfn, new[1]),
                present=zone.present + pages,
                managed=zone.managed + pages,
                hotpluggable=zone.hotpluggable + pages,
                present_ranges=(*zone.present_ranges, new),
                free_ranges=(*zone.free_ranges, new),
            )
            return
    zones.append(ZoneSpan(nid, zone_type, *new, pages, pages, pages, (new,), (new,)))
    zones.sort(key=lambda zone: (zone.nid, zone.zone_type))
