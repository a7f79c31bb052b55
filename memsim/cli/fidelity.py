"""Replay a capture of a real kernel and compare every page frame."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("fidelity")
@click.argument("capture", type=click.Path(path_type=Path), metavar="CAPTURE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@click.option("--policy", metavar="NAME", help="Replay under this policy instead.")
@click.option(
    "--beside",
    "other",
    type=click.Path(path_type=Path),
    metavar="CAPTURE",
    help="With --policy: set it beside what the kernel of this capture did.",
)
@click.pass_context
def command(
    ctx: click.Context, capture: Path, as_json: bool, policy: str | None, other: Path | None
) -> None:
    """Replay CAPTURE, a folder with a start state and a trace, on memsim's own kernels.

    The replay runs free: it is told what was asked for, by whom and when, never what came of it.
    Prints one line per quantity (seen, predicted, equal, ratio) and the first divergence. Exits
    with 1 if anything differs.

    With --policy it asks what if: the same requests, placed by another policy, are counted beside
    the fall-backs that the kernels printed. Exits with 1 if memsim does not fall back as often as
    they did where it replays what was recorded.
    """
    from memsim.traces.capture import read_capture

    if other is not None and policy is None:
        raise click.UsageError("--beside needs --policy: which policy is the question about?")
    if policy is not None:
        from memsim.fidelity.beside import beside

        found = beside(
            read_capture(capture), policy, None if other is None else read_capture(other)
        )
        click.echo(found.to_json() if as_json else found.to_text())
        ctx.exit(0 if found.exact else 1)
    from memsim.fidelity import judge

    report = judge(read_capture(capture))
    click.echo(report.to_json() if as_json else report.to_text())
    ctx.exit(0 if report.exact else 1)
