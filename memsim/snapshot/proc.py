"""Parse buddyinfo, pagetypeinfo, zoneinfo and the lists of counters (spec linux-mm 11.4-11.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import (
    MAX_NR_ZONES,
    MAX_PFN,
    MIGRATE_TYPES,
    MIGRATETYPE_NAMES,
    NR_PAGE_ORDERS,
    ZONE_NAMES,
    Migratetype,
)
from memsim.traces._files import printable, refuse
from memsim.traces._state import MAX_CPUS, MAX_NODES

Lines = tuple[Path, list[str]]
Key = tuple[int, str]
"""Node, and name of the zone."""
CAPPED = -1
"""A count that pagetypeinfo has cut off: ``>100000``."""
TYPES = dict(zip(MIGRATETYPE_NAMES, Migratetype, strict=True))
_ZONE = re.compile(r"Node\s+(\d{1,4}), zone\s+(\w{1,16})(?:, type\s+(\w{1,16}))?(.*)")
_COUNT = re.compile(r"(>?)(\d{1,12})")
_PROTECTION = re.compile(r"protection: \(([\d, ]+)\)")
FIELDS = ("free", "boost", "min", "low", "high", "spanned", "present", "managed")


@dataclass
class PcpCounts:
    """The per-CPU lists of one CPU, pages."""

    cpu: int
    count: int = 0
    high: int = 0
    batch: int = 0


@dataclass
class ZoneText:
    """What zoneinfo says of a zone, as it is printed: marks with the boost, pages."""

    node: int
    name: str
    line: int
    values: dict[str, int] = field(default_factory=dict)
    """FIELDS, start_pfn, and the zone's counters by their names."""
    protection: tuple[int, ...] = ()
    pcps: list[PcpCounts] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """By what the zone is found."""
        return self.node, self.name


def _zone_line(path: Path, number: int, text: str) -> tuple[Key, str, list[str]] | None:
    """Take a line ``Node N, zone NAME[, type T] ...`` apart; None for any other."""
    found = _ZONE.match(text)
    if found is None:
        return None
    node, name, kind, rest = found.groups()
    if int(node) > MAX_NODES or name not in (*ZONE_NAMES, "Device"):
        what = f'found node {node}, zone "{printable(name.encode())}"'
        raise refuse(path, f"{what}, memsim knows {', '.join(ZONE_NAMES)}", line=number)
    return (int(node), name), kind or "", rest.split()


def _counts(path: Path, number: int, words: list[str], wanted: int, what: str) -> list[int]:
    """Read so many counts, of which some may be cut off."""
    if len(words) != wanted:
        message = f"found {len(words)} {what}, expected {wanted}"
        hint = "the copy is truncated" if len(words) < wanted else ""
        raise refuse(path, message, line=number, hint=hint)
    counts = []
    for word in words:
        found = _COUNT.fullmatch(word)
        if found is None or int(found[2]) > MAX_PFN:
            shown = printable(word.encode())
            raise refuse(path, f'found "{shown}", expected a number of blocks', line=number)
        counts.append(CAPPED if found[1] else int(found[2]))
    return counts


def parse_buddyinfo(lines: Lines) -> dict[Key, NDArray[np.int64]]:
    """Return the free blocks of each zone by order, (11,)."""
    path, texts = lines
    zones: dict[Key, NDArray[np.int64]] = {}
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        found = _zone_line(path, number, text)
        if found is None:
            shown = printable(text.encode())
            raise refuse(path, f'found "{shown}", expected Node N, zone NAME', line=number)
        key, _, words = found
        counts = _counts(path, number, words, NR_PAGE_ORDERS, "numbers of free blocks")
        zones[key] = np.array(counts, np.int64)
    return zones


@dataclass
class TypeCounts:
    """What pagetypeinfo says of a zone."""

    free: NDArray[np.int64]
    """(MIGRATE_TYPES, 11) blocks; CAPPED where the kernel stopped to count."""
    blocks: NDArray[np.int64]
    """(MIGRATE_TYPES,) pageblocks."""
    seen: bool = False
    """Both tables have been read."""


def parse_pagetypeinfo(lines: Lines) -> dict[Key, TypeCounts]:
    """Return free blocks by type and order, and pageblocks by type, of each zone.

    Types are read by their names, never by position.
    """
    path, texts = lines
    zones: dict[Key, TypeCounts] = {}
    columns: list[Migratetype] = []
    for number, text in enumerate(texts, 1):
        if text.startswith("Number of blocks type"):
            columns = [_type(path, number, name) for name in text.split()[4:]]
            continue
        if text.startswith("Number of mixed blocks"):
            columns = []
            continue
        found = _zone_line(path, number, text)
        if found is None:
            continue
        key, kind, words = found
        zone = zones.setdefault(key, _no_types())
        if kind:
            counts = _counts(path, number, words, NR_PAGE_ORDERS, "numbers of free blocks")
            zone.free[_type(path, number, kind)] = counts
        elif columns:
            zone.blocks[columns] = _counts(path, number, words, len(columns), "pageblock counts")
            zone.seen = True
    for (node, name), zone in zones.items():
        if not zone.seen:
            message = f"says nothing of the pageblocks of node {node}, zone {name}"
            raise refuse(path, message, hint="the copy is truncated")
    return zones


def _no_types() -> TypeCounts:
    return TypeCounts(
        np.zeros((MIGRATE_TYPES, NR_PAGE_ORDERS), np.int64), np.zeros(MIGRATE_TYPES, np.int64)
    )


def _type(path: Path, number: int, name: str) -> Migratetype:
    if name not in TYPES:
        message = f'"{printable(name.encode())}" is no type of pages, memsim knows '
        raise refuse(path, message + ", ".join(TYPES), line=number)
    return TYPES[name]


def parse_zoneinfo(lines: Lines) -> list[ZoneText]:
    """Return all populated zones, as they are printed."""
    path, texts = lines
    zones: list[ZoneText] = []
    for number, text in enumerate(texts, 1):
        if text.startswith("Node"):
            found = _zone_line(path, number, text)
            if found is None or found[2]:
                raise refuse(path, f'found "{printable(text.encode())}"', line=number)
            zones.append(ZoneText(*found[0], number))
        elif zones:
            _zone_field(path, number, text, zones[-1])
        elif text.strip():
            raise refuse(path, "expected Node N, zone NAME", line=number)
    for zone in zones:
        _complete(path, zone)
    return [zone for zone in zones if zone.values["present"] and zone.values["managed"]]


def _zone_field(path: Path, number: int, text: str, zone: ZoneText) -> None:
    if found := _PROTECTION.search(text):
        zone.protection = tuple(_number(path, number, word) for word in found[1].split(","))
        return
    words = text.replace(":", " ").split()
    if words[:1] == ["pages"]:
        words = words[1:]
    if words[:1] == ["cpu"] and len(words) == 2:
        cpu = _number(path, number, words[1])
        if cpu >= MAX_CPUS:
            raise refuse(path, f"cpu {cpu} is more than memsim can have", line=number)
        zone.pcps.append(PcpCounts(cpu))
    elif zone.pcps and words[:1] in (["count"], ["high"], ["batch"]) and len(words) == 2:
        setattr(zone.pcps[-1], words[0], _number(path, number, words[1]))
    elif len(words) == 2 and words[1].isdecimal():
        zone.values.setdefault(words[0], _number(path, number, words[1]))


def _number(path: Path, number: int, word: str) -> int:
    word = word.strip()
    if not word.isascii() or not word.isdecimal() or len(word) > 18:
        raise refuse(path, f'found "{printable(word.encode())}", expected a number', line=number)
    return int(word)


def _complete(path: Path, zone: ZoneText) -> None:
    """Insist on all that is needed of a zone; an empty one prints no more than its sizes."""
    where = f"node {zone.node}, zone {zone.name}"
    wanted: Iterable[str] = FIELDS
    if zone.values.get("managed", 1):
        wanted = (*FIELDS, "start_pfn")
    lacking = [name for name in wanted if name not in zone.values and name != "boost"]
    if lacking:
        message = f"does not say {', '.join(lacking)} of {where}"
        raise refuse(path, message, line=zone.line, hint="the copy is truncated")
    if zone.values["managed"] and not zone.pcps:
        message = f"has no pagesets of {where}"
        raise refuse(path, message, line=zone.line, hint="the copy is truncated")
    spanned, present, managed = (zone.values[name] for name in ("spanned", "present", "managed"))
    if not spanned >= present >= managed:
        message = f"{where} must have managed <= present <= spanned"
        raise refuse(path, message, line=zone.line)
    if zone.values.get("start_pfn", 0) + spanned > MAX_PFN:
        raise refuse(path, f"{where} ends beyond 8160 GiB", line=zone.line)
    # Unpopulated zones of other kinds stand last, so short lists are completed with zeros.
    zone.protection = (*zone.protection, *[0] * MAX_NR_ZONES)[:MAX_NR_ZONES]


def parse_counters(lines: Lines | None) -> dict[str, int]:
    """Return what vmstat or meminfo lists, ``name value`` or ``name: value kB``; sizes in kB."""
    found = {}
    for text in lines[1] if lines is not None else ():
        words = text.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdecimal() and len(words[1]) <= 18:
            found[words[0]] = int(words[1])
    return found
