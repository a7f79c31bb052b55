"""Attempts repeated with several seeds, from which is drawn what a capture does not tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from memsim.fidelity.attempts import Verdict, bounds_of, read_series, repeat, table_of, verdict_of
from memsim.fidelity.series import COMPACT_MEMORY, START
from memsim.fidelity.timing import timing_of

COLUMNS = (
    "step", "gfp", "order", "kernel", "median", "lowest", "highest", "kernel's", "within", "verdict"
)  # fmt: skip
TEXTS = ("step", "gfp", "kernel's", "verdict")


@dataclass(frozen=True)
class Spread:
    """A step, and what memsim got with each seed."""

    step: str
    gfp: str
    order: int
    kernel: int
    blocks: tuple[int, ...]
    """By seed, as the report lists them."""
    within: int | None
    """Seeds whose blocks are within the step's bound; None: it has none."""
    verdict: Verdict
    """Of the median."""

    @property
    def median(self) -> float:
        """Half of the seeds got no more than this, half no less."""
        return float(np.median(self.blocks))

    @property
    def covers(self) -> bool:
        """The kernel got no fewer blocks than some seed, and no more than some other."""
        return min(self.blocks) <= self.kernel <= max(self.blocks)


@dataclass(frozen=True)
class SpreadReport:
    """All steps of one capture, with several seeds."""

    capture: str
    grouped: bool
    seeds: tuple[int, ...]
    attempts: tuple[Spread, ...]

    @property
    def exact(self) -> bool:
        """The median of every step that is judged is within its bound."""
        return all(a.verdict != "DIFFERS" for a in self.attempts)

    def to_json(self) -> str:
        """Return one JSON object: capture, grouped, seeds, attempts."""
        attempts = [{**asdict(a), "median": a.median, "covers": a.covers} for a in self.attempts]
        return json.dumps({**asdict(self), "attempts": attempts}, indent=2)

    def to_text(self) -> str:
        """Return a table with one line per step, and how many are within their bounds."""
        n = len(self.seeds)
        judged = [a for a in self.attempts if a.within is not None]
        sound = sum(a.verdict == "ok" for a in judged)
        covered = sum(a.covers for a in self.attempts)
        every = sum(a.within == n for a in judged)
        return "\n".join(
            [
                f"{self.capture}: blocks got from {START} with {n} seeds, "
                f"{bounds_of(self.grouped)}",
                *table_of([COLUMNS, *(_row(a, n) for a in self.attempts)], TEXTS),
                f"{sound} of {len(judged)} judged steps are within their bounds by the median, "
                f"{every} with every seed",
                f"the kernel's blocks lie between the lowest and the highest "
                f"in {covered} of {len(self.attempts)} steps",
            ]
        )


def _row(a: Spread, seeds: int) -> tuple[str, ...]:
    low, high = min(a.blocks), max(a.blocks)
    return (
        a.step,
        a.gfp,
        str(a.order),
        f"{a.kernel:,}",
        f"{a.median:,.1f}".removesuffix(".0"),
        f"{low:,}",
        f"{high:,}",
        "in range" if a.covers else "below" if a.kernel < low else "above",
        "" if a.within is None else f"{a.within}/{seeds}",
        a.verdict,
    )


def judge_spread(folder: Path, seeds: Sequence[int]) -> SpreadReport:
    """Repeat the attempts of a folder with each seed.

    Raises InputError as ``read_series`` does, and for counters that cannot be read.
    """
    steps, snapshot = read_series(folder)
    grouped = not snapshot.state.group_by_mobility_disabled
    timing = timing_of(folder, steps)
    got = np.array([repeat(snapshot, steps, timing, seed) for seed in seeds])
    attempts = []
    for i, step in enumerate(steps):
        if step.label == COMPACT_MEMORY:
            continue
        blocks = tuple(got[:, i].tolist())
        verdicts = [verdict_of(step, one, grouped) for one in blocks]
        verdict = verdict_of(step, float(np.median(blocks)), grouped)
        within = None if verdict == "not judged" else verdicts.count("ok")
        attempts.append(Spread(step.label, step.gfp, step.order, step.got, blocks, within, verdict))
    return SpreadReport(folder.resolve().name, grouped, tuple(seeds), tuple(attempts))
