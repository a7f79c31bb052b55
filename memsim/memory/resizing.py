"""A Memory whose zones grow or shrink: spans, sizes, zonelists, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.memory.pressure import dirty_background
from memsim.memory.setup import NO_ZONE, ZoneSetup, pcp_rows, zone_rows, zonelist_rows
from memsim.mm import MAX_PAGE_ORDER, Wmark, ZoneType
from memsim.mm_init.memblock import Range, joined, subtract
from memsim.mm_init.resize import resize, zonelists_of
from memsim.mm_init.watermarks import ManagedZone

if TYPE_CHECKING:
    from memsim.memory import Memory


def shrink_zone(memory: Memory, z: int, start: int, end: int) -> None:
    """Take [start, end), which is on no list, out of a zone; work out anew all that follows.

    Source: adjust_managed_page_count, remove_pfn_range_from_zone (spec 9.2 steps 8-10).
    """
    take_out(memory, z, start, end)
    resize_zones(memory)


def take_out(memory: Memory, z: int, start: int, end: int) -> None:
    """Take [start, end), which is on no list, out of a zone; nothing else changes."""
    zone = memory.setup.zones[z]
    left = subtract(zone.pieces, [(start, end)])
    _change(memory, z, zone, left, start - end)
    memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER] = NO_ZONE
    offline = sorted([*memory.setup.offline, (start, end, zone.node)])
    memory.setup = replace(memory.setup, offline=tuple(offline))


def grow_zone(memory: Memory, z: int, start: int, end: int) -> None:
    """Let [start, end), which was offline, be a zone's; its sizes are worked out later."""
    zone = memory.setup.zones[z]
    old = list(zone.pieces) if zone.present else []
    _change(memory, z, zone, joined(sorted([*old, (start, end)])), end - start)
    memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER] = z
    offline = [
        (*piece, node)
        for first, last, node in memory.setup.offline
        for piece in subtract([(first, last)], [(start, end)])
    ]
    memory.setup = replace(memory.setup, offline=tuple(offline))


def _change(memory: Memory, z: int, zone: ZoneSetup, pieces: list[Range], pages: int) -> None:
    """Give a zone these pieces; ``pages`` more of it are present and managed."""
    first = min((s for s, _ in pieces), default=0)
    end = max((e for _, e in pieces), default=0)
    zones = list(memory.setup.zones)
    zones[z] = replace(
        zone,
        start_pfn=first,
        end_pfn=end,
        ranges=tuple(pieces),
        present=zone.present + pages,
        managed=zone.managed + pages,
    )
    memory.setup = replace(memory.setup, zones=tuple(zones))
    row = memory.mem.zones.reshape(-1, L.ZONE_FIELDS)[z]
    row[L.Z_START_PFN], row[L.Z_END_PFN] = first, end
    row[L.Z_PRESENT] += pages
    row[L.Z_MANAGED] += pages


def change_managed(memory: Memory, pfn: int, pages: int) -> None:
    """Let the allocator have ``pages`` more or fewer of the zone of a page; no size follows.

    Source: adjust_managed_page_count.
    """
    z = int(memory.mem.zone_of[pfn >> MAX_PAGE_ORDER])
    zones = list(memory.setup.zones)
    zones[z] = replace(zones[z], managed=zones[z].managed + pages)
    memory.setup = replace(memory.setup, zones=tuple(zones))
    memory.add_zone_field(z, L.Z_MANAGED, pages)


def add_zone(memory: Memory, node: int, zone_type: ZoneType) -> int:
    """Make an empty zone, which a node has not had before; return its number."""
    setup, mem = memory.setup, memory.mem
    normal = zone_type == ZoneType.NORMAL
    low = any(z.node == node and z.zone_type == ZoneType.DMA32 for z in setup.zones)
    zone = ZoneSetup(
        node=node,
        zone_type=zone_type,
        start_pfn=0,
        end_pfn=0,
        present=0,
        managed=0,
        watermark=(0, 0, 0, 0),
        lowmem_reserve=(),
        pcp_high=max(z.pcp_high for z in setup.zones),
        pcp_batch=1,
        stat_threshold=0,
        nofragment=normal and (len(setup.zonelists) == 1 or low),
        boost_factor=setup.zones[0].boost_factor,
    )
    memory.setup = replace(setup, zones=(*setup.zones, zone))
    pcps, ring_size = pcp_rows([zone], len(setup.cpu_node), setup.mechanism)
    lists = pcps.reshape(-1, L.PCP_FIELDS)[:, L.P_LISTS :].reshape(-1, 4)
    lists[lists[:, 3] > 0, 2] += len(mem.rings)
    memory.mem = mem._replace(
        zones=np.concatenate([mem.zones, zone_rows([zone])]),
        pcps=np.concatenate([mem.pcps, pcps]),
        rings=np.concatenate([mem.rings, np.zeros(ring_size, np.int32)]),
        zonelists=zonelist_rows(memory.setup),
        nr_zones=mem.nr_zones + 1,
    )
    return len(setup.zones)


def resize_zones(memory: Memory) -> None:
    """Work out watermarks, reserves, per-CPU lists and zonelists from what zones now manage."""
    setup = memory.setup
    if setup.rules is None:
        raise ValueError("this machine has no rules for memory that comes or goes")
    populated = [z for z, zone in enumerate(setup.zones) if zone.present > 0]
    managed = [
        ManagedZone(zone.node, ZoneType(zone.zone_type), zone.managed)
        for zone in (setup.zones[z] for z in populated)
    ]
    high = [memory.zone_field(z, L.Z_WMARK + Wmark.HIGH) for z in populated]
    zones = list(setup.zones)
    rows = memory.mem.zones.reshape(-1, L.ZONE_FIELDS)
    pcps = memory.mem.pcps.reshape(len(zones), -1, L.PCP_FIELDS)
    for z, sizes in zip(populated, resize(managed, high, setup.rules), strict=True):
        zones[z] = replace(zones[z], **sizes._asdict())
        rows[z, L.Z_WMARK : L.Z_WMARK + len(Wmark)] = sizes.watermark
        rows[z, L.Z_BOOST] = 0
        rows[z, L.Z_LOWMEM_RESERVE : L.Z_LOWMEM_RESERVE + len(sizes.lowmem_reserve)] = (
            sizes.lowmem_reserve
        )
        rows[z, L.Z_STAT_THRESHOLD] = sizes.stat_threshold
        _make_room(memory, z, sizes.pcp_high)
        pcps[z, :, L.P_HIGH], pcps[z, :, L.P_BATCH] = sizes.pcp_high, sizes.pcp_batch
    lists = tuple(
        (tuple(populated[i] for i in fallback), tuple(populated[i] for i in own))
        for fallback, own in zonelists_of(managed, setup.rules)
    )
    memory.setup = replace(setup, zones=tuple(zones), zonelists=lists)
    memory.mem.zonelists[:] = zonelist_rows(memory.setup)
    memory.mem.system[S.S_DIRTY_BACKGROUND] = dirty_background(memory.setup)
    _let_daemons_follow(memory)


def _make_room(memory: Memory, z: int, pcp_high: int) -> None:
    """Give a zone's per-CPU lists larger rings where they are to hold more than these have room."""
    zone = replace(memory.setup.zones[z], pcp_high=pcp_high)
    wanted, size = pcp_rows([zone], len(memory.setup.cpu_node), memory.setup.mechanism)
    new = wanted.reshape(-1, L.PCP_FIELDS)[:, L.P_LISTS :].reshape(-1, 4)
    row = len(wanted)
    pcps = memory.mem.pcps[z * row : (z + 1) * row].reshape(-1, L.PCP_FIELDS)
    old = pcps[:, L.P_LISTS :].reshape(-1, 4)
    if np.all(new[:, 3] <= old[:, 3]):
        return
    rings = np.zeros(size, np.int32)
    for at, (head, length, offset, mask) in enumerate(old.tolist()):
        pfns = memory.mem.rings[offset + ((head + np.arange(length)) & mask)]
        rings[int(new[at, 2]) : int(new[at, 2]) + length] = pfns
        new[at, 0], new[at, 1] = 0, length
    new[new[:, 3] > 0, 2] += len(memory.mem.rings)
    pcps[:, L.P_LISTS :] = new.reshape(len(pcps), -1)
    memory.mem = memory.mem._replace(rings=np.concatenate([memory.mem.rings, rings]))


def _let_daemons_follow(memory: Memory) -> None:
    """Stop kswapd and kcompactd of nodes without memory; those of a node that has it again look."""
    nodes = memory.mem.nodes.reshape(-1, S.NODE_FIELDS)
    pressure, system = memory.setup.pressure, memory.mem.system
    looks = pressure is not None and pressure.compaction_proactiveness > 0
    for node in range(memory.mem.nr_nodes):
        if node not in nodes_with_memory(memory):
            for due in (S.N_KSWAPD_DUE, S.N_KCOMPACTD_DUE, S.N_PROACTIVE_DUE):
                nodes[node, due] = S.FOREVER
        elif looks and nodes[node, S.N_PROACTIVE_DUE] == S.FOREVER:
            nodes[node, S.N_PROACTIVE_DUE] = memory.now + S.PROACTIVE_INTERVAL_NS
            system[S.S_NEXT_DUE] = min(system[S.S_NEXT_DUE], nodes[node, S.N_PROACTIVE_DUE])


def nodes_with_memory(memory: Memory) -> tuple[int, ...]:
    """Name the nodes that have memory (N_MEMORY), ascending."""
    return tuple(sorted({zone.node for zone in memory.setup.zones if zone.present > 0}))
