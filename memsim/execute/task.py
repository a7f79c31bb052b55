"""One trial, whatever becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from memsim.errors import InputError
from memsim.execute.inputs import refuse_changed
from memsim.scenario import Trial
from memsim.simulate import BATCH_SIZE, TrialResult, simulate

CHECK_EVERY = 20_000
"""Requests between two looks at all invariants."""


class Stopped(BaseException):
    """The run has ended before the trial; no handler of errors may take it for one."""


@dataclass(frozen=True)
class Done:
    """A trial that was carried out."""

    trial: Trial
    result: TrialResult
    seconds: float
    """Wall time."""
    worker: str = ""
    """Thread, process or computer that carried it out."""
    error: Exception | None = None
    """What was raised, if the trial failed so; the result then has it as text."""


def carry_out(
    trial: Trial, *, check: bool, tick: Callable[[float], None], worker: str = ""
) -> Done:
    """Simulate a trial; what goes wrong is its result.

    ``tick`` as that of ``simulated``.
    """
    return attempt(trial, lambda: simulated(trial, check=check, tick=tick), worker)


def simulated(
    trial: Trial, *, check: bool, tick: Callable[[float], None], worker: str = ""
) -> TrialResult:
    """Simulate a trial; raises InputError if its input files change before or meanwhile.

    ``tick`` hears the share of simulated time that has passed, and may raise Stopped. ``worker`` is
    who simulates, if that is not the runner itself.
    """
    size = CHECK_EVERY if check else BATCH_SIZE
    # A trial is kept under the digests of the files that its scenario was loaded with.
    refuse_changed(trial.scenario, worker)
    result = simulate(trial, batch_size=size, check=check, on_progress=tick)
    refuse_changed(trial.scenario, worker)
    return result


def attempt(trial: Trial, work: Callable[[], TrialResult], worker: str) -> Done:
    """Do what carries out a trial; what it raises is the trial's result.

    Stopped passes.
    """
    began = time.monotonic()
    error: Exception | None = None
    try:
        result = work()
    except InputError as refusal:
        error = refusal
        text = "; ".join(str(replace(problem, hint="")) for problem in refusal.problems)
        result = TrialResult("failed", text)
    except Exception as bug:
        bug.add_note(f"in the trial of policy {trial.policy}, seed {trial.seed}")
        text = f"a bug of memsim (--fail-fast shows where): {type(bug).__name__}: {bug}"
        error, result = bug, TrialResult("failed", text)
    return Done(trial, result, time.monotonic() - began, worker, error)


def lost(trial: Trial, why: str, worker: str, error: Exception | None = None) -> Done:
    """Say that nothing came back from where a trial was carried out."""
    return Done(trial, TrialResult("failed", why), 0.0, worker, error)
