"""What a run's tables hold: declared columns, rows in trial order, and their bytes.

The same results give the same bytes: no time of day, no host, nothing that depends on the order in
which trials finished.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memsim import plugins
from memsim.errors import visible
from memsim.scenario import Trial
from memsim.schema import Column
from memsim.simulate import TrialResult
from memsim.simulate.probes import FAILURES

Value = int | float | str | None
Finished = Sequence[tuple[Trial, TrialResult]]

POLICY = Column("policy", "", "name of the policy under trial", dtype="str")
SEED = Column("seed", "", "seed of the trial's random numbers")
STATUS = (
    Column("status", "", "ok or failed", dtype="str"),
    Column("error", "", "why the trial failed", dtype="str"),
)
TIME = Column("time_ns", "ns", "simulated time")
ZONE = Column("zone", "", "node and zone; empty: none, or the whole machine", dtype="str")
HIGH_ORDER = (
    Column("phase", "", "workload or event that asked", dtype="str"),
    TIME,
    ZONE,
    Column("order", "", "order of the blocks"),
    Column("gfp", "", "flags of the requests", dtype="str"),
    Column("attempted", "1", "attempts", better="neither"),
    Column("succeeded", "1", "attempts that got a block", better="higher"),
    *(
        Column(f"why_not_{status.name.lower()}", "1", "attempts that failed so", better="lower")
        for status in FAILURES
    ),
)
VMSTAT = (
    ZONE,
    Column("counter", "", "name as in /proc/vmstat, or memsim's own", dtype="str"),
    Column("value", "1", "its value at the end"),
)
TIMELINE = (
    TIME,
    ZONE,
    Column("nr_free_pages", "pages", "free pages, per-CPU lists aside", better="higher"),
    Column("free_blocks_order_9_up", "blocks", "order-9 blocks in free blocks of order >= 9"),
)
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Table:
    """Rows under declared columns; None is a blank."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def to_csv(self) -> bytes:
        """Write the table as CSV; text is escaped so that no program takes it for a formula."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([csv_text(column.name) for column in self.columns])
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return out.getvalue().encode()

    def to_parquet(self) -> bytes:
        """Write the table as Parquet, by way of its CSV: text is escaped in the same way."""
        # Arrays made from Python lists would have pyarrow import pandas, a third of a second.
        import pyarrow.csv
        import pyarrow.parquet

        kinds = {"int64": pyarrow.int64(), "float64": pyarrow.float64(), "str": pyarrow.string()}
        types = {column.name: kinds[column.dtype] for column in self.columns}
        options = pyarrow.csv.ConvertOptions(column_types=types)
        table = pyarrow.csv.read_csv(io.BytesIO(self.to_csv()), convert_options=options)
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink, compression="zstd")
        content: bytes = sink.getvalue().to_pybytes()
        return content


def csv_text(text: str) -> str:
    """Escape text for CSV: control characters, and what spreadsheets would compute."""
    shown = visible(text)
    return f"'{shown}" if shown[:1] in tuple("=+-@") and not _NUMBER.fullmatch(shown) else shown


def _cell(value: Value) -> str:
    match value:
        case None:
            return ""
        case str():
            return csv_text(value)
        case float():
            return "" if value != value else repr(value)
        case _:
            return str(value)


def trials_table(finished: Finished) -> Table:
    """One row for each trial, with every metric."""
    metrics = plugins.metric_columns()
    named = [
        Column(name, c.unit, c.doc, c.better, c.tolerance, c.dtype) for name, c in metrics.items()
    ]
    rows = [
        (*key, result.status, result.error, *(result.metrics.get(name) for name in metrics))
        for key, result in _keyed(finished)
    ]
    return Table((*_keys(finished), *STATUS, *named), tuple(rows))


def high_order_table(finished: Finished) -> Table:
    """One row for each group of like attempts to get a block."""
    rows = [
        (*key, *tally[:-1], *tally.why_not)
        for key, result in _keyed(finished)
        for tally in result.high_order
    ]
    return Table((*_keys(finished), *HIGH_ORDER), tuple(rows))


def vmstat_table(finished: Finished) -> Table:
    """One row for each counter of each trial."""
    rows = [(*key, *counter) for key, result in _keyed(finished) for counter in result.counters]
    return Table((*_keys(finished), *VMSTAT), tuple(rows))


def timeline_table(finished: Finished) -> Table:
    """One row for each zone at each sampled instant of each trial."""
    rows = [(*key, *sample) for key, result in _keyed(finished) for sample in result.timeline]
    return Table((*_keys(finished), *TIMELINE), tuple(rows))


def _keys(finished: Finished) -> tuple[Column, ...]:
    paths = [path for path, _ in finished[0][0].point] if finished else []
    axes = [Column(path, "", "value on this axis", dtype="str") for path in paths]
    return (POLICY, *axes, SEED)


def _keyed(finished: Finished) -> Iterator[tuple[tuple[Value, ...], TrialResult]]:
    for trial, result in finished:
        yield (trial.policy, *(value for _, value in trial.point), trial.seed), result
