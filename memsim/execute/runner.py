"""A run: plan, carry out what is not kept, keep what ends, write the tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from memsim.errors import InputError, TrialError
from memsim.execute.executors import How, carry_out_all
from memsim.execute.planning import Planned, plan
from memsim.execute.task import Done
from memsim.execute.watch import Unwatched, Watcher
from memsim.plugins import PluginTimeout
from memsim.results import Run, begin, is_complete, read_results, save
from memsim.results.places import refuse_links
from memsim.results.store import UNFINISHED, Kept, TrialStore, check_place, run_folder
from memsim.scenario import Scenario, Trial
from memsim.simulate import TrialResult


def run(
    scenario: Scenario,
    *,
    out: Path | str = "results",
    how: How | None = None,
    cache: bool = True,
    force: bool = False,
    fail_fast: bool = False,
    watcher: Watcher | None = None,
    planned: Sequence[Planned] | None = None,
) -> Run:
    """Carry out a scenario and save its results below ``out``; return them.

    Trials that any earlier run has kept there are not repeated while ``cache`` is set; with
    ``how.check`` all are, and their invariants verified. ``planned`` is what ``plan`` says of that,
    if it was asked already. What is written is not written again without ``force``. Raises
    InputError if no trial can be carried out with this input, and with ``fail_fast`` TrialError for
    the first that fails.
    """
    how = how or How()
    began, clock = datetime.now(UTC), time.monotonic()
    folder = run_folder(Path(out), scenario)
    if planned is None:
        planned = plan(scenario, TrialStore(Path(out)), cache=cache, check=how.check)
    fresh = not how.check and any(one.kept is None for one in planned)
    writes = fresh or force or not _is_written(folder)
    if writes:
        check_place(folder)
    results = results_of(
        scenario, planned, out=out, how=how, cache=cache, fail_fast=fail_fast, watcher=watcher
    )
    if writes:
        about = {
            "started": began.isoformat(timespec="seconds"),
            "wall_time_s": round(time.monotonic() - clock, 3),
            "executor": how.executor,
            "jobs": how.jobs,
            "checked": how.check,
            "kept_trials": sum(one.kept is not None for one in planned),
        }
        trials = [one.trial for one in planned]
        save(folder, scenario, list(zip(trials, results, strict=True)), about)
    return read_results(folder)


def _is_written(folder: Path) -> bool:
    """Say whether the tables of a run are there, and will not change for the trials now kept."""
    if not is_complete(folder) or (folder / UNFINISHED).exists():
        return False
    # A trial that failed then may have been carried out since, by another run.
    return read_results(folder).failed == 0


def results_of(
    scenario: Scenario,
    planned: Sequence[Planned],
    *,
    out: Path | str,
    how: How,
    cache: bool = True,
    fail_fast: bool = False,
    watcher: Watcher | None = None,
) -> list[TrialResult]:
    """Carry out what is planned, keeping each trial as it ends; return all results in trial order.

    The tables of the run are not written. Errors as those of ``run``.
    """
    watcher = watcher or Unwatched()
    watcher.planned(list(planned))
    store, folder = TrialStore(Path(out)), run_folder(Path(out), scenario)
    refuse_links(Path(out), folder)
    results = {one.trial.name: one.kept.result for one in planned if one.kept is not None}
    if len(results) < len(planned):
        check_place(store.folder)
    keeper = _Keeper(scenario, folder, store, marks=not (how.check and is_complete(folder)))
    refusals: list[InputError] = []

    def missing() -> Iterator[Trial]:
        for one in planned:
            if one.trial.name in results:
                continue
            # Another runner may have finished it meanwhile.
            kept = store.get(one.trial) if cache and not how.check else None
            if kept is None or kept.result.status == "failed":
                yield one.trial
            else:
                results[one.trial.name] = kept.result
                watcher.ends(Done(one.trial, kept.result, kept.seconds))

    with closing(carry_out_all(missing(), how, watcher)) as finished:
        for done in finished:
            if isinstance(done.error, InputError):
                refusals.append(done.error)
            else:
                keeper.keep(done)
            results[done.trial.name] = done.result
            watcher.ends(done)
            _stop_if_due(done, fail_fast=fail_fast)
    if refusals and len(refusals) == len(planned):
        problems = [problem for refusal in refusals for problem in refusal.problems]
        raise InputError(list(dict.fromkeys(problems)))
    return [results[one.trial.name] for one in planned]


@dataclass
class _Keeper:
    """Keeps what ends."""

    scenario: Scenario
    folder: Path
    store: TrialStore
    marks: bool
    """The folder of the run is still to be marked as unfinished."""

    def keep(self, done: Done) -> None:
        """Keep a trial; one that has failed takes the place of none that went well."""
        if done.result.status == "failed":
            before = self.store.get(done.trial)
            if before is not None and before.result.status == "ok":
                return
        if self.marks:
            begin(self.folder, self.scenario)
            self.marks = False
        self.store.put(done.trial, Kept(done.result, done.seconds))


def _stop_if_due(done: Done, *, fail_fast: bool) -> None:
    """Raise what ends the whole run."""
    if isinstance(done.error, PluginTimeout):
        raise done.error
    if fail_fast and done.result.status == "failed":
        raise done.error or TrialError(f"stopped: {where(done.trial)}: {done.result.error}")


def where(trial: Trial) -> str:
    """Say which of a scenario's trials it is."""
    point = [f"{path} = {value}" for path, value in trial.point]
    return ", ".join([f"policy {trial.policy}", *point, f"seed {trial.seed}"])
