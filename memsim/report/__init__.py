"""One page about a run, or several: the answer first, then pictures, tables, and how to repeat it.

The page is a single file without any address outside of it: style, scripts and data are in it. All
text of users and plug-ins is escaped by the template or by ``as_json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from memsim import __version__
from memsim.errors import InputError, Problem, visible
from memsim.plots import EXTRA, refuse_failed
from memsim.report.answer import Answer, answer_of
from memsim.report.figures import sections
from memsim.report.maps import Maps, maps_of
from memsim.report.obstacles import Owned
from memsim.report.provenance import provenance_of
from memsim.report.vmstat import counters_of
from memsim.results import Run
from memsim.results.answer import NOT_SIMULATED

_PAGE = Path(__file__).parent / "page"


def report(runs: Sequence[Run], owned: Sequence[Owned] = ()) -> str:
    """Return the page about some runs; raises InputError if one of them has nothing to show.

    ``owned`` says whose pages kept memory blocks (see ``obstacles``); without it, the page only
    says why they stayed.
    """
    for run in runs:
        refuse_failed(run)
    answer = answer_of(runs)
    maps = maps_of(runs, owned)
    return _filled(
        title=" and ".join(dict.fromkeys(run.manifest["scenario"] for run in runs)),
        answer=answer,
        maps=maps,
        runs=[_part(run, number, len(runs) > 1) for number, run in enumerate(runs)],
        not_simulated=", ".join(NOT_SIMULATED),
        version=__version__,
    )


def _part(run: Run, number: int, several: bool) -> dict[str, Any]:
    """Return what the page says of one run; ``at`` ends the names of its parts."""
    at = f"-{number}" if number else ""
    drawn, missing = sections(run, f"r{number}-")
    return {
        "name": f"{run.folder.parent.name}/{run.folder.name}" if several else "",
        "at": at,
        "sections": drawn,
        "missing": missing,
        "counters": counters_of(run),
        "provenance": provenance_of(run),
    }


def _filled(*, answer: Answer, maps: Maps, **more: Any) -> str:
    try:
        jinja2 = import_module("jinja2")
    except ModuleNotFoundError:
        message = "a report needs jinja2, which is not installed"
        raise InputError([Problem("memsim report", 0, 0, message, EXTRA)]) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: _shown(value),
    )
    text: str = environment.get_template("report.html").render(
        answer=answer,
        maps=maps,
        style=_own("report.css"),
        script=_own("report.js"),
        **more,
    )
    return text


def _own(name: str) -> Any:
    """Return one of memsim's own files, which the template takes as it is."""
    markup = import_module("markupsafe").Markup
    return markup((_PAGE / name).read_text(encoding="utf-8"))


def _shown(value: Any) -> Any:
    """Escape control characters of text; what is markup already stays."""
    if type(value) is str and not value.isprintable():
        return "\n".join(visible(line) for line in value.split("\n"))
    return value
