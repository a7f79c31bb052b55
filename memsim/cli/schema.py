"""Print the JSON Schema of scenario files, for editors."""

from __future__ import annotations

import json

import click

from memsim.cli._plugins import plugin_option


@click.command("schema")
@click.option("--format", "form", type=click.Choice(["json", "markdown"]), default="json",
              help="markdown: a reference of all keys, for people.")  # fmt: skip
@plugin_option
def command(form: str) -> None:
    """Print the JSON Schema of scenario files, with the knobs of every policy and workload.

    An editor that knows it completes keys and marks errors.
    """
    if form == "markdown":
        from memsim.cli._reference import scenario_reference

        click.echo(scenario_reference())
        return
    from memsim.rules.vocabulary import scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))
