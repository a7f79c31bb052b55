"""Replay a capture of a real kernel and compare every page frame."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("fidelity")
@click.argument("capture", type=click.Path(path_type=Path), metavar="CAPTURE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.pass_context
def command(ctx: click.Context, capture: Path, as_json: bool) -> None:
    """Replay CAPTURE, a folder with a start state and a trace, on memsim's own kernels.

    The replay runs free: it is told what was asked for, by whom and when, never what came of it.
    Prints one line per quantity (seen, predicted, equal, ratio) and the first divergence. Exits
    with 1 if anything differs.
    """
    from memsim.fidelity import judge
    from memsim.traces.capture import read_capture

    report = judge(read_capture(capture))
    click.echo(report.to_json() if as_json else report.to_text())
    ctx.exit(0 if report.exact else 1)
