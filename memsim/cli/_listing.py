"""How lists of runs, and rows of their tables, are written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from memsim.cli._answer import seeds_text
from memsim.errors import visible
from memsim.results.answer import size_text
from memsim.results.listing import Listed
from memsim.results.tables import csv_bytes, csv_cell, markdown_text

if TYPE_CHECKING:
    from pandas import DataFrame

Cell = str | int | None
MOST_ROWS = 20
MOST_COLUMNS = 16
"""A table of more columns is shown with its rows side by side."""
SIDE_BY_SIDE = 5
MOST_TEXT = 60
"""Characters of a cell: the cells of a map are thousands."""


def print_rows(form: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows in one of the formats of lists; numbers go to the right."""
    if form == "json":
        found = [dict(zip(heads, row, strict=True)) for row in rows]
        click.echo(json.dumps(found, indent=2))
    elif form == "csv":
        click.echo(csv_bytes(map(csv_cell, row) for row in [heads, *rows]), nl=False)
    elif form == "markdown":
        for line in (heads, ["---"] * len(heads), *rows):
            click.echo(f"| {' | '.join(markdown_text(_text(cell)) for cell in line)} |")
    else:
        click.echo(_aligned([heads, *rows]))


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else visible(cell)


def _aligned(rows: Sequence[Sequence[Cell]]) -> str:
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [any(isinstance(cell, int) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{text:>{width}}" if at_right else f"{text:<{width}}"
            for text, width, at_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in texts
    ]
    return "\n".join(lines)


def print_runs(form: str, runs: Sequence[Listed]) -> None:
    """Print a list of runs; programs get bytes and seeds as they are."""
    plain = form in ("csv", "json")
    rows = [_run_row(run, plain=plain) for run in runs]
    heads = ["scenario", "run", "state", "when", "trials", "failed", "seeds", "policies", "size",
             "memsim"]  # fmt: skip
    print_rows(form, heads, rows)


def _run_row(run: Listed, *, plain: bool) -> list[Cell]:
    folder = run.place.folder
    known = not run.damage
    complete = known and run.place.complete
    return [
        folder.parent.name,
        folder.name,
        _state(run),
        run.when.removesuffix("+00:00").replace("T", " ") if complete else "",
        run.trials if known else None,
        run.failed if complete else None,
        seeds_text(run.seeds) if run.seeds else "",
        ",".join(run.policies),
        run.bytes if plain else size_text(run.bytes),
        run.memsim,
    ]


def _state(run: Listed) -> str:
    if run.damage:
        return f"unreadable: {run.damage}"
    if not run.place.complete:
        return f"unfinished: {run.kept} of {run.trials} trials kept"
    return f"part: {run.missing} trials missing" if run.missing else "complete"


def print_head(form: str, table: DataFrame) -> None:
    """Print the first rows of a table and how many there are; a wide one across."""
    wide = len(table.columns) > MOST_COLUMNS
    head = table.head(SIDE_BY_SIDE if wide else MOST_ROWS)
    heads = [str(name) for name in table.columns]
    rows = [[_cell(value) for value in row] for row in head.itertuples(index=False)]
    if wide:
        numbers = [f"row {number}" for number in range(1, len(rows) + 1)]
        columns = [[row[n] for row in rows] for n in range(len(heads))]
        rows = [[name, *column] for name, column in zip(heads, columns, strict=True)]
        heads = ["", *numbers]
    print_rows(form, heads, rows)
    shown = "all" if len(head) == len(table) else f"the first {len(head):,} of"
    click.echo(f"\n{shown} {len(table):,} rows; --format csv prints all")


def _cell(value: Any) -> Cell:
    import pandas

    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else f"{value[:MOST_TEXT]}..."
    if pandas.isna(value):
        return ""
    return int(value) if value == int(value) else repr(float(value))
