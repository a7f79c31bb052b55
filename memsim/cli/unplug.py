"""Say how much memory can be taken away from a machine, and what stands in the way."""

from __future__ import annotations

import click

from memsim.cli._plugins import plugin_option
from memsim.errors import InputError, Problem, visible


@click.command()
@click.argument("scenario", metavar="SCENARIO")
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
    form: str,
) -> None:
    """Say how much memory can be taken away: which blocks, in which order, how fast, and why not.

    Carries out one trial of SCENARIO, then takes memory blocks offline one by one, the easiest
    first. What would let more go is tried, too: a larger ZONE_MOVABLE, unpinned pages, more swap.
    """
    from memsim.cli.warmup import compile_if_cold
    from memsim.explain import chosen_trial
    from memsim.explain.unplug import Asked, plan_unplug
    from memsim.explain.unplug_text import as_json, as_markdown
    from memsim.load import find_scenario, load_scenario
    from memsim.units import parse_bytes, parse_duration

    if sum(one is not None for one in (size, node, block)) != 1:
        raise click.UsageError("expected one of --size, --node and --block")

    def read(option: str, parse: object, text: str | None) -> int | None:
        try:
            return None if text is None else parse(text)  # type: ignore[operator]
        except ValueError as error:
            raise InputError([Problem(option, 0, 0, str(error))]) from None

    asked = Asked(
        size=read("--size", parse_bytes, size),
        node=node,
        block=block,
        at_ns=read("--at", parse_duration, at),
        timeout_ns=read("--timeout", parse_duration, timeout) or 1,
    )
    loaded = load_scenario(find_scenario(scenario), sets=sets)
    trial = chosen_trial(loaded, policy, seed, points)
    compile_if_cold()
    plan = plan_unplug(trial, asked)
    text = as_json(plan) if form == "json" else as_markdown(plan)
    click.echo("\n".join(map(visible, text.split("\n"))))
