"""Say why one attempt to get a block failed: what was there, what was tried, what lacked."""

from __future__ import annotations

from pathlib import Path

import click

from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.errors import visible


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--allocation", "number", type=click.IntRange(min=1), required=True, metavar="K",
              help="The K-th failed attempt that the trial observes.")  # fmt: skip
@click.option("--policy", metavar="NAME", help="The trial's policy (default: the first).")
@click.option("--seed", type=int, metavar="SEED", help="The trial's seed (default: the first).")
@click.option("--point", "points", multiple=True, metavar="PATH=VALUE",
              help="The trial's value of an axis (repeatable).")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown")
@out_option("Where results are")
@plugin_option
def command(
    run: str,
    number: int,
    policy: str | None,
    seed: int | None,
    points: tuple[str, ...],
    form: str,
    out: Path,
) -> None:
    """Say why one attempt to get a block failed: what was there, what was tried, what lacked.

    Carries out a trial of RUN again, up to its K-th attempt that failed among those that it
    observes (probes, and workloads that say so), and shows that one step by step.
    """
    from memsim.cli.warmup import compile_if_cold
    from memsim.explain import chosen_trial, explain
    from memsim.explain.text import as_json, as_markdown
    from memsim.results import open_run
    from memsim.results.places import find_run
    from memsim.verify import changes, trials_of

    wished = open_run(find_run(run, out))
    trials_of(wished)
    trial = chosen_trial(wished.scenario, policy, seed, points)
    for change in changes(wished):
        click.echo(f"note: {visible(change)}", err=True)
    compile_if_cold()
    found = explain(trial, number)
    text = as_json(found) if form == "json" else as_markdown(found)
    click.echo("\n".join(map(visible, text.split("\n"))))
