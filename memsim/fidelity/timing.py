"""What passed beside a series of attempts, and when: as far as the record's counters tell.

What they do not tell is a convention, or drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memsim.errors import InputError, Problem
from memsim.fidelity.series import COMPACT_MEMORY, START, Step
from memsim.memory.setup import Pressure

NS_PER_MS = 1_000_000
PAUSE_NS = {
    "s3_after_nowait": 30 * NS_PER_MS,
    "s4_after_o9_norety": 240 * NS_PER_MS,
    "s5_hugetlb": 80 * NS_PER_MS,
    "s6_compacted": 300 * NS_PER_MS,
}
"""How long the snapshots took; the traces of ``frag`` and ``frag_nogroup`` show 180 to 300 ms for
the second one."""
BEFORE_NS = 230 * NS_PER_MS
"""From the start state to the first step; the traces show 120 and 440 ms."""
PAUSES_DIFFER, COSTS_DIFFER = 2.0, 1.25
"""By what factor, up or down, snapshots and compaction may take longer than by convention."""
BETWEEN_NS = (1 * NS_PER_MS, 11 * NS_PER_MS)
"""What passes between two steps (the traces of ``frag`` and ``frag_nogroup``)."""


class Turn(NamedTuple):
    """kcompactd has something to do before a step: a proactive round, or it was woken."""

    step: int
    pages: int | None = None
    """How many a round moved before kswapd woke, None: it came to its end."""
    woken: bool = False
    latest: int = 0
    """The last step that it may have come before, if the counters leave that open."""
    left: int = 0
    """Pages that a round had still to move when the step began; of an undrawn one, at most."""
    done: int = 0
    """The step by which a round of which something may have been left had ended."""


@dataclass(frozen=True)
class Timing:
    """What passes beside the steps of a series."""

    turns: tuple[Turn, ...]
    pauses: tuple[int, ...]
    """Before each step, ns."""
    taken: tuple[tuple[int, int], ...]
    """Before each step, pages that others take and keep: by faults, and for the kernel."""
    pressure: Pressure
    """What compaction costs."""


def timing_of(folder: Path, steps: Sequence[Step]) -> Timing:
    """Read from a folder's counters what passed when; the rest is a convention.

    That is: nothing passes between two steps but a snapshot, which takes as long as on the traced
    machines; what kcompactd did between two snapshots it did at once and first; and a round during
    a step came before it.
    """
    pauses = {before: PAUSE_NS[name] for name, before in _snapshots_before(steps)}
    return Timing(
        turns_of_kcompactd(folder, steps),
        tuple(pauses.get(i, 0) for i in range(len(steps))),
        _taken_between(folder, steps),
        pressure_of(steps),
    )


def drawn_timing(timing: Timing, chance: np.random.Generator) -> Timing:
    """Draw what the record leaves open.

    How long snapshots and compaction take, what passes between two steps, between which steps a
    proactive round began (the likelier, the longer it is from one to the next), and how much of one
    that went on during a step was left when the step began.
    """
    usual = np.array(timing.pauses)
    usual[0] = BEFORE_NS
    factors = PAUSES_DIFFER ** chance.uniform(-1, 1, len(usual))
    pauses = (usual * factors + chance.uniform(*BETWEEN_NS, len(usual))).astype(np.int64).tolist()
    costs = COSTS_DIFFER ** chance.uniform(-1, 1)
    return Timing(
        tuple(_drawn_turn(turn, pauses, chance) for turn in timing.turns),
        tuple(pauses),
        timing.taken,
        replace(
            timing.pressure,
            migrate_ns=int(timing.pressure.migrate_ns * costs),
            scan_ns=int(timing.pressure.scan_ns * costs),
        ),
    )


def _drawn_turn(turn: Turn, pauses: Sequence[int], chance: np.random.Generator) -> Turn:
    if turn.woken:
        return turn
    step = turn.step
    if turn.latest > step:
        weights = np.array(pauses[step : turn.latest + 1], float)
        step += int(chance.choice(len(weights), p=weights / weights.sum()))
    return turn._replace(step=step, left=int(chance.integers(turn.left + 1)))


def turns_of_kcompactd(folder: Path, steps: Sequence[Step]) -> tuple[Turn, ...]:
    """Say when proactive compaction had its turns, as far as the counters tell.

    When they came is chance, and decides what the steps after them find. The counters move in a
    step that does not compact, or between the steps from one snapshot to the next: then the turn
    was during the first of the two. Where kswapd wakes in the step after it, it ended there. What
    woke kcompactd between two steps was the last one's doing. Without counters it comes first,
    unless kswapd ran then.

    Raises InputError for counters that cannot be read.
    """
    seen = list(_snapshots(folder, steps))
    if len(seen) < 2 or seen[0].before:
        efforts = [i for i, step in enumerate(steps) if step.may_compact]
        return () if steps[0].kswapd_ran else (Turn(0, latest=min(efforts, default=0)),)
    turns = []
    for first, last in pairwise(seen):
        part = steps[first.before : last.before]
        alone = [i for i, step in enumerate(part) if step.compacted and not step.may_compact]
        between, moved, woken, *_ = _between(first, last, part)
        if woken > 0:
            turns.append(Turn(last.before, woken=True))
        if alone and part[alone[0]].kswapd_ran:
            turns.append(Turn(first.before + alone[0], moved + part[alone[0]].moved))
        elif alone:
            left = sum(part[i].moved for i in alone)
            done = first.before + alone[-1] + 1
            turns.append(Turn(first.before + alone[0], left=left, done=done))
        elif between > 0:
            turns.append(Turn(first.before, latest=min(last.before, len(steps) - 1)))
    return tuple(turns)


def _taken_between(folder: Path, steps: Sequence[Step]) -> tuple[tuple[int, int], ...]:
    """Say before which steps others took pages: all at the first one between two snapshots."""
    taken = [(0, 0)] * len(steps)
    for first, last in pairwise(_snapshots(folder, steps)):
        *_, faults, allocs = _between(first, last, steps[first.before : last.before])
        if last.before > first.before and allocs >= faults >= 0:
            taken[first.before] = faults, allocs - faults
    return tuple(taken)


class _Snapshot(NamedTuple):
    """What the counters said before a step."""

    before: int
    counted: dict[str, int]


COUNTED = {
    "sources": "compact_migrate_scanned",
    "moved": "pgmigrate_success",
    "wakes": "compact_daemon_wake",
    "faults": "pgfault",
    "allocs": "numa_hit",
}
"""What a step knows, and the counters that say it."""


def _between(first: _Snapshot, last: _Snapshot, part: Sequence[Step]) -> list[int]:
    """Say what the counters moved between two snapshots, but during no step; as COUNTED has it."""
    return [
        last.counted.get(name, 0)
        - first.counted.get(name, 0)
        - sum(getattr(step, field) for step in part)
        for field, name in COUNTED.items()
    ]


def _snapshots(folder: Path, steps: Sequence[Step]) -> Iterator[_Snapshot]:
    """Yield the counters of the snapshots that are there, in order."""
    for name, before in ((START, 0), *_snapshots_before(steps)):
        path = folder / name / "vmstat.txt"
        if path.is_file():
            yield _Snapshot(before, _read_vmstat(path))


def _read_vmstat(path: Path) -> dict[str, int]:
    counted = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            name, value = line.decode("ascii").split()
            counted[name] = int(value)
        except ValueError as error:
            raise InputError([Problem(str(path), number, 0, "is no counter of vmstat")]) from error
    return counted


def _snapshots_before(steps: Sequence[Step]) -> Iterator[tuple[str, int]]:
    """Yield the snapshots after the start, and the step that each was taken before."""
    efforts = [i for i, step in enumerate(steps) if step.may_compact]
    compacts = [i for i, step in enumerate(steps) if step.label == COMPACT_MEMORY]
    if efforts:
        yield "s3_after_nowait", efforts[0]
        yield "s4_after_o9_norety", efforts[0] + 1
    for i in compacts[:1]:
        yield "s5_hugetlb", i
        yield "s6_compacted", i + 1


def pressure_of(steps: Sequence[Step]) -> Pressure:
    """Say what compaction costs on the machine of a record, from how long its steps took."""
    usual = Pressure(shared_cpu=True)
    moving = [step for step in steps if step.moved]
    took = sum(step.ms for step in moving) * NS_PER_MS
    pages = sum(step.moved * usual.migrate_ns + step.scanned * usual.scan_ns for step in moving)
    slower = max(took / pages, 1) if pages else 1
    return replace(
        usual,
        migrate_ns=int(usual.migrate_ns * slower),
        scan_ns=int(usual.scan_ns * slower),
    )
