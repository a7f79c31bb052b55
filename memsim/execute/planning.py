"""Which trials of a scenario run, and why."""

from __future__ import annotations

from dataclasses import dataclass

from memsim.results.store import Kept, TrialStore
from memsim.scenario import Scenario, Trial


@dataclass(frozen=True)
class Planned:
    """A trial, and what will become of it."""

    trial: Trial
    kept: Kept | None
    """What an earlier run has kept; None if the trial runs."""
    why: str
    """The reason, as a user reads it."""


def plan(scenario: Scenario, store: TrialStore, *, cache: bool = True) -> list[Planned]:
    """Say for each trial, in trial order, whether it runs.

    Without ``cache`` all run. A trial that failed runs again.
    """
    return [_planned(trial, store, cache) for trial in scenario.trials()]


def _planned(trial: Trial, store: TrialStore, cache: bool) -> Planned:
    if not cache:
        return Planned(trial, None, "runs: --no-cache")
    kept = store.get(trial)
    if kept is None:
        return Planned(trial, None, "runs: no result is kept")
    if kept.result.status == "failed":
        return Planned(trial, None, f"runs: it failed last time: {kept.result.error}")
    return Planned(trial, kept, "is kept")
