"""How trials are carried out: the options of the commands that do so, and what these show."""

from __future__ import annotations

import functools
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from memsim.cli import INTERRUPTED
from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.cli._progress import Progress
    from memsim.execute import Executor, How, Planned

R = TypeVar("R")
EXECUTORS: tuple[Executor, ...] = ("serial", "threads", "processes", "dask")
MOST_JOBS = 1024
SHOW_CURSOR = "\x1b[?25h"


@dataclass(frozen=True)
class Wanted:
    """What the user asked for; ``how_for`` turns it into what is done."""

    executor: Executor
    jobs: int | None
    """Trials at a time; None: as many as suit this computer."""
    scheduler: str
    insecure: bool
    force: bool
    cache: bool
    fail_fast: bool

    def how_for(self, planned: Sequence[Planned], *, check: bool = False) -> How:
        """Say how to carry out trials so that memory suffices; may print a note.

        ``check`` verifies the allocator's invariants on the way. Raises InputError if not even one
        trial fits into memory, unless ``force`` is set.
        """
        from memsim.execute.estimate import fitted
        from memsim.execute.executors import How

        wanted = How(self.executor, 1, check, self.scheduler, self.insecure)
        how, note = fitted(planned, wanted, jobs=self.jobs, force=self.force)
        if note:
            click.echo(f"note: {note}", err=True)
        return how


def _jobs(ctx: click.Context, param: click.Parameter, text: str) -> int | None:
    if text == "auto":
        return None
    if text.isdecimal() and text.isascii() and len(text) <= 4 and 1 <= int(text) <= MOST_JOBS:
        return int(text)
    raise click.BadParameter(f"expected auto or a number from 1 to {MOST_JOBS}, found {text!r}")


def how_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options of how trials are carried out, as its parameter ``wanted``."""

    @click.option("--executor", type=click.Choice(EXECUTORS), default="threads",
                  show_default=True, help="Where trials are carried out.")  # fmt: skip
    @click.option("--jobs", callback=_jobs, default="auto", metavar="N|auto",
                  help="Trials at a time (auto: as cores and memory allow).")  # fmt: skip
    @click.option("--scheduler", default="", metavar="ADDRESS",
                  help="Dask scheduler, tcp:// or tls://, instead of one of its own.")  # fmt: skip
    @click.option("--insecure", is_flag=True, help="Speak to a scheduler elsewhere without TLS.")
    @click.option("--no-cache", is_flag=True, help="Simulate again what is kept.")
    @click.option("--fail-fast", is_flag=True, help="Stop at the first trial that fails.")
    @click.option("--force", is_flag=True,
                  help="Run although memory seems short; write again what is there.")  # fmt: skip
    @functools.wraps(command)
    def with_wanted(
        *args: Any,
        executor: Executor,
        jobs: int | None,
        scheduler: str,
        insecure: bool,
        no_cache: bool,
        fail_fast: bool,
        force: bool,
        **kwargs: Any,
    ) -> R:
        for option, given in (("--scheduler", bool(scheduler)), ("--insecure", insecure)):
            if given and executor != "dask":
                raise click.UsageError(f"{option} goes with --executor dask")
        wanted = Wanted(executor, jobs, scheduler, insecure, force, not no_cache, fail_fast)
        return command(*args, wanted=wanted, **kwargs)

    return with_wanted


@contextmanager
def watched(where: str) -> Iterator[Progress]:
    """Show progress while trials are carried out; yields the watcher to carry them out with.

    SIGINT and SIGTERM end the command with a sentence that names ``where`` finished trials are
    kept and how to go on; a second one ends it at once.
    """
    from memsim.cli._progress import Progress

    progress = Progress()
    try:
        with _interruptible(progress), shown(progress):
            yield progress
    except KeyboardInterrupt:
        again = visible(shlex.join(["memsim", *sys.argv[1:]]))
        kept = f"{progress.done} more of {progress.trials} trials are finished and kept"
        click.echo(f"interrupted: {kept} below {visible(where)}; to go on:\n  {again}", err=True)
        click.get_current_context().exit(INTERRUPTED)


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Show progress on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    from memsim.cli._display import display

    console = Console(stderr=True)
    with Live(
        get_renderable=lambda: display(progress, time.monotonic(), console.height),
        console=console,
        refresh_per_second=8,
        transient=True,
    ):
        yield


@contextmanager
def _interruptible(progress: Progress) -> Iterator[None]:
    """Let SIGTERM interrupt like SIGINT, and a second of either end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        if progress.interrupted:
            if sys.stderr.isatty():
                sys.stderr.write(SHOW_CURSOR)
                sys.stderr.flush()
            os._exit(INTERRUPTED)
        progress.interrupted = True
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
