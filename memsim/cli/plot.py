"""Draw one figure of a run, as PNG, SVG or a page."""

from __future__ import annotations

from pathlib import Path

import click

from memsim.cli._completing import runs
from memsim.cli._places import out_option
from memsim.errors import visible


@click.command()
@click.argument("run", metavar="RUN", shell_complete=runs)
@click.option("--figure", required=True, metavar="NAME", help="See memsim list figures.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True,
              metavar="FILE", help="Ends with .png, .svg or .html.")  # fmt: skip
@click.option("--policy", "policies", multiple=True, metavar="NAME[,NAME]",
              help="These policies only.")  # fmt: skip
@click.option("--point", "points", multiple=True, metavar="VALUE",
              help="This point of the axes only, as tables show it (repeatable).")  # fmt: skip
@out_option("Where results are")
def command(
    run: str,
    figure: str,
    target: Path,
    policies: tuple[str, ...],
    points: tuple[str, ...],
    out: Path,
) -> None:
    """Draw one figure of RUN into a file; memsim list figures names them.

    What is shown is printed in a sentence. A page (.html) has the figure's table, too.
    """
    from memsim.plots import draw
    from memsim.plots._rendering import form_of, rendered
    from memsim.results import open_run
    from memsim.results.places import find_run
    from memsim.results.store import write_whole

    form = form_of(target)
    names = tuple(name for text in policies for name in text.split(","))
    drawing = draw(open_run(find_run(run, out)), figure, policies=names, points=points)
    write_whole(target, rendered(drawing, form))
    click.echo(visible(drawing.text))
    click.echo(visible(str(target)))
