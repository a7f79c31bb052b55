"""Whose pages kept memory blocks from going: found by carrying out trials again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memsim.explain.removals import Group, views
from memsim.results import Run
from memsim.scenario import Trial
from memsim.simulate.retrace import retrace

NS = 1e9


@dataclass(frozen=True)
class Owned:
    """A memory block of one trial, and whose pages stood in its way."""

    run: str
    policy: str
    point: str
    block: int
    texts: tuple[str, ...]


def mapped_trials(run: Run) -> Iterator[Trial]:
    """Yield the trials whose map a report shows: the first seed at each place."""
    seen = set()
    for trial in run.scenario.trials():
        if (trial.policy, trial.point) not in seen:
            seen.add((trial.policy, trial.point))
            yield trial


def owned_blocks(run: Run, trial: Trial) -> list[Owned]:
    """Carry out a trial, twice, and say of each block that was to go whose pages kept it.

    Raises TrialError for a trial that cannot be carried out.
    """
    last = {one.row.block: one for one in retrace(trial).removed}
    found = [one for one in last.values() if one.outcome.obstacles]
    if not found:
        return []
    point = ", ".join(value for _, value in trial.point)
    return [
        Owned(str(run.folder), trial.policy, point, view.row.block, tuple(map(_text, view.groups)))
        for view in views(trial, found)
    ]


def _text(group: Group) -> str:
    whose = f"of {group.workload} ({group.use})" if group.workload else "from before the start"
    since = group.since_ns[0]
    when = f", the first since {since / NS:.3g} s" if since >= 0 else ""
    pages = "1 page" if group.pages == 1 else f"{group.pages:,} pages"
    return f"{pages} {whose}: {group.reason}{when}; first pfn {group.first_pfns[0]}"
