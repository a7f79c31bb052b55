"""Where the pages of memory blocks can go, and whether there is room (spec linux-mm 8.6, 9.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memsim.mm import ZoneType
from memsim.snapshot.scan import BlockScan, Span
from memsim.traces import _page_flags as kpf

CACHE = kpf.LRU | kpf.ANON | kpf.SWAPBACKED | kpf.DIRTY | kpf.WRITEBACK | kpf.UNEVICTABLE


@dataclass
class ZoneRoom:
    """A zone that pages may move to."""

    span: Span
    pages: int
    """Free above the min mark and the reserve, and clean page cache, which gives way."""


def zone_room(
    span: Span, free: int, min_mark: int, protection: tuple[int, ...], flags: NDArray[np.uint64]
) -> ZoneRoom:
    """Count how many pages a zone can take in; ``free`` with those on per-CPU lists."""
    mine = flags[span.start_pfn : span.end_pfn]
    cache = int(np.count_nonzero(mine & CACHE == kpf.LRU))
    reserve = protection[min(ZoneType.NORMAL, len(protection) - 1)] if protection else 0
    return ZoneRoom(span, max(free - min_mark - reserve, 0) + cache)


def with_room(scans: Iterable[BlockScan], zones: list[ZoneRoom]) -> Iterator[BlockScan]:
    """Take blocks away one after the other, as long as there is room for their users' pages.

    Yields each as it was given, but ``no`` where the pages of those before it have left no room.
    """
    rest = [replace(zone) for zone in zones]
    for scan in scans:
        if scan.answer != "no obstacle seen":
            yield scan
            continue
        targets = list(_targets(scan, rest))
        room = sum(zone.pages for zone in targets)
        if scan.to_move > room:
            why = f"room for {room:,} pages elsewhere"
            yield replace(scan, answer="no", why=why)
            continue
        _fill(targets, scan.to_move)
        _fill([zone for zone in rest if zone.span == scan.span], scan.free)
        yield scan


def _targets(scan: BlockScan, zones: list[ZoneRoom]) -> Iterator[ZoneRoom]:
    """Yield the zones that pages may move to: of other nodes, if there are any (spec 8.6)."""
    assert scan.span is not None, "a block that can go is in one zone"
    others = [zone for zone in zones if zone.span.node != scan.span.node]
    for zone in others or zones:
        into_movable = zone.span.zone_type == ZoneType.MOVABLE
        if not into_movable or scan.span.zone_type == ZoneType.MOVABLE:
            yield zone


def _fill(zones: list[ZoneRoom], pages: int) -> None:
    for zone in zones:
        taken = min(pages, zone.pages)
        zone.pages -= taken
        pages -= taken
