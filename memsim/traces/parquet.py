"""The imported form of a trace: one Parquet file that ``memsim import`` writes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MAX_PAGE_ORDER, MAX_PFN, MIGRATE_TYPES
from memsim.traces import DTYPES, Accounting, TraceEvent, TraceTable
from memsim.traces._builder import MAX_TEXTS
from memsim.traces._files import refuse, write_atomically

SCHEMA_VERSION = 1
METADATA_KEY = b"memsim.trace"
_DAMAGED = (ValueError, TypeError, LookupError)
"""What pyarrow lets escape, besides its own errors, over a damaged footer."""
MAX_ROWS = 1 << 31
MAX_NS = 1 << 62
USEC = 1000
TIME_COLUMN = "time_step"
"""Time since the row before (the first: since ``time_base``), in units of ``time_unit_ns``."""
STORED: dict[str, type[np.integer]] = {
    TIME_COLUMN: np.int64,
    **{name: dtype for name, dtype in DTYPES.items() if name != "time"},
    "pfn": np.int32,
}
SPLIT_COLUMNS = (TIME_COLUMN, "pfn", "gfp")
"""Columns whose bytes are stored by significance; that halves what zstd makes of them."""


def sniff(head: bytes) -> bool:
    """Recognise Parquet."""
    return head.startswith(b"PAR1")


def write_parquet(trace: TraceTable, path: Path) -> None:
    """Write a trace; the same trace gives the same bytes, and the file appears at once or not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    unit = USEC if not np.any(trace.time % USEC) else 1
    base = int(trace.time[0]) if len(trace) else 0
    steps = np.diff(trace.time, prepend=base) // unit
    columns = {
        name: steps if name == TIME_COLUMN else getattr(trace, name).astype(dtype)
        for name, dtype in STORED.items()
    }
    metadata = {
        "schema": SCHEMA_VERSION,
        "time_base_ns": base,
        "time_unit_ns": unit,
        "gfp_texts": trace.gfp_texts,
        "marker_texts": trace.marker_texts,
        "accounting": asdict(trace.accounting),
    }
    text = json.dumps(metadata, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: text})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=1 << 20,
        data_page_size=64 << 20,
        use_dictionary=False,
        column_encoding={
            name: "BYTE_STREAM_SPLIT" if name in SPLIT_COLUMNS else "PLAIN" for name in STORED
        },
        compression="zstd",
        compression_level=15,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=True,
    )
    write_atomically(path, buffer.getvalue())


def read(path: Path) -> TraceTable:
    """Read back exactly what ``write_parquet`` was given.

    Raises InputError for other Parquet files, other schema versions and damaged data.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            raw = (file.schema_arrow.metadata or {}).get(METADATA_KEY)
            metadata = _metadata(path, raw)
            expected = {name: np.dtype(dtype).name for name, dtype in STORED.items()}
            if {field.name: str(field.type) for field in file.schema_arrow} != expected:
                raise refuse(path, "has other columns than an imported trace")
            if file.metadata.num_rows > MAX_ROWS:
                raise refuse(path, f"has more than {MAX_ROWS} rows")
            table = file.read(use_threads=False)
        if any(column.null_count for column in table.columns):
            raise refuse(path, "has missing values")
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
    except FileNotFoundError as error:
        raise refuse(path, "no such file") from error
    except (pa.ArrowException, OSError, MemoryError, ArithmeticError, *_DAMAGED) as error:
        raise refuse(path, "damaged Parquet data") from error
    return _table(path, columns, metadata)


def _metadata(path: Path, raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        raise refuse(path, "is a Parquet file, but no trace written by memsim import")
    try:
        metadata = json.loads(raw)
    except ValueError as error:
        raise refuse(path, "damaged metadata") from error
    version = metadata.get("schema") if isinstance(metadata, dict) else None
    if version != SCHEMA_VERSION:
        raise refuse(
            path,
            f"has schema version {version}, this memsim reads {SCHEMA_VERSION}",
            hint="import the trace again with this memsim",
        )
    return dict(metadata)


def _table(
    path: Path, columns: Mapping[str, NDArray[np.integer]], metadata: Mapping[str, Any]
) -> TraceTable:
    """Check every value against its range and put the table together."""
    try:
        gfp_texts, marker_texts = (
            tuple(_text(t) for t in metadata[k]) for k in ("gfp_texts", "marker_texts")
        )
        accounting = _accounting(metadata["accounting"])
        base, unit = (_count(metadata[key]) for key in ("time_base_ns", "time_unit_ns"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refuse(path, "damaged metadata") from error
    limits = {
        TIME_COLUMN: (0, MAX_NS // USEC),
        "event": (0, len(TraceEvent)),
        "pfn": (-1, MAX_PFN),
        "order": (-1, MAX_PAGE_ORDER + 1),
        "migratetype": (-1, MIGRATE_TYPES),
        "gfp": (-1, min(len(gfp_texts), MAX_TEXTS + 1)),
        "fallback_order": (-1, MAX_PAGE_ORDER + 1),
        "fallback_migratetype": (-1, MIGRATE_TYPES),
        "change_ownership": (-1, 2),
        "percpu_refill": (-1, 2),
        "marker": (-1, min(len(marker_texts), MAX_TEXTS + 1)),
    }
    for name, (low, high) in limits.items():
        values = columns[name]
        if len(values) and not (low <= values.min() and values.max() < high):
            raise refuse(path, f"damaged data: {name} out of range")
    steps = columns[TIME_COLUMN]
    span = float(steps.sum(dtype=np.float64)) * unit
    if unit not in (1, USEC) or base + span >= MAX_NS or accounting.parsed != len(steps):
        raise refuse(path, "damaged metadata")
    time = base + np.cumsum(steps, dtype=np.int64) * unit
    rest = {n: columns[n].astype(dtype) for n, dtype in DTYPES.items() if n != "time"}
    return TraceTable(
        time=time, **rest, gfp_texts=gfp_texts, marker_texts=marker_texts, accounting=accounting
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("no printable text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_NS:
        raise ValueError("no count")
    return value


def _accounting(raw: Mapping[str, Any]) -> Accounting:
    accounting = Accounting(
        total=_count(raw["total"]),
        parsed=_count(raw["parsed"]),
        skipped={_text(rule): _count(lines) for rule, lines in raw["skipped"].items()},
        unknown=_count(raw["unknown"]),
        unknown_examples=tuple(_text(line) for line in raw["unknown_examples"]),
        lost_events=_count(raw["lost_events"]),
    )
    counted = accounting.parsed + sum(accounting.skipped.values()) + accounting.unknown
    if counted != accounting.total:
        raise ValueError("lines do not add up")
    return accounting
