"""The rows of each trial in the tables of a run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memsim.errors import InputError, Problem
from memsim.results import Run
from memsim.results.manifest import AGAIN
from memsim.results.tables import TableName, csv_bytes, csv_text, declared, parquet_bytes

if TYPE_CHECKING:
    import pyarrow

Key = tuple[str, ...]
"""Policy, point and seed of a trial, as tables write them."""


def key_of(trial: Mapping[str, Any]) -> Key:
    """Return what the tables write in the rows of a trial of a manifest."""
    texts = (trial["policy"], *trial["point"].values())
    return (*map(csv_text, texts), str(trial["seed"]))


@dataclass(frozen=True)
class TrialRows:
    """The rows of one trial; in a CSV table all cells are text."""

    rows: pyarrow.Table
    is_csv: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialRows) and bool(self.rows.equals(other.rows))


@dataclass(frozen=True)
class RowsOfTrials:
    """A table of a run, cut into trials."""

    table: pyarrow.Table
    is_csv: bool
    spans: Mapping[Key, tuple[int, int]]
    """Of each trial that has rows, the first one and their number."""

    def of(self, key: Key) -> TrialRows:
        """Return the rows of a trial, which may be none."""
        begin, count = self.spans.get(key, (0, 0))
        return TrialRows(self.table.slice(begin, count), self.is_csv)


def rows_of_trials(run: Run, name: TableName) -> RowsOfTrials:
    """Cut a table of a run into its trials; raises InputError for one that is no good."""
    import pyarrow

    file = run.table_file(name)
    names = [csv_text(c.name) for c in declared(name, run.axes, run.metric_columns)]
    content, is_csv = run.content(file), file.endswith(".csv")
    try:
        table = _csv_table(content, names) if is_csv else _parquet_table(content)
        if table.column_names != names:
            raise ValueError("its columns are others")
        spans = _spans(table.select(names[: 2 + len(run.axes)]))
        if not spans.keys() <= {key_of(trial) for trial in run.manifest["trials"]}:
            raise ValueError("its trials are others")
    except (ValueError, OSError, LookupError, TypeError, pyarrow.ArrowException) as error:
        message = f"is no table of memsim's: {str(error).partition(chr(10))[0][:200]}"
        raise InputError([Problem(str(run.folder / file), 0, 0, message, AGAIN)]) from None
    return RowsOfTrials(table, is_csv, spans)


def table_bytes(parts: Sequence[TrialRows]) -> bytes:
    """Write the rows of trials one after the other, as a run of all of them would."""
    import pyarrow

    table = pyarrow.concat_tables([part.rows for part in parts])
    if not parts[0].is_csv:
        return parquet_bytes(table)
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return csv_bytes([table.column_names, *rows])


def _csv_table(content: bytes, names: Sequence[str]) -> pyarrow.Table:
    import pyarrow.csv

    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()))
    return pyarrow.csv.read_csv(io.BytesIO(content), convert_options=text)


def _parquet_table(content: bytes) -> pyarrow.Table:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(content))


def _spans(keys: pyarrow.Table) -> dict[Key, tuple[int, int]]:
    """Return where the rows of each trial begin and how many they are; raises ValueError."""
    changes = np.zeros(max(len(keys) - 1, 0), np.bool_)
    for column in keys.columns:
        numbers = column.combine_chunks().dictionary_encode().indices.to_numpy()
        changes |= numbers[1:] != numbers[:-1]
    begins = [0, *(np.flatnonzero(changes) + 1).tolist()] if len(keys) else []
    ends = [*begins[1:], len(keys)][: len(begins)]
    columns = [[str(column[begin]) for begin in begins] for column in keys.columns]
    spans = {
        tuple(key): (begin, end - begin)
        for *key, begin, end in zip(*columns, begins, ends, strict=True)
    }
    if len(spans) != len(begins):
        raise ValueError("the rows of a trial are not one after the other")
    return spans
