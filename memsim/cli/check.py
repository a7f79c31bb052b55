"""Say whether results got worse than a baseline, and which figures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli import _completing
from memsim.cli._how import Wanted, how_options, watched
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.cli._scenario import scenario_options
from memsim.errors import InputError, Problem, visible

if TYPE_CHECKING:
    from memsim.check import Outcome, Record
    from memsim.check.targets import Target
    from memsim.check.tolerance import Rule
    from memsim.scenario import Scenario

WORSE, FAILED = 1, 3
FILE = click.Path(path_type=Path)
STDOUT = Path("-")


@dataclass(frozen=True)
class Reports:
    """What is printed and written of the findings."""

    form: str
    limit: int
    junit: Path | None
    markdown: Path | None
    strict: bool
    marks: bool
    """Print GitHub's workflow commands."""

    @property
    def aside(self) -> bool:
        """Whether standard output is taken, so that lines for people go to standard error."""
        return self.form == "json" or self.markdown == STDOUT


@click.command()
@click.argument("targets", nargs=-1, metavar="[RUN|SCENARIO]...",
                shell_complete=_completing.scenarios_and_runs)  # fmt: skip
@click.option("--baseline", "place", type=FILE, required=True, metavar="PATH",
              help="A baseline, a run, or a folder of baselines.")  # fmt: skip
@scenario_options(
    "Instead of the baseline's policies.",
    "Instead of the baseline's seeds: 1..10.",
    "Change one value, besides those changed for the baseline.",
)
@click.option("--tolerance", "tolerances", multiple=True, metavar="'FIGURE = T'",
              help="T is exact, 5%, 0.01 abs or interval; FIGURE may have *.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Fail for any finding, not only for the worse.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", show_default=True,
              help="Findings to show.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--junit", type=FILE, metavar="FILE", help="Write JUnit XML too.")
@click.option("--markdown", type=FILE, metavar="FILE",
              help="Write markdown too; - for standard output.")  # fmt: skip
@click.option("--github/--no-github", default=None,
              help="Mark lines in GitHub (default: if GITHUB_ACTIONS=true).")  # fmt: skip
@click.option("--update", is_flag=True,
              help="Make what is found the baseline, and print the difference.")  # fmt: skip
@out_option("Where results go")
@how_options
@plugin_option
@click.pass_context
def command(
    ctx: click.Context,
    targets: tuple[str, ...],
    place: Path,
    policies: tuple[str, ...],
    seeds: str | None,
    sets: tuple[str, ...],
    tolerances: tuple[str, ...],
    strict: bool,
    limit: int,
    form: str,
    junit: Path | None,
    markdown: Path | None,
    github: bool | None,
    update: bool,
    out: Path,
    wanted: Wanted,
) -> None:
    """Compare runs, or scenarios carried out now, with baselines that were kept.

    Without targets, all scenarios of a folder of baselines are carried out. Exits with 1 if a
    figure got worse, a trial failed, or rows or columns are gone; other differences are reported.
    """
    from memsim.check.targets import Chosen, targets_of
    from memsim.check.tolerance import parse_rules

    marks = os.environ.get("GITHUB_ACTIONS") == "true" if github is None else github
    reports = Reports(form, limit, junit, markdown, strict, marks)
    _refuse_options(reports, update=update)
    rules = parse_rules(tolerances, "--tolerance")
    names = tuple(name for text in policies for name in text.split(","))
    chosen = Chosen(names, seeds, sets)
    wanted_targets = targets_of(targets, place, out, chosen, update=update)
    _refuse_unknown(rules, wanted_targets)
    outcomes, problems, failed = [], [], False
    bugs: list[Exception] = []
    for target in wanted_targets:
        try:
            now = target.now or _carried_out(target.scenario, out, wanted, bugs)
            if update and not bugs:
                failed = _updated(target, now, tolerances, limit) or failed
            elif target.base is not None:
                outcomes.append(_outcome(target.base, now, rules))
        except InputError as error:
            problems += error.problems
    if outcomes:
        _report(outcomes, reports)
    if bugs:
        raise bugs[0]
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    if failed:
        ctx.exit(FAILED)
    if any(outcome.fails(strict=strict) for outcome in outcomes):
        ctx.exit(WORSE)


def _refuse_options(reports: Reports, *, update: bool) -> None:
    """Refuse options that do not go together, and files that cannot be written, before the work."""
    from memsim.results.store import check_place

    files = [file for file in (reports.junit, reports.markdown) if file is not None]
    if update and files:
        raise click.UsageError("--update goes without --junit and --markdown")
    if reports.form == "json" and reports.markdown == STDOUT:
        raise click.UsageError("both JSON and markdown were to go to standard output")
    if len(files) == 2 and files[0].resolve() == files[1].resolve():
        raise click.UsageError("--junit and --markdown name the same file")
    for file in files:
        if file.is_dir():
            raise InputError([Problem(str(file), 0, 0, "is a folder; give a file to write")])
        if file != STDOUT:
            check_place(file.parent)


def _refuse_unknown(rules: Sequence[Rule], targets: Sequence[Target]) -> None:
    """Refuse tolerances for figures that none of the targets has."""
    from memsim.check.tolerance import refuse_unknown

    records = [r for target in targets for r in (target.base, target.now) if r is not None]
    names = {name for record in records for name in record.figures}
    if names:
        refuse_unknown(rules, names, "--tolerance")


def _carried_out(
    scenario: Scenario | None, out: Path, wanted: Wanted, bugs: list[Exception]
) -> Record:
    """Carry out a scenario; mistakes of memsim's own are added to the bugs."""
    from memsim.check import record_of
    from memsim.cli.warmup import compile_if_cold
    from memsim.execute import plan, run
    from memsim.results.store import TrialStore

    assert scenario is not None, "a target is a run or a scenario"
    compile_if_cold()
    how = wanted.how_for(plan(scenario, TrialStore(out), cache=wanted.cache))
    with watched(str(out)) as progress:
        done = run(
            scenario, out=out, how=how, cache=wanted.cache, force=wanted.force,
            fail_fast=wanted.fail_fast, watcher=progress,
        )  # fmt: skip
    bugs += progress.bugs
    return record_of(done)


def _outcome(base: Record, now: Record, rules: Sequence[Rule]) -> Outcome:
    """Compare; tolerances of the command line come after those of the baseline."""
    from memsim.check import compare
    from memsim.check.tolerance import parse_rules

    return compare(base, now, [*parse_rules(base.tolerances, str(base.about)), *rules])


def _updated(target: Target, now: Record, tolerances: tuple[str, ...], limit: int) -> bool:
    """Rewrite a baseline and print the difference; say whether a trial in it failed."""
    from memsim.check import update
    from memsim.check.reports import as_lines

    found = update(target.folder, replace(now, target=target.target), tolerances)
    for line in as_lines([found.outcome], limit) if found.outcome else []:
        click.echo(line)
    place = visible(str(target.folder))
    click.echo(f"wrote {place}" if found.written else f"{place} stays as it is")
    failed = [row for row in now.tables["trials"].rows.values() if row.cells["status"] == "failed"]
    for row in failed:
        who = f"{row.cells['policy']}, seed {row.cells['seed']}"
        click.echo(visible(f"failed: {who}: {row.cells['error']}"), err=True)
    return bool(failed)


def _report(outcomes: Sequence[Outcome], to: Reports) -> None:
    """Print and write what was found."""
    from memsim.check import reports
    from memsim.results.store import write_whole

    if to.form == "json":
        click.echo(reports.as_json(outcomes, strict=to.strict))
    else:
        for line in reports.as_lines(outcomes, to.limit):
            click.echo(line, err=to.aside)
        if any(outcome.findings for outcome in outcomes):
            click.echo(f"to accept: {visible(_accepting())}", err=to.aside)
    if to.marks:
        for line in reports.as_annotations(outcomes, strict=to.strict, limit=to.limit):
            click.echo(line, err=to.aside)
    if to.junit is not None:
        write_whole(to.junit, reports.as_junit(outcomes, strict=to.strict))
    if to.markdown is not None:
        text = reports.as_markdown(outcomes, strict=to.strict, limit=to.limit)
        if to.markdown == STDOUT:
            click.echo(text, nl=False)
        else:
            write_whole(to.markdown, text.encode())


def _accepting() -> str:
    """Write the command that makes what was found the baseline."""
    given = click.get_current_context().params
    options = {
        "--policy": given["policies"],
        "--seeds": [given["seeds"]] if given["seeds"] else [],
        "--set": given["sets"],
        "--plugin": given["plugin_files"],
        "--out": [] if str(given["out"]) == "results" else [str(given["out"])],
    }
    words = ["memsim", "check", *given["targets"], "--baseline", str(given["place"]), "--update"]
    pairs = [(name, value) for name, values in options.items() for value in values]
    return shlex.join([*words, *(word for pair in pairs for word in pair)])
