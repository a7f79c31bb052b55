"""Parse ``state.txt`` of a capture, word by word, and check it against itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import (
    MAX_NR_ZONES,
    MAX_PAGE_ORDER,
    MAX_PFN,
    NR_LOWORDER_PCP_LISTS,
    NR_PAGE_ORDERS,
    NR_PCP_LISTS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    ZONE_NAMES,
    Migratetype,
    ZoneType,
)
from memsim.traces._capture_state import (
    PAGEBLOCK_HOLE,
    PAGEBLOCK_OTHER_ZONE,
    CaptureCompaction,
    CapturePcp,
    CaptureState,
    CaptureZone,
)
from memsim.traces._files import Readable, printable, refuse
from memsim.traces._words import HEX, Line

MAX_STATE_BYTES = 256 << 20
MAX_NODES = 31
MAX_CPUS = 8192
MAX_NS = 1 << 62
VMSTAT_THRESHOLD = 125
"""Largest number of pages that one CPU keeps back from a zone's counters."""
MAX_DEFER_SHIFT = 6
"""COMPACT_MAX_DEFER_SHIFT."""
MAX_CONSIDERED = 1 << MAX_DEFER_SHIFT
COUNTS = ("min", "low", "high", "boost", "highatomic", "isolated_pb", "free")


@dataclass
class Blocks:
    """One list of blocks and the line it stands on."""

    line: Line
    order: int
    pfns: NDArray[np.int32]


@dataclass
class ZoneParts:
    """A zone while its lines are being read."""

    line: Line
    node: int
    zone_type: ZoneType
    start: int
    spanned: int
    present: int
    managed: int
    counts: dict[str, int]
    lowmem_reserve: tuple[int, ...]
    compaction: CaptureCompaction
    pageblocks: NDArray[np.uint8] | None = None
    free: dict[tuple[int, Migratetype], Blocks] = field(default_factory=dict)
    pcp: dict[int, tuple[Line, dict[str, int]]] = field(default_factory=dict)
    pcp_lists: dict[int, dict[int, Blocks]] = field(default_factory=dict)

    @property
    def blocks(self) -> Iterator[Blocks]:
        """All lists of the zone."""
        yield from self.free.values()
        for lists in self.pcp_lists.values():
            yield from lists.values()


class Parser:
    """The state of reading: zones by (node, type), and the zone that lists belong to."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self.config: dict[str, int] = {}
        self.zones: dict[tuple[int, int], ZoneParts] = {}
        self.zone: ZoneParts | None = None
        self.cpu = -1

    def read(self, line: Line) -> None:
        """Take one line."""
        first = line.words[0]
        if first in ("TIME", "TIME_END"):
            if first in self.times:
                raise line.error(0, f"a second {first}")
            self.times[first] = line.value(first, MAX_NS)
        elif first == "ZONE":
            self._zone(line)
        elif first == "group_by_mobility_disabled":
            self._config(line)
        elif first == "PB":
            self._pageblocks(line)
        elif first in ("FREE", "PCP", "PCPL"):
            if self.zone is None:
                raise line.error(0, f"{first} before the ZONE line that it belongs to")
            {"FREE": self._free, "PCP": self._pcp, "PCPL": self._pcp_list}[first](line, self.zone)
        else:
            raise line.error(
                0,
                f'found "{printable(first.encode())}", expected TIME, ZONE, PB, FREE, PCP, PCPL, '
                "group_by_mobility_disabled or TIME_END",
            )
        line.done()

    def _zone(self, line: Line) -> None:
        line.key("ZONE")
        node = line.value("node", MAX_NODES)
        zone_type = ZoneType(line.value("idx", MAX_NR_ZONES))
        self._name(line, zone_type)
        span = [line.value("start", hexadecimal=True)]
        span += [line.value(name) for name in ("spanned", "present", "managed")]
        known = self.zones.get((node, zone_type))
        if line.at == len(line.words):
            if known is None or span != [known.start, known.spanned, known.present, known.managed]:
                raise line.error(0, "this zone has no line with watermarks before, or another span")
            self.zone, self.cpu = known, -1
            return
        if known is not None:
            raise line.error(0, f"node {node} has a second zone {ZONE_NAMES[zone_type]}")
        counts = {name: line.value(name) for name in COUNTS}
        line.key("lowmem_reserve")
        reserve = tuple(line.number_below(MAX_PFN, "lowmem_reserve") for _ in range(MAX_NR_ZONES))
        if span[0] + span[1] > MAX_PFN or not span[1] >= span[2] >= span[3]:
            raise line.error(0, "a zone must have managed <= present <= spanned, below 8 TiB")
        compaction = self._compaction(line)
        start, spanned, present, managed = span
        self.zones[node, zone_type] = ZoneParts(
            line, node, zone_type, start, spanned, present, managed, counts, reserve, compaction
        )

    def _compaction(self, line: Line) -> CaptureCompaction:
        """Read cursors and deferral, where the line has them."""
        if line.at == len(line.words):
            return CaptureCompaction()
        free = line.value("compact_free", MAX_PFN + 1, hexadecimal=True)
        migrate = line.value("mig", MAX_PFN + 1, hexadecimal=True)
        return CaptureCompaction(
            free,
            (migrate, line.number_below(MAX_PFN + 1, "mig", pattern=HEX)),
            line.value("init_mig", MAX_PFN + 1, hexadecimal=True),
            line.value("init_free", MAX_PFN + 1, hexadecimal=True),
            line.value("considered", MAX_CONSIDERED + 1),
            line.value("defer_shift", MAX_DEFER_SHIFT + 1),
            line.value("order_failed", NR_PAGE_ORDERS + 1),
        )

    def _name(self, line: Line, zone_type: ZoneType) -> None:
        line.key("name")
        name = line.expect("the name of a zone")
        if name != ZONE_NAMES[zone_type]:
            raise line.error(
                line.at - 1, f'found "{printable(name.encode())}", expected {ZONE_NAMES[zone_type]}'
            )

    def _config(self, line: Line) -> None:
        allowed = {
            "group_by_mobility_disabled": (0, 1),
            "pageblock_order": (PAGEBLOCK_ORDER,),
            "MAX_ORDER": (NR_PAGE_ORDERS,),
            "MIGRATE_TYPES": (5, 6),
            "NR_PCP_LISTS": (NR_LOWORDER_PCP_LISTS, NR_LOWORDER_PCP_LISTS + 1, NR_PCP_LISTS),
        }
        if self.config:
            raise line.error(0, "a second line of this kind")
        for name, values in allowed.items():
            value = line.value(name)
            if value not in values:
                expected = " or ".join(map(str, values))
                raise line.error(line.at - 1, f"{name} is {value}, memsim reads {expected}")
            self.config[name] = value

    def _migratetype(self, line: Line, digit: str) -> Migratetype | None:
        """Bring the kernel's number to memsim's: without CMA, 4 is Isolate."""
        if not self.config:
            raise line.error(0, "this line stands before group_by_mobility_disabled ...")
        if not digit.isascii() or not digit.isdigit() or len(digit) > 1:
            return None
        if int(digit) >= self.config["MIGRATE_TYPES"]:
            return None
        isolate = self.config["MIGRATE_TYPES"] - 1
        return Migratetype.ISOLATE if int(digit) == isolate else Migratetype(int(digit))

    def _pageblocks(self, line: Line) -> None:
        line.key("PB")
        node = line.value("node", MAX_NODES)
        line.key("name")
        name = line.expect("the name of a zone")
        zone = self.zones.get((node, ZONE_NAMES.index(name))) if name in ZONE_NAMES else None
        if zone is None or zone.pageblocks is not None:
            raise line.error(line.at - 1, f"node {node} has no such ZONE, or a second PB line")
        start = line.value("start", MAX_PFN + 1, hexadecimal=True)
        end = line.value("end", MAX_PFN + 1, hexadecimal=True)
        line.key(":")
        digits = line.expect("one character for each pageblock") if start < end else ""
        first = zone.start - zone.start % PAGEBLOCK_NR_PAGES
        last = -(-(zone.start + zone.spanned) // PAGEBLOCK_NR_PAGES) * PAGEBLOCK_NR_PAGES
        if (start, end, len(digits)) != (first, last, (last - first) // PAGEBLOCK_NR_PAGES):
            raise line.error(
                line.at - 1,
                f"found {len(digits)} pageblocks from {start:x} to {end:x}, expected "
                f"{(last - first) // PAGEBLOCK_NR_PAGES} from {first:x} to {last:x}",
            )
        codes: dict[str, int] = {".": PAGEBLOCK_HOLE, "x": PAGEBLOCK_OTHER_ZONE}
        for digit in sorted(set(digits) - codes.keys()):
            if (code := self._migratetype(line, digit)) is None:
                raise line.error(line.at - 1, f'"{printable(digit.encode())}" is no pageblock type')
            codes[digit] = code
        zone.pageblocks = np.array([codes[digit] for digit in digits], np.uint8)

    def _free(self, line: Line, zone: ZoneParts) -> None:
        line.key("FREE")
        order = line.value("o", MAX_PAGE_ORDER + 1)
        line.key("m")
        kind = self._migratetype(line, line.expect("a migratetype"))
        if kind is None:
            raise line.error(line.at - 1, f'"{line.words[line.at - 1]}" is no migratetype here')
        if (order, kind) in zone.free:
            raise line.error(0, f"a second list of order {order} and type {int(kind)}")
        zone.free[order, kind] = self._blocks(line, zone, order)

    def _pcp(self, line: Line, zone: ZoneParts) -> None:
        line.key("PCP")
        self.cpu = line.value("cpu", MAX_CPUS)
        if self.cpu in zone.pcp:
            raise line.error(0, f"a second PCP line of cpu {self.cpu}")
        names = ("count", "high", "batch", "free_factor")
        zone.pcp[self.cpu] = line, {name: line.value(name) for name in names}
        zone.pcp_lists[self.cpu] = {}

    def _pcp_list(self, line: Line, zone: ZoneParts) -> None:
        line.key("PCPL")
        index = line.value("idx", self.config.get("NR_PCP_LISTS", NR_PCP_LISTS))
        if self.cpu < 0:
            raise line.error(0, "PCPL before the PCP line that it belongs to")
        if index in zone.pcp_lists[self.cpu]:
            raise line.error(2, f"a second list {index} of cpu {self.cpu}")
        order = index // 3 if index < NR_LOWORDER_PCP_LISTS else PAGEBLOCK_ORDER
        zone.pcp_lists[self.cpu][index] = self._blocks(line, zone, order)

    def _blocks(self, line: Line, zone: ZoneParts, order: int) -> Blocks:
        line.key(":")
        first = line.at
        pfns = line.pfns()
        line.at = len(line.words)
        wrong = (pfns % (1 << order) != 0) | (pfns < zone.start)
        wrong |= pfns.astype(np.int64) + (1 << order) > zone.start + zone.spanned
        if wrong.any():
            i = int(np.argmax(wrong))
            raise line.error(
                first + i, f"block {pfns[i]:x} of order {order} is not aligned or not in its zone"
            )
        return Blocks(line, order, pfns)


def parse_state(path: Path, file: Readable) -> CaptureState:
    """Parse a whole file (see ``capture.read_state``)."""
    parser = Parser()
    _parse(parser, path, file)
    for name in ("TIME", "TIME_END"):
        if name not in parser.times:
            raise refuse(path, f"has no {name} line: the file is incomplete")
    return _state(parser, path, at_once=True)


def parse_parts(parts: Sequence[tuple[Path, Readable]]) -> CaptureState:
    """Parse a state that stands in files which were not read at one instant: lists count."""
    parser = Parser()
    for path, file in parts:
        _parse(parser, path, file)
    parser.times = {"TIME": 0, "TIME_END": 0, **parser.times}
    return _state(parser, parts[0][0].parent, at_once=False)


def _parse(parser: Parser, path: Path, file: Readable) -> None:
    raw = file.read(MAX_STATE_BYTES + 1)
    if len(raw) > MAX_STATE_BYTES:
        raise refuse(path, "is larger than 256 MiB: this is no state of a capture")
    if not raw.strip():
        raise refuse(path, "the file is empty, a state was expected")
    for number, text in enumerate(raw.decode("latin-1").split("\n"), 1):
        if words := text.split():
            parser.read(Line(path, number, text, words))


def _state(parser: Parser, path: Path, at_once: bool) -> CaptureState:
    if not parser.config or not parser.zones:
        missing = "ZONE" if parser.config else "group_by_mobility_disabled"
        raise refuse(path, f"has no {missing} line")
    if parser.times["TIME_END"] < parser.times["TIME"]:
        raise refuse(path, "TIME_END is before TIME")
    return CaptureState(
        time_ns=parser.times["TIME"],
        time_end_ns=parser.times["TIME_END"],
        zones=tuple(_finish(parser.zones[key], at_once) for key in sorted(parser.zones)),
        group_by_mobility_disabled=bool(parser.config["group_by_mobility_disabled"]),
        pageblock_order=parser.config["pageblock_order"],
        nr_pcp_lists=parser.config["NR_PCP_LISTS"],
        migrate_types=parser.config["MIGRATE_TYPES"],
    )


def _finish(zone: ZoneParts, at_once: bool) -> CaptureZone:
    """Check the lists of a zone against each other and, if read at once, its counts."""
    if zone.pageblocks is None:
        raise zone.line.error(0, "this zone has no PB line")
    if not zone.pcp:
        raise zone.line.error(0, "this zone has no PCP line")
    _check_blocks(zone, zone.pageblocks)
    listed = _pages(zone.free.values())
    if not at_once:
        zone.counts["free"] = listed
    if abs(listed - zone.counts["free"]) > VMSTAT_THRESHOLD * max(1, len(zone.pcp)):
        raise zone.line.error(
            zone.line.words.index("free"),
            f"free is {zone.counts['free']}, but the free lists hold {listed} pages",
        )
    for cpu, (line, numbers) in zone.pcp.items():
        held = _pages(zone.pcp_lists[cpu].values())
        if held != numbers["count"]:
            raise line.error(3, f"count is {numbers['count']}, but the lists hold {held} pages")
    return CaptureZone(
        node=zone.node,
        zone_type=zone.zone_type,
        start_pfn=zone.start,
        spanned=zone.spanned,
        present=zone.present,
        managed=zone.managed,
        wmark_min=zone.counts["min"],
        wmark_low=zone.counts["low"],
        wmark_high=zone.counts["high"],
        watermark_boost=zone.counts["boost"],
        nr_reserved_highatomic=zone.counts["highatomic"],
        nr_isolate_pageblock=zone.counts["isolated_pb"],
        nr_free_pages=zone.counts["free"],
        lowmem_reserve=zone.lowmem_reserve,
        pageblocks=zone.pageblocks,
        free={key: zone.free[key].pfns for key in sorted(zone.free) if len(zone.free[key].pfns)},
        pcp=tuple(_pcp(zone, cpu) for cpu in sorted(zone.pcp)),
        compaction=zone.compaction,
    )


def _pcp(zone: ZoneParts, cpu: int) -> CapturePcp:
    lists = {index: blocks.pfns for index, blocks in sorted(zone.pcp_lists[cpu].items())}
    return CapturePcp(cpu=cpu, **zone.pcp[cpu][1], lists={i: p for i, p in lists.items() if len(p)})


def _pages(lists: Iterable[Blocks]) -> int:
    return sum(len(blocks.pfns) << blocks.order for blocks in lists)


def _check_blocks(zone: ZoneParts, pageblocks: NDArray[np.uint8]) -> None:
    """Insist that blocks are disjoint and lie where the zone has memory."""
    lists = [blocks for blocks in zone.blocks if len(blocks.pfns)]
    if not lists:
        return
    start = np.concatenate([blocks.pfns for blocks in lists]).astype(np.int64)
    size = np.concatenate([np.full(len(b.pfns), 1 << b.order, np.int64) for b in lists])
    place = [(blocks, i) for blocks in lists for i in range(len(blocks.pfns))]
    by_start = np.argsort(start, kind="stable")
    overlap = start[by_start][1:] < (start + size)[by_start][:-1]
    first = zone.start // PAGEBLOCK_NR_PAGES
    absent = pageblocks >= PAGEBLOCK_HOLE
    outside = absent[start // PAGEBLOCK_NR_PAGES - first]
    outside |= absent[(start + size - 1) // PAGEBLOCK_NR_PAGES - first]
    for wrong, message in (
        (by_start[1:][overlap], "overlaps another free block"),
        (np.flatnonzero(outside), "lies in a hole or in another zone"),
    ):
        if len(wrong):
            blocks, i = place[int(wrong.min())]
            word = len(blocks.line.words) - len(blocks.pfns) + i
            raise blocks.line.error(word, f"block {blocks.pfns[i]:x} {message}")
