"""Options of the commands that take a scenario, or print a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def scenario_options(
    policies: str = "Keep these policies.",
    seeds: str = "Instead of the scenario's seeds: 1..10.",
    sets: str = "Change one value.",
) -> Callable[[Any], Any]:
    """Give a command ``--policy``, ``--seeds`` and ``--set``, with what the help says of each."""
    options = (
        click.option("--policy", "policies", multiple=True, metavar="A,B", help=policies),
        click.option("--seeds", metavar="SEEDS", help=seeds),
        click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help=sets),
    )

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def table_option(command: Any) -> Any:
    """Give a command ``--format``, as its parameter ``form``: how its table is printed."""
    forms = click.Choice(["table", "markdown", "csv", "json"])
    return click.option("--format", "form", type=forms, default="table")(command)


def metric_option(command: Any) -> Any:
    """Give a command ``--metric``, as its parameter ``metrics``: what of an answer is shown."""
    text = "Show these metrics; * stands for any text (repeatable)."
    return click.option("--metric", "metrics", multiple=True, metavar="NAME", help=text)(command)
