"""A Memory whose zones grow or shrink: spans, sizes, zonelists, and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.memory.pressure import dirty_background
from memsim.memory.setup import NO_ZONE, ZoneSetup, zonelist_rows
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
    zone = memory.setup.zones[z]
    left = subtract(zone.pieces, [(start, end)])
    _change(memory, z, zone, left, start - end)
    memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER] = NO_ZONE
    memory.setup = replace(
        memory.setup, offline=tuple(joined(sorted([*memory.setup.offline, (start, end)])))
    )
    resize_zones(memory)


def grow_zone(memory: Memory, z: int, start: int, end: int) -> None:
    """Let [start, end), which was offline, be a zone's; its sizes are worked out later."""
    zone = memory.setup.zones[z]
    old = list(zone.pieces) if zone.present else []
    _change(memory, z, zone, joined(sorted([*old, (start, end)])), end - start)
    memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER] = z
    memory.setup = replace(
        memory.setup, offline=tuple(subtract(memory.setup.offline, [(start, end)]))
    )


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
        pcps[z, :, L.P_HIGH], pcps[z, :, L.P_BATCH] = sizes.pcp_high, sizes.pcp_batch
    lists = tuple(
        (tuple(populated[i] for i in fallback), tuple(populated[i] for i in own))
        for fallback, own in zonelists_of(managed, setup.rules)
    )
    memory.setup = replace(setup, zones=tuple(zones), zonelists=lists)
    memory.mem.zonelists[:] = zonelist_rows(memory.setup)
    memory.mem.system[S.S_DIRTY_BACKGROUND] = dirty_background(memory.setup)
    _let_daemons_follow(memory)


def _let_daemons_follow(memory: Memory) -> None:
    """Stop kswapd and kcompactd of nodes without memory."""
    nodes = memory.mem.nodes.reshape(-1, S.NODE_FIELDS)
    for node in range(memory.mem.nr_nodes):
        if node not in nodes_with_memory(memory):
            for due in (S.N_KSWAPD_DUE, S.N_KCOMPACTD_DUE, S.N_PROACTIVE_DUE):
                nodes[node, due] = S.FOREVER


def nodes_with_memory(memory: Memory) -> tuple[int, ...]:
    """Name the nodes that have memory (N_MEMORY), ascending."""
    return tuple(sorted({zone.node for zone in memory.setup.zones if zone.present > 0}))
