"""The machine as the kernel sees it at the end of boot: zones, lists, marks, blocks, free ranges.

Plain integers, no state. Source: mm/page_alloc.c, mm/memory_hotplug.c, drivers/base/memory.c
(Linux 6.1.192); spec linux-mm 1 and 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from memsim.errors import InputError, Problem
from memsim.mm import LOCAL_DISTANCE, MAX_PFN, REMOTE_DISTANCE, SECTION_PAGES, ZoneType
from memsim.mm_init import watermarks
from memsim.mm_init.memblock import (
    QEMU_PC,
    BootReservations,
    NodeSpec,
    Range,
    boot_memory,
    memory_block_size,
)
from memsim.mm_init.options import BootOptions, VmOptions
from memsim.mm_init.resize import SizeRules, pageset_size, zonelists_of
from memsim.mm_init.watermarks import ManagedZone, Watermarks, WatermarkState
from memsim.mm_init.zonelists import Zonelists
from memsim.mm_init.zones import ZoneSpan, boot_zones, online_dimm, zone_for_pfn_range

_ZoneKey = tuple[int, ZoneType]
T = TypeVar("T")


@dataclass(frozen=True)
class MemoryBlock:
    """One /sys/devices/system/memory/memoryN; one with several zones cannot go offline."""

    index: int
    start_pfn: int
    end_pfn: int
    nid: int
    zones: tuple[int, ...]
    hotpluggable: bool


@dataclass(frozen=True)
class MachineLayout:
    """Everything the kernel computes about memory at boot; entry z belongs to ``zones[z]``."""

    nodes: tuple[NodeSpec, ...]
    zones: tuple[ZoneSpan, ...]
    """Populated zones by node, then by type."""
    zonelists: tuple[Zonelists, ...]
    """By node."""
    lowmem_reserve: tuple[tuple[int, ...], ...]
    """Row of a zone: pages kept from requests by their highest zone type (5 entries)."""
    min_free_kbytes: int
    watermark: tuple[Watermarks, ...]
    pcp_batch: tuple[int, ...]
    pcp_high: tuple[int, ...]
    stat_threshold: tuple[int, ...]
    page_group_by_mobility_disabled: bool
    block_pages: int
    blocks: tuple[MemoryBlock, ...] = field(repr=False)
    boot_reserved: tuple[Range, ...] = field(repr=False)
    """Ranges that boot took, ascending, over all zones."""
    rules: SizeRules = field(repr=False)

    @property
    def end_pfn(self) -> int:
        """One more than the highest pfn."""
        return max(zone.end_pfn for zone in self.zones)


def _machine_problems(
    nodes: Sequence[NodeSpec], distances: Sequence[Sequence[int]], block_pages: int
) -> Iterator[str]:
    if [node.nid for node in nodes] != list(range(len(nodes))):
        yield f"nodes are numbered {[node.nid for node in nodes]}, expected 0 to {len(nodes) - 1}"
    if [len(row) for row in distances] != [len(nodes)] * len(nodes):
        yield f"distances are not a {len(nodes)} x {len(nodes)} matrix"
    cpus = [cpu for node in nodes for cpu in node.cpus]
    if not cpus or len(set(cpus)) < len(cpus):
        yield "each CPU must stand on exactly one node, and there must be one"
    if not any(node.ram for node in nodes):
        yield "no node has boot memory"
    if block_pages % SECTION_PAGES or block_pages <= 0:
        yield f"a memory block has {block_pages} pages, expected a multiple of {SECTION_PAGES}"
    ranges = [piece for node in nodes for piece in node.ram]
    for node in nodes:
        for dimm in node.dimms:
            ranges.append((dimm.start_pfn, dimm.end_pfn))
            if dimm.start_pfn % block_pages or dimm.end_pfn % block_pages:
                yield f"a DIMM of node {node.nid} does not consist of whole memory blocks"
    ranges.sort()
    if any(start >= end for start, end in ranges):
        yield "a range of memory is empty"
    if any(end > start for (_, end), (start, _) in pairwise(ranges)):
        yield "ranges of memory overlap"
    if ranges and ranges[-1][1] > MAX_PFN:
        yield f"memory ends at pfn {ranges[-1][1]}, beyond {MAX_PFN} (8160 GiB)"


def check_machine(
    nodes: Sequence[NodeSpec], distances: Sequence[Sequence[int]], block_pages: int
) -> None:
    """Raise InputError with everything that makes this machine impossible."""
    problems = list(_machine_problems(nodes, distances, block_pages))
    if problems:
        raise InputError([Problem("machine", 0, 0, text) for text in problems])


class _Marks:
    """Watermarks and reserves as they follow each other from boot to the last sysctl."""

    def __init__(self, options: BootOptions, managed: dict[_ZoneKey, int]) -> None:
        self.khugepaged = watermarks.khugepaged_runs(
            options.transparent_hugepage, sum(managed.values())
        )
        self.high: dict[_ZoneKey, int] = {}
        self.recompute(managed)

    def recompute(self, managed: dict[_ZoneKey, int]) -> None:
        """Do what the kernel does at boot and after each memory block that goes online."""
        self.zones = self.refreshed = _managed_zones(managed)
        high = [self.high.get((zone.nid, zone.zone_type), 0) for zone in self.zones]
        self._store(
            watermarks.init_per_zone_wmark_min(self.zones, high, khugepaged=self.khugepaged)
        )
        self.lowmem_reserve = watermarks.setup_per_zone_lowmem_reserve(self.zones)

    def sysctl(self, vm: VmOptions, managed: dict[_ZoneKey, int]) -> None:
        """Write the options that are given; each recomputes only what depends on it."""
        zones = _managed_zones(managed)
        if vm.min_free_kbytes is not None or vm.watermark_scale_factor is not None:
            kbytes = self.state.min_free_kbytes
            factor = watermarks.WATERMARK_SCALE_FACTOR
            if vm.min_free_kbytes is not None:
                kbytes = vm.min_free_kbytes
            if vm.watermark_scale_factor is not None:
                factor = vm.watermark_scale_factor
            self.zones = zones
            marks = watermarks.setup_per_zone_wmarks(zones, kbytes, factor)
            self._store(WatermarkState(kbytes, marks))
        if vm.lowmem_reserve_ratio is not None:
            self.lowmem_reserve = watermarks.setup_per_zone_lowmem_reserve(
                zones, vm.lowmem_reserve_ratio
            )

    def _store(self, state: WatermarkState) -> None:
        self.state = state
        marked = zip(self.zones, state.marks, strict=True)
        self.high = {(zone.nid, zone.zone_type): marks.high for zone, marks in marked}


def _managed_zones(managed: dict[_ZoneKey, int]) -> list[ManagedZone]:
    return [ManagedZone(*key, pages) for key, pages in sorted(managed.items())]


def _managed_at_first(zones: Sequence[ZoneSpan], keep: BootReservations) -> dict[_ZoneKey, int]:
    """Count managed pages at the time of the first watermarks: initrd and init are not free yet."""
    managed = {(zone.nid, zone.zone_type): zone.managed for zone in zones}
    image = keep.low[-1][0] if keep.low else 0
    for zone in zones:
        if keep.freed_late and zone.start_pfn <= image < zone.end_pfn:
            managed[zone.nid, zone.zone_type] = max(0, zone.managed - keep.freed_late)
    return managed


def _plug_dimms(
    nodes: Sequence[NodeSpec],
    zones: list[ZoneSpan],
    marks: _Marks,
    block_pages: int,
    *,
    movable_node: bool,
) -> None:
    """Bring all DIMMs online in node order, block by block."""
    for node in nodes:
        for dimm in node.dimms:
            zone_type = zone_for_pfn_range(zones, node.nid, dimm, movable_node=movable_node)
            managed = {(zone.nid, zone.zone_type): zone.managed for zone in zones}
            for _ in range(dimm.start_pfn, dimm.end_pfn, block_pages):
                key = (node.nid, zone_type)
                managed[key] = managed.get(key, 0) + block_pages
                marks.recompute(managed)
            online_dimm(zones, node.nid, zone_type, dimm)


def memory_blocks(
    nodes: Sequence[NodeSpec], zones: Sequence[ZoneSpan], block_pages: int
) -> tuple[MemoryBlock, ...]:
    """List the blocks that hold memory; a block belongs to the node of its first page."""
    members: dict[int, list[int]] = {}
    for z, zone in enumerate(zones):
        for start, end in zone.present_ranges:
            for index in range(start // block_pages, -(-end // block_pages)):
                found = members.setdefault(index, [])
                if z not in found:
                    found.append(z)
    modules = {
        index
        for node in nodes
        for dimm in node.dimms
        for index in range(dimm.start_pfn // block_pages, dimm.end_pfn // block_pages)
    }
    blocks = []
    for index, inside in sorted(members.items()):
        nid = zones[min(inside, key=lambda z: zones[z].start_pfn)].nid
        plug = index in modules or nodes[nid].hotpluggable
        start = index * block_pages
        blocks.append(MemoryBlock(index, start, start + block_pages, nid, tuple(inside), plug))
    return tuple(blocks)


def _size_rules(
    nodes: Sequence[NodeSpec],
    distances: Sequence[Sequence[int]],
    boot: BootOptions,
    khugepaged: bool,
    vm: VmOptions,
) -> SizeRules:
    """Keep what sizes follow from, for when memory comes or goes later."""
    default = SizeRules((), (), khugepaged)
    return SizeRules(
        node_cpus=tuple(len(node.cpus) for node in nodes),
        distances=tuple(tuple(row) for row in distances),
        khugepaged=khugepaged,
        user_min_free_kbytes=_given(vm.min_free_kbytes, default.user_min_free_kbytes),
        watermark_scale_factor=_given(vm.watermark_scale_factor, default.watermark_scale_factor),
        lowmem_reserve_ratio=_given(vm.lowmem_reserve_ratio, default.lowmem_reserve_ratio),
        percpu_pagelist_high_fraction=vm.percpu_pagelist_high_fraction,
        movable_node=boot.movable_node,
    )


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def machine_layout(
    nodes: Sequence[NodeSpec],
    distances: Sequence[Sequence[int]] | None = None,
    *,
    boot: BootOptions | None = None,
    vm: VmOptions | None = None,
    reservations: BootReservations = QEMU_PC,
    block_pages: int | None = None,
) -> MachineLayout:
    """Boot the machine: firmware, reservations, zones, marks, then DIMMs, then sysctl.

    ``distances`` default to 10 and 20. Raises InputError for a machine that cannot exist or boot.
    """
    boot, vm = boot or BootOptions(), vm or VmOptions()
    if distances is None:
        ids = range(len(nodes))
        distances = [[LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in ids] for a in ids]
    end_of_ram = max((end for node in nodes for _, end in node.ram), default=0)
    if block_pages is None:
        block_pages = memory_block_size(end_of_ram)
    check_machine(nodes, distances, block_pages)
    memory = boot_memory(nodes, reservations, movable_node=boot.movable_node)
    zones = boot_zones(nodes, memory, boot)
    marks = _Marks(boot, _managed_at_first(zones, reservations))
    _plug_dimms(nodes, zones, marks, block_pages, movable_node=boot.movable_node)
    marks.sysctl(vm, {(zone.nid, zone.zone_type): zone.managed for zone in zones})
    rules = _size_rules(nodes, distances, boot, marks.khugepaged, vm)
    pagesets = [
        pageset_size(zone, mark.low, rules)
        for zone, mark in zip(marks.zones, marks.state.marks, strict=True)
    ]
    online_cpus = sum(rules.node_cpus)
    final = [ManagedZone(zone.nid, zone.zone_type, zone.managed) for zone in zones]
    return MachineLayout(
        nodes=tuple(nodes),
        zones=tuple(zones),
        zonelists=zonelists_of(final, rules),
        lowmem_reserve=marks.lowmem_reserve,
        min_free_kbytes=marks.state.min_free_kbytes,
        watermark=marks.state.marks,
        pcp_batch=tuple(batch for _, batch in pagesets),
        pcp_high=tuple(high for high, _ in pagesets),
        stat_threshold=tuple(
            watermarks.calculate_normal_threshold(zone.managed, online_cpus)
            for zone in marks.refreshed
        ),
        page_group_by_mobility_disabled=watermarks.page_group_by_mobility_disabled(
            final, [0] * len(final), cma=boot.cma
        ),
        block_pages=block_pages,
        blocks=memory_blocks(nodes, zones, block_pages),
        boot_reserved=tuple(memory.reserved),
        rules=rules,
    )
