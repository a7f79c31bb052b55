"""The tables of a run as files for other programs."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from memsim.errors import InputError, Problem
from memsim.results import Run
from memsim.results.store import MANIFEST, UNFINISHED, write_all
from memsim.results.tables import TABLES, TableName

if TYPE_CHECKING:
    from pandas import DataFrame

Form = Literal["csv", "parquet", "json"]
FORMS: tuple[Form, ...] = get_args(Form)


def export(
    run: Run, form: Form, out: Path, *, table: TableName | None = None, force: bool = False
) -> list[Path]:
    """Write one table to the file ``out``, or all tables into the folder ``out``; return the files.

    Raises InputError if one is there already and not ``force``, if it would lie among the files of
    a run, or cannot be written.
    """
    folder = out.parent if table else out
    if any((folder / name).exists() for name in (MANIFEST, UNFINISHED)):
        message = "is the folder of a run, where memsim alone writes"
        raise InputError([Problem(str(folder), 0, 0, message, "give --out another place")])
    names: Sequence[TableName] = (table,) if table else TABLES
    files = {out if table else out / f"{name}.{form}": name for name in names}
    problems = [
        Problem(str(path), 0, 0, "is there already", "--force replaces it")
        for path in files
        if path.exists() and not force
    ]
    if problems:
        raise InputError(problems)
    write_all({path: table_as(getattr(run, name), form) for path, name in files.items()})
    return list(files)


def table_as(table: DataFrame, form: Form) -> bytes:
    """Write a table; in JSON it is a list of rows, and what is blank is null."""
    if form == "csv":
        return table.to_csv(index=False, lineterminator="\n").encode()
    if form == "parquet":
        content = io.BytesIO()
        table.to_parquet(content, index=False, compression="zstd")
        return content.getvalue()
    plain = table.astype(object).where(table.notna(), None)
    rows = ",\n ".join(json.dumps(row) for row in plain.to_dict("records"))
    return f"[{rows}]\n".encode()
