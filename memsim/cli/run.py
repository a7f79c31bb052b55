"""Simulate a scenario and print the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli import _completing
from memsim.cli._how import Wanted, how_options, watched
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.cli._scenario import metric_option, scenario_options, table_option

if TYPE_CHECKING:
    from memsim.scenario import Scenario

UNMET, FAILED = 1, 3


@click.command()
@click.argument("scenario", metavar="SCENARIO", shell_complete=_completing.scenarios)
@scenario_options()
@click.option("--point", "points", multiple=True, metavar="PATH=VALUE",
              help="Keep this value of an axis (repeatable).")  # fmt: skip
@out_option("Where results go")
@table_option
@metric_option
@click.option("--check", is_flag=True, help="Verify the allocator's invariants on the way.")
@click.option("--dry-run", is_flag=True, help="Say what would run and what it needs; run nothing.")
@click.option("--why", is_flag=True, help="The same, and why each trial would run or not.")
@how_options
@plugin_option
@click.pass_context
def command(
    ctx: click.Context,
    scenario: str,
    policies: tuple[str, ...],
    seeds: str | None,
    points: tuple[str, ...],
    sets: tuple[str, ...],
    out: Path,
    form: str,
    metrics: tuple[str, ...],
    check: bool,
    dry_run: bool,
    why: bool,
    wanted: Wanted,
) -> None:
    """Simulate a scenario, given by file or by the name of a shipped one, and print the answer.

    Finished trials are kept: an interrupted run goes on where it was, and a finished one is only
    printed again. Exits with 1 if an expectation is not met, with 3 if a trial failed.
    """
    from memsim.cli._answer import print_answer
    from memsim.cli._failures import print_failures
    from memsim.cli.warmup import compile_if_cold
    from memsim.errors import TrialError
    from memsim.execute import plan, run
    from memsim.load import find_scenario, load_scenario
    from memsim.load.points import at_points
    from memsim.plugins import metric_columns
    from memsim.results.answer import answer, named_metrics, verdicts
    from memsim.results.store import TrialStore

    named_metrics(metric_columns(), metrics)
    names = [name for text in policies for name in text.split(",")]
    path = find_scenario(scenario)
    loaded = at_points(load_scenario(path, sets=sets, policies=names, seeds=seeds), points)
    compile_if_cold()
    if dry_run or why:
        _print_plan(loaded, out, form, wanted, check=check, each=why)
        return
    planned = plan(loaded, TrialStore(out), cache=wanted.cache, check=check)
    how = wanted.how_for(planned, check=check)
    try:
        with watched(str(out)) as progress:
            done = run(
                loaded, out=out, how=how, cache=wanted.cache, force=wanted.force,
                fail_fast=wanted.fail_fast, watcher=progress, planned=planned,
            )  # fmt: skip
    except TrialError:
        print_failures(progress.failures, loaded, ctx)
        raise
    judged = verdicts(done, loaded)
    print_answer(form, answer(done, metrics), done, loaded, judged)
    print_failures(progress.failures, loaded, ctx)
    if progress.bugs:
        raise progress.bugs[0]
    if done.failed:
        ctx.exit(FAILED)
    if not all(verdict.met for verdict in judged):
        ctx.exit(UNMET)


def _print_plan(
    scenario: Scenario, out: Path, form: str, wanted: Wanted, *, check: bool, each: bool
) -> None:
    from memsim.cli._plan import print_plan
    from memsim.errors import InputError
    from memsim.execute import plan
    from memsim.execute.estimate import forecast
    from memsim.execute.history import History
    from memsim.results.store import TrialStore, run_folder

    store, folder = TrialStore(out), run_folder(out, scenario)
    history = History(folder.parent)
    planned = plan(scenario, store, cache=wanted.cache, check=check, history=history)
    refusal = None
    try:
        how = wanted.how_for(planned, check=check)
    except InputError as too_large:
        refusal = too_large
        how = replace(wanted, force=True).how_for(planned, check=check)
    found = forecast(planned, how, store, history)
    print_plan(form, scenario, planned, how, found, folder, each=each)
    if refusal is not None:
        raise refusal
