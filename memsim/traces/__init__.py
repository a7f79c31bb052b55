"""OUTSIDE FORMATS: one file per trace format that memsim reads.

A trace file defines ``sniff(head: bytes) -> bool`` (does this look like mine? ``head`` is the
first 64 KiB, already decompressed) and ``read(path) -> TraceTable``; its docstring is what
``memsim list traces`` prints. ``read_trace`` picks the format. Every line is accounted for:
parsed + skipped by rule + unknown = total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class TraceEvent(IntEnum):
    """Events that memsim understands; all others are skipped by rule or unknown."""

    MM_PAGE_ALLOC = 0
    MM_PAGE_FREE = 1
    MM_PAGE_FREE_BATCHED = 2
    MM_PAGE_ALLOC_ZONE_LOCKED = 3
    MM_PAGE_PCPU_DRAIN = 4
    MM_PAGE_ALLOC_EXTFRAG = 5
    MARKER = 6
    MM_COMPACTION_BEGIN = 7
    MM_MIGRATE_PAGES = 8


DTYPES: dict[str, type[np.integer]] = {
    "time": np.int64,
    "event": np.uint8,
    "cpu": np.uint16,
    "pfn": np.int64,
    "order": np.int8,
    "migratetype": np.int8,
    "gfp": np.int16,
    "fallback_order": np.int8,
    "fallback_migratetype": np.int8,
    "change_ownership": np.int8,
    "percpu_refill": np.int8,
    "marker": np.int16,
}
"""The columns of a TraceTable; all but the first three are -1 where they do not apply."""
TRIAL_BEGINS = "memsim: the trial begins"
"""The marker before everything else in a trace that memsim wrote."""


@dataclass(frozen=True)
class Accounting:
    """What became of every line of a text trace."""

    total: int = 0
    parsed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Rule (header, blank, name of a known but unused event) -> lines."""
    unknown: int = 0
    unknown_examples: tuple[str, ...] = ()
    """The first few unknown lines, as ``line number: text``."""
    lost_events: int = 0


@dataclass(frozen=True)
class TraceTable:
    """A trace as arrays of length n, in the order of the file sorted by time (stable)."""

    time: NDArray[np.int64]
    """Nanoseconds of the trace clock."""
    event: NDArray[np.uint8]
    """TraceEvent."""
    cpu: NDArray[np.uint16]
    pfn: NDArray[np.int64]
    """-1: a failed allocation, or an event without a page."""
    order: NDArray[np.int8]
    """-1 where the event has none."""
    migratetype: NDArray[np.int8]
    """By mm.Migratetype; -1 where the event has none. Of an extfrag event: alloc_migratetype."""
    gfp: NDArray[np.int16]
    """Row of ``gfp_texts``; -1 where the event has none."""
    fallback_order: NDArray[np.int8]
    """extfrag only, else -1."""
    fallback_migratetype: NDArray[np.int8]
    """extfrag only, else -1."""
    change_ownership: NDArray[np.int8]
    """extfrag only, else -1."""
    percpu_refill: NDArray[np.int8]
    """zone_locked only, else -1."""
    marker: NDArray[np.int16]
    """Row of ``marker_texts`` for MARKER, else -1."""
    gfp_texts: tuple[str, ...]
    marker_texts: tuple[str, ...]
    accounting: Accounting

    def __len__(self) -> int:
        return len(self.time)

    @property
    def begins_ns(self) -> int | None:
        """The instant at which the trial began, None for a trace that memsim did not write."""
        ours = len(self) and self.marker[0] >= 0 and self.marker_texts[self.marker[0]]
        return int(self.time[0]) if ours == TRIAL_BEGINS else None

    def select(self, keep: NDArray[np.bool_]) -> TraceTable:
        """Return the rows that a mask keeps; the line accounting stays that of the whole file."""
        columns = {name: value[keep] for name, value in vars(self).items() if _is_column(value)}
        return replace(self, **columns)

    def line(self, row: int) -> str:
        """Write a row as a person reads it: time in seconds, CPU, event, fields that it has."""
        words = [f"{self.time[row] / 1e9:.6f}", f"[{self.cpu[row]:03}]"]
        if self.marker[row] >= 0:
            return " ".join([*words, self.marker_texts[self.marker[row]]])
        words.append(TraceEvent(self.event[row]).name.lower())
        if self.pfn[row] >= 0:
            words.append(f"pfn={self.pfn[row]:#x}")
        for name in ("order", "migratetype", "fallback_order", "fallback_migratetype"):
            if (value := getattr(self, name)[row]) >= 0:
                words += [f"{name}={value}"]
        if self.gfp[row] >= 0:
            words.append(self.gfp_texts[self.gfp[row]])
        return " ".join(words)


def trace_table(
    columns: Mapping[str, ArrayLike], accounting: Accounting, gfp_texts: Sequence[str] = ("none",)
) -> TraceTable:
    """Make a table, sorted by time, of the columns that a format has; others do not apply.

    Columns are of length n; ``time`` must be there, CPUs not given are 0.
    """
    time = np.asarray(columns["time"], np.int64)
    order = np.argsort(time, kind="stable")
    blank = {"time": time, "cpu": np.zeros(len(time)), **columns}
    filled: dict[str, Any] = {
        name: np.asarray(blank.get(name, np.full(len(time), -1)), dtype)[order]
        for name, dtype in DTYPES.items()
    }
    return TraceTable(**filled, gfp_texts=tuple(gfp_texts), marker_texts=(), accounting=accounting)


def _is_column(value: object) -> bool:
    return isinstance(value, np.ndarray)


def read_trace(path: Path) -> TraceTable:
    """Read a trace of any format that memsim knows, told by its first bytes; or a capture's.

    Formats from outside are asked first.
    Raises InputError for a file of no known format, and for what the format's reader refuses.
    """
    from memsim.plugins import is_outside, offered
    from memsim.traces._files import read_head, refuse
    from memsim.traces._validity import sniffed, table_of

    if path.is_dir():
        from memsim.traces import capture

        return capture.read(path)
    head = read_head(path)
    if not head:
        raise refuse(path, "the file is empty, a trace was expected")
    for name in sorted(offered("traces"), key=lambda name: not is_outside("traces", name)):
        if sniffed(name, head):
            return table_of(name, path)
    known = ", ".join(offered("traces"))
    raise refuse(path, "is no trace that memsim knows", hint=f"formats: {known}")
