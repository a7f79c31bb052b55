"""Print the JSON Schema of scenario files, for editors."""

from __future__ import annotations

import json

import click

from memsim.cli._plugins import plugin_option


@click.command("schema")
@plugin_option
def command() -> None:
    """Print the JSON Schema of scenario files, with the knobs of every policy and workload.

    An editor that knows it completes keys and marks errors.
    """
    from memsim.rules.vocabulary import scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))
