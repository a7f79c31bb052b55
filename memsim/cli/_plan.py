"""What ``memsim run --dry-run`` and ``--why`` print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli._answer import head_line
from memsim.cli._display import duration_text
from memsim.errors import visible
from memsim.execute import Planned
from memsim.execute.estimate import Forecast
from memsim.results.answer import size_text
from memsim.scenario import Scenario

if TYPE_CHECKING:
    from memsim.execute import How


def print_plan(
    form: str,
    scenario: Scenario,
    planned: Sequence[Planned],
    how: How,
    found: Forecast,
    folder: Path,
    *,
    each: bool,
) -> None:
    """Print what would run, what it needs and where results would go.

    With ``each``, a line for each trial says why.
    """
    if form == "json":
        click.echo(as_json(scenario, planned, how, found, folder))
        return
    lines = [head_line(scenario), ""]
    if each:
        lines += [*trial_lines(planned), ""]
    lines += ["  " + line for line in summary(how, found)]
    click.echo("\n".join([*lines, "", visible(f"{folder}   nothing was carried out or written")]))


def trial_lines(planned: Sequence[Planned]) -> list[str]:
    """Say of each trial what becomes of it and why."""
    places = [_place(one) for one in planned]
    width = max(map(len, places), default=0)
    rows = zip(places, planned, strict=True)
    return [f"  {place:<{width}}  {visible(one.why)}" for place, one in rows]


def _place(one: Planned) -> str:
    point = [f"{path} = {value}" for path, value in one.trial.point]
    return visible(", ".join([one.trial.policy, *point, f"seed {one.trial.seed}"]))


def summary(how: How, found: Forecast) -> list[str]:
    """Say how much there is to do and what it takes."""
    failed = f", {found.failed} of which failed last time" if found.failed else ""
    lines = [f"{found.run} to run{failed}, {found.kept} kept"]
    if found.run:
        most = f"at most {size_text(found.trial_bytes)} a trial"
        total = f"{size_text(found.total_bytes)} for {found.jobs} at a time"
        there = (
            "on other computers" if how.scheduler else f"{size_text(found.available_bytes)} here"
        )
        lines.append(f"memory: {most}, {total} ({how.executor}), of {there}")
        took = f"about {duration_text(found.seconds)}" if found.seconds >= 1 else "under a second"
        time = f"time: {took} ({found.source})"
        lines.append(time + ", if one worker did it all" * bool(how.scheduler))
    return lines


def as_json(
    scenario: Scenario, planned: Sequence[Planned], how: How, found: Forecast, folder: Path
) -> str:
    """Write everything for programs; sizes in bytes, times in seconds."""
    data = {
        "scenario": scenario.name,
        "folder": str(folder),
        "policies": list(scenario.policies),
        "axes": {path: len(values) for path, values in scenario.axes.items()},
        "seeds": list(scenario.seeds),
        "executor": how.executor,
        **{name: value for name, value in vars(found).items() if name != "source"},
        "time_from": found.source,
        "trials": [
            {
                "name": one.trial.name,
                "policy": one.trial.policy,
                "point": dict(one.trial.point),
                "seed": one.trial.seed,
                "runs": one.kept is None,
                "why": one.why,
            }
            for one in planned
        ],
    }
    return json.dumps(data, indent=2)
