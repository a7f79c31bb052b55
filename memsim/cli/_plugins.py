"""The option ``--plugin`` of the commands that use plug-ins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

R = TypeVar("R")


def plugin_option(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--plugin FILE``; the files are in use while it runs."""

    @click.option(
        "--plugin",
        "plugin_files",
        multiple=True,
        metavar="FILE",
        help="A policy, workload, metric or trace format of yours; its code is run (repeatable).",
    )
    @functools.wraps(command)
    def with_plugins(*args: Any, plugin_files: tuple[str, ...], **kwargs: Any) -> R:
        if not plugin_files:
            return command(*args, **kwargs)
        from memsim import plugins

        with plugins.outside(plugin_files):
            return command(*args, **kwargs)

    return with_plugins
