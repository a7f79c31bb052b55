"""What a run's tables hold: declared columns, rows in trial order, and their bytes.

The same results give the same bytes: no time of day, no host, nothing that depends on the order in
which trials finished.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from memsim import plugins
from memsim.errors import visible
from memsim.mm import NR_ORDERS, WhyStayed
from memsim.scenario import Trial
from memsim.schema import Column, Migration
from memsim.simulate import TrialResult
from memsim.simulate.probes import REASONS

if TYPE_CHECKING:
    import pyarrow

Value = int | float | str | None
Finished = Sequence[tuple[Trial, TrialResult]]
TableName = Literal[
    "trials", "high_order", "oom", "migration", "hotplug", "vmstat", "timeline", "map"
]  # fmt: skip
TABLES: tuple[TableName, ...] = get_args(TableName)

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
        Column(f"why_not_{why.name.lower()}", "1", "attempts that failed so", better="lower")
        for why in REASONS
    ),
    Column(
        "extfrag_index",
        "1/1000",
        "mean fragmentation index of the preferred zone where attempts failed by fragmentation",
    ),
)
OOM = (
    TIME,
    Column("asker", "", "workload or event whose request could not be served", dtype="str"),
    Column("order", "", "order of the block that it asked for"),
    Column("gfp", "", "flags of the request", dtype="str"),
    Column("why", "", "why it failed, as in high_order.csv", dtype="str"),
    Column("extfrag_index", "1/1000", "fragmentation index of its preferred zone"),
    Column("victim", "", "workload that was killed", dtype="str"),
    Column("pages_freed", "pages", "its pages in memory", better="neither"),
    Column("swap_freed", "pages", "its pages in swap only"),
)
EVENT = Column("event", "", "what happened: the event's name, or what it does", dtype="str")
MIGRATION = (
    TIME,
    EVENT,
    Column("workload", "", "whose pages were to move", dtype="str"),
    Column("mode", "", "direct or swap", dtype="str"),
    Column("attempted", "pages", "pages that were not where they were to be"),
    Column("moved_direct", "pages", "pages that were copied to their new place", better="higher"),
    Column("moved_swap", "pages", "pages that went to swap, or back to their file"),
    *(
        Column(f"stayed_{why.name.lower()}", "pages", "pages that stayed so", better="lower")
        for why in WhyStayed
    ),
    Column("passes", "1", "passes over the pages", better="lower"),
    Column("waits", "1", "waits for locks and for writes to end", better="lower"),
    Column("result", "pages", "what the call returned: pages that did not move, -1 for an error"),
    Column("errno", "", "name of the error", dtype="str"),
    Column("migrate_model_ns", "ns", "simulated time that it took", better="lower"),
    Column("faults_waited", "1", "accesses to pages in flight, which waited", better="lower"),
    Column("fault_wait_model_ns", "ns", "simulated time that these waited", better="lower"),
    Column("access_ps_before", "ps", "mean cost of an access before, since the last such event"),
    Column("access_ps_after", "ps", "mean cost of an access after, until the next such event"),
    Column("payback_model_ns", "ns", "when accesses have saved what it cost, -1: never"),
)
HOTPLUG = (
    TIME,
    EVENT,
    Column("block", "", "number of the memory block"),
    ZONE,
    Column("result", "", "its state afterwards: online or offline", dtype="str"),
    Column("errno", "", "name of the error", dtype="str"),
    Column("reason", "", "why it stayed", dtype="str"),
    Column("page", "", "pfn of the page that stopped it, -1: none did"),
    Column("obstacles", "pages", "pages that stand in the way, each by itself", better="lower"),
    Column("pages_moved", "pages", "pages that were migrated out of it"),
    Column("pages_left", "pages", "pages in use at the end", better="lower"),
    Column("tries", "1", "passes over the block", better="lower"),
    Column("offline_model_ns", "ns", "simulated time that it took", better="lower"),
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
    Column("removable_bytes", "bytes", "of what is meant to be removed: blocks that could go"),
    *(
        Column(f"free_blocks_order_{order}", "blocks", "free blocks of this order")
        for order in range(NR_ORDERS)
    ),
)
MAP = (
    TIME,
    ZONE,
    Column("start_pfn", "", "first page of the first cell"),
    Column("cell_pages", "pages", "pages of a cell"),
    Column("cells", "", "for each cell: type, how much in use, how much not movable", dtype="str"),
)
MOST_ERROR = 2000
"""Characters of what an exception says, which may be anything."""
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Table:
    """Rows under declared columns; None is a blank."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def to_csv(self) -> bytes:
        """Write the table as CSV; text is escaped so that no program takes it for a formula."""
        names = [csv_text(column.name) for column in self.columns]
        return csv_bytes([names, *(map(csv_cell, row) for row in self.rows)])

    def to_parquet(self) -> bytes:
        """Write a table of whole numbers and text as Parquet; text is escaped as in CSV."""
        import pyarrow

        values = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        kinds = {"int64": _numbers, "str": _texts}
        arrays = [
            kinds[column.dtype](found) for column, found in zip(self.columns, values, strict=True)
        ]
        names = [csv_text(column.name) for column in self.columns]
        return parquet_bytes(pyarrow.Table.from_arrays(arrays, names))


def csv_bytes(rows: Iterable[Iterable[Value]]) -> bytes:
    """Write rows whose text is escaped already as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def parquet_bytes(table: pyarrow.Table) -> bytes:
    """Write a table as Parquet: the same rows give the same bytes, whatever they were put from."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table.combine_chunks(), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


# pyarrow.array() would have pyarrow import pandas, a third of a second: hence the buffers.


def _numbers(values: Sequence[Any]) -> pyarrow.Array:
    import pyarrow

    numbers = np.fromiter(values, np.int64, len(values))
    return pyarrow.Array.from_buffers(
        pyarrow.int64(), len(numbers), [None, pyarrow.py_buffer(numbers)]
    )


def _texts(values: Sequence[Any]) -> pyarrow.Array:
    import pyarrow

    number_of = {text: number for number, text in enumerate(dict.fromkeys(values))}
    numbers = np.fromiter(map(number_of.__getitem__, values), np.int32, len(values))
    texts = [_escaped(text).encode() for text in number_of]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(texts))]
    distinct = pyarrow.Array.from_buffers(pyarrow.string(), len(texts), buffers)
    indices = pyarrow.Array.from_buffers(
        pyarrow.int32(), len(numbers), [None, pyarrow.py_buffer(numbers)]
    )
    return pyarrow.DictionaryArray.from_arrays(indices, distinct).dictionary_decode()


@lru_cache(4096)
def csv_text(text: str) -> str:
    """Escape text for CSV: control characters, and what spreadsheets would compute."""
    return _escaped(text)


def _escaped(text: str) -> str:
    shown = visible(text)
    return f"'{shown}" if shown[:1] in tuple("=+-@") and not _NUMBER.fullmatch(shown) else shown


def csv_cell(value: Value) -> Value:
    """Escape a cell of CSV if it is text; None and what is no number are blank."""
    if isinstance(value, str):
        return csv_text(value)
    return "" if value is None or value != value else value


def markdown_text(text: str) -> str:
    """Escape text for markdown: it is neither markup nor HTML, and does not end a table's cell."""
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|~#@!" else c for c in escaped)


def declared(
    name: TableName, axes: Sequence[str], metrics: Mapping[str, Column]
) -> tuple[Column, ...]:
    """Return the columns of a table of a scenario with these axes."""
    named = (
        Column(name, c.unit, c.doc, c.better, c.tolerance, c.dtype) for name, c in metrics.items()
    )
    own = {
        "trials": (*STATUS, *named),
        "high_order": HIGH_ORDER,
        "oom": OOM,
        "migration": MIGRATION,
        "hotplug": HOTPLUG,
        "vmstat": VMSTAT,
        "timeline": TIMELINE,
        "map": MAP,
    }
    at = (Column(path, "", "value on this axis", dtype="str") for path in axes)
    return (POLICY, *at, SEED, *own[name])


def trials_table(finished: Finished) -> Table:
    """One row for each trial, with every metric."""
    metrics = plugins.metric_columns()
    rows = [
        (*key, result.status, result.error[:MOST_ERROR], *map(result.metrics.get, metrics))
        for key, result in _keyed(finished)
    ]
    return Table(declared("trials", _axes(finished), metrics), tuple(rows))


def high_order_table(finished: Finished) -> Table:
    """One row for each group of like attempts to get a block."""
    rows = [
        (*key, *tally[:-2], *tally.why_not, tally.extfrag_index)
        for key, result in _keyed(finished)
        for tally in result.high_order
    ]
    return Table(declared("high_order", _axes(finished), {}), tuple(rows))


def oom_table(finished: Finished) -> Table:
    """One row for each OOM kill of each trial."""
    rows = [(*key, *kill) for key, result in _keyed(finished) for kill in result.oom]
    return Table(declared("oom", _axes(finished), {}), tuple(rows))


def migration_table(finished: Finished) -> Table:
    """One row for each event of each trial that was to move a workload's pages."""
    at = Migration._fields.index("stayed")
    rows = []
    for key, result in _keyed(finished):
        for moved in result.migrations:
            cells: list[Any] = [*moved]
            cells[at : at + 1] = moved.stayed
            rows.append((*key, *cells))
    return Table(declared("migration", _axes(finished), {}), tuple(rows))


def hotplug_table(finished: Finished) -> Table:
    """One row for each memory block of each trial that was to go, or to come back."""
    rows = [(*key, *block) for key, result in _keyed(finished) for block in result.removals]
    return Table(declared("hotplug", _axes(finished), {}), tuple(rows))


def vmstat_table(finished: Finished) -> Table:
    """One row for each counter of each trial."""
    rows = [(*key, *counter) for key, result in _keyed(finished) for counter in result.counters]
    return Table(declared("vmstat", _axes(finished), {}), tuple(rows))


def timeline_table(finished: Finished) -> Table:
    """One row for each zone at each sampled instant of each trial."""
    rows = [
        (*key, *sample[:-1], *sample.free_blocks)
        for key, result in _keyed(finished)
        for sample in result.timeline
    ]
    return Table(declared("timeline", _axes(finished), {}), tuple(rows))


def map_table(finished: Finished) -> Table:
    """One row for each zone at each instant of the map, of each trial that keeps one."""
    rows = [(*key, *sample) for key, result in _keyed(finished) for sample in result.map]
    return Table(declared("map", _axes(finished), {}), tuple(rows))


def _axes(finished: Finished) -> list[str]:
    return [path for path, _ in finished[0][0].point] if finished else []


def _keyed(finished: Finished) -> Iterator[tuple[tuple[Value, ...], TrialResult]]:
    for trial, result in finished:
        yield (trial.policy, *(value for _, value in trial.point), trial.seed), result
