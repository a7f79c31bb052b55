"""Write a page about a run: the answer, the map of memory over time, pictures, tables."""

from __future__ import annotations

from pathlib import Path

import click

from memsim.cli._completing import runs as complete_runs
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.errors import visible


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("report.html"), show_default=True, metavar="FILE")  # fmt: skip
@click.option("--explain", "explains", is_flag=True,
              help="Carry trials out again to say whose pages kept memory blocks.")  # fmt: skip
@out_option("Where results are")
@plugin_option
def command(runs: tuple[str, ...], target: Path, explains: bool, out: Path) -> None:
    """Write one HTML file about RUN: it needs no network, and no program but a browser.

    Several runs are compared with each other. The page begins with the answer, then has the map of
    memory over time, pictures, tables, and the commands that repeat the run.
    """
    from memsim.report import report
    from memsim.report.obstacles import Owned, mapped_trials, owned_blocks
    from memsim.results import read_results
    from memsim.results.places import find_run
    from memsim.results.store import write_whole

    found = [read_results(find_run(run, out)) for run in runs]
    owned: list[Owned] = []
    if explains:
        from memsim.cli.warmup import compile_if_cold
        from memsim.verify import trials_of

        compile_if_cold()
        for run in found:
            trials_of(run)
            owned += [one for trial in mapped_trials(run) for one in owned_blocks(run, trial)]
    content = report(found, owned).encode()
    write_whole(target, content)
    click.echo(visible(f"{target}   {len(content) / 1e6:.1f} MB"))
