"""A Memory as a capture's snapshot shows it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError, Problem
from memsim.kernels import layout as L
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.before import mark_before
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import (
    LOCAL_DISTANCE,
    MAX_NR_ZONES,
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    REMOTE_DISTANCE,
    Migratetype,
    ZoneType,
)
from memsim.mm_init.memblock import Range, intersect, joined
from memsim.mm_init.resize import SizeRules
from memsim.mm_init.watermarks import (
    ManagedZone,
    calculate_min_free_kbytes,
    calculate_normal_threshold,
)
from memsim.mm_init.zonelists import build_zonelists
from memsim.traces.capture import CaptureCompaction, CaptureState, CaptureZone

MAX_PCP_BATCH = 63
"""zone_batchsize gives no more with pages of 4 KiB."""


def restore(
    state: CaptureState,
    tables: PolicyTables,
    boost_factor: int = 15000,
    *,
    pages: NDArray[np.uint64] | None = None,
    pressure: Pressure | None = None,
) -> Memory:
    """Build the memory that a snapshot shows: free lists, per-CPU lists, types, watermarks.

    Pages that are on no list belong to whoever held them before; ``pages``, the flags of all pages
    (KPF_*, by pfn), say what they are (see ``mark_before``). Reference counts and pins are in no
    file: none is pinned. Nor is the use of slab pages: none is shrunk.

    A snapshot says how far a zone's free count lags behind its lists, not which CPU holds that
    back: the first ones do. Nor does it say how far nodes are apart.
    """
    memory = Memory(_capture_setup(state, boost_factor, pressure), tables)
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
        _restore_compaction(memory, z, zone.compaction)
        _mark_scanned_pageblocks(memory, zone)
        mark_before(memory, z, _taken_pages(zone), pages)
    return memory


def _capture_setup(
    state: CaptureState, boost_factor: int, pressure: Pressure | None
) -> MachineSetup:
    cpus = max(pcp.cpu for zone in state.zones for pcp in zone.pcp) + 1
    nodes = max(zone.node for zone in state.zones) + 1
    cpu_node = state.cpu_node[:cpus]
    if len(cpu_node) < cpus or max(cpu_node) >= nodes:
        cpu_node = tuple(min(cpu * nodes // cpus, nodes - 1) for cpu in range(cpus))
    kinds = [(zone.node, zone.zone_type) for zone in state.zones]
    distances = [list(row) for row in state.distances]
    if len(distances) != nodes:
        same, other = LOCAL_DISTANCE, REMOTE_DISTANCE
        distances = [[same if a == b else other for b in range(nodes)] for a in range(nodes)]
    rules = _size_rules(state, distances, [cpu_node.count(node) for node in range(nodes)])
    return MachineSetup(
        zones=tuple(_capture_zone(z, kinds, nodes, cpus, boost_factor) for z in state.zones),
        zonelists=tuple(
            (lists.fallback, lists.nofallback)
            for lists in build_zonelists(kinds, distances, list(map(bool, rules.node_cpus)))
        ),
        cpu_node=cpu_node,
        pressure=pressure,
        rules=rules,
    )


def _size_rules(state: CaptureState, distances: list[list[int]], node_cpus: list[int]) -> SizeRules:
    """Say what sizes follow from: a snapshot does not say whether khugepaged runs, its marks do."""
    zones = [ManagedZone(zone.node, zone.zone_type, zone.managed) for zone in state.zones]
    without = calculate_min_free_kbytes(zones, [zone.wmark_high for zone in state.zones])
    marked = sum(zone.wmark_min for zone in state.zones) * PAGE_SIZE // 1024
    return SizeRules(
        node_cpus=tuple(node_cpus),
        distances=tuple(map(tuple, distances)),
        khugepaged=marked > without,
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
        partial_pageblocks=_partial_pageblocks(zone),
    )


def _partial_pageblocks(zone: CaptureZone) -> tuple[int, ...]:
    """Name the pageblock in which the zone's memory ends before its span does, if there is one.

    A state does not say where a zone's missing pages are. If the memory ends before the span, and
    less than a pageblock is missing, they are taken to be at its end.
    """
    blocks = present_pageblocks(zone)
    last = int(blocks.max())
    ends_early = last + 1 << PAGEBLOCK_ORDER < zone.start_pfn + zone.spanned
    missing = (len(blocks) << PAGEBLOCK_ORDER) - zone.present
    return (last,) if ends_early and 0 < missing < PAGEBLOCK_NR_PAGES else ()


def _capture_ranges(zone: CaptureZone) -> tuple[Range, ...]:
    """Give the zone's memory in whole 4 MiB: hot-plugged memory lets spans overlap."""
    own = np.unique(present_pageblocks(zone) >> (MAX_PAGE_ORDER - PAGEBLOCK_ORDER))
    whole = [(int(i) << MAX_PAGE_ORDER, int(i + 1) << MAX_PAGE_ORDER) for i in own]
    return tuple(intersect(joined(whole), zone.start_pfn, zone.start_pfn + zone.spanned))


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


def _restore_compaction(memory: Memory, z: int, seen: CaptureCompaction) -> None:
    """Let scanners go on where they stood; one that never ran begins at its end of the zone."""
    for field, value in (
        (L.COMPACT_MIGRATE_ASYNC_PFN, seen.migrate_pfns[0]),
        (L.COMPACT_MIGRATE_SYNC_PFN, seen.migrate_pfns[1]),
        (L.COMPACT_FREE_PFN, seen.free_pfn),
        (L.COMPACT_INIT_MIGRATE_PFN, seen.init_migrate_pfn),
        (L.COMPACT_INIT_FREE_PFN, seen.init_free_pfn),
        (L.COMPACT_CONSIDERED, seen.considered),
        (L.COMPACT_DEFER_SHIFT, seen.defer_shift),
        (L.COMPACT_ORDER_FAILED, seen.order_failed),
    ):
        if value:
            memory.mem.zones[z * L.ZONE_FIELDS + L.Z_COMPACT + field] = value


def _mark_scanned_pageblocks(memory: Memory, zone: CaptureZone) -> None:
    """Set the skip bits that a zone must have, though no state prints them.

    A zone with a deferral has seen a run to its end, whose free scanner marked all movable
    pageblocks; without initial positions no flush has cleared them since (capture ``kc_r8``: DMA32
    does not change by a page before compact_memory).
    """
    seen = zone.compaction
    if seen.defer_shift and not (seen.init_migrate_pfn or seen.init_free_pfn):
        movable = np.flatnonzero(zone.pageblocks == Migratetype.MOVABLE)
        memory.mem.pageblock_skip[(zone.start_pfn >> PAGEBLOCK_ORDER) + movable] |= 1


def _taken_pages(zone: CaptureZone) -> NDArray[np.int64]:
    """Return the pages of a zone that are on no list."""
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
    pages: NDArray[np.int64] = base + np.flatnonzero(flat)
    return pages


def _clear_blocks(flat: NDArray[np.bool_], first: NDArray[np.int32], order: int) -> None:
    flat[(first[:, None] + np.arange(1 << order)).reshape(-1)] = False
