"""The answer of a run in one table: metrics down, policies across, means over the seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from fractions import Fraction

from memsim.errors import InputError, Problem, suggest
from memsim.results import Run
from memsim.scenario import Scenario
from memsim.scenario.expect import Verdict, judge
from memsim.schema import Column
from memsim.units import BYTES, describe

NOT_SIMULATED = ("memcg", "KSM")
"""What a reader of any table must know; docs/model.md has the whole list."""

IDEAL = "ideal"
"""A policy with this name is the bound that others are held against."""


@dataclass(frozen=True)
class AnswerRow:
    """One metric at one point of the axes."""

    point: tuple[tuple[str, str], ...]
    metric: str
    column: Column
    means: tuple[float | None, ...]
    """By policy; None where no trial has a value."""


@dataclass(frozen=True)
class Answer:
    """Metrics down, policies across."""

    policies: tuple[str, ...]
    rows: tuple[AnswerRow, ...]


def answer(run: Run, patterns: Sequence[str] = ()) -> Answer:
    """Take the metrics that patterns name from the trials table of a run.

    Without patterns these are the metrics of which more or less is better, without those that are
    blank or 0 everywhere, and without counts of requests that went well, which their ratios sum up.
    The policy ``ideal`` stands last. Raises InputError for a pattern that names none.
    """
    columns = {n: c for n, c in run.metric_columns.items() if c.dtype != "str"}
    chosen = named_metrics(columns, patterns) if patterns else columns
    policies = tuple(sorted(run.manifest["policies"], key=lambda name: name == IDEAL))
    values: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in run.trial_rows():
        values.setdefault(tuple(row[axis] for axis in run.axes), []).append(row)
    rows = [
        AnswerRow(
            tuple(zip(run.axes, point, strict=True)),
            name,
            column,
            tuple(_mean([t[name] for t in trials if t["policy"] == p]) for p in policies),
        )
        for point, trials in values.items()
        for name, column in chosen.items()
        if patterns or matters(column)
    ]
    if patterns:
        return Answer(policies, tuple(rows))
    telling = {row.metric for row in rows if any(row.means)}
    return Answer(policies, tuple(row for row in rows if row.metric in telling))


def matters(column: Column) -> bool:
    """Say whether a metric is worth a line: more or less is better, and no ratio sums it up."""
    went_well = column.unit == "requests" and column.better == "higher"
    return column.better != "neither" and not went_well


def named_metrics(columns: Mapping[str, Column], patterns: Sequence[str]) -> dict[str, Column]:
    """Return the metrics that patterns with ``*`` and ``?`` name; raises InputError for others."""
    chosen: set[str] = set()
    problems = []
    for pattern in patterns:
        # Brackets are no wildcards here: names have none, so such a pattern is a mistake.
        expression = re.compile(translate(pattern.replace("[", "[[]")))
        found = {name for name in columns if expression.match(name)}
        if not found:
            message = f"there is no metric {describe(pattern)}"
            problems.append(Problem("--metric", 0, 0, message, _meant(pattern, columns)))
        chosen |= found
    if problems:
        raise InputError(problems)
    return {name: column for name, column in columns.items() if name in chosen}


def _meant(pattern: str, columns: Mapping[str, Column]) -> str:
    hint = suggest(pattern, columns)
    return hint if hint.startswith("did you mean") else "memsim list metrics names all"


def _mean(texts: list[str]) -> float | None:
    numbers = [Fraction(float(text)) for text in texts if text]
    return float(sum(numbers) / len(numbers)) if numbers else None


def verdicts(run: Run, scenario: Scenario) -> list[Verdict]:
    """Judge what the scenario expects."""
    rows = run.trial_rows()
    return [judge(e, rows, ("policy", *run.axes)) for e in scenario.expectations]


def is_ratio(column: Column) -> bool:
    """Say whether a metric is a part of a whole, which people read in percent."""
    return column.unit == "1" and "ratio" in column.name.split("_")


def shown(value: float | None, column: Column) -> str:
    """Write a value as people read it: ratios in percent, bytes with a unit, thousands parted."""
    if value is None:
        return "-"
    if is_ratio(column):
        return f"{100 * value:.1f} %"
    if column.unit == "bytes":
        return size_text(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def size_text(count: float) -> str:
    """Write a number of bytes in the largest unit that it fills: ``1.4 GiB``, ``12 B``."""
    unit = max((u for u in BYTES if BYTES[u] <= max(abs(count), 1)), key=BYTES.__getitem__)
    return f"{count / BYTES[unit]:,.{0 if unit == 'B' else 1}f} {unit}"
