"""Where a Memory begins: a capture's snapshot, or a machine that has just booted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError, Problem
from memsim.kernels import layout as L
from memsim.kernels.layout import PolicyTables
from memsim.memory import MachineSetup, Memory, ZoneSetup
from memsim.mm import (
    MAX_NR_ZONES,
    MAX_ORDER_NR_PAGES,
    MIGRATE_PCPTYPES,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
    ZoneType,
)
from memsim.traces.capture import CaptureState, CaptureZone
from memsim.watermarks import calculate_normal_threshold
from memsim.zonelists import build_zonelists

LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20


def restore(state: CaptureState, tables: PolicyTables, boost_factor: int = 15000) -> Memory:
    """Build the memory that a snapshot shows: free lists, per-CPU lists, types, watermarks.

    Pages that are on no list belong to whoever held them before; those in movable pageblocks are
    taken to be on an LRU list. Which part of the free count each CPU had not folded in is in no
    snapshot: it starts at 0. Distances between nodes are not in a snapshot either.
    """
    memory = Memory(_capture_setup(state, boost_factor), tables)
    for z, zone in enumerate(state.zones):
        _restore_pageblocks(memory, zone)
        memory.add_zone_field(z, L.Z_BOOST, zone.watermark_boost)
        memory.add_zone_field(z, L.Z_NR_RESERVED_HIGHATOMIC, zone.nr_reserved_highatomic)
        memory.add_zone_field(z, L.Z_NR_ISOLATE_PAGEBLOCK, zone.nr_isolate_pageblock)
        for (order, migratetype), pfns in sorted(zone.free.items()):
            memory.place_free(z, order, migratetype, pfns)
        for pcp in zone.pcp:
            for pindex, pfns in sorted(pcp.lists.items()):
                memory.place_pcp(z, pcp.cpu, pindex, pfns)
            memory.set_pcp(z, pcp.cpu, pcp.high, pcp.batch, pcp.free_factor)
        _mark_before(memory, z, zone)
    return memory


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
        pcp_high=max(pcp.high for pcp in zone.pcp),
        pcp_batch=max(pcp.batch for pcp in zone.pcp),
        stat_threshold=calculate_normal_threshold(zone.managed, cpus),
        nofragment=normal and (nodes == 1 or (zone.node, ZoneType.DMA32) in kinds),
        boost_factor=boost_factor,
    )


def _present_pageblocks(zone: CaptureZone) -> NDArray[np.int64]:
    """Return the numbers of the zone's own pageblocks."""
    first = zone.start_pfn >> PAGEBLOCK_ORDER
    return first + np.flatnonzero(zone.pageblocks <= Migratetype.ISOLATE)


def _restore_pageblocks(memory: Memory, zone: CaptureZone) -> None:
    own = _present_pageblocks(zone)
    memory.mem.pageblocks[own] = zone.pageblocks[own - (zone.start_pfn >> PAGEBLOCK_ORDER)]


def _mark_before(memory: Memory, z: int, zone: CaptureZone) -> None:
    """Mark the pages that are on no list as allocated, each for itself."""
    taken = np.zeros((len(zone.pageblocks), PAGEBLOCK_NR_PAGES), bool)
    own = _present_pageblocks(zone)
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
