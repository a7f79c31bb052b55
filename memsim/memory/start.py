"""Where a Memory begins: a capture's snapshot, or a machine that has just booted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError, Problem
from memsim.kernels import layout as L
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import (
    MAX_DMA32_PFN,
    MAX_NR_ZONES,
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
    ZoneType,
)
from memsim.mm_init import MachineLayout, machine_layout
from memsim.mm_init.memblock import (
    QEMU_PC,
    BootReservations,
    NodeRequest,
    NodeSpec,
    Range,
    intersect,
    machine_error,
    place_nodes,
    subtract,
)
from memsim.mm_init.options import BootOptions, VmOptions
from memsim.mm_init.watermarks import calculate_normal_threshold
from memsim.mm_init.zonelists import build_zonelists
from memsim.mm_init.zones import ZoneSpan
from memsim.policies import LINUX_6_1
from memsim.policies.none import Policy as Ungrouped
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Vm
from memsim.traces.capture import CaptureState, CaptureZone, find_state, read_state

LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20
MAX_PCP_BATCH = 63
"""zone_batchsize gives no more with pages of 4 KiB."""


def restore(state: CaptureState, tables: PolicyTables, boost_factor: int = 15000) -> Memory:
    """Build the memory that a snapshot shows: free lists, per-CPU lists, types, watermarks.

    Pages that are on no list belong to whoever held them before; those in movable pageblocks are
    taken to be on an LRU list. A snapshot says how far a zone's free count lags behind its lists,
    not which CPU holds that back: the first ones do. Nor does it say how far nodes are apart.
    """
    memory = Memory(_capture_setup(state, boost_factor), tables)
    for z, zone in enumerate(state.zones):
        _restore_pageblocks(memory, zone)
        memory.add_zone_field(z, L.Z_BOOST, zone.watermark_boost)
        memory.add_zone_field(z, L.Z_NR_RESERVED_HIGHATOMIC, zone.nr_reserved_highatomic)
        memory.add_zone_field(z, L.Z_NR_ISOLATE_PAGEBLOCK, zone.nr_isolate_pageblock)
        for (order, migratetype), pfns in sorted(zone.free.items()):
            memory.place_free(z, order, migratetype, pfns)
        memory.hold_back(z, memory.nr_free_pages(z) - zone.nr_free_pages)
        for pcp in zone.pcp:
            for pindex, pfns in sorted(pcp.lists.items()):
                memory.place_pcp(z, pcp.cpu, pindex, pfns)
            memory.set_pcp(z, pcp.cpu, pcp.high, pcp.batch, pcp.free_factor)
        _mark_before(memory, z, zone)
    return memory


def start(machine: Machine, cmdline: Cmdline, tables: PolicyTables, directory: str) -> Memory:
    """Build the memory that a scenario begins with: a booted machine's, or a capture's.

    ``directory`` is what ``machine.from_`` is relative to. Raises InputError for a machine that
    cannot boot and for a folder without a start state.
    """
    if machine.from_ is None:
        return boot(machine, cmdline, tables)
    folder = Path(directory, machine.from_)
    state = find_state(folder, "start")
    if state is None:
        raise InputError([Problem(str(folder), 0, 0, "has no start/state.txt, plain or gzip")])
    return restore(read_state(state), tables, machine.vm.watermark_boost_factor)


def boot(
    machine: Machine,
    cmdline: Cmdline,
    tables: PolicyTables,
    reservations: BootReservations = QEMU_PC,
) -> Memory:
    """Boot a machine: all memory is free but for what the kernel keeps; DIMMs are online.

    A machine too small for grouping by mobility gets the tables of policy ``none`` (spec 3.8).
    """
    layout = machine_layout(
        _node_specs(machine),
        machine.distance_matrix,
        boot=BootOptions(
            kernelcore=cmdline.kernelcore,
            movablecore=cmdline.movablecore,
            movable_node=cmdline.movable_node,
            transparent_hugepage=cmdline.transparent_hugepage or machine.vm.thp,
            cma=machine.cma > 0,
        ),
        vm=_vm_options(machine.vm),
        reservations=reservations,
        block_pages=machine.memory_block_size // PAGE_SIZE,
    )
    if layout.page_group_by_mobility_disabled:
        tables = Ungrouped().tables(LINUX_6_1)._replace(options=tables.options)
    memory = Memory(_boot_setup(layout, machine.vm.watermark_boost_factor), tables)
    for start_pfn, end_pfn in layout.boot_reserved:
        memory.mem.state[start_pfn:end_pfn] = L.PAGE_RESERVED
    _free_boot_memory(memory, layout, machine.cma // PAGE_SIZE)
    return memory


def _node_specs(machine: Machine) -> tuple[NodeSpec, ...]:
    requests = [
        NodeRequest(
            pages=node.memory // PAGE_SIZE,
            cpus=node.cpus,
            hotpluggable=node.hotpluggable,
            dimms=tuple((dimm.size // PAGE_SIZE, dimm.online) for dimm in node.dimms),
        )
        for node in machine.nodes
    ]
    return place_nodes(requests, block_pages=machine.memory_block_size // PAGE_SIZE)


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Join ascending ranges that touch or overlap."""
    joined: list[Range] = []
    for start_pfn, end_pfn in ranges:
        if joined and start_pfn <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_pfn))
        else:
            joined.append((start_pfn, end_pfn))
    return tuple(joined)


def _vm_options(vm: Vm) -> VmOptions:
    """Say which sysctls are written after boot: those that differ from the kernel's own."""
    default = Vm()
    kbytes, scale, ratio = vm.min_free_kbytes, vm.watermark_scale_factor, vm.lowmem_reserve_ratio
    return VmOptions(
        min_free_kbytes=None if kbytes == "auto" else kbytes,
        watermark_scale_factor=None if scale == default.watermark_scale_factor else scale,
        lowmem_reserve_ratio=None if ratio == default.lowmem_reserve_ratio else ratio,
        percpu_pagelist_high_fraction=vm.percpu_pagelist_high_fraction,
    )


def _boot_setup(layout: MachineLayout, boost_factor: int) -> MachineSetup:
    kinds = {(zone.nid, zone.zone_type) for zone in layout.zones}
    cpu_node = {cpu: node.nid for node in layout.nodes for cpu in node.cpus}
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
            )
            for z, zone in enumerate(layout.zones)
        ),
        zonelists=tuple((lists.fallback, lists.nofallback) for lists in layout.zonelists),
        # Numbers without a CPU are never asked for; they only fill the gap.
        cpu_node=tuple(cpu_node.get(cpu, 0) for cpu in range(max(cpu_node) + 1)),
        hotpluggable=tuple(cut for s, e in plug for cut in intersect(present, s, e)),
    )


def _zone_ranges(zone: ZoneSpan) -> tuple[Range, ...]:
    """Give the zone's memory in whole 4 MiB, so that small holes part no pageblock."""
    whole = [
        (
            start // MAX_ORDER_NR_PAGES * MAX_ORDER_NR_PAGES,
            -(-end // MAX_ORDER_NR_PAGES) * MAX_ORDER_NR_PAGES,
        )
        for start, end in sorted(zone.present_ranges)
    ]
    return tuple(intersect(_joined(whole), zone.start_pfn, zone.end_pfn))


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


def _capture_setup(state: CaptureState, boost_factor: int) -> MachineSetup:
    cpus = max(pcp.cpu for zone in state.zones for pcp in zone.pcp) + 1
    nodes = max(zone.node for zone in state.zones) + 1
    cpu_node = tuple(min(cpu * nodes // cpus, nodes - 1) for cpu in range(cpus))
    kinds = [(zone.node, zone.zone_type) for zone in state.zones]
    distances = [
        [LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in range(nodes)] for a in range(nodes)
    ]
    has_cpus = [node in cpu_node for node in range(nodes)]
    return MachineSetup(
        zones=tuple(_capture_zone(z, kinds, nodes, cpus, boost_factor) for z in state.zones),
        zonelists=tuple(
            (lists.fallback, lists.nofallback)
            for lists in build_zonelists(kinds, distances, has_cpus)
        ),
        cpu_node=cpu_node,
    )


def _capture_zone(
    zone: CaptureZone, kinds: list[tuple[int, ZoneType]], nodes: int, cpus: int, boost_factor: int
) -> ZoneSetup:
    end = zone.start_pfn + zone.spanned
    if zone.start_pfn > 1 and zone.start_pfn % MAX_ORDER_NR_PAGES:
        where = f"zone {zone.zone_type.name} of node {zone.node} begins at {zone.start_pfn:#x}"
        raise InputError([Problem("state.txt", 0, 0, f"{where}, which is no multiple of 4 MiB")])
    _check_pcps(zone)
    normal = zone.zone_type == ZoneType.NORMAL
    promo = zone.wmark_high + (zone.wmark_high - zone.wmark_low)
    return ZoneSetup(
        node=zone.node,
        zone_type=zone.zone_type,
        start_pfn=zone.start_pfn,
        end_pfn=end,
        present=zone.present,
        managed=zone.managed,
        watermark=(zone.wmark_min, zone.wmark_low, zone.wmark_high, promo),
        lowmem_reserve=zone.lowmem_reserve[:MAX_NR_ZONES],
        pcp_high=max(max(pcp.high, pcp.count) for pcp in zone.pcp),
        pcp_batch=max(pcp.batch for pcp in zone.pcp),
        stat_threshold=calculate_normal_threshold(zone.managed, cpus),
        nofragment=normal and (nodes == 1 or (zone.node, ZoneType.DMA32) in kinds),
        boost_factor=boost_factor,
        ranges=_capture_ranges(zone),
    )


def _capture_ranges(zone: CaptureZone) -> tuple[Range, ...]:
    """Give the zone's memory in whole 4 MiB: hot-plugged memory lets spans overlap."""
    own = np.unique(present_pageblocks(zone) >> (MAX_PAGE_ORDER - PAGEBLOCK_ORDER))
    whole = [(int(i) << MAX_PAGE_ORDER, int(i + 1) << MAX_PAGE_ORDER) for i in own]
    return tuple(intersect(_joined(whole), zone.start_pfn, zone.start_pfn + zone.spanned))


def _check_pcps(zone: CaptureZone) -> None:
    """Refuse sizes of per-CPU lists that no kernel has and that would let them grow forever."""
    for pcp in zone.pcp:
        sound = 1 <= pcp.batch <= MAX_PCP_BATCH and pcp.high != pcp.batch
        if not sound or pcp.high > zone.managed + 4 * pcp.batch:
            where = f"zone {zone.zone_type.name} of node {zone.node}, CPU {pcp.cpu}"
            message = f"{where} has per-CPU lists with high {pcp.high} and batch {pcp.batch}"
            expected = f"batch is 1 to {MAX_PCP_BATCH}, high is 0 or at least 4 batches"
            raise InputError([Problem("state.txt", 0, 0, message, expected)])


def present_pageblocks(zone: CaptureZone) -> NDArray[np.int64]:
    """Return the numbers of the zone's own pageblocks."""
    first = zone.start_pfn >> PAGEBLOCK_ORDER
    return first + np.flatnonzero(zone.pageblocks <= Migratetype.ISOLATE)


def _restore_pageblocks(memory: Memory, zone: CaptureZone) -> None:
    own = present_pageblocks(zone)
    memory.mem.pageblocks[own] = zone.pageblocks[own - (zone.start_pfn >> PAGEBLOCK_ORDER)]


def _mark_before(memory: Memory, z: int, zone: CaptureZone) -> None:
    """Mark the pages that are on no list as allocated, each for itself."""
    taken = np.zeros((len(zone.pageblocks), PAGEBLOCK_NR_PAGES), bool)
    own = present_pageblocks(zone)
    taken[own - (zone.start_pfn >> PAGEBLOCK_ORDER)] = True
    base = zone.start_pfn >> PAGEBLOCK_ORDER << PAGEBLOCK_ORDER
    flat = taken.reshape(-1)
    flat[: zone.start_pfn - base] = False
    flat[zone.start_pfn + zone.spanned - base :] = False
    for (order, _), pfns in zone.free.items():
        _clear_blocks(flat, pfns - base, order)
    for pcp in zone.pcp:
        for pindex, pfns in pcp.lists.items():
            order = pindex // MIGRATE_PCPTYPES if pindex < 12 else PAGEBLOCK_ORDER
            _clear_blocks(flat, pfns - base, order)
    pages = base + np.flatnonzero(flat)
    kinds = memory.mem.pageblocks[pages >> PAGEBLOCK_ORDER].astype(np.int32)
    mobility = np.where(kinds < MIGRATE_PCPTYPES, kinds, Migratetype.UNMOVABLE)
    lru = np.where(kinds == Migratetype.MOVABLE, L.PAGE_LRU, 0)
    memory.mem.state[pages] = (
        L.PAGE_ALLOCATED | kinds << L.TYPE_SHIFT | mobility << L.MOBILITY_SHIFT | lru
    )


def _clear_blocks(flat: NDArray[np.bool_], first: NDArray[np.int32], order: int) -> None:
    flat[(first[:, None] + np.arange(1 << order)).reshape(-1)] = False
