"""What a run shows on a terminal while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from memsim.errors import MemsimError
from memsim.execute import Done, Planned
from memsim.scenario import Trial


class Progress:
    """Counts what becomes of trials."""

    def __init__(self) -> None:
        self.trials = 0
        self.kept = 0
        self.done = 0
        self.failed = 0
        self.shares: dict[str, float] = {}
        """Of the trials that are running, by name."""
        self.bugs: list[Exception] = []
        """What was raised by memsim's own mistakes."""

    @property
    def completed(self) -> float:
        """Trials that are behind us, with the parts of those that are running."""
        return self.kept + self.done + sum(list(self.shares.values()))

    def planned(self, trials: list[Planned]) -> None:
        """Count what runs and what is kept."""
        self.trials = len(trials)
        self.kept = sum(one.kept is not None for one in trials)

    def begins(self, trial: Trial, worker: str) -> None:
        """Note a trial that is running."""
        self.shares[trial.name] = 0.0

    def advances(self, trial: Trial, share: float) -> None:
        """Note how far a trial has come."""
        self.shares[trial.name] = share

    def ends(self, done: Done) -> None:
        """Count a trial that has ended."""
        self.shares.pop(done.trial.name, None)
        self.done += 1
        self.failed += done.result.status == "failed"
        if done.error is not None and not isinstance(done.error, MemsimError):
            self.bugs.append(done.error)


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Show a bar on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Event, Thread

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    over = Event()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def refresh() -> None:
            while not over.wait(0.1):
                bar.update(task, total=progress.trials, completed=round(progress.completed, 1))

        thread = Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
