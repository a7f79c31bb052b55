"""What the kernel works out anew when memory goes online or offline: marks, reserves, lists.

Source: mm/page_alloc.c, Linux 6.1.192 (init_per_zone_wmark_min, zone_pcp_update,
build_all_zonelists); spec linux-mm 1.4-1.6 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memsim.mm_init import watermarks
from memsim.mm_init.watermarks import ManagedZone, Watermarks
from memsim.mm_init.zonelists import Zonelists, build_zonelists


@dataclass(frozen=True)
class SizeRules:
    """What all sizes follow from besides the zones' memory."""

    node_cpus: tuple[int, ...]
    """Number of online CPUs of each node."""
    distances: tuple[tuple[int, ...], ...]
    khugepaged: bool
    user_min_free_kbytes: int = -1
    """-1: nobody has written the sysctl."""
    watermark_scale_factor: int = watermarks.WATERMARK_SCALE_FACTOR
    lowmem_reserve_ratio: tuple[int, ...] = watermarks.LOWMEM_RESERVE_RATIO
    percpu_pagelist_high_fraction: int = 0
    movable_node: bool = False


class ZoneSizes(NamedTuple):
    """The sizes of one populated zone, in pages."""

    watermark: Watermarks
    lowmem_reserve: tuple[int, ...]
    pcp_high: int
    pcp_batch: int
    stat_threshold: int


def pageset_size(zone: ManagedZone, low: int, rules: SizeRules) -> tuple[int, int]:
    """Give high and batch of a CPU's lists of a zone whose low mark is ``low``."""
    batch = watermarks.zone_batchsize(zone.managed)
    cpus = rules.node_cpus[zone.nid] or sum(rules.node_cpus)
    fraction = rules.percpu_pagelist_high_fraction
    return watermarks.zone_highsize(zone.managed, low, batch, cpus, fraction), batch


def resize(
    zones: Sequence[ManagedZone], high: Sequence[int], rules: SizeRules
) -> tuple[ZoneSizes, ...]:
    """Give the sizes of all populated zones; ``high`` are their high marks in force before."""
    state = watermarks.init_per_zone_wmark_min(
        zones,
        high,
        khugepaged=rules.khugepaged,
        user_min_free_kbytes=rules.user_min_free_kbytes,
        watermark_scale_factor=rules.watermark_scale_factor,
    )
    reserves = watermarks.setup_per_zone_lowmem_reserve(zones, rules.lowmem_reserve_ratio)
    cpus = sum(rules.node_cpus)
    return tuple(
        ZoneSizes(
            mark,
            reserve,
            *pageset_size(zone, mark.low, rules),
            watermarks.calculate_normal_threshold(zone.managed, cpus),
        )
        for zone, mark, reserve in zip(zones, state.marks, reserves, strict=True)
    )


def zonelists_of(zones: Sequence[ManagedZone], rules: SizeRules) -> tuple[Zonelists, ...]:
    """Build each node's zonelists of the populated zones, as positions in ``zones``."""
    kinds = [(zone.nid, zone.zone_type) for zone in zones]
    return build_zonelists(kinds, rules.distances, [bool(cpus) for cpus in rules.node_cpus])
