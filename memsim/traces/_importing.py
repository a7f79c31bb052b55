"""What ``memsim import`` does: bring a trace or a capture folder into memsim's own form."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.errors import suggest
from memsim.scenario.content import digest_path
from memsim.traces import DTYPES, Accounting, TraceEvent, TraceTable, read_trace
from memsim.traces._compaction_file import write_compaction
from memsim.traces._files import open_bytes, printable, refuse, write_atomically
from memsim.traces.capture import (
    COMPACTION_NAME,
    STATE_NAMES,
    CaptureState,
    CompactionTable,
    find_state,
    find_trace,
    name_isolate,
    read_capture,
)
from memsim.traces.parquet import write_parquet

REQUESTS = (TraceEvent.MM_PAGE_ALLOC, TraceEvent.MM_PAGE_FREE, TraceEvent.MM_PAGE_FREE_BATCHED)


@dataclass(frozen=True)
class Cut:
    """What of a trace is wanted."""

    until: tuple[str, ...] = ()
    """Markers or seconds of the trace clock: nothing after the first of them."""
    requests_only: bool = False
    """Only what the kernel was asked: allocations and frees."""


def import_trace(source: Path, out: Path, cut: Cut, *, force: bool) -> Accounting:
    """Read one trace file and write its imported form."""
    _refuse_existing(out, force=force)
    trace = _cut(source, read_trace(source), cut)
    write_parquet(trace, out)
    return trace.accounting


def import_capture(
    folder: Path, out: Path, cut: Cut, *, notes: Sequence[str] = (), force: bool
) -> Accounting:
    """Read a capture folder and write another: states as gzip, trace as Parquet, SOURCE.

    Events outside of the two snapshots are dropped, but for markers. A cut capture gets no end
    state, for there is nothing that it could be compared with.
    """
    _refuse_existing(out, force=force)
    capture = read_capture(folder)
    trace = _window(capture.trace, capture.start, capture.end)
    cut_trace = _cut(folder, trace, cut)
    complete = capture.end is not None and len(cut_trace) == len(trace)
    source = [*capture.source.splitlines(), *notes, *_provenance(folder, cut, complete=complete)]
    with _staging(out) as staging:
        write_parquet(name_isolate(cut_trace, capture.start), staging / "trace.parquet")
        if len(capture.compaction.time):
            moves = _compaction_of(capture.compaction, cut_trace)
            write_compaction(moves, staging / COMPACTION_NAME)
        for which in ("start", "end") if complete else ("start",):
            _copy_state(folder, staging, which)
        write_atomically(staging / "SOURCE", "\n".join([*source, ""]).encode())
        _publish(staging, out)
    return cut_trace.accounting


def _refuse_existing(out: Path, *, force: bool) -> None:
    if out.exists() and not force:
        raise refuse(out, "exists already", hint="--force replaces it")
    if not out.parent.is_dir():
        raise refuse(out, f"cannot be written: there is no folder {out.parent}")


def _window(trace: TraceTable, start: CaptureState, end: CaptureState | None) -> TraceTable:
    keep = trace.time >= start.time_ns
    if end is not None:
        keep &= trace.time <= end.time_end_ns
    return _select(trace, keep | (trace.event == TraceEvent.MARKER), "outside of the snapshots")


def _compaction_of(table: CompactionTable, trace: TraceTable) -> CompactionTable:
    """Keep the compaction events of the time that a cut trace covers."""
    first, last = (int(trace.time[0]), int(trace.time[-1]))
    keep = (table.time >= first) & (table.time <= last)
    return CompactionTable._make(column[keep] for column in table)


def _cut(path: Path, trace: TraceTable, cut: Cut) -> TraceTable:
    if cut.until:
        last = min(_instant(path, trace, until) for until in cut.until)
        trace = _select(trace, trace.time <= last, "after --until")
    if cut.requests_only:
        wanted = np.isin(trace.event, [*REQUESTS, TraceEvent.MARKER])
        trace = _select(trace, wanted, "no request")
    if not len(trace):
        raise refuse(path, "nothing is left of the trace")
    return trace


def _instant(path: Path, trace: TraceTable, until: str) -> int:
    """Return the trace time of a marker or of seconds written as text."""
    if until in trace.marker_texts:
        row = trace.marker_texts.index(until)
        return int(trace.time[trace.marker == row][0])
    try:
        seconds = float(until)
    except ValueError:
        seconds = np.nan
    if not 0 <= seconds < 1e9:
        raise refuse(
            path,
            f'--until "{printable(until.encode())}" is neither a marker of the trace nor seconds',
            hint=suggest(until, trace.marker_texts),
        )
    return round(seconds * 1e9)


def _select(trace: TraceTable, keep: NDArray[np.bool_], rule: str) -> TraceTable:
    """Keep some rows; the others are skipped by a rule of this name."""
    dropped = len(trace) - int(np.count_nonzero(keep))
    if not dropped:
        return trace
    account = trace.accounting
    skipped = {**account.skipped, rule: account.skipped.get(rule, 0) + dropped}
    return replace(
        trace,
        **{name: getattr(trace, name)[keep] for name in DTYPES},
        accounting=replace(account, parsed=account.parsed - dropped, skipped=skipped),
    )


def _provenance(folder: Path, cut: Cut, *, complete: bool) -> list[str]:
    files = [find_trace(folder), find_state(folder, "start")]
    if complete:
        files.append(find_state(folder, "end"))
    lines = [
        f"imported from {path.relative_to(folder).as_posix()} sha256 {digest_path(path)}"
        for path in files
        if path
    ]
    if cut.until:
        lines.append(f"cut at {' or '.join(printable(until.encode()) for until in cut.until)}")
    if cut.requests_only:
        lines.append("requests only: allocations and frees")
    if complete:
        return [*lines, "complete from start to end state"]
    return [*lines, "no end state: nothing to compare the end of a replay with"]


class _staging:
    """A folder beside ``out`` that is gone afterwards, unless it became ``out``."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> Path:
        try:
            name = tempfile.mkdtemp(prefix=f".{self.out.name}.", dir=self.out.parent)
        except OSError as error:
            raise refuse(self.out, f"cannot be written: {error.strerror}") from error
        self.path = Path(name)
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _copy_state(folder: Path, staging: Path, which: str) -> None:
    path = find_state(folder, which)
    assert path is not None
    with open_bytes(path) as file:
        data = file.read(-1)
    (staging / which).mkdir()
    write_atomically(staging / which / "state.txt.gz", gzip.compress(data, 9, mtime=0))


def _publish(staging: Path, out: Path) -> None:
    """Put the new files in their place: the whole folder at once where there was none."""
    try:
        if not out.exists():
            staging.chmod(0o755)
            staging.rename(out)
            return
        for stale in (
            *(out / "start" / n for n in STATE_NAMES),
            *(out / "end" / n for n in STATE_NAMES),
            out / COMPACTION_NAME,
        ):
            if not (staging / stale.relative_to(out)).exists():
                stale.unlink(missing_ok=True)
        for new in sorted(path for path in staging.rglob("*") if path.is_file()):
            place = out / new.relative_to(staging)
            place.parent.mkdir(exist_ok=True)
            os.replace(new, place)
    except OSError as error:
        raise refuse(out, f"cannot be written: {error.strerror}") from error
