"""Rows of a text trace gathered into a TraceTable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import Migratetype
from memsim.traces import DTYPES, Accounting, TraceEvent, TraceTable
from memsim.traces._files import printable, refuse

NO_EVENT = 255
MAX_TEXTS = 32767
MAX_EXAMPLES = 5
OLD_NUMBERS = np.array(
    [
        Migratetype.UNMOVABLE,
        Migratetype.RECLAIMABLE,
        Migratetype.MOVABLE,
        Migratetype.HIGHATOMIC,
        Migratetype.ISOLATE,
        Migratetype.ISOLATE,
    ],
    np.int8,
)
"""Migratetypes as numbered before 4.4; MIGRATE_RESERVE, since removed, counts as HighAtomic."""

Columns = dict[str, NDArray[np.integer]]


def blank_columns(size: int) -> Columns:
    """Return rows that hold no event."""
    filler = {"time": 0, "event": NO_EVENT, "cpu": 0}
    columns: Columns = {n: np.full(size, filler.get(n, -1), t) for n, t in DTYPES.items()}
    return columns


@dataclass
class TableBuilder:
    """A trace table under construction, with the account of every line."""

    path: Path
    total: int = 0
    parsed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    lost_lines: int = 0
    lost_in_header: int = 0
    gfp: dict[bytes, int] = field(default_factory=dict)
    markers: dict[bytes, int] = field(default_factory=dict)
    pieces: list[Columns] = field(default_factory=list)

    def text_row(self, texts: dict[bytes, int], text: bytes) -> int:
        """Return the row of a text, new or known."""
        row = texts.setdefault(text, len(texts))
        if row > MAX_TEXTS:
            raise refuse(self.path, f"more than {MAX_TEXTS} different gfp_flags or markers")
        return row

    def not_understood(self, line: int, text: bytes) -> None:
        """Count a line that fits no rule, and keep the first few."""
        self.unknown += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{line}: {printable(text)}")

    def add(self, columns: Columns) -> None:
        """Append the rows that hold an event, in the order of the file."""
        keep = columns["event"] != NO_EVENT
        self.parsed += int(np.count_nonzero(keep))
        self.pieces.append({name: values[keep] for name, values in columns.items()})

    def finish(self, *, numbering: str = "") -> TraceTable:
        """Sort by time (stable), bring migratetypes to memsim's numbers, and close the account."""
        if not self.parsed:
            first = f"; first unknown line {self.examples[0]}" if self.examples else ""
            raise refuse(self.path, f"no event that memsim reads in {self.total} lines{first}")
        columns = {
            name: np.concatenate([piece[name] for piece in self.pieces]).astype(dtype, copy=False)
            for name, dtype in DTYPES.items()
        }
        self.pieces.clear()
        if np.any(np.diff(columns["time"]) < 0):
            by_time = np.argsort(columns["time"], kind="stable")
            columns = {name: values[by_time] for name, values in columns.items()}
        if (numbering or self._numbering(columns)) == "old":
            for name in ("migratetype", "fallback_migratetype"):
                known = columns[name] >= 0
                columns[name][known] = OLD_NUMBERS[columns[name][known]]
        return TraceTable(
            **columns,
            gfp_texts=tuple(printable(text, len(text)) for text in self.gfp),
            marker_texts=tuple(printable(text, len(text)) for text in self.markers),
            accounting=Accounting(
                total=self.total,
                parsed=self.parsed,
                skipped=dict(sorted(self.skipped.items())),
                unknown=self.unknown,
                unknown_examples=tuple(self.examples),
                lost_events=max(self.lost_lines, self.lost_in_header),
            ),
        )

    def _numbering(self, columns: Mapping[str, NDArray[np.integer]]) -> str:
        """Tell the numbering of migratetypes by user pages, which are movable in every kernel."""
        user = [
            row for text, row in self.gfp.items() if b"GFP_HIGHUSER_MOVABLE" in text.split(b"|")
        ]
        movable = (columns["event"] == TraceEvent.MM_PAGE_ALLOC) & np.isin(columns["gfp"], user)
        seen = np.bincount(columns["migratetype"][movable].clip(0), minlength=3)
        return "old" if seen[2] > seen[1] else "new"
