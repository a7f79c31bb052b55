"""Memory that was taken offline comes back (spec linux-mm 1.3 at its end, 2.6)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

import numpy as np

from memsim.kernels import memory_hotplug as kernels
from memsim.memory import Memory
from memsim.memory.obstacles import Reason
from memsim.memory.resizing import add_zone, grow_zone, resize_zones
from memsim.mm import PAGEBLOCK_NR_PAGES, SECTION_PAGES, Migratetype, ZoneType
from memsim.mm_init.memblock import DimmSpec
from memsim.mm_init.zones import ZoneSpan, zone_for_pfn_range

OnlineType = Literal["online", "kernel", "movable", "auto-movable"]
"""What is written to a memory block's ``state``; auto-movable is the policy for ``online``."""
AUTO_MOVABLE_RATIO = 301
"""Percent of the kernel's memory that Movable may have (memory_hotplug.auto_movable_ratio)."""


@dataclass(frozen=True)
class OnlineOutcome:
    """What became of bringing [start_pfn, start_pfn + nr_pages) online."""

    start_pfn: int
    nr_pages: int
    zone: int
    """-1 if it failed."""
    errno: int
    """0, or -EINVAL: not aligned, no memory there, or online already."""
    reason: Reason


def online(
    memory: Memory,
    start_pfn: int,
    nr_pages: int,
    online_type: OnlineType = "online",
    cpu: int = 0,
) -> OnlineOutcome:
    """Bring memory online that is offline; its pages go to the tails of the lists, used last.

    Unlike Linux: auto-movable counts all memory of the kernel's zones as there from boot on.
    """
    end = start_pfn + nr_pages
    node, reason = _offline_node(memory, start_pfn, end)
    if reason:
        return OnlineOutcome(start_pfn, nr_pages, -1, -errno.EINVAL, reason)
    zone_type = _zone_type(memory, node, start_pfn, end, online_type)
    zone = next(
        (
            z
            for z, each in enumerate(memory.setup.zones)
            if (each.node, each.zone_type) == (node, zone_type)
        ),
        -1,
    )
    if zone < 0:
        zone = add_zone(memory, node, zone_type)
    blocks = slice(start_pfn // PAGEBLOCK_NR_PAGES, end // PAGEBLOCK_NR_PAGES)
    memory.mem.pageblocks[blocks] = Migratetype.ISOLATE
    memory.mem.pageblock_skip[blocks] = 0
    grow_zone(memory, zone, start_pfn, end)
    kernels.online_range(memory.mem, memory.tables, zone, cpu, start_pfn, end)
    resize_zones(memory)
    return OnlineOutcome(start_pfn, nr_pages, zone, 0, Reason.NONE)


def _offline_node(memory: Memory, start: int, end: int) -> tuple[int, Reason]:
    """Say whose memory a range is that is offline as a whole, or why it is not."""
    if start < 0 or end <= start or start % PAGEBLOCK_NR_PAGES or end % SECTION_PAGES:
        return -1, Reason.UNALIGNED
    inside = [
        (max(s, start), min(e, end), node)
        for s, e, node in memory.setup.offline
        if s < end and start < e
    ]
    if sum(e - s for s, e, _ in inside) < end - start:
        present = end <= memory.nr_pages and np.any(
            memory.mem.zone_of[start >> 10 : end >> 10] < 255
        )
        return -1, Reason.ONLINE if present else Reason.HOLE
    nodes = {node for _, _, node in inside}
    return (nodes.pop(), Reason.NONE) if len(nodes) == 1 else (-1, Reason.STRADDLES_ZONES)


def _zone_type(
    memory: Memory, node: int, start: int, end: int, online_type: OnlineType
) -> ZoneType:
    """Say which zone of its node memory joins."""
    zones = memory.setup.zones
    if online_type == "auto-movable":
        pages = [0, 0]
        for zone in zones:
            pages[zone.zone_type == ZoneType.MOVABLE] += zone.present
        fits = pages[1] + end - start <= AUTO_MOVABLE_RATIO * pages[0] // 100
        return ZoneType.MOVABLE if fits else _zone_type(memory, node, start, end, "kernel")
    spans = [
        ZoneSpan(
            z.node, ZoneType(z.zone_type), z.start_pfn, z.end_pfn, z.present, z.managed, 0, (), ()
        )
        for z in zones
        if z.present > 0
    ]
    rules = memory.setup.rules
    return zone_for_pfn_range(
        spans,
        node,
        DimmSpec(start, end, "auto" if online_type == "online" else online_type),
        movable_node=rules is not None and rules.movable_node,
    )
