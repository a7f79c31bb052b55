"""One trial of a run, as options name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memsim.errors import visible

if TYPE_CHECKING:
    from memsim.scenario import Trial

_OPTIONS = (
    click.option("--policy", metavar="NAME", help="The trial's policy (default: the first)."),
    click.option("--seed", type=int, metavar="SEED", help="The trial's seed (default: the first)."),
    click.option("--point", "points", multiple=True, metavar="PATH=VALUE",
                 help="The trial's value of an axis (repeatable)."),
)  # fmt: skip


def trial_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--policy``, ``--seed`` and ``--point``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def trial_of_run(
    run: str, out: Path, policy: str | None, seed: int | None, points: tuple[str, ...]
) -> Trial:
    """Return the trial of a run that is meant, ready to be carried out again.

    Says on standard error what has changed since the run. Raises InputError.
    """
    from memsim.cli.warmup import compile_if_cold
    from memsim.explain import chosen_trial
    from memsim.results import open_run
    from memsim.results.places import find_run
    from memsim.verify import changes, trials_of

    wished = open_run(find_run(run, out))
    trials_of(wished)
    trial = chosen_trial(wished.scenario, policy, seed, points)
    for change in changes(wished):
        click.echo(f"note: {visible(change)}", err=True)
    compile_if_cold()
    return trial
