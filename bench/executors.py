"""What each executor adds to a trial, and how much faster two workers are than one."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import NamedTuple

from memsim.execute import Done, Executor, How, carry_out_all
from memsim.execute.watch import Unwatched
from memsim.load import find_scenario, load_scenario, load_text
from memsim.scenario import Trial

LITTLE = """
memsim: 1
name: little
duration: 1ms
policies: {none: {placement: none}}
machine:
  nodes: [{id: 0, cpus: 0, memory: 64MiB}]
"""
SIDE_BY_SIDE: tuple[Executor, ...] = ("threads", "processes", "dask")
"""The executors that have several trials at a time."""


class Took(NamedTuple):
    """What trials took on an executor."""

    start: float
    """Wall seconds to the first answer, without the trial's own."""
    overhead: float
    """Wall seconds per trial after that, without the trial's own."""


def little_trials(count: int) -> Iterator[Trial]:
    """Yield trials in which next to nothing happens."""
    scenario = load_text(LITTLE, "little.yaml", ".", seeds=f"1..{count}")
    return scenario.trials()


def long_trials() -> Iterator[Trial]:
    """Yield more trials of over half a second than anybody will wait for."""
    rate = "workloads.kernel.rate=20000/s"
    first_look = find_scenario("first-look")
    return load_scenario(first_look, policies=["none"], seeds="1..1000", sets=[rate]).trials()


def _answers(trials: Iterator[Trial], how: How) -> Generator[Done]:
    for done in carry_out_all(trials, how, Unwatched()):
        assert done.result.status == "ok", done.result.error
        yield done


def overhead(executor: Executor, count: int) -> Took:
    """Measure what an executor adds to each of so many trials, one at a time."""
    begin = time.perf_counter()
    answers = _answers(little_trials(count), How(executor, 1))
    first = next(answers)
    start = time.perf_counter()
    # The last answer comes before the executor ends what it began.
    own = sum(next(answers).seconds for _ in range(count - 1))
    took = time.perf_counter() - start
    answers.close()
    return Took(start - begin - first.seconds, (took - own) / (count - 1))


def trials_per_second(executor: Executor, jobs: int, count: int) -> float:
    """Measure how many long trials end in a second of wall time, once all workers are at work."""
    answers = _answers(long_trials(), How(executor, jobs))
    for _ in range(jobs):
        next(answers)
    begin = time.perf_counter()
    for _ in range(count):
        next(answers)
    took = time.perf_counter() - begin
    answers.close()
    return count / took
