"""What a machine's memory is at the start, and how that becomes rows of the kernels' arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14.pcp import NR_LISTS
from memsim.mm import (
    DEF_PRIORITY,
    LOCAL_DISTANCE,
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    NR_LOWORDER_PCP_LISTS,
    NR_PCP_LISTS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    REMOTE_DISTANCE,
    ZONE_NAMES,
    ZONE_NAMES_2005,
    ZoneType,
    ZoneType2005,
)
from memsim.mm_init.resize import SizeRules
from memsim.profiles import Mechanism

NO_ZONE = 255
PCP_SLACK = 4096
"""Pages that a CPU's lists may hold beyond ``high`` (refills do not look at it)."""


@dataclass(frozen=True)
class ZoneSetup:
    """What a zone is at the start; all sizes in pages."""

    node: int
    zone_type: ZoneType | ZoneType2005
    start_pfn: int
    end_pfn: int
    present: int
    managed: int
    watermark: tuple[int, int, int, int]
    """min, low, high, promo, without the boost."""
    lowmem_reserve: tuple[int, ...]
    pcp_high: int
    pcp_batch: int
    stat_threshold: int
    nofragment: bool
    """The fast path avoids fragmentation when this zone is preferred."""
    boost_factor: int = 15000
    pcp_low: int = 0
    """2.6.14: pages at which a hot list is refilled; high and batch are those of hot lists."""
    pcp_cold_high: int = 0
    pcp_cold_batch: int = 0
    ranges: tuple[tuple[int, int], ...] = ()
    """Half-open pfn ranges that are the zone's own, at multiples of 1024 pages or the zone's ends;
    empty: the whole span. DIMMs let the spans of two nodes' zones overlap."""

    partial_pageblocks: tuple[int, ...] = ()
    """Numbers (pfn >> 9) of pageblocks in which the zone's memory ends and after which another
    zone's comes next: compaction leaves them alone."""

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """The pfn ranges that are the zone's own, never empty."""
        return self.ranges or ((self.start_pfn, self.end_pfn),)

    @property
    def name(self) -> str:
        """The zone's name in /proc."""
        names = ZONE_NAMES if isinstance(self.zone_type, ZoneType) else ZONE_NAMES_2005
        return names[self.zone_type]


@dataclass(frozen=True)
class Pressure:
    """Tunables of reclaim and compaction, the swap device, and what things cost in ns."""

    swappiness: int = 60
    vfs_cache_pressure: int = 100
    compaction_proactiveness: int = 20
    extfrag_threshold: int = 500
    compact_unevictable_allowed: bool = True
    lumpy: bool = False
    swap_slots: int = 0
    swap_read_ns: int = 60_000
    swap_write_ns: int = 80_000
    file_read_ns: int = 60_000
    file_write_ns: int = 80_000
    seek_ns: int = 0
    scan_ns: int = 50
    reclaim_ns: int = 500
    migrate_ns: int = 1_100
    page_copy_ns: int = 400
    """The part of ``migrate_ns`` that is the copying."""
    tlb_flush_ns: int = 1_000
    tlb_flush_per_cpu_ns: int = 200
    """For each CPU but the one that flushes."""
    slab_objects: int = 20
    """Objects on a page of reclaimable slab."""
    access_ns: int = 100
    """An access to memory of the CPU's own node."""
    shared_cpu: bool = False
    """kswapd and kcompactd share the requesters' only CPU: a request waits until they sleep."""


@dataclass(frozen=True)
class MachineSetup:
    """What a machine is at the start."""

    zones: tuple[ZoneSetup, ...]
    zonelists: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Per node the FALLBACK and the NOFALLBACK list, as indices of ``zones``."""
    cpu_node: tuple[int, ...]
    hotpluggable: tuple[tuple[int, int], ...] = ()
    """Half-open pfn ranges that are meant to be removed."""
    mechanism: Mechanism = "linux-6.1"
    max_page_order: int = MAX_PAGE_ORDER
    pageblock_order: int = PAGEBLOCK_ORDER
    pressure: Pressure | None = None
    rules: SizeRules | None = None
    """From what sizes follow when memory comes or goes; None: none ever does."""
    offline: tuple[tuple[int, int, int], ...] = ()
    """First pfn, end and node of memory that is offline: no zone's, though it can come back."""
    """How reclaim, swap and compaction behave; None: a request that would reclaim just fails, as
    where a trace holds what the kernel's own reclaim did."""
    distances: tuple[tuple[int, ...], ...] = ()
    """Between nodes, as numactl --hardware prints them; empty: 10 and 20."""


def access_costs(setup: MachineSetup) -> NDArray[np.int64]:
    """Return what accesses cost by the nodes of CPU and memory, flat (L * L,), in picoseconds."""
    nodes = len(setup.zonelists)
    distances = np.full((nodes, nodes), REMOTE_DISTANCE)
    np.fill_diagonal(distances, LOCAL_DISTANCE)
    if setup.distances:
        distances = np.array(setup.distances)
    local_ns = (setup.pressure or Pressure()).access_ns
    return (distances.astype(np.int64) * local_ns * 1000 // LOCAL_DISTANCE).reshape(-1)


def zone_rows(zones: Sequence[ZoneSetup]) -> NDArray[np.int64]:
    """Return the zones' rows, flat (Z * ZONE_FIELDS,)."""
    rows = np.zeros((len(zones), L.ZONE_FIELDS), np.int64)
    for row, z in zip(rows, zones, strict=True):
        row[L.Z_START_PFN], row[L.Z_END_PFN] = z.start_pfn, z.end_pfn
        row[L.Z_NODE], row[L.Z_TYPE], row[L.Z_MANAGED] = z.node, z.zone_type, z.managed
        row[L.Z_PRESENT] = z.present
        row[L.Z_COMPACT + L.COMPACT_MIGRATE_ASYNC_PFN] = z.start_pfn
        row[L.Z_COMPACT + L.COMPACT_MIGRATE_SYNC_PFN] = z.start_pfn
        row[L.Z_COMPACT + L.COMPACT_FREE_PFN] = (z.end_pfn - 1) & -PAGEBLOCK_NR_PAGES
        row[L.Z_WMARK : L.Z_WMARK + 4] = z.watermark
        row[L.Z_BOOST_FACTOR] = z.boost_factor
        row[L.Z_STAT_THRESHOLD] = z.stat_threshold
        row[L.Z_NOFRAGMENT] = z.nofragment
        reserve = slice(L.Z_LOWMEM_RESERVE, L.Z_LOWMEM_RESERVE + len(z.lowmem_reserve))
        row[reserve] = z.lowmem_reserve
        row[L.Z_SCAN + L.SCAN_PREV_PRIORITY] = row[L.Z_SCAN + L.SCAN_TEMP_PRIORITY] = DEF_PRIORITY
    return rows.reshape(-1)


def zone_of_pages(zones: Sequence[ZoneSetup], nr_pages: int) -> NDArray[np.uint8]:
    """Return the zone of each 4 MiB, (nr_pages / 1024,)."""
    zone_of = np.full(nr_pages // MAX_ORDER_NR_PAGES, NO_ZONE, np.uint8)
    for i, z in enumerate(zones):
        for start, end in z.pieces:
            zone_of[start >> MAX_PAGE_ORDER : -(-end // MAX_ORDER_NR_PAGES)] = i
    return zone_of


def pcp_order(mechanism: Mechanism, pindex: int) -> int:
    """Say of which order the blocks on a per-CPU list are."""
    if mechanism == "linux-2.6.14":
        return 0
    return pindex // MIGRATE_PCPTYPES if pindex < NR_LOWORDER_PCP_LISTS else PAGEBLOCK_ORDER


def pcp_rows(
    zones: Sequence[ZoneSetup], cpus: int, mechanism: Mechanism
) -> tuple[NDArray[np.int64], int]:
    """Return the per-CPU rows, flat (Z * C * PCP_FIELDS,), and the size of all their rings."""
    rows = np.zeros((len(zones), cpus, L.PCP_FIELDS), np.int64)
    offset = 0
    for z, zone in enumerate(zones):
        for cpu in range(cpus):
            row = rows[z, cpu]
            row[L.P_HIGH], row[L.P_BATCH], row[L.P_LOW] = (
                zone.pcp_high,
                zone.pcp_batch,
                zone.pcp_low,
            )
            row[L.P_COLD_HIGH], row[L.P_COLD_BATCH] = zone.pcp_cold_high, zone.pcp_cold_batch
            for pindex in range(NR_LISTS if mechanism == "linux-2.6.14" else NR_PCP_LISTS):
                order = pcp_order(mechanism, pindex)
                capacity = 1 << ((zone.pcp_high + PCP_SLACK >> order) + 2).bit_length()
                at = L.P_LISTS + 4 * pindex
                row[at + 2], row[at + 3] = offset, capacity - 1
                offset += capacity
    return rows.reshape(-1), offset


def zonelist_rows(setup: MachineSetup) -> NDArray[np.int32]:
    """Return the zonelists, flat (2 * L * (Z + 1),)."""
    rows = np.zeros((len(setup.zonelists), 2, len(setup.zones) + 1), np.int32)
    for node, lists in enumerate(setup.zonelists):
        for which, zones in enumerate(lists):
            rows[node, which, 0] = len(zones)
            rows[node, which, 1 : 1 + len(zones)] = zones
    return rows.reshape(-1)
