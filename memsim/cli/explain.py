"""Say why something did not go as it was meant to: an allocation, a migration, a removal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli import _completing
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.cli._trial import trial_of_run, trial_options
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.scenario import Trial


@click.command()
@click.argument("run", metavar="RUN", shell_complete=_completing.runs)
@click.option(
    "--allocation",
    type=click.IntRange(min=1),
    metavar="K",
    help="The K-th failed attempt that the trial observes.",
)
@click.option(
    "--block",
    type=click.IntRange(min=0),
    metavar="N",
    help="A memory block that was to be taken offline.",
)
@click.option(
    "--node",
    type=click.IntRange(min=0),
    metavar="N",
    help="The blocks of a node that were to be taken offline.",
)
@click.option(
    "--migration", type=click.IntRange(min=1), metavar="K", help="The K-th event that moved pages."
)
@click.option("--page", type=click.IntRange(min=0), metavar="P",
              help="With --migration: the steps of one page, by its place among them.")  # fmt: skip
@trial_options
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown")
@out_option("Where results are")
@plugin_option
def command(
    run: str,
    allocation: int | None,
    block: int | None,
    node: int | None,
    migration: int | None,
    page: int | None,
    policy: str | None,
    seed: int | None,
    points: tuple[str, ...],
    form: str,
    out: Path,
) -> None:
    """Say why something did not go as it was meant to, by carrying out a trial of RUN again.

    --allocation K: the K-th attempt to get a block that failed, among those that it observes
    (probes, and workloads that say so), step by step. --block and --node: why memory blocks stayed,
    whose pages keep them, and what would have let them through. --migration: why pages stayed.
    """
    asked = (allocation, block, node, migration)
    if sum(one is not None for one in asked) != 1 or (page is not None and migration is None):
        raise click.UsageError(
            "expected one of --allocation, --block, --node, --migration; --page goes with the last"
        )
    trial = trial_of_run(run, out, policy, seed, points)
    text = _text(trial, allocation, block, node, migration, page, form)
    click.echo("\n".join(map(visible, text.split("\n"))))


def _text(
    trial: Trial,
    allocation: int | None,
    block: int | None,
    node: int | None,
    migration: int | None,
    page: int | None,
    form: str,
) -> str:
    """Return what is to be said of the one thing that is asked for."""
    if allocation is not None:
        from memsim.explain import explain, text

        attempt = explain(trial, allocation)
        return text.as_json(attempt) if form == "json" else text.as_markdown(attempt)
    if migration is not None:
        from memsim.explain import migrations

        moved = migrations.explain_migration(trial, migration, page)
        return migrations.as_json(moved) if form == "json" else migrations.as_markdown(moved)
    from memsim.explain import removal_text
    from memsim.explain.removals import explain_removals

    removed = explain_removals(trial, block=block, node=node)
    return removal_text.as_json(removed) if form == "json" else removal_text.as_markdown(removed)
