"""The answer of a report: which policy does better, by how much, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from memsim.compare import Comparison, Row, compare
from memsim.errors import InputError
from memsim.plots._headlines import HEADLINES
from memsim.results import Run
from memsim.results.answer import IDEAL, AnswerRow, answer, is_ratio, shown, verdicts
from memsim.scenario import Point
from memsim.schema import Column

FOUND = ("better", "worse", "differs")
MOST_FINDINGS = 400
MOST_ALONG = 3
"""Sentences on where on the axes things are best."""


@dataclass(frozen=True)
class Finding:
    """One metric of one side beside the baseline, as people read it."""

    metric: str
    about: str
    place: str
    """Values of the axes; empty without any."""
    baseline: str
    side: str
    mean: str
    difference: str
    """With half its 95 % interval."""
    relative: str
    verdict: str
    pairs: int


@dataclass(frozen=True)
class Mean:
    """One metric of one policy where there is nothing to compare."""

    metric: str
    about: str
    place: str
    means: tuple[str, ...]
    """By policy."""


@dataclass(frozen=True)
class Answer:
    """What a report says first."""

    sentences: tuple[str, ...]
    baseline: str
    findings: tuple[Finding, ...]
    """Those that are sure."""
    others: tuple[Finding, ...]
    """Too few seeds, or the same."""
    policies: tuple[str, ...]
    means: tuple[Mean, ...]
    expectations: tuple[str, ...]
    notes: tuple[str, ...]


def answer_of(runs: Sequence[Run]) -> Answer:
    """Compare the policies of a run, or several runs, and put what was found into sentences."""
    found, note = _comparison(runs)
    rows = found.rows if found else ()
    rank = {name: number for number, name in enumerate(HEADLINES)}
    sure = [row for row in rows if row.verdict in FOUND]
    sure.sort(key=lambda row: rank.get(row.metric, len(rank)))
    rest = [row for row in rows if row.verdict not in FOUND]
    means = tuple(mean for run in runs for mean in _means(run))
    policies = tuple(dict.fromkeys(p for run in runs for p in answer(run).policies))
    return Answer(
        sentences=(
            *(text for run in runs if run.axes for text in _along_axes(run)),
            *(_sentences(found) if found else [_alone(runs[0])]),
        ),
        baseline=found.baseline if found else "",
        findings=tuple(map(_finding, sure[:MOST_FINDINGS])),
        others=tuple(map(_finding, rest[:MOST_FINDINGS])),
        policies=policies if len(runs) == 1 else (),
        means=means if len(runs) == 1 else (),
        expectations=tuple(text for run in runs for text in _expected(run)),
        notes=tuple([*(found.notes if found else ()), *([note] if note else [])]),
    )


def _along_axes(run: Run) -> list[str]:
    """Say of what people ask first where on the axes it is best, and where worst."""
    found = answer(run)
    texts: list[str] = []
    for metric, what in HEADLINES.items():
        values = [
            (mean, policy, row)
            for row in found.rows
            if row.metric == metric
            for policy, mean in zip(found.policies, row.means, strict=True)
            if mean is not None and policy != IDEAL
        ]
        if len({mean for mean, _, _ in values}) > 1 and len(texts) < MOST_ALONG:
            upward = values[0][2].column.better == "higher"
            ends = [max(mean for mean, _, _ in values), min(mean for mean, _, _ in values)]
            best, worst = ends if upward else ends[::-1]
            first = what[0].upper() + what[1:]
            texts.append(f"{first}: best {_at(values, best)}; worst {_at(values, worst)}.")
    return texts


def _at(values: Sequence[tuple[float, str, AnswerRow]], mean: float) -> str:
    """Write a mean and where it was found; of several places the first and how many more."""
    places = [(policy, row) for found, policy, row in values if found == mean]
    policy, row = places[0]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{shown(mean, row.column)}, with {policy} at {_place(row.point)}{more}"


def _comparison(runs: Sequence[Run]) -> tuple[Comparison | None, str]:
    """Compare as far as there is something to compare; else say why not."""
    if len(runs) == 1 and len(runs[0].manifest["policies"]) == 1:
        return None, ""
    try:
        return compare(*runs), ""
    except InputError as refused:
        return None, f"not compared: {refused.problems[0].message}"


def _alone(run: Run) -> str:
    trials = len(run.manifest["trials"])
    what = f"{trials} trials" if trials > 1 else "one trial"
    return f"{', '.join(run.manifest['policies'])}: {what}, and nothing to compare with."


def _sentences(found: Comparison) -> list[str]:
    """Say of each side how it does in what people ask first, the best side first."""
    name = _headline(found.rows)
    texts = []
    for side in [side for side in found.sides if side != found.baseline]:
        rows = [row for row in found.rows if row.side == side]
        counts = Counter[str](row.verdict for row in rows)
        head = _telling([row for row in rows if row.metric == name])
        text = f"{side}, beside {found.baseline}: "
        text += "no difference that is sure" if head is None else _told(head)
        parts = [f"{counts[word]} {word}" for word in FOUND if counts[word]]
        unsure = counts["too few seeds"]
        parts += [f"{unsure} with too few seeds to say"] if unsure else []
        texts.append((head, f"{text}. Of all {len(rows)} figures: {', '.join(parts) or 'same'}."))
    rank = {"better": 0, "differs": 1, "worse": 3}
    texts.sort(key=lambda pair: (rank.get(pair[0].verdict, 2) if pair[0] else 2, -_change(pair[0])))
    return [text for _, text in texts]


def _headline(rows: Sequence[Row]) -> str:
    """Name the metric that answers first: one that is sure for some side."""
    names = [row.metric for row in rows if row.verdict in FOUND]
    return next((name for name in (*HEADLINES, *names) if name in names), "")


def _telling(rows: Sequence[Row]) -> Row | None:
    """Choose the place on the axes where the difference is largest, among those that are sure."""
    sure = [row for row in rows if row.verdict in FOUND] or list(rows)
    return max(sure, key=_change, default=None)


def _change(row: Row | None) -> float:
    return abs(row.difference or 0) if row else 0.0


def _told(row: Row) -> str:
    what = HEADLINES.get(row.metric, row.metric)
    place = f" at {_place(row.point)}" if row.point else ""
    mean, before = shown(row.mean, row.column), shown(row.baseline_mean, row.column)
    if row.verdict == "same":
        return f"{mean} {what}{place}, the same"
    return f"{mean} {what} instead of {before}{place} ({_difference(row)}: {_verdict(row)})"


def _finding(row: Row) -> Finding:
    return Finding(
        metric=row.metric,
        about=_about(row.column),
        place=_place(row.point),
        baseline=shown(row.baseline_mean, row.column),
        side=row.side,
        mean=shown(row.mean, row.column),
        difference=_difference(row),
        relative="" if row.relative is None else f"{100 * row.relative:+,.0f} %",
        verdict=_verdict(row),
        pairs=row.n,
    )


def _verdict(row: Row) -> str:
    if row.verdict == "too few seeds" and row.more_seeds is not None:
        return f"too few seeds: {row.more_seeds:,} more"
    return row.verdict


def _difference(row: Row) -> str:
    """Write a difference with half its interval; ratios in points of a percent."""
    if row.difference is None:
        return "-"
    text = _signed(row.difference, row.column)
    if row.exact:
        return f"{text}, exactly"
    return text if row.half_width is None else f"{text} ± {_size(row.half_width, row.column)}"


def _signed(value: float, column: Column) -> str:
    return f"{'-' if value < 0 else '+'}{_size(abs(value), column)}"


def _size(value: float, column: Column) -> str:
    return f"{100 * value:.1f} points" if is_ratio(column) else shown(value, column)


def _about(column: Column) -> str:
    unit = "" if column.unit in ("", "1") else f" [{column.unit}]"
    return f"{column.doc}{unit}"


def _place(point: Point) -> str:
    return ", ".join(value for _, value in point)


def _means(run: Run) -> list[Mean]:
    return [
        Mean(
            row.metric,
            _about(row.column),
            _place(row.point),
            tuple(shown(value, row.column) for value in row.means),
        )
        for row in answer(run).rows
    ]


def _expected(run: Run) -> list[str]:
    return [
        f"expected: {verdict.expectation.text}: {'met' if verdict.met else 'NOT met'}"
        for verdict in verdicts(run, run.scenario)
    ]
