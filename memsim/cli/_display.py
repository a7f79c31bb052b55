"""How the progress of a run looks on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memsim.cli._progress import Progress
from memsim.errors import visible
from memsim.scenario import Trial

BAR_WIDTH = 30
MOST_WORKERS = 32
OTHER_LINES = 4
"""Of the terminal, that are not for workers."""


def display(progress: Progress, now: float, height: int) -> RenderableType:
    """Show all trials in a line, then a line for each worker that has a name."""
    head = Table.grid(padding=(0, 2))
    total = progress.trials or None
    behind = progress.kept + progress.completed
    bar = ProgressBar(total=total, completed=behind, width=BAR_WIDTH)
    head.add_row("simulating", bar, *map(Text, counts(progress)), *map(Text, rates(progress, now)))
    room = min(MOST_WORKERS, max(height - OTHER_LINES, 1))
    return Group(head, *workers(progress, room))


def counts(progress: Progress) -> list[str]:
    """Say how many trials there are of each kind; kinds without any are left out."""
    kinds = {
        "running": len(progress.shares),
        "failed": len(progress.failures),
        "kept": progress.kept,
    }
    done = f"{progress.kept + progress.done}/{progress.trials} trials"
    return [done, *(f"{count} {kind}" for kind, count in kinds.items() if count)]


def rates(progress: Progress, now: float) -> list[str]:
    """Say how fast it goes and what is left, as far as that is known."""
    events, left = progress.events_per_second(now), progress.seconds_left(now)
    texts = [] if events is None else [f"{events / 1e6:.1f} M events/s"]
    return texts if left is None else [*texts, f"{duration_text(left)} left"]


def duration_text(seconds: float) -> str:
    """Write a time with its two largest units: ``41 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = max(round(seconds), 0)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {m} min"
    return f"{m} min {s} s" if minutes else f"{s} s"


def workers(progress: Progress, room: int) -> list[RenderableType]:
    """Say what each worker does and how many trials it has ended."""
    named = [(name, trial) for name, trial in list(progress.workers.items()) if name]
    if not named:
        return []
    table = Table.grid(padding=(0, 2))
    for name, trial in sorted(named, key=_by_number)[:room]:
        ended = f"{progress.ended_by.get(name, 0)} done"
        share = "" if trial is None else f"{100 * progress.shares.get(trial.name, 0):.0f} %"
        title = f"worker {name}" if name.isdecimal() else visible(name)
        cells = (f"  {title}", ended, share, trial_text(trial))
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    more = len(named) - room
    return [table, *([Text(f"  and {more} more workers")] if more > 0 else [])]


def _by_number(item: tuple[str, Trial | None]) -> tuple[int, str]:
    """Put worker 2 before worker 10."""
    return len(item[0]), item[0]


def trial_text(trial: Trial | None) -> str:
    """Write policy, axis point and seed of what a worker does."""
    if trial is None:
        return "idle"
    return visible(", ".join([trial.policy, *(v for _, v in trial.point), f"seed {trial.seed}"]))
