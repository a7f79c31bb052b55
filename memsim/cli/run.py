"""Simulate a scenario and print the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli._how import Wanted, how_options, watched
from memsim.cli._plugins import plugin_option
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.results import Run

UNMET, FAILED = 1, 3


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--policy", "policies", multiple=True, metavar="A,B", help="Keep these policies.")
@click.option("--seeds", metavar="SEEDS", help="Instead of the scenario's seeds: 1..10.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), metavar="DIR",
              help="Where results go (default: results).")  # fmt: skip
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change one value.")
@click.option(
    "--format", "form", type=click.Choice(["table", "markdown", "csv", "json"]), default="table"
)
@click.option("--check", is_flag=True, help="Verify the allocator's invariants on the way.")
@how_options
@plugin_option
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    policies: tuple[str, ...],
    seeds: str | None,
    out: Path,
    sets: tuple[str, ...],
    form: str,
    check: bool,
    wanted: Wanted,
) -> None:
    """Simulate a scenario, given by file or by the name of a shipped one, and print the answer.

    Finished trials are kept: an interrupted run goes on where it was, and a finished one is only
    printed again. Exits with 1 if an expectation is not met, with 3 if a trial failed.
    """
    from memsim.cli._answer import print_answer
    from memsim.cli.warmup import compile_if_cold
    from memsim.execute import plan, run
    from memsim.load import find_scenario, load_scenario
    from memsim.results.answer import answer, verdicts
    from memsim.results.store import TrialStore

    names = [name for text in policies for name in text.split(",")]
    loaded = load_scenario(find_scenario(scenario), sets=sets, policies=names, seeds=seeds)
    compile_if_cold()
    planned = plan(loaded, TrialStore(out), cache=wanted.cache and not check)
    how = wanted.how_for(planned, check=check)
    with watched(str(out)) as progress:
        done = run(
            loaded, out=out, how=how, cache=wanted.cache, force=wanted.force,
            fail_fast=wanted.fail_fast, watcher=progress,
        )  # fmt: skip
    judged = verdicts(done, loaded)
    print_answer(form, answer(done), done, loaded, judged)
    _report_failures(done)
    if progress.bugs:
        raise progress.bugs[0]
    if done.failed:
        ctx.exit(FAILED)
    if not all(verdict.met for verdict in judged):
        ctx.exit(UNMET)


def _report_failures(run: Run) -> None:
    for row in run.trial_rows():
        if row["status"] == "failed":
            where = ", ".join([row["policy"], *(row[a] for a in run.axes), f"seed {row['seed']}"])
            click.echo(f"failed: {visible(where)}: {visible(row['error'])}", err=True)
