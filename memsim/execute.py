"""Carry out trials, one by one or several at a time; the answers come in trial order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Literal

from memsim.results import Run, is_complete, read_results, save
from memsim.results.store import TrialStore, check_place, run_folder
from memsim.scenario import Scenario, Trial
from memsim.simulate import BATCH_SIZE, TrialResult, simulate

Executor = Literal["serial", "threads"]
CHECK_EVERY = 20_000
"""Requests between two looks at all invariants."""
OnDone = Callable[[Trial, TrialResult], None]
OnProgress = Callable[[Trial, float], None]


class _Stopped(Exception):
    """Another trial has ended the run."""


def map_trials(
    trials: Sequence[Trial],
    executor: Executor = "serial",
    jobs: int = 1,
    on_done: OnDone | None = None,
    *,
    check: bool = False,
    on_progress: OnProgress | None = None,
) -> list[TrialResult]:
    """Carry out all trials; return their results in the same order.

    ``on_done`` hears of each as it ends, in the calling thread; ``on_progress`` may be called from
    any. When anything is raised, running trials end at their next batch and waiting ones are
    dropped.
    """
    stop = Event()

    def one(trial: Trial) -> TrialResult:
        def tick(share: float) -> None:
            if stop.is_set():
                raise _Stopped
            if on_progress is not None:
                on_progress(trial, share)

        try:
            size = CHECK_EVERY if check else BATCH_SIZE
            return simulate(trial, batch_size=size, check=check, on_progress=tick)
        except Exception as error:
            error.add_note(f"in the trial of policy {trial.policy}, seed {trial.seed}")
            raise

    done = on_done or _nobody_asked
    if executor == "serial":
        results = []
        for trial in trials:
            results.append(one(trial))
            done(trial, results[-1])
        return results
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, trial): trial for trial in trials}
        try:
            for future in as_completed(futures):
                done(futures[future], future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _nobody_asked(trial: Trial, result: TrialResult) -> None:
    """Take no notice of a trial that ends."""


def run(
    scenario: Scenario,
    *,
    out: Path | str = "results",
    jobs: int = 1,
    check: bool = False,
    force: bool = False,
    on_done: OnDone | None = None,
    on_progress: OnProgress | None = None,
) -> Run:
    """Carry out a scenario and save its results below ``out``; return them.

    Trials that an earlier run has finished are not repeated, and nothing that is there is written
    again, unless ``force`` is set; with ``check`` all are repeated, and their invariants verified.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    folder = run_folder(Path(out), scenario)
    store = TrialStore(folder)
    trials = list(scenario.trials())
    kept = {} if force else {t.name: r for t in trials if (r := store.get(t)) is not None}
    results = {} if check else dict(kept)

    def keep(trial: Trial, result: TrialResult) -> None:
        if trial.name not in kept:
            store.put(trial, result)
        results[trial.name] = result
        if on_done is not None:
            on_done(trial, result)

    waiting = [trial for trial in trials if trial.name not in results]
    if waiting:
        check_place(folder)
    executor: Executor = "threads" if jobs > 1 else "serial"
    map_trials(waiting, executor, jobs, keep, check=check, on_progress=on_progress)
    if force or not is_complete(folder):
        about = {
            "started": began.isoformat(timespec="seconds"),
            "wall_time_s": round(time.monotonic() - clock, 3),
            "executor": executor,
            "jobs": jobs,
            "checked": check,
            "resumed_trials": len(trials) - len(waiting),
        }
        save(folder, scenario, [(trial, results[trial.name]) for trial in trials], about)
    return read_results(folder)
