"""Bring a trace or a capture into memsim's own form (Parquet)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli._plugins import plugin_option

if TYPE_CHECKING:
    from memsim.traces import Accounting


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write.")
@click.option(
    "--until",
    multiple=True,
    metavar="MARKER|SECONDS",
    help="Nothing after this marker or time of the trace clock (repeatable: the first counts).",
)
@click.option("--requests-only", is_flag=True, help="Keep allocations and frees only.")
@click.option("--note", "notes", multiple=True, help="A line for SOURCE (captures; repeatable).")
@click.option("--force", is_flag=True, help="Replace what is there.")
@plugin_option
def command(
    source: Path,
    out: Path | None,
    until: tuple[str, ...],
    requests_only: bool,
    notes: tuple[str, ...],
    force: bool,
) -> None:
    """Bring a trace or a capture into memsim's own form (Parquet).

    SOURCE is a trace file, or a capture folder with start/state.txt, a trace and, if known,
    end/state.txt. Every line of a text trace is accounted for.
    """
    from memsim.traces._importing import Cut, import_capture, import_trace

    cut = Cut(until=until, requests_only=requests_only)
    if source.is_dir():
        out = out or Path(f"{source.resolve().name}.capture")
        accounting = import_capture(source, out, cut, notes=notes, force=force)
    else:
        if notes:
            raise click.UsageError("--note is for capture folders: a single trace has no SOURCE")
        out = out or Path(source.name.split(".")[0] + ".parquet")
        accounting = import_trace(source, out, cut, force=force)
    click.echo("\n".join([*accounting_lines(accounting), str(out)]))


def accounting_lines(accounting: Accounting) -> list[str]:
    """Write the account of every line as a table."""
    rows = [
        ("parsed", accounting.parsed),
        *((f"skipped: {rule}", lines) for rule, lines in accounting.skipped.items()),
        ("unknown", accounting.unknown),
        ("lines in all", accounting.total),
        ("events lost by the recorder", accounting.lost_events),
    ]
    width = max(len(name) for name, _ in rows)
    table = [f"{name:<{width}}  {count:>12,}" for name, count in rows]
    return [*table, *(f"unknown line {example}" for example in accounting.unknown_examples)]
