"""How long to go on: ``ci(METRIC) < BOUND``, the small grammar of ``--until``.

``ci(high_order.success_ratio) < 1%`` holds when half the width of the 95 % interval is below one
point of a percent for every policy and axis point. Of a metric that is no ratio, % is a part of
the baseline's mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from memsim.compare.rows import nothing_varies
from memsim.compare.samples import Side, sides_of_results
from memsim.errors import InputError, Problem, suggest
from memsim.execute import How, Watcher, plan, results_of
from memsim.results import is_complete
from memsim.results.answer import is_ratio
from memsim.results.store import UNFINISHED, TrialStore, run_folder
from memsim.scenario import Scenario
from memsim.scenario.expect import METRIC, parse_number
from memsim.schema import Column
from memsim.statistics import half_width, paired
from memsim.units import describe

EXAMPLE = "ci(high_order.success_ratio) < 1%"
FEWEST_SEEDS = 5
"""No run ends with fewer: of fewer values the spread is not known."""
_GRAMMAR = re.compile(rf"\s*ci\(\s*(?P<metric>{METRIC})\s*\)\s*<\s*(?P<bound>\S+)\s*", re.ASCII)


@dataclass(frozen=True)
class Until:
    """A bound for half the width of intervals."""

    text: str
    metric: str
    column: Column
    bound: float
    relative: bool
    """The bound is a part of the baseline's mean."""


@dataclass(frozen=True)
class Reached:
    """How far a run came towards its bound."""

    why_not: str
    """One sentence; empty if the bound holds."""
    blank: bool
    """Somewhere the metric has no value at all, so that more seeds are of no use."""

    @property
    def holds(self) -> bool:
        """Say whether the bound holds everywhere."""
        return not self.why_not


def parse_until(text: str, columns: Mapping[str, Column]) -> Until:
    """Understand an ``--until``; raises InputError."""
    try:
        return _parsed(text, columns)
    except ValueError as error:
        hint = getattr(error, "hint", "")
        raise InputError([Problem("--until", 0, 0, str(error), hint)]) from None


def _parsed(text: str, columns: Mapping[str, Column]) -> Until:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(f'expected something like "{EXAMPLE}", found {describe(text)}')
    metric = match["metric"]
    column = columns.get(metric)
    if column is None or column.dtype == "str":
        message = f'there is no metric "{metric}"'
        raise InputError([Problem("--until", 0, 0, message, suggest(metric, columns))])
    bound, unit = parse_number(match["bound"])
    if bound <= 0:
        raise ValueError(f"expected a bound above 0, found {match['bound']}")
    if unit in ("bytes", "ns") and unit != column.unit:
        raise ValueError(f'metric "{metric}" is not in {unit}')
    return Until(text, metric, column, float(bound), unit == "%" and not is_ratio(column))


def judge_until(until: Until, sides: Sequence[Side], baseline: Side) -> Reached:
    """Say whether a bound holds at every place and for every side, or where it holds least."""
    widest, why_not, blank = 1.0, "", False
    for where, half, mean in _halves(until, sides, baseline):
        bound = until.bound * abs(mean) if until.relative else until.bound
        share = _share(half, bound)
        if share >= widest:
            widest, why_not = share, _why_not(until, where, half, bound)
        blank = blank or math.isnan(mean)
    return Reached(why_not, blank)


def _share(half: float, bound: float) -> float:
    """Measure half a width in bounds, which are 0 or NaN where the baseline's mean is."""
    if not half or math.isinf(half):
        return half
    return half / bound if bound else math.inf


def _why_not(until: Until, where: str, half: float, bound: float) -> str:
    if math.isinf(half):
        return f"{where}: fewer than two values of {until.metric}"
    scale, unit = (100, " %") if is_ratio(until.column) else (1, "")
    return f"{where}: {scale * half:.3g}{unit} is not below {scale * bound:.3g}{unit}"


def _halves(
    until: Until, sides: Sequence[Side], baseline: Side
) -> Iterator[tuple[str, float, float]]:
    """Yield place, half width, and the baseline's mean (NaN if there is none) of each interval."""
    others = [side for side in sides if side is not baseline] or [baseline]
    for point, before in baseline.trials.items():
        for side in others:
            after = side.trials.get(point, {})
            seeds = [s for s in after if until.metric in after[s]]
            seeds = [s for s in seeds if until.metric in before.get(s, {})]
            where = ", ".join([side.label, *(f"{path} = {value}" for path, value in point)])
            first = [before[s][until.metric] for s in seeds]
            mean = math.fsum(first) / len(first) if first else math.nan
            if side is baseline:
                half: float | None = half_width(first)
            elif first:
                values = [after[s][until.metric] for s in seeds]
                half = paired(first, values, exact=nothing_varies(before, after)).half
            else:
                half = None
            yield where, math.inf if half is None else half, mean


def with_enough_seeds(
    scenario: Scenario,
    until: Until,
    *,
    baseline: str | None,
    most: int,
    out: Path,
    how: How,
    watched: Callable[[], AbstractContextManager[Watcher]],
    cache: bool = True,
    fail_fast: bool = False,
) -> tuple[Scenario, Reached]:
    """Carry out trials with more and more seeds until the bound holds; keep each of them.

    ``watched`` gives the watcher of one round. Returns the scenario with the seeds that were
    needed, at most ``most`` unless it has more itself. The tables of a run are not written.
    """
    if most > len(scenario.seeds):
        scenario = _with_seeds(scenario, min(most, max(FEWEST_SEEDS, len(scenario.seeds))))
    store = TrialStore(out)
    carried_out: set[str] = set()
    while True:
        planned = [
            replace(one, kept=store.get(one.trial)) if one.trial.name in carried_out else one
            for one in plan(scenario, store, cache=cache)
        ]
        with watched() as watcher:
            results = results_of(
                scenario, planned, out=out, how=how, cache=cache, fail_fast=fail_fast,
                watcher=watcher,
            )  # fmt: skip
        _forget_round(out, scenario)
        carried_out |= {one.trial.name for one in planned}
        sides = sides_of_results(zip((one.trial for one in planned), results, strict=True))
        base = next(s for s in sides if s.label == (baseline or scenario.baseline))
        reached = judge_until(until, sides, base)
        failed = any(side.failed for side in sides)
        if reached.holds or reached.blank or failed or len(scenario.seeds) >= most:
            return scenario, reached
        scenario = _with_seeds(scenario, min(most, math.ceil(1.5 * len(scenario.seeds))))


def _with_seeds(scenario: Scenario, count: int) -> Scenario:
    seeds = scenario.seeds
    more = range(max(seeds) + 1, max(seeds) + 1 + count - len(seeds))
    return scenario.with_seeds((*seeds, *more))


def _forget_round(out: Path, scenario: Scenario) -> None:
    """Take away the folder in which a run was begun that nobody asked for: its trials are kept."""
    folder = run_folder(out, scenario)
    if not is_complete(folder) and folder.is_dir():
        (folder / UNFINISHED).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
