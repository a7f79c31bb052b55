"""A capture folder: a trace between two ordered snapshots of the free lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import Migratetype, ZoneType
from memsim.traces import TraceTable, read_trace
from memsim.traces._files import open_bytes, printable, refuse

PAGEBLOCK_HOLE = 0xFE
"""In ``CaptureZone.pageblocks``: no memory there."""
PAGEBLOCK_OTHER_ZONE = 0xFF
"""In ``CaptureZone.pageblocks``: memory of another zone."""

STATE_NAMES = ("state.txt.gz", "state.txt")
TRACE_NAMES = ("trace.parquet", "trace.txt.gz", "trace.txt.zst", "trace.txt")
MAX_SOURCE_BYTES = 64 << 10


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


@dataclass(frozen=True)
class Capture:
    """What ``read_capture`` finds in a folder."""

    name: str
    path: Path
    start: CaptureState
    end: CaptureState | None
    trace: TraceTable
    source: str
    """Text of the file SOURCE, empty if there is none."""


def sniff(head: bytes) -> bool:
    """Recognise the state of a capture: a file of the folder that is to be read."""
    return head.startswith(b"TIME ")


def read(path: Path) -> TraceTable:
    """Read the trace of a capture folder."""
    if path.is_file():
        raise refuse(path, "is one state of a capture", hint="give the capture's folder")
    return read_capture(path).trace


def read_state(path: Path) -> CaptureState:
    """Read one ``state.txt``, plain or gzip (kernel-data, Files).

    Raises InputError, with line and column, for lines that do not fit, blocks that are not
    aligned, lie outside of their zone or are listed twice, and counts that contradict the lists.
    """
    from memsim.traces._state import parse_state

    with open_bytes(path) as file:
        return parse_state(path, file)


def read_capture(folder: Path) -> Capture:
    """Read start state, end state if there is one, and trace of a capture folder."""
    if not folder.is_dir():
        raise refuse(folder, "no such capture folder" if not folder.exists() else "is no folder")
    start = find_state(folder, "start")
    if start is None:
        raise refuse(
            folder, "is no capture: it has no start/state.txt", hint=f"expected {_layout()}"
        )
    trace = find_trace(folder)
    if trace is None:
        raise refuse(folder, "is no capture: it has no trace", hint=f"expected {_layout()}")
    state = read_state(start)
    end = find_state(folder, "end")
    return Capture(
        name=folder.resolve().name,
        path=folder,
        start=state,
        end=read_state(end) if end else None,
        trace=name_isolate(read_trace(trace), state),
        source=_source(folder / "SOURCE"),
    )


def find_state(folder: Path, which: str) -> Path | None:
    """Return the file of the ``start`` or ``end`` state."""
    return _first(folder / which, STATE_NAMES)


def find_trace(folder: Path) -> Path | None:
    """Return the file of the trace."""
    return _first(folder, TRACE_NAMES)


def name_isolate(trace: TraceTable, state: CaptureState) -> TraceTable:
    """Call type 4 what it is in this kernel: Isolate where CMA is not built in."""
    if state.migrate_types > Migratetype.CMA + 1:
        return trace
    return replace(
        trace,
        migratetype=_isolate(trace.migratetype),
        fallback_migratetype=_isolate(trace.fallback_migratetype),
    )


def _isolate(types: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.where(types == Migratetype.CMA, np.int8(Migratetype.ISOLATE), types)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _layout() -> str:
    return f"start/state.txt[.gz] and one of {', '.join(TRACE_NAMES)}; end/state.txt[.gz] if known"


def _source(path: Path) -> str:
    if not path.is_file():
        return ""
    with open_bytes(path) as file:
        lines = file.read(MAX_SOURCE_BYTES).splitlines()
    return "\n".join(printable(line, MAX_SOURCE_BYTES) for line in lines)
