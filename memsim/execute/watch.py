"""Who watches a run: what an executor and a run tell of their trials."""

from __future__ import annotations

from typing import Protocol

from memsim.execute.planning import Planned
from memsim.execute.task import Done
from memsim.scenario import Trial


class Watcher(Protocol):
    """Hears what becomes of trials; may be called from any thread."""

    def planned(self, trials: list[Planned]) -> None:
        """Hear, once and first, which trials will run and which are kept already."""

    def begins(self, trial: Trial, worker: str) -> None:
        """Hear that a worker has begun a trial."""

    def advances(self, trial: Trial, share: float) -> None:
        """Hear which share of a trial's simulated time has passed."""

    def ends(self, done: Done) -> None:
        """Hear that a trial has ended and, unless it failed, is kept."""


class Unwatched:
    """Takes no notice."""

    def planned(self, trials: list[Planned]) -> None:
        """Take no notice of the plan."""

    def begins(self, trial: Trial, worker: str) -> None:
        """Take no notice of a trial that begins."""

    def advances(self, trial: Trial, share: float) -> None:
        """Take no notice of a trial that goes on."""

    def ends(self, done: Done) -> None:
        """Take no notice of a trial that ends."""
