"""A capture folder: a trace between two ordered snapshots of the free lists."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import Migratetype
from memsim.traces import TraceTable, read_trace
from memsim.traces._capture_state import (
    PAGEBLOCK_HOLE,
    PAGEBLOCK_OTHER_ZONE,
    CaptureCompaction,
    CapturePcp,
    CaptureState,
    CaptureZone,
)
from memsim.traces._compaction_file import read_compaction_file
from memsim.traces._compaction_text import (
    COMPACTION_RESULTS,
    NO_COMPACTION,
    CompactionEvent,
    CompactionTable,
    read_compaction,
)
from memsim.traces._files import open_bytes, printable, refuse
from memsim.traces._page_flags import read_page_flags
from memsim.traces._state import parse_parts, parse_state

__all__ = [
    "COMPACTION_RESULTS",
    "NO_COMPACTION",
    "PAGEBLOCK_HOLE",
    "PAGEBLOCK_OTHER_ZONE",
    "Capture",
    "CaptureCompaction",
    "CapturePcp",
    "CaptureState",
    "CaptureZone",
    "CompactionEvent",
    "CompactionTable",
    "Snapshot",
    "find_state",
    "find_trace",
    "has_state",
    "name_isolate",
    "read",
    "read_capture",
    "read_snapshot",
    "read_state",
    "sniff",
]

STATE_NAMES = ("state.txt.gz", "state.txt")
PARTS = (
    ("zones.txt", "zones.txt.gz"),
    ("pageblocks.txt", "pageblocks.txt.gz"),
    ("freelists.txt.gz", "freelists.txt"),
)
"""A state in three files, which were not read at one instant."""
FLAGS_NAMES = ("kpageflags.bin.gz", "kpageflags.bin")
COMPACTION_NAME = "compaction.parquet"
TRACE_NAMES = ("trace.parquet", "trace.txt.gz", "trace.txt.zst", "trace.txt")
MAX_SOURCE_BYTES = 64 << 10


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
    compaction: CompactionTable = NO_COMPACTION
    """What compaction did; empty where the capture does not say."""
    pages: NDArray[np.uint64] | None = None
    """What each page is at the start, see Snapshot."""


class Snapshot(NamedTuple):
    """A machine's memory as one folder shows it."""

    state: CaptureState
    pages: NDArray[np.uint64] | None
    """What each page is, from pfn 0 on (KPF_* masks); None where the folder does not say."""


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
    with open_bytes(path) as file:
        return parse_state(path, file)


def has_state(folder: Path) -> bool:
    """Say whether a folder holds a state, in one file or in three."""
    return _first(folder, STATE_NAMES) is not None or all(_first(folder, n) for n in PARTS)


def read_snapshot(folder: Path) -> Snapshot:
    """Read the state of a folder and, where it has them, the flags of all pages.

    The state is ``state.txt``, or else zones.txt, pageblocks.txt and freelists.txt together, which
    have no time. Raises InputError as ``read_state`` does, and for a folder without a state.
    """
    flags = _first(folder, FLAGS_NAMES)
    return Snapshot(_folder_state(folder), read_page_flags(flags) if flags else None)


def _folder_state(folder: Path) -> CaptureState:
    if (path := _first(folder, STATE_NAMES)) is not None:
        return read_state(path)
    parts = [path for names in PARTS if (path := _first(folder, names)) is not None]
    if len(parts) < len(PARTS):
        hint = "expected state.txt, or zones.txt, pageblocks.txt and freelists.txt"
        raise refuse(folder, "holds no state of the free lists", hint=hint)
    with ExitStack() as stack:
        return parse_parts([(path, stack.enter_context(open_bytes(path))) for path in parts])


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
    flags = _first(start.parent, FLAGS_NAMES)
    return Capture(
        name=folder.resolve().name,
        path=folder,
        start=state,
        end=read_state(end) if end else None,
        trace=name_isolate(read_trace(trace), state),
        source=_source(folder / "SOURCE"),
        compaction=_compaction(folder, trace),
        pages=read_page_flags(flags) if flags else None,
    )


def _compaction(folder: Path, trace: Path) -> CompactionTable:
    """Read the compaction events, from the text of the trace where they were not imported."""
    imported = folder / COMPACTION_NAME
    if imported.is_file():
        return read_compaction_file(imported)
    return NO_COMPACTION if trace.suffix == ".parquet" else read_compaction(trace)


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
