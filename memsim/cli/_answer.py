"""How the answer of a run is written: as a table, markdown, CSV or JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from memsim import __version__
from memsim.errors import visible
from memsim.results import Run
from memsim.results.answer import IDEAL, NOT_SIMULATED, Answer, AnswerRow, shown
from memsim.results.tables import csv_bytes, csv_cell, markdown_text
from memsim.scenario import Point, Scenario
from memsim.scenario.expect import Verdict
from memsim.schema import Column
from memsim.units import format_int_set

PIPE_WIDTH = 160
MIN_DOC = 12
FEW_POINTS = 4
"""With more points of axes a table has them below each metric, to be read as a curve."""


def as_table(found: Answer, *, width: int, color: bool) -> str:
    """Write aligned columns, with what each metric is at the right as far as there is room.

    Metrics stand below each point of the axes; points below each metric where there are many.
    """
    many = len({row.point for row in found.rows}) > FEW_POINTS
    lines = _curves(found, width, color) if many else _points(found, width, color)
    return "\n".join(line.rstrip() for line in lines)


def _points(found: Answer, width: int, color: bool) -> Iterator[str]:
    names, cells, widths = _cells(found)
    left = max((len(row.metric) for row in found.rows), default=0)
    yield "  " + " " * left + _across(names, widths)
    point: Point = ()
    for row, texts in zip(found.rows, cells, strict=True):
        if row.point != point:
            point = row.point
            yield point_text(point)
        line = f"  {row.metric:<{left}}{_across(texts, widths)}"
        yield _explained(line, row.column, width, color)


def _curves(found: Answer, width: int, color: bool) -> Iterator[str]:
    names, cells, widths = _cells(found)
    head = visible(", ".join(path for path, _ in found.rows[0].point))
    labels = [visible(", ".join(value for _, value in row.point)) for row in found.rows]
    left = max(map(len, [head, *labels]))
    yield f"  {head:<{left}}{_across(names, widths)}"
    curves: dict[str, list[int]] = {}
    for number, row in enumerate(found.rows):
        curves.setdefault(row.metric, []).append(number)
    for metric, numbers in curves.items():
        column = found.rows[numbers[0]].column
        values = {text for number in numbers for text in cells[number]}
        flat = f": {values.pop()} everywhere" if len(values) == 1 else ""
        yield _explained(metric + flat, column, width, color)
        for number in [] if flat else numbers:
            yield f"  {labels[number]:<{left}}{_across(cells[number], widths)}"


def _cells(found: Answer) -> tuple[list[str], list[list[str]], list[int]]:
    """Return policies, the texts of each row, and how wide their columns are."""
    names = [visible(p) + (" (bound)" if p == IDEAL else "") for p in found.policies]
    cells = [[shown(mean, row.column) for mean in row.means] for row in found.rows]
    return names, cells, [max(map(len, column)) for column in zip(names, *cells, strict=True)]


def _explained(line: str, column: Column, width: int, color: bool) -> str:
    doc = _shortened(visible(column.doc), width - len(line) - 3)
    return f"{line}   \x1b[2m{doc}\x1b[0m" if doc and color else f"{line}   {doc}"


def _across(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {text:>{width}}" for text, width in zip(texts, widths, strict=True))


def _shortened(text: str, room: int) -> str:
    if room < MIN_DOC:
        return ""
    return text if len(text) <= room else text[: room - 3].rstrip() + "..."


def point_text(point: Point) -> str:
    """Write where on the axes something was simulated."""
    return visible(", ".join(f"{path} = {value}" for path, value in point))


def as_markdown(found: Answer) -> str:
    """Write a table of GitHub's kind."""
    heads = ["metric", *found.policies]
    rows = [[_label(row), *(shown(m, row.column) for m in row.means)] for row in found.rows]
    rule = ["---", *("--:" for _ in found.policies)]
    return "\n".join(f"| {' | '.join(map(markdown_text, row))} |" for row in [heads, rule, *rows])


def _label(row: AnswerRow) -> str:
    return f"{row.metric} ({point_text(row.point)})" if row.point else row.metric


def as_csv(found: Answer) -> str:
    """Write raw means, a row per metric and point."""
    axes = [path for path, _ in found.rows[0].point] if found.rows else []
    lines: list[list[str | float | None]] = [["metric", "unit", "better", *axes, *found.policies]]
    for row in found.rows:
        place = [value for _, value in row.point]
        lines.append([row.metric, row.column.unit, row.column.better, *place, *row.means])
    return csv_bytes(map(csv_cell, line) for line in lines).decode().rstrip("\n")


def as_json(found: Answer, run: Run, verdicts: Sequence[Verdict]) -> str:
    """Write everything that the other formats say."""
    manifest = run.manifest
    data: dict[str, Any] = {
        "scenario": manifest["scenario"],
        "folder": str(run.folder),
        "seeds": manifest["seeds"],
        "failed_trials": run.failed,
        "rows": [
            {
                "metric": row.metric,
                "unit": row.column.unit,
                "better": row.column.better,
                "point": dict(row.point),
                "means": dict(zip(found.policies, row.means, strict=True)),
            }
            for row in found.rows
        ],
        "expect": [{"text": v.expectation.text, "met": v.met} for v in verdicts],
        "notes": manifest["notes"],
        "memsim": __version__,
        "not_simulated": list(NOT_SIMULATED),
    }
    return json.dumps(data, indent=2)


def print_answer(
    form: str, found: Answer, run: Run, scenario: Scenario, verdicts: Sequence[Verdict]
) -> None:
    """Print the answer, then where the files are, then one line of conditions.

    With csv and json, only the answer goes to standard output.
    """
    err = form in ("csv", "json")
    if form == "csv":
        click.echo(as_csv(found))
    elif form == "json":
        click.echo(as_json(found, run, verdicts))
    elif form == "markdown":
        click.echo(as_markdown(found) + "\n")
    else:
        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
        click.echo(head_line(scenario) + "\n")
        color = terminal and "NO_COLOR" not in os.environ
        click.echo(as_table(found, width=width, color=color) + "\n", color=color)
        if terminal:
            _print_pictures(run)
    for note in run.manifest["notes"]:
        click.echo(f"  note: {visible(note)}", err=err)
    for verdict in verdicts:
        click.echo(verdict_line(verdict), err=err)
    click.echo(foot_line(run), err=err)


def _print_pictures(run: Run) -> None:
    from rich.console import Console

    from memsim.cli._pictures import SPARKS, pictures

    console = Console(highlight=False)
    try:
        SPARKS.encode(console.encoding)
    except UnicodeEncodeError:
        return
    for picture in pictures(run):
        console.print(picture)


def head_line(scenario: Scenario) -> str:
    """Say what was simulated."""
    counts = [counted(len(scenario.policies), "policy", "policies")]
    counts += [f"{len(values)} {path}" for path, values in scenario.axes.items()]
    counts.append(counted(len(scenario.seeds), "seed", "seeds"))
    trials = counted(scenario.trial_count, "trial", "trials")
    return visible(f"{scenario.name}  {scenario.title}   {' x '.join(counts)}   {trials}")


def counted(n: int, one: str, many: str) -> str:
    """Write how many there are."""
    return f"{n} {one if n == 1 else many}"


def verdict_line(verdict: Verdict) -> str:
    """Say how an expectation fared."""
    text = f"expect {verdict.expectation.text}: "
    if verdict.met:
        return visible(text + "met")
    if not verdict.trials:
        return visible(text + "NOT met: no trial")
    where = ", ".join(verdict.group)
    return visible(f"{text}NOT met: holds in {verdict.held} of {verdict.trials} seeds of {where}")


def seeds_text(seeds: Sequence[int]) -> str:
    """Write seeds as a user would."""
    text = format_int_set(tuple(seeds))
    return text if isinstance(text, str) else ",".join(map(str, text))


def foot_line(run: Run) -> str:
    """Say where the files are and under which conditions they came to be."""
    manifest = run.manifest
    parts = [
        str(run.folder),
        f"seeds {seeds_text(manifest['seeds'])}",
        f"memsim {manifest['memsim']}",
        f"{manifest['wall_time_s']:.1f} s",
        ", ".join(manifest["profiles"]),
        f"not simulated: {', '.join(NOT_SIMULATED)} (docs/model.md)",
    ]
    return visible("   ".join(parts))
