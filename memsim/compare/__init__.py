"""Which policy does better, and how sure is that: pairs of trials with the same random streams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from memsim.compare.agreement import common_columns, differing, refuse_unpaired
from memsim.compare.choose import choose_metrics, chosen_side
from memsim.compare.rows import Row, rows_of
from memsim.compare.samples import Side, side_of_whole_run, sides_of_run
from memsim.errors import InputError, Problem, suggest
from memsim.plugins import metric_columns
from memsim.results import Run
from memsim.scenario import Scenario
from memsim.units import describe

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["MARGIN", "Comparison", "Row", "compare", "failures", "refuse_request"]

MARGIN = 0.01
"""Relative difference that makes none."""


@dataclass(frozen=True)
class Comparison:
    """What became of each metric on each side, beside the baseline."""

    runs: tuple[Run, ...]
    sides: tuple[str, ...]
    """Policies of one run, or names of the runs; the baseline among them."""
    baseline: str
    rows: tuple[Row, ...]
    """By metric, place, side."""
    seeds: tuple[int, ...]
    """Of trials that have a counterpart."""
    margin: float
    notes: tuple[str, ...] = ()
    """Sentences on what a reader must know."""

    @property
    def tested(self) -> int:
        """How many rows were tested, and their p-values adjusted for that."""
        return sum(row.p is not None for row in self.rows)

    @property
    def axes(self) -> tuple[str, ...]:
        """What places are told apart by; "policy" where runs of several are compared."""
        paths = [path for row in self.rows for path, _ in row.point]
        return tuple(dict.fromkeys(paths))

    def records(self) -> list[dict[str, str | int | float | None]]:
        """Return the rows as plain data, in the units of their metrics."""
        return [_record(row) for row in self.rows]

    @property
    def table(self) -> DataFrame:
        """The rows, with a column for each axis."""
        import pandas

        return pandas.DataFrame.from_records(self.records())


def _record(row: Row) -> dict[str, str | int | float | None]:
    return {
        "metric": row.metric,
        "unit": row.column.unit,
        "better": row.column.better,
        **dict(row.point),
        "side": row.side,
        "pairs": row.n,
        "baseline_mean": row.baseline_mean,
        "mean": row.mean,
        "difference": row.difference,
        "low": row.low,
        "high": row.high,
        "relative": row.relative,
        "deviation": row.deviation,
        "effect": row.effect,
        "p_adjusted": row.p,
        "verdict": row.verdict,
        "more_seeds": row.more_seeds,
        "regret": row.regret,
    }


def compare(
    target: Run,
    *more: Run,
    policies: Sequence[str] = (),
    baseline: str | None = None,
    metrics: Sequence[str] = (),
    margin: float = MARGIN,
) -> Comparison:
    """Compare the policies of one run, or several runs, pair by pair of trials.

    A pair has the same seed and the same place on the axes; of runs also the same policy, unless
    each has one policy of its own. ``baseline`` is a policy or a run (its folder or name), else
    the first. ``metrics`` are names, with ``*`` and ``?``, else all of which more or less is
    better. ``margin`` is relative to the baseline's mean. Raises InputError if there is nothing
    to pair.
    """
    runs = (target, *more)
    columns = common_columns(runs)
    sides = _policies(target, policies, baseline) if not more else _runs(runs, policies)
    base = chosen_side(sides, baseline, [str(run.folder) for run in runs] if more else [])
    others = [side for side in sides if side is not base]
    refuse_unpaired(base, others, runs)
    chosen = choose_metrics(columns, metrics, sides)
    notes = differing(runs, [side.label for side in sides], [base, *others]) if more else []
    paired = {
        seed
        for side in others
        for point, trials in side.trials.items()
        for seed in trials.keys() & base.trials.get(point, {}).keys()
    }
    return Comparison(
        runs,
        tuple(side.label for side in sides),
        base.label,
        rows_of(sides, base, chosen, margin),
        tuple(sorted(paired)),
        margin,
        (*notes, *_failure_notes(sides)),
    )


def failures(run: Run) -> list[str]:
    """Say of each trial of a run that failed which it is, and why."""
    return [text for side in sides_of_run(run, run.manifest["policies"]) for text in side.failed]


def refuse_request(
    scenario: Scenario, baseline: str | None, metrics: Sequence[str], *, alone: bool
) -> None:
    """Raise InputError, before anything is simulated, for what ``compare`` would refuse.

    ``alone`` allows a single policy.
    """
    sides = [Side(policy) for policy in scenario.policies]
    chosen_side(sides, baseline, [])
    choose_metrics(metric_columns(), metrics, [])
    if not alone:
        _refuse_alone(sides, scenario.name)


def _policies(run: Run, policies: Sequence[str], baseline: str | None) -> list[Side]:
    known = list(run.manifest["policies"])
    _refuse_unknown(policies, known)
    wanted = [*policies, *([baseline] if policies and baseline else [])]
    sides = sides_of_run(run, [p for p in known if not wanted or p in wanted])
    _refuse_alone(sides, str(run.folder))
    return sides


def _refuse_alone(sides: Sequence[Side], place: str) -> None:
    if len(sides) < 2:
        message = f"there is one policy, {sides[0].label}, and nothing to compare it with"
        hint = "give a scenario with several policies, or several runs"
        raise InputError([Problem(place, 0, 0, message, hint)])


def _refuse_unknown(policies: Sequence[str], known: Sequence[str]) -> None:
    problems = [
        Problem("--policy", 0, 0, f"there is no policy {describe(name)}", suggest(name, known))
        for name in policies
        if name not in known
    ]
    if problems:
        raise InputError(problems)


def _runs(runs: Sequence[Run], policies: Sequence[str]) -> list[Side]:
    _refuse_unknown(policies, [policy for run in runs for policy in run.manifest["policies"]])
    each = [[p for p in run.manifest["policies"] if not policies or p in policies] for run in runs]
    common = set(each[0]).intersection(*each[1:])
    lone = not common and all(len(names) == 1 for names in each)
    if not common and not lone:
        texts = [f"{run.folder}: {', '.join(names)}" for run, names in zip(runs, each, strict=True)]
        message = f"the runs have no policy in common ({'; '.join(texts)})"
        hint = "choose one of each run by --policy, or run them again with one in common"
        raise InputError([Problem(str(runs[1].folder), 0, 0, message, hint)])
    labels = _labels(runs)
    return [
        side_of_whole_run(run, label, names, by_policy=not lone)
        for run, label, names in zip(runs, labels, each, strict=True)
    ]


def _labels(runs: Sequence[Run]) -> list[str]:
    """Call each run by as much of the end of its path as tells it from the others."""
    paths = [run.folder.resolve().parts for run in runs]
    for length in range(1, max(map(len, paths)) + 1):
        labels = ["/".join(parts[-length:]) for parts in paths]
        if len(set(labels)) == len(labels):
            return labels
    hint = "give each run once"
    raise InputError([Problem(str(runs[-1].folder), 0, 0, "the same run is given twice", hint)])


def _failure_notes(sides: Sequence[Side]) -> list[str]:
    counts = [(side, sum(map(len, side.trials.values()))) for side in sides]
    return [
        f"{len(side.failed)} of {count} trials of {side.label} failed; their pairs are left out"
        for side, count in counts
        if side.failed
    ]


class _Compare(ModuleType):
    """This module, which is also the public function of its name."""

    __call__ = staticmethod(compare)


sys.modules[__name__].__class__ = _Compare
