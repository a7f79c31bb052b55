"""All that the files of one folder say of a machine's memory, checked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import (
    MAX_NR_ZONES,
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    ZONE_NAMES,
    Migratetype,
    ZoneType,
)
from memsim.snapshot.copies import Copies
from memsim.snapshot.proc import (
    CAPPED,
    PcpCounts,
    TypeCounts,
    ZoneText,
    parse_buddyinfo,
    parse_counters,
    parse_pagetypeinfo,
    parse_zoneinfo,
)
from memsim.snapshot.scan import Span
from memsim.snapshot.system import System, read_system
from memsim.traces import _page_flags as kpf
from memsim.traces._files import refuse

ORDERS = np.arange(NR_PAGE_ORDERS)
PIN_COUNTERS = ("nr_foll_pin_acquired", "nr_foll_pin_released")
USERS = (
    "nr_zone_inactive_anon", "nr_zone_active_anon", "nr_zone_inactive_file", "nr_zone_active_file",
    "nr_zone_unevictable",
)  # fmt: skip
"""What zoneinfo counts of a zone's pages on LRU lists."""


@dataclass(frozen=True)
class ZoneSeen:
    """A populated zone; pages, and marks without the boost."""

    node: int
    zone_type: ZoneType
    start_pfn: int
    spanned: int
    present: int
    managed: int
    boost: int
    wmark: tuple[int, int, int]
    protection: tuple[int, ...]
    pcps: tuple[PcpCounts, ...]
    users: tuple[int, ...]
    """By USERS."""
    counted_free: int
    """nr_free_pages; what CPUs have not yet told it is up to a few hundred pages."""
    free: NDArray[np.int64]
    """(11,) free blocks by order."""
    free_of_type: NDArray[np.int64] | None
    """(MIGRATE_TYPES, 11), their sum is ``free``; None if no file says it."""
    pageblocks: NDArray[np.int64] | None
    """(MIGRATE_TYPES,) number of pageblocks."""

    @property
    def end_pfn(self) -> int:
        """Behind the last page."""
        return self.start_pfn + self.spanned

    @property
    def span(self) -> Span:
        """Where it may have memory."""
        return Span(self.node, self.zone_type, self.start_pfn, self.end_pfn)

    @property
    def cached(self) -> int:
        """Pages on all per-CPU lists: free, but not on the free lists."""
        return sum(pcp.count for pcp in self.pcps)

    @property
    def name(self) -> str:
        """``node 0, zone Normal``."""
        return f"node {self.node}, zone {ZONE_NAMES[self.zone_type]}"

    @property
    def free_pages(self) -> int:
        """Pages on the free lists."""
        return int((self.free << ORDERS).sum())


@dataclass(frozen=True)
class Observed:
    """A machine's memory as far as it can be seen."""

    source: str
    zones: tuple[ZoneSeen, ...]
    """By node, then zone type."""
    system: System
    swap_bytes: int
    pins: tuple[tuple[int, int], ...]
    """Node, and how many pins by pin_user_pages are held there, where zoneinfo counts them."""
    flags: NDArray[np.uint64] | None
    """KPF_* masks by pfn; None if they cannot be read."""
    mapped: NDArray[np.bool_] | None
    """Whether some process maps a page, by pfn."""
    missing: tuple[str, ...]
    """A sentence for each file that could not be read."""
    differences: tuple[str, ...]
    """A sentence for each place where files read at different moments contradict each other."""


def is_folder_of_copies(folder: Path) -> bool:
    """Say whether a folder holds copies of the files that are needed."""
    copies = Copies(folder)
    return copies.find("buddyinfo") is not None and copies.find("zoneinfo") is not None


def observe(folder: Path) -> Observed:
    """Read what a folder of copies says; ``/`` is this machine.

    Raises InputError for a file that is needed and missing, and for one that is truncated.
    """
    copies = Copies(folder)
    # Pages first: reading them takes longest, and what is read later counts more.
    flags = _pages(copies, "kpageflags")
    mapcounts = _pages(copies, "kpagecount")
    types = copies.text("pagetypeinfo")
    counted = parse_pagetypeinfo(types) if types is not None else {}
    buddyinfo, zoneinfo = copies.text("buddyinfo"), copies.text("zoneinfo")
    assert buddyinfo is not None and zoneinfo is not None, "these are needed"
    free = parse_buddyinfo(buddyinfo)
    texts = parse_zoneinfo(zoneinfo)
    if not texts:
        raise refuse(zoneinfo[0], "has no zone with memory", hint="the copy is truncated")
    for node, name in sorted(free.keys() - {text.key for text in texts}):
        message = f"says nothing of node {node}, zone {name}"
        raise refuse(zoneinfo[0], message, hint="the copy is truncated")
    differences: list[str] = []
    zones = []
    for text in sorted(texts, key=lambda t: (t.node, ZONE_NAMES.index(t.name))):
        for table, path in ((free, buddyinfo[0]), (counted, types[0] if types else None)):
            if path is not None and text.key not in table:
                message = f"has no line for node {text.node}, zone {text.name}"
                raise refuse(path, message, hint="the copy is truncated")
        zone, found = _zone(text, free[text.key], counted.get(text.key))
        zones.append(zone)
        differences += found
    system = read_system(copies)
    for name, pages in (("kpageflags", flags), ("kpagecount", mapcounts)):
        path = copies.find(name)
        if pages is not None and path is not None:
            _check_length(path, len(pages), zones, system)
    if flags is not None:
        differences += _flag_differences(flags, zones)
    counters = parse_counters(copies.text("meminfo"))
    copies.text("vmstat")
    return Observed(
        source=str(folder),
        zones=tuple(zones),
        system=system,
        swap_bytes=counters.get("SwapTotal", 0) * 1024,
        pins=tuple(_pins(texts)),
        flags=flags,
        mapped=None if mapcounts is None else mapcounts > 0,
        missing=tuple(copies.missing),
        differences=tuple(differences),
    )


def _pins(zones: Iterable[ZoneText]) -> Iterator[tuple[int, int]]:
    """Yield what a node's first zone counts for the node."""
    for zone in sorted(zones, key=lambda z: z.node):
        if PIN_COUNTERS[0] in zone.values:
            taken, given_back = (zone.values.get(name, 0) for name in PIN_COUNTERS)
            yield zone.node, max(taken - given_back, 0)


def _pages(copies: Copies, name: str) -> NDArray[np.uint64] | None:
    path = copies.readable(name)
    return None if path is None else kpf.read_page_flags(path)


def _zone(
    text: ZoneText, free: NDArray[np.int64], types: TypeCounts | None
) -> tuple[ZoneSeen, list[str]]:
    """Bring what three files say of a zone together; buddyinfo counts more than pagetypeinfo."""
    values = text.values
    boost = values.get("boost", 0)
    low, middle, high = (values[name] - boost for name in ("min", "low", "high"))
    zone = ZoneSeen(
        node=text.node,
        zone_type=ZoneType(ZONE_NAMES.index(text.name)),
        start_pfn=values["start_pfn"],
        spanned=values["spanned"],
        present=values["present"],
        managed=values["managed"],
        boost=boost,
        wmark=(low, middle, high),
        protection=text.protection[:MAX_NR_ZONES],
        pcps=tuple(text.pcps),
        users=tuple(values.get(name, 0) for name in USERS),
        counted_free=values["free"],
        free=free,
        free_of_type=None,
        pageblocks=None if types is None else types.blocks,
    )
    found = []
    if zone.free_pages != values["free"]:
        found.append(
            f"{zone.name}: buddyinfo has {zone.free_pages:,} free pages, zoneinfo "
            f"{values['free']:,}: the blocks of buddyinfo are taken"
        )
    if types is not None:
        of_type, changed = _agreeing(types.free, free)
        if changed:
            found.append(
                f"{zone.name}: pagetypeinfo has other numbers of free blocks than buddyinfo at "
                f"order {', '.join(map(str, changed))}: those of buddyinfo are taken"
            )
        zone = replace(zone, free_of_type=of_type)
    return zone, found


def _agreeing(
    types: NDArray[np.int64], free: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[int]]:
    """Fill in cut-off counts, and change others until they add up to the free blocks by order."""
    of_type = types.copy()
    changed = []
    for order in range(NR_PAGE_ORDERS):
        column = of_type[:, order]
        capped = np.flatnonzero(column == CAPPED)
        column[capped] = 0
        lacking = int(free[order] - column.sum())
        if lacking == 0:
            continue
        at = int(capped[0]) if len(capped) else int(column.argmax())
        if not len(capped):
            changed.append(order)
            at = at if column[at] else int(Migratetype.MOVABLE)
        for kind in [at, *range(MIGRATE_TYPES)]:
            step = max(lacking, -int(column[kind]))
            column[kind] += step
            lacking -= step
    return of_type, changed


def _check_length(path: Path, pages: int, zones: list[ZoneSeen], system: System) -> None:
    """Insist on flags up to the last memory block that is online, or the last zone's end."""
    ends = [(block.number + 1) * system.block_pages for block in system.blocks if block.online]
    last = min(max(zone.end_pfn for zone in zones), max(ends, default=1 << 62))
    if pages < last:
        message = f"ends with page {pages - 1:#x}, memory with page {last - 1:#x}"
        raise refuse(path, message, hint="the copy is truncated")


def _flag_differences(flags: NDArray[np.uint64], zones: list[ZoneSeen]) -> Iterator[str]:
    for zone in zones:
        mine = flags[zone.start_pfn : zone.end_pfn]
        if any(other is not zone and overlap(zone, other) for other in zones):
            continue
        marked = int(np.count_nonzero(mine & kpf.BUDDY))
        if marked != zone.free_pages:
            yield (
                f"{zone.name}: buddyinfo has {zone.free_pages:,} free pages, kpageflags "
                f"{marked:,}: the number of buddyinfo is taken"
            )


def overlap(one: ZoneSeen, other: ZoneSeen) -> bool:
    """Say whether the spans of two zones overlap."""
    return one.start_pfn < other.end_pfn and other.start_pfn < one.end_pfn
