"""The command line: one file per command, found by being in this folder.

A file ``memsim/cli/foo.py`` defines ``command``; ``foo_.py`` does so for a name that Python keeps
for itself. Its docstring's first line is what ``memsim --help`` says, read without importing it.
Commands raise MemsimError for what a user can mend, and leave with ``ctx.exit(n)`` otherwise.
"""

from __future__ import annotations

import ast
import errno
import gc
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

from memsim import __version__
from memsim.errors import MemsimError, suggest, visible

USAGE, BUG, INTERRUPTED = 2, 70, 130
FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDER = Path(__file__).parent


def command_files() -> dict[str, Path]:
    """Return the file of each command by the command's name, sorted."""
    names = [module.name for module in pkgutil.iter_modules([str(_FOLDER)])]
    return {
        name.rstrip("_").replace("_", "-"): _FOLDER / f"{name}.py"
        for name in sorted(names)
        if not name.startswith("_")
    }


def summary(file: Path) -> str:
    """Return the first line of a file's docstring without running the file."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


class Commands(click.Group):
    """A group whose commands are files, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands; imports none."""
        return list(command_files())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of this name."""
        if cmd_name not in command_files():
            return None
        import importlib

        module = importlib.import_module(f"memsim.cli.{command_files()[cmd_name].stem}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with, or say which was meant."""
        if args and args[0] not in command_files() and not args[0].startswith("-"):
            hint = suggest(args[0], command_files())
            ctx.fail(f"there is no command {args[0]!r}\n  hint: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(file)) for name, file in command_files().items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of its output that leaves early is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command line and leave with its exit code; errors are sentences on stderr."""
        # Imports make many objects and no garbage: fewer collections save a tenth of a second.
        gc.set_threshold(100_000)
        _open_streams()
        extra["standalone_mode"] = False
        extra["prog_name"] = "memsim"
        code = self._guarded(*args, **extra)
        plugins = sys.modules.get("memsim.plugins")
        if plugins is not None and plugins.threads_left():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        sys.exit(code)

    def _guarded(self, *args: Any, **extra: Any) -> int:
        try:
            result = super().main(*args, **extra)
            return result if isinstance(result, int) else 0
        except click.ClickException as error:
            error.show()
            return USAGE
        except MemsimError as error:
            click.echo("\n".join(map(visible, str(error).split("\n"))), err=True)
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            return INTERRUPTED
        except MemoryError:
            click.echo("this computer's memory does not suffice", err=True)
            return USAGE
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                click.echo(f"the output cannot be written: {error.strerror}", err=True)
                return USAGE
            traceback.print_exc()
            click.echo(
                f"This is a bug of memsim {__version__}: please report it with the lines above "
                f"and the command: {' '.join(map(repr, sys.argv[1:]))}",
                err=True,
            )
            return BUG


def _open_streams() -> None:
    """Give a stream that was closed at the start (``>&-``) a place where nothing is kept."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="memsim")
def main() -> None:
    """Ask what Linux's page allocator will do to this machine's memory."""
