"""Compile the kernels now, so that the first run need not."""

from __future__ import annotations

import sys
import time

import click


@click.command()
def command() -> None:
    """Compile the kernels and say where they are kept."""
    from memsim.warmup import cache_directory

    seconds = compile_kernels()
    click.echo(f"{cache_directory() or '(not kept: no folder to write to)'}   {seconds:.1f} s")


def compile_if_cold() -> None:
    """Compile the kernels if that has not been done, saying so once."""
    from memsim.warmup import is_cold

    if is_cold():
        click.echo(
            "compiling the kernels, once; a minute or two (memsim warmup does it ahead)",
            err=True,
        )
        compile_kernels()


def compile_kernels() -> float:
    """Compile every kernel, with a bar on a terminal; return the seconds it took."""
    from rich.console import Console
    from rich.progress import Progress

    from memsim.warmup import entry_points

    began = time.monotonic()
    calls = entry_points()
    quiet = not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("compiling", total=len(calls))
        for name, call in calls.items():
            bar.update(task, description=f"compiling {name}")
            call()
            bar.advance(task)
    return time.monotonic() - began
