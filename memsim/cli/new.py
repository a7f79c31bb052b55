"""Write a commented scenario to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from memsim.errors import InputError, Problem, visible

STARTER = Path(__file__).with_name("_starter.yaml")


@click.command("new")
@click.argument("file", type=click.Path(path_type=Path), default=Path("scenario.yaml"))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(file: Path, force: bool) -> None:
    """Write a commented scenario that runs as it is (default: scenario.yaml)."""
    text = STARTER.read_text(encoding="utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        problem = Problem(str(file), 0, 0, "exists already", "--force replaces it")
        raise InputError([problem]) from None
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise InputError([Problem(str(file), 0, 0, message)]) from None
    shown = visible(str(file))
    click.echo(f"Wrote {shown}\n  memsim validate {shown}\n  memsim run {shown}")
