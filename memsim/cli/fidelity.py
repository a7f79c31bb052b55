"""Replay a capture of a real kernel and compare every page frame."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import click


@click.command("fidelity")
@click.argument("capture", type=click.Path(path_type=Path), metavar="CAPTURE")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--policy", metavar="NAME", help="Replay under this policy instead.")
@click.option(
    "--beside",
    "other",
    type=click.Path(path_type=Path),
    metavar="CAPTURE",
    help="With --policy: set it beside what the kernel of this capture did.",
)
@click.option(
    "--seeds",
    metavar="SEEDS",
    help="Repeat the attempts with each of these seeds: 1..10.",
)
@click.pass_context
def command(
    ctx: click.Context,
    capture: Path,
    as_json: bool,
    form: str,
    policy: str | None,
    other: Path | None,
    seeds: str | None,
) -> None:
    """Hold memsim's own kernels against CAPTURE, a folder of what a real kernel did.

    A start state and a trace are replayed. The replay runs free: it is told what was asked for, by
    whom and when, never what came of it. Prints one line per quantity (seen, predicted, equal,
    ratio) and the first divergence. Exits with 1 if anything differs.

    The attempts of e4.jsonl are repeated from the state s2_dropped. Prints one line per step: the
    blocks that the kernel got and those that memsim gets. Exits with 1 if a step that is judged is
    out of its bound.

    What the capture does not tell of them is taken by convention. With --seeds it is drawn instead,
    anew from each seed (seed 0 is the convention), and only the attempts are repeated. Prints per
    step the blocks that the kernel got, median, lowest and highest of the seeds, whether the
    kernel's lie between, and how many seeds are within the bound. Exits with 1 if a step's median
    is out of its bound.

    The system calls of cases.jsonl are repeated from the state before. Prints the quantities of
    each call, the kernel's and memsim's. Exits with 1 if one is out of its bound.

    The memory blocks of e3.jsonl are taken offline, in its order, from the state ``before``. Prints
    one line per block: what the kernel made of it and what memsim does. Files tell only how many
    pages were pinned: those marked as accessed are, then others drawn by lot. Exits with 1 if
    anything that is judged differs.

    With --policy it asks what if: the same requests, placed by another policy, are counted beside
    the fall-backs that the kernels printed. Exits with 1 if memsim does not fall back as often as
    they did where it replays what was recorded.
    """
    from memsim.traces.capture import read_capture

    if seeds is not None and policy is not None:
        raise click.UsageError("--seeds draws nothing for --policy: give one of the two")
    if other is not None and policy is None:
        raise click.UsageError("--beside needs --policy: which policy is the question about?")
    if policy is not None:
        from memsim.fidelity.beside import beside

        found = beside(
            read_capture(capture), policy, None if other is None else read_capture(other)
        )
        click.echo(found.to_json() if as_json or form == "json" else found.to_text())
        ctx.exit(0 if found.exact else 1)
    if seeds is not None:
        exact, text = _spread(capture, seeds, as_json or form == "json")
    else:
        exact, text = _judged(capture, as_json or form == "json")
    click.echo(text)
    ctx.exit(0 if exact else 1)


class Report(Protocol):
    """What a judge says of a capture."""

    @property
    def exact(self) -> bool:
        """Nothing that is judged differs."""

    def to_json(self) -> str:
        """Return one JSON object."""

    def to_text(self) -> str:
        """Return a table."""


def _judged(folder: Path, as_json: bool) -> tuple[bool, str]:
    """Judge all that a folder holds: a replay, attempts, system calls, blocks taken offline."""
    import json

    from memsim.fidelity import judge
    from memsim.fidelity.attempts import has_attempts, judge_attempts
    from memsim.fidelity.migrations import has_migrations, judge_migrations
    from memsim.fidelity.offlining import has_offlining, judge_offlining
    from memsim.fidelity.series import RECORD
    from memsim.traces.capture import find_state, find_trace, read_capture

    replayed = find_state(folder, "start") is not None and find_trace(folder) is not None
    reports: dict[str, Report] = {}
    if has_attempts(folder) or ((folder / RECORD).is_file() and not replayed):
        reports["attempts"] = judge_attempts(folder)
    if has_migrations(folder):
        reports["migrations"] = judge_migrations(folder)
    if has_offlining(folder):
        reports["offlining"] = judge_offlining(folder)
    if replayed or not reports:
        reports = {"": judge(read_capture(folder)), **reports}
    exact = all(report.exact for report in reports.values())
    if not as_json:
        return exact, "\n\n".join(report.to_text() for report in reports.values())
    whole = {name: json.loads(report.to_json()) for name, report in reports.items()}
    first = whole.pop(next(iter(whole)))
    return exact, json.dumps({**first, **whole}, indent=2)


def _spread(folder: Path, seeds: str, as_json: bool) -> tuple[bool, str]:
    """Repeat the attempts of a folder with several seeds."""
    from memsim.errors import InputError, Problem
    from memsim.fidelity.spread import judge_spread
    from memsim.units import parse_int_set

    try:
        numbers = parse_int_set(seeds)
    except ValueError as error:
        raise InputError([Problem("--seeds", 0, 0, str(error))]) from error
    spread = judge_spread(folder, numbers)
    return spread.exact, spread.to_json() if as_json else spread.to_text()
