"""Write a trial in the kernel's own formats: a trace, or files of /proc."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from memsim.cli import _completing
from memsim.cli._places import out_option
from memsim.cli._plugins import plugin_option
from memsim.cli._trial import trial_of_run, trial_options
from memsim.errors import visible

FORMATS = ("ftrace", "buddyinfo", "pagetypeinfo", "vmstat", "zoneinfo")


@click.command()
@click.argument("run", metavar="RUN", shell_complete=_completing.runs)
@click.option("--format", "form", type=click.Choice(FORMATS), required=True,
              help="ftrace: all events; the others: a file of /proc at an instant.")  # fmt: skip
@click.option(
    "--at", metavar="TIME", help="The instant, such as 5s; a trace ends there (default: the end)."
)
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE",
              help="Where to write (default: standard output).")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace what is there.")
@trial_options
@out_option("Where results are")
@plugin_option
def command(
    run: str,
    form: str,
    at: str | None,
    path: Path | None,
    force: bool,
    policy: str | None,
    seed: int | None,
    points: tuple[str, ...],
    out: Path,
) -> None:
    """Write a trial of RUN in a format of the kernel, by carrying it out again.

    What other tools read of a real machine they can read of a simulated one; memsim import reads
    the trace back, memsim snapshot --from the files of /proc.
    """
    from memsim.errors import InputError, Problem
    from memsim.export import export
    from memsim.units import parse_duration

    if path is not None and path.exists() and not force:
        raise InputError([Problem(str(path), 0, 0, "is there already", "--force replaces it")])
    try:
        instant = None if at is None else parse_duration(at)
    except ValueError as error:
        raise InputError([Problem(f"--at {at}", 0, 0, str(error))]) from error
    pieces = export(trial_of_run(run, out, policy, seed, points), form, instant)
    if path is None:
        for piece in pieces:
            sys.stdout.write(piece)
        return
    from memsim.results.store import write_pieces

    write_pieces(path, pieces)
    click.echo(visible(str(path)))
