"""Say how much memory can be taken away from a machine, and what stands in the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from memsim.cli import _completing
from memsim.cli._plugins import plugin_option
from memsim.errors import InputError, Problem, visible

if TYPE_CHECKING:
    from memsim.explain.capture import CaptureAnswer


@click.command()
@click.argument("scenario", metavar="SCENARIO|CAPTURE", shell_complete=_completing.scenarios)
@click.option("--size", metavar="SIZE", help="So much, wherever it goes most easily: 4GiB.")
@click.option("--node", type=click.IntRange(min=0), metavar="N", help="All of a node.")
@click.option("--block", type=click.IntRange(min=0), metavar="N", help="One memory block.")
@click.option("--at", metavar="TIME", help="When (default: at the end of the scenario).")
@click.option(
    "--timeout",
    metavar="TIME",
    default="10s",
    show_default=True,
    help="Simulated time after which a block is given up.",
)
@click.option("--policy", metavar="NAME", help="The policy (default: the first).")
@click.option("--seed", type=int, metavar="SEED", help="The seed (default: the first).")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="PATH=VALUE",
    help="The value of an axis (repeatable).",
)
@click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change one value.")
@click.option(
    "--pin-rate",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Of copies of /proc: assume that each page of a user is pinned with this probability.",
)
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown")
@plugin_option  # fmt: skip
def command(
    scenario: str,
    size: str | None,
    node: int | None,
    block: int | None,
    at: str | None,
    timeout: str,
    policy: str | None,
    seed: int | None,
    points: tuple[str, ...],
    sets: tuple[str, ...],
    pin_rate: float | None,
    form: str,
) -> None:
    """Say how much memory can be taken away: which blocks, in which order, how fast, and why not.

    Carries out one trial of SCENARIO, then takes memory blocks offline one by one, the easiest
    first. What would let more go is tried, too: a larger ZONE_MOVABLE, unpinned pages, more swap.

    Of a CAPTURE, a folder of copies of /proc and /sys, it says what can be seen of each block: no
    obstacle, an obstacle and which pages that is, or that it is unknown. Pins are in no file, so
    how likely a block goes is said only with --pin-rate. Without --size, --node and --block it
    speaks of all blocks. Of a SCENARIO that begins with a snapshot it says both.
    """
    from memsim.cli.warmup import compile_if_cold
    from memsim.explain import chosen_trial
    from memsim.explain.capture import copies_of
    from memsim.explain.unplug import Asked, plan_unplug
    from memsim.explain.unplug_text import as_json, as_markdown
    from memsim.load import find_scenario, load_scenario
    from memsim.units import parse_bytes, parse_duration

    number = sum(one is not None for one in (size, node, block))

    def read(option: str, parse: object, text: str | None) -> int | None:
        try:
            return None if text is None else parse(text)  # type: ignore[operator]
        except ValueError as error:
            raise InputError([Problem(option, 0, 0, str(error))]) from None

    wanted = read("--size", parse_bytes, size)
    if Path(scenario).is_dir():
        if number > 1:
            raise click.UsageError("expected at most one of --size, --node and --block")
        seen = _of_copies(Path(scenario), wanted, node, block, pin_rate)
        _show(as_json(None, seen) if form == "json" else as_markdown(None, seen))
        return
    loaded = load_scenario(find_scenario(scenario), sets=sets)
    copies = copies_of(loaded)
    if number > 1 or (number == 0 and copies is None):
        raise click.UsageError("expected one of --size, --node and --block")
    if pin_rate is not None and copies is None:
        raise click.UsageError("--pin-rate is for a CAPTURE: a scenario says who pins what")
    answer = None if copies is None else _of_copies(copies, wanted, node, block, pin_rate)
    plan = None
    if number:
        asked = Asked(
            size=wanted,
            node=node,
            block=block,
            at_ns=read("--at", parse_duration, at),
            timeout_ns=read("--timeout", parse_duration, timeout) or 1,
        )
        trial = chosen_trial(loaded, policy, seed, points)
        compile_if_cold()
        plan = plan_unplug(trial, asked)
    _show(as_json(plan, answer) if form == "json" else as_markdown(plan, answer))


def _show(text: str) -> None:
    click.echo("\n".join(map(visible, text.split("\n"))))


def _of_copies(
    folder: Path, size: int | None, node: int | None, block: int | None, pin_rate: float | None
) -> CaptureAnswer:
    """Answer from a folder of copies of /proc and /sys."""
    from memsim.explain.capture import ask_capture
    from memsim.snapshot.observed import observe

    return ask_capture(observe(folder), size=size, node=node, block=block, pin_rate=pin_rate)
