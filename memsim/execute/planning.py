"""Which trials of a scenario run, and why."""

from __future__ import annotations

from dataclasses import dataclass

from memsim.execute.history import History, changed
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
    failed: bool = False
    """It runs because it failed last time."""


def plan(
    scenario: Scenario,
    store: TrialStore,
    *,
    cache: bool = True,
    check: bool = False,
    history: History | None = None,
) -> list[Planned]:
    """Say for each trial, in trial order, whether it runs.

    All run without ``cache``, and with ``check``, which verifies the allocator's invariants. A
    trial that failed runs again. With the scenario's ``history`` the reason names what has changed.
    """
    reason = "" if cache else "--no-cache"
    reason = "--check" if check else reason
    if reason:
        return [Planned(trial, None, f"runs: {reason}") for trial in scenario.trials()]
    return [_planned(trial, store, history) for trial in scenario.trials()]


def _planned(trial: Trial, store: TrialStore, history: History | None) -> Planned:
    kept = store.get(trial)
    path = store.path(trial.name)
    if kept is None and path.exists():
        return Planned(trial, None, f"runs: {path} is damaged, or of another version")
    if kept is None:
        return Planned(trial, None, f"runs: {_missing(trial, history)}")
    if kept.result.status == "failed":
        return Planned(trial, None, f"runs: it failed last time: {kept.result.error}", failed=True)
    return Planned(trial, kept, f"is kept: {path}")


def _missing(trial: Trial, history: History | None) -> str:
    earlier = history.newest(trial) if history else None
    if earlier is None:
        return "no result is kept"
    names = changed(trial, earlier)
    if not names:
        return f"the result that {earlier.folder} was made of is no longer kept"
    return f"{' and '.join(names)} changed since {earlier.folder}"
