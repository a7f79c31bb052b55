"""The judge of fragmentation: repeat a recorded series of attempts and compare the blocks got.

The series (``e4.jsonl``) was made on a machine whose memory had been filled finely interleaved and
half emptied again (``s2_dropped``). Each step asks for blocks of one order until the first failure
and frees them all before the next.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from memsim.errors import InputError, Problem
from memsim.fidelity.attempting import Attempts, request_of_step
from memsim.fidelity.series import COMPACT_MEMORY, RECORD, START, Step, read_steps
from memsim.fidelity.timing import NS_PER_MS, Timing, drawn_timing, timing_of
from memsim.kernels.placement import PolicyTables
from memsim.memory.restore import restore
from memsim.memory.undetermined import draw_undetermined
from memsim.policies import LINUX_6_1, mobility, none
from memsim.traces.capture import Snapshot, has_state, read_snapshot

CONVENTION = 0
"""The seed that draws nothing."""
SAME_BLOCKS = 3
"""Without grouping, compaction hardly helps: what is to be had is seen at once."""
TENTH, COMPACTED = 0.10, 0.15
Verdict = Literal["ok", "DIFFERS", "not judged"]


@dataclass(frozen=True)
class Attempted:
    """A step and what memsim got."""

    step: str
    gfp: str
    order: int
    kernel: int
    memsim: int
    verdict: Verdict

    @property
    def difference(self) -> int:
        """Blocks that memsim got more than the kernel."""
        return self.memsim - self.kernel

    @property
    def percent(self) -> float:
        """The difference in percent of what the kernel got; of one block where it got none."""
        return 100 * self.difference / max(self.kernel, 1)


COLUMNS = ("step", "gfp", "order", "kernel", "memsim", "diff", "percent", "verdict")
TEXTS = ("step", "gfp", "verdict")


@dataclass(frozen=True)
class AttemptsReport:
    """All steps of one capture."""

    capture: str
    grouped: bool
    attempts: tuple[Attempted, ...]

    @property
    def exact(self) -> bool:
        """Every step that is judged is within its bound."""
        return all(a.verdict != "DIFFERS" for a in self.attempts)

    def to_json(self) -> str:
        """Return one JSON object: capture, grouped, attempts."""
        attempts = [
            {**asdict(a), "difference": a.difference, "percent": a.percent} for a in self.attempts
        ]
        return json.dumps({**asdict(self), "attempts": attempts}, indent=2)

    def to_text(self) -> str:
        """Return a table with one line per step."""
        lines = [f"{self.capture}: blocks got from {START}, {bounds_of(self.grouped)}"]
        return "\n".join([*lines, *table_of([COLUMNS, *map(_row, self.attempts)], TEXTS)])


def bounds_of(grouped: bool) -> str:
    """Name the bounds that steps are held to."""
    if not grouped:
        return f"without grouping by mobility (within {SAME_BLOCKS} blocks)"
    bounds = "noretry and hugetlb within 10 %, after compact_memory within 15 %"
    return f"with grouping by mobility ({bounds})"


def table_of(rows: Sequence[tuple[str, ...]], texts: Sequence[str]) -> list[str]:
    """Return the lines of a table whose first row names its columns; ``texts`` go to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if name in texts else text.rjust(width)
            for name, text, width in zip(rows[0], row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _row(a: Attempted) -> tuple[str, ...]:
    return (
        a.step,
        a.gfp,
        str(a.order),
        f"{a.kernel:,}",
        f"{a.memsim:,}",
        f"{a.difference:+,}",
        f"{a.percent:+.1f}",
        a.verdict,
    )


def has_attempts(folder: Path) -> bool:
    """Say whether a folder records attempts, and the state that they began with."""
    return (folder / RECORD).is_file() and has_state(folder / START)


def read_series(folder: Path) -> tuple[tuple[Step, ...], Snapshot]:
    """Read the steps that a folder records, and the state that they began with.

    Raises InputError if it lacks one of them, or one cannot be read.
    """
    if not (folder / RECORD).is_file():
        message = f"records no attempts: it has no {RECORD}"
        raise InputError([Problem(str(folder), 0, 0, message)])
    return read_steps(folder / RECORD), read_snapshot(folder / START)


def judge_attempts(folder: Path) -> AttemptsReport:
    """Repeat the attempts of a folder from its state after the drop.

    Raises InputError as ``read_series`` does, and for counters that cannot be read.
    """
    steps, snapshot = read_series(folder)
    got = repeat(snapshot, steps, timing_of(folder, steps))
    grouped = not snapshot.state.group_by_mobility_disabled
    return AttemptsReport(folder.resolve().name, grouped, judged(steps, got, grouped))


def repeat(
    snapshot: Snapshot, steps: Sequence[Step], timing: Timing, seed: int = CONVENTION
) -> tuple[int, ...]:
    """Carry out all steps on the memory of a snapshot; return the blocks got by each.

    A step lasts at least as long as it took the kernel, so that the daemons come to their turns.
    Proactive compaction begins where ``timing`` says it, and from the first time that kcompactd has
    worked also by itself, but not between two steps. What neither snapshot nor record tells is
    drawn from the seed; nothing is for seed 0.
    """
    grouped = not snapshot.state.group_by_mobility_disabled
    tables: PolicyTables = (mobility if grouped else none).Policy().tables(LINUX_6_1)
    if seed != CONVENTION:
        of_time, of_pages = map(_generator, np.random.SeedSequence(seed).spawn(2))
        timing = drawn_timing(timing, of_time)
    memory = restore(snapshot.state, tables, pages=snapshot.pages, pressure=timing.pressure)
    if seed != CONVENTION:
        draw_undetermined(memory, snapshot, of_pages)
    attempts = Attempts(memory)
    attempts.put_off_kcompactd()
    woken = {turn.step for turn in timing.turns if turn.woken}
    rounds = {turn.step: turn for turn in timing.turns if not turn.woken}
    done = {turn.done for turn in timing.turns if turn.done}
    got = []
    for i, step in enumerate(steps):
        if i in done:
            attempts.finish_proactive_round()
        if i in woken:
            attempts.wake_kcompactd(steps[i - 1].order)
        attempts.pause(timing.pauses[i])
        attempts.take(*timing.taken[i])
        began = attempts.now
        if i in rounds and not attempts.expects_kcompactd:
            attempts.compact_proactively(rounds[i].pages, rounds[i].left)
        if step.label == COMPACT_MEMORY:
            attempts.compact_memory()
            got.append(0)
        else:
            got.append(attempts.blocks(request_of_step(step.label, step.gfp), step.order))
        attempts.wait_until(began + int(step.ms * NS_PER_MS))
    return tuple(got)


def _generator(sequence: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(sequence))


def judged(steps: Sequence[Step], got: Sequence[int], grouped: bool) -> tuple[Attempted, ...]:
    """Hold the blocks got in each step against the kernel's."""
    return tuple(
        Attempted(
            step.label, step.gfp, step.order, step.got, blocks, verdict_of(step, blocks, grouped)
        )
        for step, blocks in zip(steps, got, strict=True)
        if step.label != COMPACT_MEMORY
    )


def verdict_of(step: Step, blocks: float, grouped: bool) -> Verdict:
    """Say whether so many blocks are within the bound of a step, if it has one."""
    bound = _bound(step, grouped)
    if bound is None:
        return "not judged"
    return "ok" if abs(blocks - step.got) <= bound else "DIFFERS"


def _bound(step: Step, grouped: bool) -> float | None:
    """Say by how many blocks a step may differ; None if kcompactd's timing decides it."""
    after = step.label.startswith("after_compact")
    if not after and step.label.startswith("nowait"):
        return None
    if not grouped:
        return SAME_BLOCKS
    return step.got * (COMPACTED if after else TENTH)
