"""List, show, remove, merge and export the results of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from memsim.cli import _completing
from memsim.cli._places import out_option
from memsim.cli._scenario import metric_option, table_option
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.results.export import Form
    from memsim.results.remove import Removal
    from memsim.results.tables import TableName

Format = Literal["table", "markdown", "csv", "json"]
TABLES = ("trials", "high_order", "oom", "migration", "hotplug", "vmstat", "timeline", "map")
MOST_NAMED = 20

from_option = click.option(
    "--from", "root", type=click.Path(path_type=Path), default=Path("results"), metavar="DIR",
    help="Where results are (default: results).",
)  # fmt: skip


@click.group()
def command() -> None:
    """List, show, remove, merge and export the results of runs.

    RUN is the folder of a run, or of those in the folder of results: scenario/run, the beginning
    of a run's name, or a scenario, for its newest run.
    """


@command.command("ls")
@click.argument("scenario", required=False, default="")
@out_option("Where results are")
@table_option
def list_(scenario: str, out: Path, form: Format) -> None:
    """List runs: finished, unfinished, and those that cannot be read."""
    from memsim.cli._listing import print_runs
    from memsim.errors import InputError, Problem, suggest
    from memsim.results.listing import list_runs

    runs = list_runs(out, scenario)
    if scenario and not runs:
        known = {run.place.folder.parent.name for run in list_runs(out)}
        message = f"there is no run of this scenario below {out}"
        raise InputError([Problem(scenario, 0, 0, message, suggest(scenario, known))])
    print_runs(form, runs)
    if not runs and form == "table":
        click.echo("\n" + visible(f"no runs below {out}; memsim run SCENARIO makes one"))


@command.command()
@click.argument("run", shell_complete=_completing.runs)
@click.option("--table", type=click.Choice(TABLES), help="A table instead of the answer.")
@out_option("Where results are")
@table_option
@metric_option
def show(
    run: str, table: TableName | None, out: Path, form: Format, metrics: tuple[str, ...]
) -> None:
    """Print the answer of a run as memsim run does, or one of its tables.

    Of a table the first rows are shown; csv and json are whole.
    """
    from memsim.cli._answer import print_answer
    from memsim.cli._listing import print_head
    from memsim.results import read_results
    from memsim.results.answer import answer, verdicts
    from memsim.results.export import table_as
    from memsim.results.places import find_run

    found = read_results(find_run(run, out))
    if table is None:
        scenario = found.scenario
        print_answer(form, answer(found, metrics), found, scenario, verdicts(found, scenario))
        return
    rows = getattr(found, table)
    if form == "csv" or form == "json":
        click.echo(table_as(rows, form), nl=False)
    else:
        print_head(form, rows)


@command.command("rm")
@click.argument("runs", nargs=-1, metavar="RUN...", shell_complete=_completing.runs)
@click.option("--stale", is_flag=True,
              help="Forgotten drafts, and kept trials that another version wrote.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@out_option("Where results are")
def remove_(runs: tuple[str, ...], stale: bool, dry_run: bool, yes: bool, out: Path) -> None:
    """Remove runs, and the kept trials that no other run needs."""
    from memsim.results.places import find_run
    from memsim.results.remove import plan_removal, plan_stale, remove

    if bool(runs) == stale:
        raise click.UsageError("give runs, or --stale")
    plan = plan_stale(out) if stale else plan_removal(out, [find_run(r, out) for r in runs])
    _describe(plan)
    if dry_run or not (plan.files or plan.trials):
        return
    if not yes:
        if not _may_ask():
            raise click.UsageError("nothing is removed without --yes where nobody can be asked")
        click.confirm("Remove them?", abort=True)
    remove(plan)
    click.echo("removed")


def _may_ask() -> bool:
    return sys.stdin.isatty()


def _describe(plan: Removal) -> None:
    from memsim.results.answer import size_text

    for folder in plan.runs:
        count = sum(folder in (path, *path.parents) for path in plan.files)
        click.echo(visible(f"{folder}: {count} {'file' if count == 1 else 'files'}"))
    if not plan.runs:
        click.echo(f"{len(plan.files):,} drafts")
    why = "that no other run needs" if plan.runs else "that another version wrote"
    click.echo(f"{len(plan.trials):,} kept trials {why}")
    for note in plan.notes[:MOST_NAMED]:
        click.echo(visible(f"note: {note}"))
    click.echo(f"{size_text(plan.bytes)} in all")


@command.command("merge")
@click.argument("runs", nargs=-1, metavar="RUN RUN...", shell_complete=_completing.runs)
@click.option("--force", is_flag=True, help="Replace what is there.")
@out_option("Where the new run goes")
@from_option
def merge_(runs: tuple[str, ...], force: bool, out: Path, root: Path) -> None:
    """Make one run of runs of a scenario with other seeds, policies or points of its axes.

    Works on the folders of runs alone, wherever they come from, and writes below --out.
    """
    from memsim.errors import InputError
    from memsim.load.document import read_yaml
    from memsim.results import read_results
    from memsim.results.manifest import SOURCE
    from memsim.results.merge import merge
    from memsim.results.places import find_run

    if len(runs) < 2:
        raise click.UsageError("give two runs or more")
    parts = [read_results(find_run(run, root)) for run in runs]
    try:
        source = read_yaml(parts[0].scenario.source, SOURCE).data
    except InputError:
        source = None
    merged = merge(parts, out, source=source if isinstance(source, dict) else {}, force=force)
    trials, missing = len(merged.manifest["trials"]), len(merged.manifest["missing"])
    lacks = f", {missing:,} are missing" if missing else ""
    click.echo(visible(f"{merged.folder}   {trials:,} trials of {len(parts)} runs{lacks}"))


@command.command("export")
@click.argument("run", shell_complete=_completing.runs)
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "json"]), required=True)
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, metavar="PATH",
              help="A folder for all tables, a file for one.")  # fmt: skip
@click.option("--table", type=click.Choice(TABLES), help="This table only.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@from_option
def export_(
    run: str, form: Form, target: Path, table: TableName | None, force: bool, root: Path
) -> None:
    """Write tables as files for other programs; plain pandas reads them."""
    from memsim.results import read_results
    from memsim.results.export import export
    from memsim.results.places import find_run

    found = read_results(find_run(run, root))
    for path in export(found, form, target, table=table, force=force):
        click.echo(visible(str(path)))
