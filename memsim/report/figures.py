"""The figures of a report: those that the run has data for, and what the others lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memsim.errors import InputError
from memsim.plots import Drawing, draw, find
from memsim.plots._rendering import inline_svg, table
from memsim.results import Run

FIRST = ("answer", "certainty", "hot-remove", "removable", "migration", "swap-fallback", "locality",
         "high-order", "sweep", "free-blocks", "fragmentation")  # fmt: skip
"""In this order; the map of memory has its own part of the page."""
ONLY_IF_ANY = {"swap-fallback": "mean"}
"""Figures that say nothing where this column is 0 throughout."""
OF_ALL_POINTS = ("answer", "certainty", "sweep")
MOST_POINTS = 6
"""Panels for each point of the axes are drawn up to here; a sweep has its own figure."""


@dataclass(frozen=True)
class Section:
    """One figure with the same in words and as a table; ``svg`` and ``table`` are markup."""

    name: str
    title: str
    text: str
    svg: Any
    table: Any


def sections(run: Run, prefix: str) -> tuple[list[Section], list[str]]:
    """Draw what the run has data for; say of the rest what would record it.

    ``prefix`` tells names in the page from those of another run.
    """
    drawn, missing = [], []
    points = {tuple(trial["point"].values()) for trial in run.manifest["trials"]}
    for name in FIRST:
        if name not in OF_ALL_POINTS and len(points) > MOST_POINTS:
            missing.append(f"{name}: too many points of the axes for one picture; "
                           f"memsim plot --figure {name} --point VALUE draws one")  # fmt: skip
            continue
        try:
            drawing = draw(run, name)
        except InputError:
            figure = find(name)
            missing.append(f"{name}: {figure.MISSING}. {figure.HINT}")
            continue
        if name not in ONLY_IF_ANY or drawing.rows[ONLY_IF_ANY[name]].any():
            drawn.append(_section(drawing, prefix))
    return drawn, missing


def _section(drawing: Drawing, prefix: str) -> Section:
    from markupsafe import Markup

    # Both escape all text of the run themselves.
    svg, rows = Markup(inline_svg(drawing, prefix)), Markup(table(drawing.rows))
    return Section(drawing.name, drawing.title, drawing.text, svg, rows)
