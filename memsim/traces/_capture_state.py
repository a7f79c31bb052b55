"""The allocator's state at one instant, as a capture shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsim.mm import Migratetype, ZoneType

PAGEBLOCK_HOLE = 0xFE
"""In ``CaptureZone.pageblocks``: no memory there."""
PAGEBLOCK_OTHER_ZONE = 0xFF
"""In ``CaptureZone.pageblocks``: memory of another zone."""


@dataclass(frozen=True)
class CapturePcp:
    """One CPU's per-CPU lists of a zone."""

    cpu: int
    count: int
    """Pages on all lists together."""
    high: int
    batch: int
    free_factor: int
    lists: dict[int, NDArray[np.int32]]
    """pindex -> first pages, head of the list first; empty lists are absent."""


@dataclass(frozen=True)
class CaptureCompaction:
    """Where a zone's compaction stands; pfns of 0 are not set yet."""

    free_pfn: int = 0
    """compact_cached_free_pfn."""
    migrate_pfns: tuple[int, int] = (0, 0)
    """compact_cached_migrate_pfn: asynchronous, synchronous."""
    init_migrate_pfn: int = 0
    init_free_pfn: int = 0
    considered: int = 0
    defer_shift: int = 0
    order_failed: int = 0


@dataclass(frozen=True)
class CaptureZone:
    """A populated zone; counts are pages unless they are named otherwise."""

    node: int
    zone_type: ZoneType
    start_pfn: int
    spanned: int
    present: int
    managed: int
    wmark_min: int
    wmark_low: int
    wmark_high: int
    watermark_boost: int
    nr_reserved_highatomic: int
    nr_isolate_pageblock: int
    """Pageblocks."""
    nr_free_pages: int
    """The zone's counter: it may lag behind ``free`` by each CPU's vmstat delta."""
    lowmem_reserve: tuple[int, ...]
    """By mm.ZoneType."""
    pageblocks: NDArray[np.uint8]
    """mm.Migratetype, PAGEBLOCK_HOLE or PAGEBLOCK_OTHER_ZONE of each pageblock of the span; the
    first one holds ``start_pfn``."""
    free: dict[tuple[int, Migratetype], NDArray[np.int32]]
    """(order, type of the list) -> first pages, head of the list first; empty lists are absent."""
    pcp: tuple[CapturePcp, ...]
    """By CPU."""
    compaction: CaptureCompaction = CaptureCompaction()


@dataclass(frozen=True)
class CaptureState:
    """The allocator at one instant."""

    time_ns: int
    """Trace clock when the snapshot began; with one CPU nothing happens until ``time_end_ns``."""
    time_end_ns: int
    zones: tuple[CaptureZone, ...]
    """By node, then zone type."""
    group_by_mobility_disabled: bool
    pageblock_order: int
    nr_pcp_lists: int
    migrate_types: int
    """The kernel's MIGRATE_TYPES: 5 without CMA, 6 with it."""
    cpu_node: tuple[int, ...] = ()
    """The node of each CPU; empty where the capture does not say it."""
    distances: tuple[tuple[int, ...], ...] = ()
    """Between nodes; empty where the capture does not say it."""
