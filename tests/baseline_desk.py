"""Baselines for tests, and edits of their tables as somebody with an editor makes them."""

import csv
import io
from dataclasses import replace

from trials import SMALL, small

from memsim.check import Record, record_of, update
from memsim.execute import run

FAILING = SMALL + "axes:\n  workloads.kern.rate: [100/s, 30000000000/s]\n"
"""At its second point, two billion slabs are more than a trial can hold."""


def recorded(out, text=SMALL, **options) -> Record:
    """Carry out a small scenario and take what it says."""
    return record_of(run(small(text, **options), out=out))


def baseline_of(record, folder, *tolerances, target="small.yaml"):
    """Write a baseline of a record; returns its folder."""
    update(folder, replace(record, target=target), tolerances)
    return folder


def rows_of(path):
    """All rows of a table, its head first, as lists of cells."""
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))


def write_rows(path, rows):
    """Write a table anew."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    path.write_text(out.getvalue())


def edit(path, line, column, change):
    """Change one cell; ``change`` takes the old text. Returns the old text."""
    rows = rows_of(path)
    at = rows[0].index(column)
    old = rows[line - 1][at]
    rows[line - 1][at] = change(old) if callable(change) else change
    write_rows(path, rows)
    return old


def plus(amount):
    """A change that adds to a number."""
    return lambda text: str(type(amount)(text) + amount)
