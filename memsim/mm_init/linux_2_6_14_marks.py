"""What a kernel of 2005 works out per zone from sizes alone: marks, reserves, per-CPU list sizes.

Sizes are pages unless a name ends in ``_kbytes``. Sequences that describe zones run in step.
Source: mm/page_alloc.c, setup_per_zone_pages_min, setup_per_zone_lowmem_reserve, zone_batchsize,
setup_pageset (Linux 2.6.14); spec linux-2.6.14 1.4, 2.1, 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

from memsim.mm import PAGE_SIZE, ZoneType2005
from memsim.profiles import Profile

LOWMEM_RESERVE_RATIO = (256, 256, 32, 32)
"""By zone type. In a kernel without DMA32 that entry is unused; the last is HIGHMEM's, which only
EASYRCLM needs (spec linux-mm 10.5)."""
_KB_PER_PAGE = PAGE_SIZE // 1024
_MIN_FREE_KBYTES_RANGE = (128, 65536)
_HIGHMEM_MIN_RANGE = (32, 128)


class PresentZone(NamedTuple):
    """A populated zone as the functions here see it."""

    nid: int
    zone_type: ZoneType2005
    present: int

    @property
    def high(self) -> bool:
        """Not for the kernel's own data: HIGHMEM, and EASYRCLM wherever it was cut from."""
        return self.zone_type >= ZoneType2005.HIGHMEM


class Watermarks(NamedTuple):
    """The marks of a zone."""

    min: int
    low: int
    high: int


class PcpSizes(NamedTuple):
    """Sizes of a CPU's hot and cold list of one zone."""

    low: int
    high: int
    batch: int
    cold_high: int
    cold_batch: int


def init_per_zone_pages_min(zones: Sequence[PresentZone]) -> int:
    """Give min_free_kbytes: the square root of 16 times the low memory in KiB."""
    lowmem_kbytes = _KB_PER_PAGE * sum(zone.present for zone in zones if not zone.high)
    lowest, largest = _MIN_FREE_KBYTES_RANGE
    return min(max(isqrt(16 * lowmem_kbytes), lowest), largest)


def setup_per_zone_pages_min(
    zones: Sequence[PresentZone], min_free_kbytes: int, highmem_marks: int
) -> tuple[Watermarks, ...]:
    """Give each zone its marks; ``highmem_marks`` is that of the profile (spec 2.1.4, 2.1.5)."""
    pages_min = min_free_kbytes // _KB_PER_PAGE
    lowmem = sum(zone.present for zone in zones if not zone.high)
    marks = []
    for zone in zones:
        share = pages_min * zone.present // lowmem
        least = share
        if zone.high:
            lowest, largest = _HIGHMEM_MIN_RANGE
            least = min(max(zone.present // 1024, lowest), largest)
        if highmem_marks == 14:
            marks.append(Watermarks(least, least * 5 // 4, least * 6 // 4))
        else:
            marks.append(Watermarks(least, least + share // 4, least + share // 2))
    return tuple(marks)


def setup_per_zone_lowmem_reserve(
    zones: Sequence[PresentZone], ratio: Sequence[int] = LOWMEM_RESERVE_RATIO
) -> tuple[tuple[int, ...], ...]:
    """Give each zone's row: pages kept from requests whose highest zone is that of the column."""
    rows = []
    for zone in zones:
        row = [0] * len(ZoneType2005)
        above = 0
        for kind in ZoneType2005:
            if kind > zone.zone_type:
                above += sum(z.present for z in zones if (z.nid, z.zone_type) == (zone.nid, kind))
                row[kind] = above // max(1, ratio[zone.zone_type])
        rows.append(tuple(row))
    return tuple(rows)


def zone_batchsize(present: int, profile: Profile) -> int:
    """Give the batch of a zone's per-CPU lists; 0 in small zones of 2.6.15."""
    batch = max(1, min(present // 1024, profile.pcp_cap) // 4)
    bits = (batch + batch // 2).bit_length() - profile.pcp_fls_fix
    return (1 << bits) - 1


def setup_pageset(batch: int, profile: Profile) -> PcpSizes:
    """Give the sizes that follow from the batch."""
    chunk = max(1, batch)
    return PcpSizes(
        low=profile.pcp_hot_low * batch,
        high=6 * batch,
        batch=chunk,
        cold_high=2 * batch,
        cold_batch=max(1, batch // 2) if profile.pcp_cold_half else chunk,
    )
