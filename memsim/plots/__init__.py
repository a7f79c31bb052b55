"""PICTURES OF A RUN: one file per figure.

A figure file's first line says what it shows. It defines ``MISSING`` (what a run without data for
it lacks), ``HINT`` (what would record that) and three functions:

    def rows(run: Run) -> DataFrame: ...      # what is shown; empty: the run has no data for it
    def chart(rows: DataFrame) -> alt.Chart: ...
    def told(rows: DataFrame) -> str: ...     # the same in a sentence or two, for who cannot see it

Rows begin with ``policy`` and ``point`` (the values of the axes, empty without any).
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from memsim.errors import InputError, Problem, suggest
from memsim.results import Run
from memsim.units import describe

if TYPE_CHECKING:
    import altair as alt
    from pandas import DataFrame

_FOLDER = Path(__file__).parent
MOST_PANELS = 64
"""A picture of more would show nothing."""
EXTRA = "pip install 'memsim[report]'"


class FigureModule(Protocol):
    """What a figure file must define."""

    MISSING: str
    HINT: str

    def rows(self, run: Run) -> DataFrame:
        """Return what is shown."""

    def chart(self, rows: DataFrame) -> alt.Chart:
        """Draw it."""

    def told(self, rows: DataFrame) -> str:
        """Say it."""


@dataclass(frozen=True)
class Drawing:
    """A figure of a run: what is shown, drawn and in words."""

    name: str
    title: str
    rows: DataFrame
    chart: alt.Chart
    text: str


@cache
def offered() -> tuple[str, ...]:
    """Name all figures, sorted; imports none of them."""
    found = pkgutil.iter_modules([str(_FOLDER)])
    names = [module.name for module in found if not module.name.startswith("_")]
    return tuple(sorted(name.replace("_", "-") for name in names))


def title(name: str) -> str:
    """Say what a figure shows, without importing it."""
    text = (_FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def find(name: str) -> FigureModule:
    """Import one figure; raises InputError if there is none of this name, or no altair."""
    if name not in offered():
        message = f"there is no figure {describe(name)}"
        raise InputError([Problem("--figure", 0, 0, message, suggest(name, offered()))])
    try:
        module = importlib.import_module(f"memsim.plots.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("memsim"):
            raise
        message = f"pictures need {error.name}, which is not installed"
        raise InputError([Problem("--figure", 0, 0, message, EXTRA)]) from None
    return cast("FigureModule", module)


def draw(
    run: Run, name: str, *, policies: tuple[str, ...] = (), points: tuple[str, ...] = ()
) -> Drawing:
    """Draw a figure of a run, or of some policies and points; raises InputError without data.

    ``points`` are values of the axes as tables show them, several joined by a comma.
    """
    figure = find(name)
    refuse_failed(run)
    rows = figure.rows(run)
    if policies:
        rows = rows[rows.policy.isin(policies)]
    if points:
        rows = rows[rows.point.isin(points)]
    if rows.empty:
        message = f"has no data for figure {name}: {figure.MISSING}"
        raise InputError([Problem(str(run.folder), 0, 0, message, figure.HINT)])
    panels = len(rows[["policy", "point"]].drop_duplicates())
    if panels > MOST_PANELS and name not in ("sweep", "certainty", "answer"):
        message = f"has {panels} policies and points, more than {MOST_PANELS}, for one figure"
        raise InputError([Problem(str(run.folder), 0, 0, message, "choose some by --policy")])
    rows = rows.reset_index(drop=True)
    rows.attrs.update(policies=run.manifest["policies"], axes=", ".join(run.axes))
    return Drawing(name, title(name), rows, figure.chart(rows), figure.told(rows))


def refuse_failed(run: Run) -> None:
    """Raise InputError for a run all of whose trials failed."""
    trials = run.manifest["trials"]
    if run.failed == len(trials):
        why = next(row["error"] for row in run.trial_rows())
        message = f"all {len(trials)} trials failed, there is nothing to show: {why}"
        hint = "mend that, and memsim run carries them out again"
        raise InputError([Problem(str(run.folder), 0, 0, message, hint)])
