"""What the kernel works out per zone from sizes alone: watermarks, reserves, per-CPU list sizes.

Sizes are pages unless a name ends in ``_kbytes``. Sequences that describe zones run in step:
entry i of each belongs to zone i. Source: mm/page_alloc.c, mm/vmstat.c, mm/khugepaged.c (Linux
6.1.192); spec linux-mm 1.5, 1.6, 3.8, 4.2 and 5.3 step 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

from memsim.mm import (
    MAX_NR_ZONES,
    MIGRATE_PCPTYPES,
    MIGRATE_TYPES,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    SECTION_PAGES,
    ZoneType,
)

_KB_PER_PAGE = PAGE_SIZE // 1024
MIN_FREE_KBYTES_RANGE = (128, 262144)
WATERMARK_SCALE_FACTOR = 10
LOWMEM_RESERVE_RATIO = (256, 256, 32, 0)
_MAX_BATCH_PAGES = 256
_MAX_STAT_THRESHOLD = 125
_THP_MIN_PAGES = (512 << 20) // PAGE_SIZE


class ManagedZone(NamedTuple):
    """A populated zone as the functions here see it."""

    nid: int
    zone_type: ZoneType
    managed: int


class Watermarks(NamedTuple):
    """The four marks of a zone without boost, in the order of mm.Wmark."""

    min: int
    low: int
    high: int
    promo: int


class WatermarkState(NamedTuple):
    """``min_free_kbytes`` and what it was distributed to."""

    min_free_kbytes: int
    marks: tuple[Watermarks, ...]


def nr_free_zone_pages(zones: Sequence[ManagedZone], high: Sequence[int], highest: ZoneType) -> int:
    """Sum what lies above the high mark in the zones up to ``highest``, of all nodes."""
    return sum(
        max(0, zone.managed - mark)
        for zone, mark in zip(zones, high, strict=True)
        if zone.zone_type <= highest
    )


def calculate_min_free_kbytes(
    zones: Sequence[ManagedZone], high: Sequence[int], user_min_free_kbytes: int = -1
) -> int:
    """Give min_free_kbytes for these sizes; the user's value wins if it is not smaller."""
    lowmem_kbytes = nr_free_zone_pages(zones, high, ZoneType.NORMAL) * _KB_PER_PAGE
    computed = isqrt(lowmem_kbytes * 16)
    if computed <= user_min_free_kbytes:
        return user_min_free_kbytes
    lowest, largest = MIN_FREE_KBYTES_RANGE
    return min(max(computed, lowest), largest)


def recommended_min_free_kbytes(zones: Sequence[ManagedZone], high: Sequence[int]) -> int:
    """Give what khugepaged wants at least (set_recommended_min_free_kbytes)."""
    nr_zones = sum(zone.zone_type <= ZoneType.NORMAL for zone in zones)
    # Two free pageblocks per zone, and one for each pair of types that may fall back.
    wanted = PAGEBLOCK_NR_PAGES * nr_zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES)
    five_percent = nr_free_zone_pages(zones, high, ZoneType.NORMAL) // 20
    return min(wanted, five_percent) * _KB_PER_PAGE


def setup_per_zone_wmarks(
    zones: Sequence[ManagedZone],
    min_free_kbytes: int,
    watermark_scale_factor: int = WATERMARK_SCALE_FACTOR,
) -> tuple[Watermarks, ...]:
    """Distribute min_free_kbytes over all zones by their size, Movable included (6.1)."""
    pages_min = min_free_kbytes // _KB_PER_PAGE
    total = max(1, sum(zone.managed for zone in zones))
    marks = []
    for zone in zones:
        low_gap_base = pages_min * zone.managed // total
        gap = max(low_gap_base // 4, zone.managed * watermark_scale_factor // 10000)
        marks.append(Watermarks(*(low_gap_base + i * gap for i in range(4))))
    return tuple(marks)


def init_per_zone_wmark_min(
    zones: Sequence[ManagedZone],
    high: Sequence[int],
    *,
    khugepaged: bool,
    user_min_free_kbytes: int = -1,
    watermark_scale_factor: int = WATERMARK_SCALE_FACTOR,
) -> WatermarkState:
    """Compute min_free_kbytes and the marks as at boot and after memory went on- or offline.

    ``high`` are the high marks in force before (0 at boot). khugepaged's 5 % limit is taken of
    what lies above the marks of the first of the two distributions.
    """
    kbytes = calculate_min_free_kbytes(zones, high, user_min_free_kbytes)
    marks = setup_per_zone_wmarks(zones, kbytes, watermark_scale_factor)
    if khugepaged:
        kbytes = max(kbytes, recommended_min_free_kbytes(zones, [mark.high for mark in marks]))
        marks = setup_per_zone_wmarks(zones, kbytes, watermark_scale_factor)
    return WatermarkState(kbytes, marks)


def khugepaged_runs(transparent_hugepage: str, boot_managed: int) -> bool:
    """Say whether khugepaged starts at boot: below 512 MiB of RAM the kernel turns THP off.

    Source: hugepage_init in mm/huge_memory.c (6.1); not in the spec, seen in the 512 MiB captures.
    """
    return transparent_hugepage != "never" and boot_managed >= _THP_MIN_PAGES


def setup_per_zone_lowmem_reserve(
    zones: Sequence[ManagedZone], ratio: Sequence[int] = LOWMEM_RESERVE_RATIO
) -> tuple[tuple[int, ...], ...]:
    """Give the pages that zone z keeps from requests allowed up to zone j: row z, entry j of 5."""
    managed = {(zone.nid, zone.zone_type): zone.managed for zone in zones}
    rows = []
    for zone in zones:
        row = [0] * MAX_NR_ZONES
        divisor = ratio[zone.zone_type] if zone.managed else 0
        above = 0
        for j in range(zone.zone_type + 1, MAX_NR_ZONES):
            above += managed.get((zone.nid, ZoneType(j)), 0)
            row[j] = above // divisor if divisor else 0
        rows.append(tuple(row))
    return tuple(rows)


def zone_batchsize(managed: int) -> int:
    """Give the number of pages that a per-CPU list takes from or gives to the buddy at once."""
    batch = max(1, min(managed // 1024, _MAX_BATCH_PAGES) // 4)
    power_of_two = 1 << ((batch + batch // 2).bit_length() - 1)
    return max(1, power_of_two - 1)


def zone_highsize(
    managed: int, low_wmark: int, batch: int, cpus: int, percpu_pagelist_high_fraction: int = 0
) -> int:
    """Give the page count at which a per-CPU list is trimmed.

    ``cpus`` are those of the zone's node, or all online ones if it has none.
    """
    total = low_wmark
    if percpu_pagelist_high_fraction:
        total = managed // percpu_pagelist_high_fraction
    return max(total // cpus, 4 * batch)


def calculate_normal_threshold(managed: int, online_cpus: int) -> int:
    """Give how far a CPU's private counter may stray before it is folded into the zone's."""
    sections = managed // SECTION_PAGES
    threshold = 2 * online_cpus.bit_length() * (1 + sections.bit_length())
    return min(_MAX_STAT_THRESHOLD, threshold)


def page_group_by_mobility_disabled(
    zones: Sequence[ManagedZone], high: Sequence[int], *, cma: bool
) -> bool:
    """Say whether the machine is too small for grouping: less than a pageblock per type."""
    types = MIGRATE_TYPES if cma else MIGRATE_TYPES - 1
    return nr_free_zone_pages(zones, high, ZoneType.MOVABLE) < PAGEBLOCK_NR_PAGES * types
