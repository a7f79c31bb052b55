"""Carry out a run again from its folder and say whether its tables are the same."""

from __future__ import annotations

from pathlib import Path

import click

from memsim.cli import _completing
from memsim.cli._how import Wanted, how_options, shown
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.errors import visible

DIFFERS = 1


@click.command()
@click.argument("run", metavar="RUN", shell_complete=_completing.runs)
@out_option("Where results are")
@how_options
@plugin_option
@click.pass_context
def command(ctx: click.Context, run: str, out: Path, wanted: Wanted) -> None:
    """Carry out a run again from its folder and say whether its tables are the same.

    RUN is the folder of a run, or the name of a scenario, for its newest run. Nothing that is kept
    is used (--no-cache or not), nothing is written. Exits with 1 if a table differs.
    """
    from memsim.cli._progress import Progress
    from memsim.cli.warmup import compile_if_cold
    from memsim.results import open_run
    from memsim.results.places import find_run
    from memsim.verify import changes, trials_of, verify

    wished = open_run(find_run(run, out))
    planned = trials_of(wished)
    for change in changes(wished):
        click.echo(f"note: {visible(change)}", err=True)
    compile_if_cold()
    progress = Progress()
    how = wanted.how_for(planned)
    with shown(progress):
        found = verify(wished, how=how, fail_fast=wanted.fail_fast, watcher=progress)
    for difference in found.differences:
        click.echo(visible(difference))
    if found.count > len(found.differences):
        click.echo(f"and {found.count - len(found.differences):,} more")
    if progress.bugs:
        raise progress.bugs[0]
    trials = f"{found.trials} {'trial' if found.trials == 1 else 'trials'}"
    if found.count:
        places = "1 place" if found.count == 1 else f"{found.count:,} places"
        click.echo(visible(f"different in {places}: {trials}   {wished.folder}"))
        ctx.exit(DIFFERS)
    size = f"{found.files} files, {found.bytes:,} bytes"
    click.echo(visible(f"identical: {trials}, {size}   {wished.folder}"))
