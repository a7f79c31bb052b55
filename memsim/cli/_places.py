"""The option ``--out``: the folder of results that a command writes or reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Folder(click.Path):
    """A path; nothing, as that of a variable that is not set, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fails for an empty one."""
        if value == "":
            self.fail("expected a folder, found nothing", param, ctx)
        return super().convert(value, param, ctx)


def out_option(what: str) -> Callable[[Any], Any]:
    """Give a command ``--out DIR``; ``what`` is what the help says of it."""
    return click.option(
        "--out", type=Folder(path_type=Path), default=Path("results"), metavar="DIR",
        help=f"{what} (default: results).",
    )  # fmt: skip
