"""Pair the trials of two sides and judge every metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from memsim.compare.samples import Side, Values
from memsim.results.answer import IDEAL
from memsim.scenario import Point
from memsim.schema import Column
from memsim.statistics import ALPHA, Paired, Verdict, holm, judge, paired, pairs_needed


@dataclass(frozen=True)
class Row:
    """One metric of one side beside the baseline's, at one place; None is a blank.

    All but counts, ``p`` and ``effect`` is in the metric's unit.
    """

    metric: str
    column: Column
    point: Point
    side: str
    n: int
    """Pairs: seeds for which both sides have a value."""
    lost: int
    """Seeds for which one side has none."""
    baseline_mean: float | None
    mean: float | None
    difference: float | None
    """Mean of side - baseline over the pairs."""
    half_width: float | None
    """Of the 95 % interval around the difference."""
    deviation: float | None
    """Standard deviation of the differences."""
    effect: float | None
    """Difference / deviation."""
    p: float | None
    """Two-sided, adjusted for all rows of the comparison that are tested; None if this was not."""
    verdict: Verdict
    exact: bool
    """Nothing random reaches the trials at this place, so there is nothing to test."""
    more_seeds: int | None
    """If seeds are too few: how many more would probably settle it; None if not known."""
    regret: float | None
    """How far the side's mean is from that of the policy ``ideal``, in the good direction."""

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        return _sum(self.difference, self.half_width, -1)

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return _sum(self.difference, self.half_width, 1)

    @property
    def relative(self) -> float | None:
        """Difference / mean of the baseline."""
        if self.difference is None or not self.baseline_mean:
            return None
        return self.difference / abs(self.baseline_mean)


def _sum(value: float | None, half: float | None, sign: int) -> float | None:
    return None if value is None or half is None else value + sign * half


@dataclass(frozen=True)
class _Pairs:
    """The values of one metric in the trials that can be paired."""

    metric: str
    column: Column
    point: Point
    side: str
    baseline: tuple[float, ...]
    values: tuple[float, ...]
    ideal: tuple[float, ...] | None
    lost: int
    exact: bool


def rows_of(
    sides: Sequence[Side], baseline: Side, columns: Mapping[str, Column], margin: float
) -> tuple[Row, ...]:
    """Compare each side with the baseline: metric by metric, place by place.

    ``margin`` is the relative difference that makes none, if a column does not allow a larger one.
    """
    pairs = list(_pairs(sides, baseline, columns))
    found = [paired(p.baseline, p.values, exact=p.exact) if p.values else None for p in pairs]
    tested = [i for i, one in enumerate(found) if one is not None and one.p is not None]
    p_values = [one.p for one in found if one is not None and one.p is not None]
    adjusted = dict(zip(tested, holm(p_values), strict=True))
    rows = [
        _row(pair, one, margin, adjusted.get(i))
        for i, (pair, one) in enumerate(zip(pairs, found, strict=True))
    ]
    unsettled = max(1, sum(p >= ALPHA for p in adjusted.values()))
    return tuple(
        _with_need(row, one, margin, unsettled) for row, one in zip(rows, found, strict=True)
    )


def _pairs(
    sides: Sequence[Side], baseline: Side, columns: Mapping[str, Column]
) -> Iterator[_Pairs]:
    ideal = next((side for side in sides if side.label == IDEAL), None)
    others = [side for side in sides if side is not baseline]
    exact = {
        (side.label, point): nothing_varies(trials, baseline.trials.get(point, {}))
        for side in others
        for point, trials in side.trials.items()
    }
    for metric, column in columns.items():
        for point, before in baseline.trials.items():
            for side in others:
                after = side.trials.get(point, {})
                seeds = [s for s in after if metric in after[s] and metric in before.get(s, {})]
                any_has = {s for t in (before, after) for s in t if metric in t[s]}
                if not any_has or not before.keys() & after.keys():
                    continue
                best = ideal.trials.get(point, {}) if ideal else {}
                complete = bool(seeds) and all(metric in best.get(s, {}) for s in seeds)
                yield _Pairs(
                    metric, column, point, side.label,
                    tuple(before[s][metric] for s in seeds),
                    tuple(after[s][metric] for s in seeds),
                    tuple(best[s][metric] for s in seeds) if complete else None,
                    len(any_has & before.keys() & after.keys()) - len(seeds),
                    exact[side.label, point],
                )  # fmt: skip


def nothing_varies(*sides: Mapping[int, Values]) -> bool:
    """Say whether no metric at all depends on the seed: then nothing random reaches the trials."""
    return all(
        len(trials) > 1 and len({tuple(sorted(values.items())) for values in trials.values()}) == 1
        for trials in sides
    )


def _row(pair: _Pairs, found: Paired | None, margin: float, adjusted: float | None) -> Row:
    column, before = pair.column, _mean(pair.baseline)
    verdict: Verdict = "not comparable"
    if found is not None and before is not None:
        verdict = judge(found, _margin(column, margin, before), adjusted, column.better)
    return Row(
        metric=pair.metric,
        column=column,
        point=pair.point,
        side=pair.side,
        n=len(pair.values),
        lost=pair.lost,
        baseline_mean=before,
        mean=_mean(pair.values),
        difference=found.mean if found else None,
        half_width=found.half if found else None,
        deviation=found.deviation if found else None,
        effect=found.effect if found else None,
        p=adjusted,
        verdict=verdict,
        exact=found is not None and found.exact,
        more_seeds=None,
        regret=_regret(pair),
    )


def _with_need(row: Row, found: Paired | None, margin: float, unsettled: int) -> Row:
    if row.verdict != "too few seeds" or found is None or row.baseline_mean is None:
        return row
    needed = pairs_needed(found, _margin(row.column, margin, row.baseline_mean), unsettled)
    return replace(row, more_seeds=None if needed is None else needed - row.n)


def _margin(column: Column, margin: float, baseline_mean: float) -> float:
    return max(column.tolerance, margin) * abs(baseline_mean)


def _regret(pair: _Pairs) -> float | None:
    best, mean = _mean(pair.ideal or ()), _mean(pair.values)
    if best is None or mean is None or pair.column.better == "neither":
        return None
    return best - mean if pair.column.better == "higher" else mean - best


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
