"""The compaction events of a text trace: what each run began with, scanned, took and came to.

They stand in a table of their own, because they are rare and have other fields than kmem events.
Source: include/trace/events/compaction.h, 6.1 (spec trace-formats 4).
"""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.traces._files import line_chunks, refuse

COMPACTION_RESULTS = (
    "not_suitable_zone",
    "skipped",
    "deferred",
    "no_suitable_page",
    "continue",
    "complete",
    "partial_skipped",
    "contended",
    "success",
)
"""enum compact_result by the names that traces print."""
USEC = 1000
TASK_BYTES = 24
_IS_KSWAPD = b" kswapd"
MAX_EVENTS = 10_000_000


class CompactionEvent(IntEnum):
    """Kinds of events; what their two pfns and two counts are."""

    BEGIN = 0
    """Migrate and free scanner; the zone's first page and 1 if the run is synchronous."""
    END = 1
    """Migrate and free scanner; the zone's first page and the result (COMPACTION_RESULTS)."""
    ISOLATE_MIGRATEPAGES = 2
    """The range; pages scanned and taken."""
    ISOLATE_FREEPAGES = 3
    """The range; pages scanned and taken."""
    MIGRATEPAGES = 4
    """Nothing; pages moved, and not."""
    FINISHED = 5
    """Nothing; the order and the result."""
    KSWAPD = 6
    """kswapd begins to do something."""
    SLEEP = 7
    """kcompactd goes to sleep."""
    KSWAPD_LAST = 8
    """The last that kswapd does before somebody else does something."""


class CompactionTable(NamedTuple):
    """Events in their order (n of them)."""

    time: NDArray[np.int64]
    """Nanoseconds of the trace clock."""
    event: NDArray[np.uint8]
    daemon: NDArray[np.bool_]
    """kcompactd did it."""
    fields: NDArray[np.int64]
    """(n, 4) two pfns and two counts, see CompactionEvent."""


NO_COMPACTION = CompactionTable(
    np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, bool), np.zeros((0, 4), np.int64)
)
_PREFIX = rb"^ *(\S.*)-\d+ +(?:\( *[\d-]+\) +)?\[\d+\](?: \S+)? +(\d+)\.(\d{6}): mm_compaction_"
_HEX = rb"=0x([0-9a-f]{1,16})"
_SPAN = (
    rb"zone_start" + _HEX + rb" migrate_pfn" + _HEX + rb" free_pfn" + _HEX + rb" zone_end"
    rb"=0x[0-9a-f]{1,16}, mode=(sync|async)"
)
_RANGE = (
    rb"range=\(0x([0-9a-f]{1,16}) ~ 0x([0-9a-f]{1,16})\) nr_scanned=(\d{1,18}) nr_taken=(\d{1,18})"
)
_PATTERNS = (
    (CompactionEvent.BEGIN, rb"begin: " + _SPAN),
    (CompactionEvent.END, rb"end: " + _SPAN + rb" status=(\w+)"),
    (CompactionEvent.ISOLATE_MIGRATEPAGES, rb"isolate_migratepages: " + _RANGE),
    (CompactionEvent.ISOLATE_FREEPAGES, rb"isolate_freepages: " + _RANGE),
    (CompactionEvent.MIGRATEPAGES, rb"migratepages: nr_migrated=(\d{1,18}) nr_failed=(\d{1,18})"),
    (CompactionEvent.FINISHED, rb"finished: node=\d+ zone=\w+ +order=(-?\d{1,2}) ret=(\w+)"),
)
_KSWAPD = re.compile(rb"^ *kswapd\d+-\d+ .*? (\d+)\.(\d{6}): ")
_SLEEP = re.compile(rb"^ *kcompactd\d+-\d+ .* (\d+)\.(\d{6}): mm_compaction_kcompactd_sleep: ")
_LINES = tuple((event, re.compile(_PREFIX + body + rb"\s*$")) for event, body in _PATTERNS)


def read_compaction(path: Path) -> CompactionTable:
    """Read the events of a trace of ftrace in text; lines of other events are passed over.

    Raises InputError for a file that cannot be read.
    """
    rows: list[tuple[int, ...]] = []
    for chunk in line_chunks(path):
        lines = chunk.split(b"\n")
        if _IS_KSWAPD in chunk:
            rows += _turns_of_kswapd(lines)
        if b"mm_compaction_" in chunk:
            moves = (line for line in lines if b": mm_compaction_" in line)
            rows += [row for line in moves if (row := _row(line)) is not None]
        if len(rows) > MAX_EVENTS:
            raise refuse(path, f"has more than {MAX_EVENTS} compaction events")
    table = np.array(rows, np.int64).reshape(-1, 7)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return CompactionTable(
        time=table[:, 0],
        event=table[:, 1].astype(np.uint8),
        daemon=table[:, 2] != 0,
        fields=table[:, 3:],
    )


def _row(line: bytes) -> tuple[int, ...] | None:
    for event, pattern in _LINES:
        if found := pattern.match(line):
            task, seconds, fraction, *values = found.groups()
            time = (int(seconds) * 10**6 + int(fraction)) * USEC
            daemon = task.strip().startswith(b"kcompactd")
            return time, int(event), int(daemon), *_fields(event, values)
    if found := _SLEEP.match(line):
        return _time(found), int(CompactionEvent.SLEEP), 1, 0, 0, 0, 0
    return None


def _time(found: re.Match[bytes]) -> int:
    return (int(found[1]) * 10**6 + int(found[2])) * USEC


def _turns_of_kswapd(lines: list[bytes]) -> list[tuple[int, ...]]:
    """Return the first and the last thing that kswapd did each time it did something."""
    rows: list[tuple[int, ...]] = []
    mine = [i for i, line in enumerate(lines) if _IS_KSWAPD in line[:TASK_BYTES]]
    own = set(mine)
    for i in mine:
        if found := _KSWAPD.match(lines[i]):
            if i - 1 not in own:
                rows.append((_time(found), int(CompactionEvent.KSWAPD), 0, 0, 0, 0, 0))
            if i + 1 not in own:
                rows.append((_time(found), int(CompactionEvent.KSWAPD_LAST), 0, 0, 0, 0, 0))
    return rows


def _fields(event: CompactionEvent, values: list[bytes]) -> tuple[int, int, int, int]:
    if event in (CompactionEvent.BEGIN, CompactionEvent.END):
        zone, migrate, free = (int(v, 16) for v in values[:3])
        last = values[3] == b"sync" if event == CompactionEvent.BEGIN else _result(values[4])
        return migrate, free, zone, int(last)
    if event == CompactionEvent.MIGRATEPAGES:
        return 0, 0, int(values[0]), int(values[1])
    if event == CompactionEvent.FINISHED:
        return 0, 0, int(values[0]), _result(values[1])
    return int(values[0], 16), int(values[1], 16), int(values[2]), int(values[3])


def _result(text: bytes) -> int:
    name = text.decode("ascii", "replace")
    return COMPACTION_RESULTS.index(name) if name in COMPACTION_RESULTS else -1
