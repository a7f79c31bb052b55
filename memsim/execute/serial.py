"""Trials one by one, in this thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from memsim.execute.executors import How
from memsim.execute.task import Done, carry_out
from memsim.execute.watch import Watcher
from memsim.scenario import Trial


def carry_out_all(trials: Iterator[Trial], how: How, watcher: Watcher) -> Generator[Done]:
    """Carry out one trial after the other."""
    for trial in trials:
        watcher.begins(trial, "")

        def tick(share: float, trial: Trial = trial) -> None:
            watcher.advances(trial, share)

        yield carry_out(trial, check=how.check, tick=tick)
