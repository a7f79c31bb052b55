"""Check scenario files and say everything that is wrong with them."""

from __future__ import annotations

import click

from memsim.cli import _completing
from memsim.cli._plugins import plugin_option
from memsim.cli._scenario import scenario_options
from memsim.errors import InputError, Problem, visible


@click.command("validate")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...",
                shell_complete=_completing.scenarios)  # fmt: skip
@scenario_options()
@plugin_option
def command(
    scenarios: tuple[str, ...], sets: tuple[str, ...], policies: tuple[str, ...], seeds: str | None
) -> None:
    """Check scenarios, given by file or by the name of a shipped one."""
    from memsim.load import find_scenario, load_scenario

    problems: list[Problem] = []
    for name in scenarios:
        try:
            path = find_scenario(name)
            scenario = load_scenario(path, sets=sets, policies=policies, seeds=seeds)
        except InputError as error:
            problems += error.problems
            continue
        count = scenario.trial_count
        click.echo(f"{visible(str(path))}: OK, {count} {'trial' if count == 1 else 'trials'}")
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
