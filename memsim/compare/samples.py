"""The values that are compared: by side, by place on the axes, by seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memsim.results import Run
from memsim.scenario import Point, Trial
from memsim.schema import Column
from memsim.simulate import TrialResult

POLICY = "policy"
Values = Mapping[str, float]
"""The metrics of one trial that are not blank."""


@dataclass
class Side:
    """What stands on one side of a comparison."""

    label: str
    trials: dict[Point, dict[int, Values]] = field(default_factory=dict)
    """By place and seed; a failed trial has no values."""
    failed: list[str] = field(default_factory=list)
    """A sentence for each trial that failed."""

    def add(self, point: Point, seed: int, values: Values, error: str | None) -> None:
        """Add a trial; ``error`` is why it failed, with which it has no values."""
        if error is not None:
            where = "".join(f", {path} {value}" for path, value in point)
            self.failed.append(f"{self.label}{where}, seed {seed}: {error}")
        self.trials.setdefault(point, {})[seed] = values


def sides_of_results(finished: Iterable[tuple[Trial, TrialResult]]) -> list[Side]:
    """Take the policies of results for sides."""
    sides: dict[str, Side] = {}
    for trial, result in finished:
        metrics = result.metrics.items()
        values = {name: float(value) for name, value in metrics if value is not None}
        error = result.error if result.status == "failed" else None
        side = sides.setdefault(trial.policy, Side(trial.policy))
        side.add(trial.point, trial.seed, values, error)
    return list(sides.values())


def sides_of_run(run: Run, policies: Sequence[str]) -> list[Side]:
    """Take the policies of a run for sides."""
    sides = {policy: Side(policy) for policy in policies}
    for policy, point, seed, values, error in _trials(run):
        if policy in sides:
            sides[policy].add(point, seed, values, error)
    return list(sides.values())


def side_of_whole_run(run: Run, label: str, policies: Sequence[str], *, by_policy: bool) -> Side:
    """Take a run for a side; ``by_policy`` makes each policy a place of its own."""
    side = Side(label)
    for policy, point, seed, values, error in _trials(run):
        if policy in policies:
            place = ((POLICY, policy), *point) if by_policy else point
            side.add(place, seed, values, error)
    return side


def _trials(run: Run) -> Iterator[tuple[str, Point, int, Values, str | None]]:
    numeric = [name for name, column in run.metric_columns.items() if column.dtype != "str"]
    for row in run.trial_rows():
        point = tuple((axis, row[axis]) for axis in run.axes)
        values = {name: float(row[name]) for name in numeric if row[name]}
        error = row["error"] if row["status"] == "failed" else None
        yield row["policy"], point, int(row["seed"]), values, error


def telling(sides: Sequence[Side], columns: Mapping[str, Column]) -> list[str]:
    """Name the metrics that are neither blank nor 0 everywhere."""
    seen = {
        name
        for side in sides
        for by_seed in side.trials.values()
        for values in by_seed.values()
        for name, value in values.items()
        if value
    }
    return [name for name in columns if name in seen]
