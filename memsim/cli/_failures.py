"""The trials that failed, each with the command that carries it out again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import click

from memsim.errors import visible
from memsim.execute import Done
from memsim.execute.runner import where
from memsim.scenario import Scenario, Trial

MOST = 20
"""More are only counted."""


def print_failures(failures: Sequence[Done], scenario: Scenario, ctx: click.Context) -> None:
    """Say what failed, why, and how to run just that again; in trial order."""
    order = {trial.name: i for i, trial in enumerate(scenario.trials())} if failures else {}
    listed = sorted(failures, key=lambda done: order[done.trial.name])
    for done in listed[:MOST]:
        click.echo(visible(f"failed: {where(done.trial)}: {done.result.error}"), err=True)
        again = again_command(done.trial, scenario, ctx.params)
        click.echo(f"  again: {visible(again)}", err=True)
    if len(listed) > MOST:
        click.echo(f"and {len(listed) - MOST} more, which trials.csv has", err=True)


def again_command(trial: Trial, scenario: Scenario, given: dict[str, Any]) -> str:
    """Write the command that carries out one trial; ``given`` are the parameters of this one.

    Policies that an axis speaks of come along: without them the point would be another.
    """
    spoken_of = {path.split(".")[1] for path in scenario.axes if path.startswith("policies.")}
    policies = [name for name in scenario.policies if name == trial.policy or name in spoken_of]
    options = [("--policy", ",".join(policies)), ("--seeds", str(trial.seed))]
    options += [("--point", f"{path}={value}") for path, value in trial.point]
    options += [("--set", text) for text in given["sets"]]
    options += [("--plugin", file) for file in given["plugin_files"]]
    options += [("--out", str(given["out"]))]
    return shlex.join(["memsim", "run", given["scenario"], *(f"{o}={v}" for o, v in options)])
