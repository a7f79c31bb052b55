"""Compare policies or runs: differences with their intervals, and verdicts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli import _completing
from memsim.cli._how import Wanted, how_options, watched
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.cli._scenario import scenario_options, table_option
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.cli._progress import Progress
    from memsim.compare.until import Reached
    from memsim.results import Run
    from memsim.scenario import Scenario

FAILED = 3


def _margin(ctx: click.Context, param: click.Parameter, text: str) -> float:
    from memsim.units import split_quantity

    quantity = split_quantity(text)
    if quantity is None or quantity[1] != "%" or quantity[0] > 100:
        raise click.BadParameter(f"expected a percentage such as 1%, found {text!r}")
    return float(quantity[0] / 100)


@click.command("compare")
@click.argument("targets", nargs=-1, required=True, metavar="SCENARIO|RUN...",
                shell_complete=_completing.scenarios_and_runs)  # fmt: skip
@scenario_options()
@click.option("--baseline", metavar="NAME", help="Policy or run to compare with (default: first).")
@out_option("Where results go")
@click.option("--metric", "metrics", multiple=True, metavar="NAME",
              help="Compare these metrics; * stands for any text.")  # fmt: skip
@click.option("--margin", callback=_margin, default="1%", show_default=True, metavar="N%",
              help="A difference that makes none, of the baseline's mean.")  # fmt: skip
@click.option("--until", metavar="'ci(METRIC) < N%'",
              help="Add seeds until the interval is so narrow.")  # fmt: skip
@click.option("--max-seeds", type=click.IntRange(2, 100_000), default=100, show_default=True,
              help="No more than these with --until.")  # fmt: skip
@table_option
@how_options
@plugin_option
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    policies: tuple[str, ...],
    baseline: str | None,
    seeds: str | None,
    out: Path,
    sets: tuple[str, ...],
    metrics: tuple[str, ...],
    margin: float,
    until: str | None,
    max_seeds: int,
    form: str,
    wanted: Wanted,
) -> None:
    """Compare the policies of a scenario or of a run, or runs with each other.

    A scenario is given by file or name and is simulated as far as that has not been done; a run is
    given by its folder. Trials with the same seed had the same random streams and make a pair.
    Exits with 3 if a trial failed.
    """
    from memsim.cli._comparison import print_comparison
    from memsim.compare import compare, failures
    from memsim.results import read_results
    from memsim.results.places import find_run

    names = [name for text in policies for name in text.split(",")]
    patterns = [name for text in metrics for name in text.split(",")]
    simulation = None
    if len(targets) == 1 and not os.path.isdir(targets[0]):
        kept = [*names, *([baseline] if names and baseline else [])]
        scenario = _scenario(targets[0], sets=sets, policies=kept, seeds=seeds)
        simulation = _Simulation(scenario, baseline, until, out, wanted)
        simulation.check(patterns)
        runs = [simulation.carry_out(max_seeds)]
    else:
        _refuse_options({"--seeds": seeds, "--set": sets, "--until": until})
        runs = [read_results(find_run(target, out)) for target in targets]
    if simulation is not None and len(simulation.scenario.policies) == 1:
        _print_means(form, runs[0])
    else:
        found = compare(*runs, policies=names, baseline=baseline, metrics=patterns, margin=margin)
        print_comparison(form, found)
    if simulation is not None:
        simulation.tell(err=form in ("csv", "json"))
    failed = [text for run in runs for text in failures(run)]
    for text in failed:
        click.echo(f"failed: {visible(text)}", err=True)
    if failed:
        ctx.exit(FAILED)


def _scenario(
    text: str, *, sets: Sequence[str], policies: Sequence[str], seeds: str | None
) -> Scenario:
    from memsim.errors import InputError, Problem
    from memsim.load import find_scenario, load_scenario

    message = "is neither a scenario nor the folder of a run"
    try:
        path = find_scenario(text)
    except InputError as unknown:
        hint = unknown.problems[0].hint
        raise InputError([Problem(text, 0, 0, message, hint)]) from None
    if not path.exists():
        hint = "give a scenario by file or name (memsim list scenarios), or folders of runs"
        raise InputError([Problem(text, 0, 0, message, hint)])
    return load_scenario(path, sets=sets, policies=policies, seeds=seeds)


def _refuse_options(given: dict[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise click.UsageError(f"{option} goes with a scenario; runs are compared as they are")


class _Simulation:
    """Carries out what is not kept of a scenario, with more seeds if that is asked for."""

    def __init__(
        self,
        scenario: Scenario,
        baseline: str | None,
        until: str | None,
        out: Path,
        wanted: Wanted,
    ) -> None:
        from memsim import plugins
        from memsim.compare.until import parse_until

        self.scenario = scenario
        self.baseline = baseline
        self.until = None if until is None else parse_until(until, plugins.metric_columns())
        self.reached: Reached | None = None
        self.out = out
        self.wanted = wanted
        self.watchers: list[Progress] = []

    def check(self, patterns: Sequence[str]) -> None:
        """Raise InputError, before hours are spent, for what cannot be compared."""
        from memsim.compare import refuse_request

        alone = self.until is not None
        refuse_request(self.scenario, self.baseline, patterns, alone=alone)

    def carry_out(self, most: int) -> Run:
        """Return the run."""
        from memsim.cli.warmup import compile_if_cold
        from memsim.compare.until import with_enough_seeds
        from memsim.execute import plan, run
        from memsim.results.store import TrialStore

        compile_if_cold()
        cache, wanted = self.wanted.cache, self.wanted
        how = wanted.how_for(plan(self.scenario, TrialStore(self.out), cache=cache))
        if self.until is not None:
            self.scenario, self.reached = with_enough_seeds(
                self.scenario, self.until, baseline=self.baseline, most=most, out=self.out,
                how=how, watched=self._watched, cache=cache, fail_fast=wanted.fail_fast,
            )  # fmt: skip
            cache = True
        with self._watched() as watcher:
            return run(
                self.scenario, out=self.out, how=how, cache=cache, force=wanted.force,
                fail_fast=wanted.fail_fast, watcher=watcher,
            )  # fmt: skip

    @contextmanager
    def _watched(self) -> Iterator[Progress]:
        with watched(str(self.out)) as progress:
            self.watchers.append(progress)
            yield progress

    def tell(self, *, err: bool) -> None:
        """Say whether the bound was reached; raise what was a bug of memsim."""
        from memsim.cli._answer import counted

        if self.until is not None and self.reached is not None:
            text = "reached" if self.reached.holds else f"NOT reached: {self.reached.why_not}"
            seeds = counted(len(self.scenario.seeds), "seed", "seeds")
            click.echo(visible(f"until {self.until.text}: {text} ({seeds})"), err=err)
        bugs = [bug for watcher in self.watchers for bug in watcher.bugs]
        if bugs:
            raise bugs[0]


def _print_means(form: str, run: Run) -> None:
    """Print the answer of a run that has nothing to be compared with."""
    from memsim.cli._answer import print_answer
    from memsim.results.answer import answer

    print_answer(form, answer(run), run, run.scenario, [])
