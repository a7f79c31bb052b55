"""The tables of a run or baseline as they stand in their files, row by row, with line numbers.

Nothing is believed: a table that was damaged, or edited into nonsense, is refused in one line that
says where.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from memsim.errors import InputError, Problem
from memsim.results.tables import HIGH_ORDER, SEED, STATUS, VMSTAT, TableName, csv_text
from memsim.schema import Column
from memsim.units import describe

MAX_BYTES = 64 << 20
"""Of one table; those of the largest sweep that is shipped have a tenth of it."""
MAX_ROWS = 2_000_000
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]{1,3})?", re.ASCII)


class Layout(NamedTuple):
    """What a table's rows are known by, and the columns that memsim itself declares."""

    keys: tuple[str, ...]
    """After policy, axes and seed."""
    columns: dict[str, Column]


def _layout(keys: tuple[str, ...], columns: Iterable[Column]) -> Layout:
    return Layout(keys, {column.name: column for column in (SEED, *columns)})


LAYOUTS: dict[TableName, Layout] = {
    "trials": _layout((), STATUS),
    "high_order": _layout(("phase", "time_ns", "zone", "order", "gfp"), HIGH_ORDER),
    "vmstat": _layout(("zone", "counter"), VMSTAT),
}
Key = tuple[str, ...]


class Row(NamedTuple):
    """A row of a table."""

    line: int
    """Where it stands in its file; 0 in one without lines."""
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table: its columns, and its rows by what they are known by."""

    name: TableName
    path: Path
    keys: tuple[str, ...]
    columns: Mapping[str, Column]
    """All that stand in the file, in its order."""
    rows: Mapping[Key, Row]

    @property
    def values(self) -> list[str]:
        """The columns that are no keys."""
        return [name for name in self.columns if name not in self.keys]

    @property
    def trial_keys(self) -> tuple[str, ...]:
        """The first of the keys: policy, axes, seed."""
        return self.keys[: self.keys.index("seed") + 1]


def read_table(
    name: TableName,
    path: Path,
    content: bytes,
    axes: Iterable[str],
    metrics: Mapping[str, Column],
) -> Table:
    """Read the content of a CSV or Parquet file; raises InputError.

    ``metrics`` are the declared columns of the trials table.
    """
    lined = path.suffix == ".csv"
    lines = _csv_lines(path, content) if lined else _parquet_lines(path, content)
    layout = LAYOUTS[name]
    keys = tuple(map(csv_text, ("policy", *axes, "seed"))) + layout.keys
    declared = {**layout.columns, **(metrics if name == "trials" else {})}
    heads = lines[0][1]
    needed = (*keys, "status") if name == "trials" else keys
    if len(set(heads)) != len(heads) or not set(needed) <= set(heads):
        _refuse(path, 1, f"expected the columns {', '.join(needed)}, each once")
    columns = {h: declared.get(h, Column(h, "", "", dtype="str")) for h in heads}
    rows: dict[Key, Row] = {}
    for line, texts in lines[1:]:
        if len(texts) != len(heads):
            _refuse(path, line, f"expected {len(heads)} cells, found {len(texts)}")
        cells = dict(zip(heads, texts, strict=True))
        for head, text in cells.items():
            _check_cell(path, line, columns[head], text, blank=head not in keys)
        key = tuple(cells[k] for k in keys)
        if key in rows:
            _refuse(path, line, f"the same {', '.join(keys)} as in line {rows[key].line}")
        rows[key] = Row(line if lined else 0, cells)
    return Table(name, path, keys, columns, rows)


def _check_cell(path: Path, line: int, column: Column, text: str, *, blank: bool) -> None:
    if column.dtype == "str" or (blank and not text):
        return
    if column.dtype == "int64":
        fits, expected = bool(_INTEGER.fullmatch(text)), "a whole number"
    else:
        fits, expected = bool(_FLOAT.fullmatch(text)) and math.isfinite(float(text)), "a number"
    if not fits:
        _refuse(path, line, f"{column.name}: expected {expected}, found {describe(text)}")


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a file of a run or baseline; raises InputError also if it is too large to be one."""
    try:
        if not path.is_file():
            _refuse(path, 0, "is no file" if path.exists() else "there is no such file")
        if path.stat().st_size > limit:
            _refuse(path, 0, f"is larger than {limit >> 20} MiB: check fewer seeds or points")
        return path.read_bytes()
    except OSError as error:
        _refuse(path, 0, f"cannot be read: {error.strerror}")


def _csv_lines(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    if b"\0" in content:
        _refuse(path, content[: content.index(b"\0")].count(b"\n") + 1, "has a NUL byte")
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader]
    except UnicodeDecodeError as error:
        _refuse(path, content[: error.start].count(b"\n") + 1, "is not UTF-8")
    except csv.Error as error:
        _refuse(path, reader.line_num, f"is no CSV: {error}")
    if not lines:
        _refuse(path, 0, "is empty")
    return lines


def _parquet_lines(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        if file.metadata.num_rows > MAX_ROWS:
            _refuse(path, 0, f"has more than {MAX_ROWS:,} rows: check fewer seeds or points")
        table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        _refuse(path, 0, f"is no Parquet: {str(error).splitlines()[0]}")
    rows = [["" if v is None else str(v) for v in row] for row in zip(*columns, strict=True)]
    return [(1, list(table.column_names)), *((n + 2, row) for n, row in enumerate(rows))]


def _refuse(path: Path, line: int, message: str) -> NoReturn:
    raise InputError([Problem(str(path), line, 0, message)])


def by_attempt(table: Table) -> Table:
    """Join the rows of high_order that differ in the zone only: which zone serves is an outcome.

    Numbers are summed; ``zone`` says how many attempts each zone served.
    """
    zone_at = table.keys.index("zone")
    groups: dict[Key, list[Row]] = {}
    for key, row in table.rows.items():
        groups.setdefault(key[:zone_at] + key[zone_at + 1 :], []).append(row)
    keys = tuple(key for key in table.keys if key != "zone")
    rows = {key: Row(some[0].line, _joined(table, keys, some)) for key, some in groups.items()}
    return replace(table, keys=keys, rows=rows)


def _joined(table: Table, keys: tuple[str, ...], rows: list[Row]) -> dict[str, str]:
    cells = dict(rows[0].cells)
    served = sorted((row.cells["zone"], row.cells.get("attempted", "")) for row in rows)
    cells["zone"] = ", ".join(f"{zone or 'none'} x{attempted}" for zone, attempted in served)
    for name, column in table.columns.items():
        if name not in keys and column.dtype == "int64":
            texts = [row.cells[name] for row in rows]
            cells[name] = str(sum(map(int, texts))) if all(texts) else ""
    return cells
