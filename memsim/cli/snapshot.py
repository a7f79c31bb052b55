"""Make a scenario of a real machine's memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from memsim.errors import visible


@click.command("snapshot")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("snapshot"),
    show_default=True,
    metavar="DIR",
    help="The folder to make.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    default=Path("/"),
    metavar="DIR",
    help="A folder of copies of /proc and /sys, instead of this machine.",
)
@click.option("--force", is_flag=True, help="Replace the folder if it exists.")
def command(output: Path, source: Path, force: bool) -> None:
    """Take a snapshot of this machine's memory, and write a scenario that begins with it.

    Reads /proc/buddyinfo and zoneinfo, memory blocks and nodes from /sys; as root also
    pagetypeinfo, kpageflags and kpagecount. DIR gets snapshot.yaml and the folder state with copies
    of all that. What no file tells (the order of lists, owners, reference counts, pins) is drawn
    from a trial's seed. Works without root with what can be read, and says what is missing.
    """
    from memsim.snapshot.making import make_snapshot

    made = make_snapshot(source, output, force)
    click.echo(f"Wrote {visible(str(made.scenario))}")
    for line in made.zones:
        click.echo(f"  {visible(line)}")
    _say("Not readable:", made.missing)
    _say("Files read at different moments contradict each other:", made.differences)
    _say("Drawn from the seed:", made.drawn)
    click.echo(f"  memsim run {visible(str(made.scenario))}")
    click.echo(f"  memsim unplug {visible(str(made.state))}")


def _say(title: str, sentences: Iterable[str]) -> None:
    for i, sentence in enumerate(sentences):
        if i == 0:
            click.echo(title)
        click.echo(f"  {visible(sentence)}")
