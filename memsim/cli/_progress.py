"""What a run shows on a terminal while it goes on."""

from __future__ import annotations

import time

from memsim.errors import MemsimError
from memsim.execute import Done, Planned
from memsim.scenario import Trial

EARLY = 0.05
"""Of one trial: before, nothing is said of the time left."""


class Progress:
    """Counts what becomes of trials; hears of one or several rounds of them."""

    def __init__(self) -> None:
        self.trials = 0
        self.kept = 0
        """By earlier runs."""
        self.ended: dict[str, Done] = {}
        """By the trial's name, in the order in which they ended."""
        self.shares: dict[str, float] = {}
        """Of the trials that are running, by name."""
        self.workers: dict[str, Trial | None] = {}
        """What each worker is doing, if anything."""
        self.ended_by: dict[str, int] = {}
        """Trials that each worker has carried out."""
        self.began: float | None = None
        """When the first trial got on: until then, processes load their libraries."""
        self.interrupted = False

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return len(self.ended)

    @property
    def failures(self) -> list[Done]:
        """Trials that have failed."""
        return [done for done in list(self.ended.values()) if done.result.status == "failed"]

    @property
    def bugs(self) -> list[Exception]:
        """What was raised by memsim's own mistakes."""
        errors = [done.error for done in self.failures]
        return [e for e in errors if e is not None and not isinstance(e, MemsimError)]

    @property
    def completed(self) -> float:
        """Trials that have ended, with the parts of those that are running."""
        return self.done + sum(list(self.shares.values()))

    def events_per_second(self, now: float) -> float | None:
        """Return the events of the trials so far by time; None if it cannot be said yet."""
        events = [done.result.events for done in list(self.ended.values())]
        if self.began is None or not events or now <= self.began:
            return None
        each = sum(events) / len(events)
        return each * self.completed / (now - self.began)

    def seconds_left(self, now: float) -> float | None:
        """Return the time that the rest will take at the rate so far; None if that is too early."""
        if self.began is None or self.completed < EARLY:
            return None
        rest = max(self.trials - self.kept - self.completed, 0.0)
        return rest * (now - self.began) / self.completed

    def planned(self, trials: list[Planned]) -> None:
        """Count what runs and what is kept."""
        self.trials = len(trials)
        kept = [one.trial.name for one in trials if one.kept is not None]
        self.kept = sum(name not in self.ended for name in kept)

    def begins(self, trial: Trial, worker: str) -> None:
        """Note a trial that is running."""
        self._release(trial)
        self.shares[trial.name] = 0.0
        self.workers[worker] = trial

    def advances(self, trial: Trial, share: float) -> None:
        """Note how far a trial has come."""
        self.began = self.began or time.monotonic()
        self.shares[trial.name] = share

    def ends(self, done: Done) -> None:
        """Count a trial that has ended; raises KeyboardInterrupt if that was not heard before.

        Python swallows what a signal raises in a finalizer or in another library's callback.
        """
        self.began = self.began or time.monotonic() - done.seconds
        self.shares.pop(done.trial.name, None)
        self.ended[done.trial.name] = done
        self._release(done.trial)
        self.ended_by[done.worker] = self.ended_by.get(done.worker, 0) + 1
        if self.interrupted:
            raise KeyboardInterrupt

    def _release(self, trial: Trial) -> None:
        """Note that no worker has a trial, not even one that was lost with it."""
        for worker, other in list(self.workers.items()):
            if other is not None and other.name == trial.name:
                self.workers[worker] = None
