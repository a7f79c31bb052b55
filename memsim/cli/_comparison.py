"""How a comparison is written: as a table, markdown, CSV or JSON."""

from __future__ import annotations

import json
import math
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, get_args

import click

from memsim import __version__
from memsim.cli._answer import counted, head_line, seeds_text
from memsim.compare import Comparison, Row
from memsim.errors import visible
from memsim.results.answer import IDEAL, NOT_SIMULATED, is_ratio, shown
from memsim.results.tables import csv_bytes, csv_cell, markdown_text
from memsim.schema import Column
from memsim.statistics import MOST_PAIRS, Verdict
from memsim.units import BYTES

COLORS = {"better": 32, "worse": 31, "differs": 33, "same": 2, "too few seeds": 2}
FINDINGS = ("better", "worse", "differs")
WIDTH = 120


class Line(NamedTuple):
    """One row as it is written; texts of user's are escaped."""

    label: str
    """Metric, or place on the axes below it."""
    baseline: str = ""
    side: str = ""
    mean: str = ""
    difference: str = ""
    half: str = ""
    relative: str = ""
    regret: str = ""
    verdict: str = ""


LEFT = (Line._fields.index("label"), Line._fields.index("side"), Line._fields.index("half"))
"""Columns that are aligned to the left, as the last is."""


def print_comparison(form: str, found: Comparison) -> None:
    """Print the answer, then what would settle the rest, files, and what words mean.

    Notes stand above a table, where nobody misses them, and below all else.

    With csv and json, only the answer goes to standard output.
    """
    err = form in ("csv", "json")
    if form == "csv":
        click.echo(as_csv(found))
    elif form == "json":
        click.echo(as_json(found))
    elif form == "markdown":
        click.echo(as_markdown(found) + "\n")
    else:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        click.echo(as_table(found, color=color) + "\n", color=color)
    for line in [*(notes(found) if form != "table" else []), *ending(found)]:
        click.echo(line, err=err)


def as_table(found: Comparison, *, color: bool) -> str:
    """Write findings first, then what is not settled, then what makes no difference.

    The rows of a metric stand together, and metrics keep their order.
    """
    blocks: dict[str, list[Line]] = {"findings": [], "not settled": []}
    same = []
    for metric, group in groupby(found.rows, key=lambda row: row.metric):
        rows = list(group)
        verdicts = {row.verdict for row in rows}
        if verdicts == {"same"}:
            same.append(metric)
        else:
            title = "findings" if verdicts & set(FINDINGS) else "not settled"
            blocks[title] += _lines(found, rows)
    for title, block in blocks.items():
        if block:
            blocks[title] = [_heads(found, title), *block]
    whole = [line for block in blocks.values() for line in block]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    lines = [_title(found), *notes(found), "", *_summary(found)]
    for block in blocks.values():
        lines += ["", *(_aligned(line, widths, color=color) for line in block)] if block else []
    if same:
        text = "same everywhere: " + ", ".join(same)
        lines += [
            "",
            *textwrap.wrap(text, WIDTH, subsequent_indent=" " * 4, break_on_hyphens=False),
        ]
    return "\n".join(line.rstrip() for line in lines)


def _title(found: Comparison) -> str:
    if len(found.runs) == 1:
        return head_line(found.runs[0].scenario)
    names = dict.fromkeys(run.manifest["scenario"] for run in found.runs)
    return visible(f"{', '.join(names)}   {len(found.runs)} runs")


def _summary(found: Comparison) -> Iterator[str]:
    others = [side for side in found.sides if side != found.baseline]
    beside = f"beside {found.baseline}:"
    for side in others:
        counts = Counter(row.verdict for row in found.rows if row.side == side)
        parts = [f"{n} {word}" for word in get_args(Verdict) if (n := counts[word])]
        name = f"{side:<{max(map(len, others))}}"
        yield visible(f"  {name}  {beside} {', '.join(parts) or 'nothing to compare'}")


def _heads(found: Comparison, title: str) -> Line:
    one = [side for side in found.sides if side != found.baseline]
    return Line(
        visible(", ".join([title, *found.axes])),
        visible(found.baseline),
        "",
        visible(one[0]) if len(one) == 1 else "",
        "difference",
        "",
        "",
        f"to {IDEAL}" if any(map(_regret, found.rows)) else "",
    )


def _lines(found: Comparison, rows: Sequence[Row]) -> Iterator[Line]:
    """Write the rows of one metric."""
    if found.axes:
        yield Line(rows[0].metric)
    several = len(found.sides) > 2
    most = max((row.n for row in found.rows), default=0)
    for point, group in groupby(rows, key=lambda row: row.point):
        label = "  " + ", ".join(value for _, value in point) if point else rows[0].metric
        baseline: str | None = None
        listed, equal = _parted(list(group))
        for row in listed:
            difference, half = change(row)
            text = shown(row.baseline_mean, row.column)
            first = text != baseline
            yield Line(
                visible(label),
                text if first else "",
                visible(row.side) if several else "",
                shown(row.mean, row.column),
                difference,
                half,
                _percent(row.relative) if row.relative else "",
                _regret(row),
                verdict_text(row) + (f", {row.n} of {most} pairs" if row.n < most else ""),
            )
            label, baseline = "", text
        if equal:
            yield Line("", side="others", verdict="same, in every pair")


def _parted(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Part rows from those that are the baseline's in every pair, if these are many."""
    equal = [row for row in rows if row.difference == 0 and row.half_width == 0]
    if len(equal) < 2 or len(equal) == len(rows):
        return rows, []
    return [row for row in rows if row not in equal], equal


def _regret(row: Row) -> str:
    if row.regret is None or row.side == IDEAL:
        return ""
    return amount(row.regret, row.regret, row.column)


def _percent(part: float) -> str:
    percent = 100 * part
    return f"{percent:+,.1f} %" if abs(percent) < 10 else f"{percent:+,.0f} %"


def change(row: Row) -> tuple[str, str]:
    """Write a difference, and half the width of its interval with the unit."""
    if row.difference is None:
        return "-", ""
    if row.exact:
        return amount(row.difference, row.difference, row.column), "exactly"
    if not row.half_width:
        # All pairs are equal, or there is one pair.
        text = amount(row.difference, row.difference, row.column)
        return text, "" if row.half_width is None or row.difference == 0 else "± 0"
    whole = amount(row.half_width, row.half_width, row.column).removeprefix("+")
    return amount(row.difference, row.half_width, row.column, unit=False), f"± {whole}"


def amount(value: float, precise: float, column: Column, *, unit: bool = True) -> str:
    """Write a difference to two digits of what is known of it; ratios in points of a percent."""
    name, size = "", 1.0
    if is_ratio(column):
        name, size = " pp", 0.01
    elif column.unit == "bytes":
        name, size = max(
            ((f" {u}", b) for u, b in BYTES.items() if b <= max(abs(precise), 1)),
            key=lambda pair: pair[1],
        )
    known = abs(precise) / size
    places = min(4, max(0, 1 - math.floor(math.log10(known)))) if known else 0
    text = f"{value / size:+,.{places}f}"
    text = "0" if float(text.replace(",", "")) == 0 else text
    return text + (name if unit else "")


def verdict_text(row: Row) -> str:
    """Write a verdict, and what it would take to have one."""
    if row.verdict != "too few seeds":
        return row.verdict
    if row.n < 2:
        return "too few seeds: one pair"
    return f"too few seeds: {more_text(row.more_seeds)}"


def more_text(more: int | None) -> str:
    """Write how many more seeds it would take."""
    return f"more than {MOST_PAIRS:,}" if more is None else f"{more:,} more"


def _aligned(line: Line, widths: Sequence[int], *, color: bool) -> str:
    cells = [
        text if i == len(line) - 1 else f"{text:<{w}}" if i in LEFT else f"{text:>{w}}"
        for i, (text, w) in enumerate(zip(line, widths, strict=True))
    ]
    word = line.verdict.partition(":")[0].partition(",")[0]
    if color and word in COLORS:
        cells[-1] = f"\x1b[{COLORS[word]}m{cells[-1]}\x1b[0m"
    shown_cells = [cell for cell, width in zip(cells, widths, strict=True) if width]
    return "  " + "  ".join(shown_cells)


def notes(found: Comparison) -> list[str]:
    """Say what to know of the comparison: what the runs do not have in common."""
    return [visible(f"  note: {note}") for note in found.notes]


def ending(found: Comparison) -> Iterator[str]:
    """Say what would settle the rest, where the files are, what words mean."""
    open_rows = [row for row in found.rows if row.verdict == "too few seeds"]
    needs = sorted(row.more_seeds for row in open_rows if row.more_seeds is not None)
    if needs:
        half = needs[(len(needs) - 1) // 2]
        count = sum(need <= half for need in needs)
        of = f"{count} of the {len(open_rows)} rows that are not settled"
        yield f"  {counted(half, 'more seed', 'more seeds')} would probably settle {of}"
    elif open_rows and all(row.n < 2 for row in open_rows):
        yield "  one pair says nothing of chance: give more --seeds"
    for run in found.runs:
        yield visible(str(run.folder))
    yield foot_line(found)


def foot_line(found: Comparison) -> str:
    """Say what the verdicts mean."""
    exact = any(row.exact for row in found.rows)
    parts = [
        f"{counted(len(found.seeds), 'seed', 'seeds')} ({seeds_text(found.seeds)})",
        f"±: 95 % intervals of paired differences from {found.baseline}",
        *(["exactly: nothing depends on the seed"] if exact else []),
        *([f"better, worse: p < 5 %, Holm over {found.tested} rows"] if found.tested else []),
        f"same: within {100 * found.margin:g} %",
        f"memsim {__version__}",
        f"not simulated: {', '.join(NOT_SIMULATED)}",
    ]
    return visible("   ".join(parts))


def as_markdown(found: Comparison) -> str:
    """Write a table of GitHub's kind."""
    heads = ["metric", *found.axes, found.baseline, "beside", "mean", "difference", "verdict"]
    rule = ["---", *("---" for _ in found.axes), "--:", "---", "--:", "--:", "---"]
    rows = [
        [
            row.metric,
            *(dict(row.point).get(axis, "") for axis in found.axes),
            shown(row.baseline_mean, row.column),
            row.side,
            shown(row.mean, row.column),
            " ".join(filter(None, change(row))),
            verdict_text(row),
        ]
        for row in found.rows
    ]
    return "\n".join(f"| {' | '.join(map(markdown_text, row))} |" for row in [heads, rule, *rows])


def as_csv(found: Comparison) -> str:
    """Write raw numbers, a row per metric, place and side."""
    records = found.records()
    rows = [[*(records[0] if records else ())], *(record.values() for record in records)]
    return csv_bytes(map(csv_cell, row) for row in rows).decode().rstrip("\n")


def as_json(found: Comparison) -> str:
    """Write everything that the other formats say."""
    data = {
        "runs": [str(run.folder) for run in found.runs],
        "sides": list(found.sides),
        "baseline": found.baseline,
        "seeds": list(found.seeds),
        "margin": found.margin,
        "tested_rows": found.tested,
        "rows": found.records(),
        "notes": list(found.notes),
        "memsim": __version__,
        "not_simulated": list(NOT_SIMULATED),
    }
    return json.dumps(data, indent=2, allow_nan=False)
