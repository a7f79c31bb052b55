"""What ``memsim list policies`` can say beyond names: types of requests, and conformance."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from memsim.errors import visible

if TYPE_CHECKING:
    from rich.table import Table

    from memsim.conformance import Verdict

PIPE_WIDTH = 160


def print_types(names: Sequence[str], form: str) -> None:
    """Print the type of each class of requests under each policy."""
    from rich.table import Table
    from rich.text import Text

    from memsim.policies._classes import type_names

    types = {name: type_names(name) for name in names}
    if form == "json":
        click.echo(json.dumps(types, indent=2))
        return
    table = Table("", *names, box=None, pad_edge=False)
    for called in next(iter(types.values()), {}):
        table.add_row(called, *(Text(visible(types[name][called])) for name in names))
    _print(table)


def print_conformance(names: Sequence[str], form: str) -> bool:
    """Check policies and print what was found; say whether all is well."""
    from memsim.cli.warmup import compile_if_cold
    from memsim.conformance import verify

    compile_if_cold()
    verdicts = list(verify(names))
    if form == "json":
        click.echo(json.dumps([verdict._asdict() for verdict in verdicts], indent=2))
    else:
        _print(_conformance_table(verdicts))
        for v in verdicts:
            if v.ok is False:
                click.echo(visible(f"{v.policy} on {v.profile}: {v.check}: {v.text}"))
    return not any(verdict.ok is False for verdict in verdicts)


def _conformance_table(verdicts: Sequence[Verdict]) -> Table:
    from rich.table import Table

    from memsim.conformance import CHECKS

    table = Table("policy", "profile", *CHECKS, box=None, pad_edge=False)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for v in verdicts:
        rows.setdefault((v.policy, v.profile), {})[v.check] = _cell(v)
    for (policy, profile), cells in rows.items():
        table.add_row(policy, profile, *(cells[check] for check in CHECKS))
    return table


def _cell(verdict: Verdict) -> str:
    if verdict.ok is None:
        return "-"
    if not verdict.ok:
        return "[bold red]FAILS[/]"
    return verdict.text or "ok"


def _print(table: Table) -> None:
    from rich.console import Console

    # Colours are for terminals that do not refuse them, whole lines for what is not one.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(width=width, no_color="NO_COLOR" in os.environ, highlight=False).print(table)
