"""The judge of fragmentation: repeat a recorded series of attempts and compare the blocks got.

The series (``e4.jsonl``) was made on a machine whose memory had been filled finely interleaved and
half emptied again (``s2_dropped``). Each step asks for blocks of one order until the first failure
and frees them all before the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from memsim.errors import InputError, Problem
from memsim.fidelity.attempting import Attempts, request_of_step
from memsim.kernels.placement import PolicyTables
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.mm import MAX_PAGE_ORDER
from memsim.policies import LINUX_6_1, mobility, none
from memsim.traces.capture import Snapshot, has_state, read_snapshot

RECORD = "e4.jsonl"
START = "s2_dropped"
COMPACT_MEMORY = "compact_memory"
NS_PER_MS = 1_000_000
SAME_BLOCKS = 3
"""Without grouping, compaction hardly helps: what is to be had is seen at once."""
TENTH, COMPACTED = 0.10, 0.15
NO_EFFORT = ("nowait", "after_compact_nowait")
"""Steps whose requests neither reclaim nor compact."""
PAUSE_NS = {
    "s3_after_nowait": 30 * NS_PER_MS,
    "s4_after_o9_norety": 240 * NS_PER_MS,
    "s5_hugetlb": 80 * NS_PER_MS,
    "s6_compacted": 300 * NS_PER_MS,
}
"""How long the snapshots took; the traces of ``frag`` and ``frag_nogroup`` show 180 to 300 ms for
the second one."""
Verdict = Literal["ok", "DIFFERS", "not judged"]


@dataclass(frozen=True)
class Step:
    """One line of the record."""

    label: str
    gfp: str
    """Empty for ``compact_memory``."""
    order: int
    got: int
    """Blocks that the kernel handed out before its first failure."""
    ms: float
    kswapd_ran: bool = False
    moved: int = 0
    scanned: int = 0
    """Pages that were migrated, and pages that compaction looked at."""
    sources: int = 0
    """Of these the ones looked at by the migrate scanner."""
    wakes: int = 0
    """How often kcompactd was woken."""

    @property
    def compacted(self) -> bool:
        """Somebody compacted during the step."""
        return self.moved + self.scanned > 0

    @property
    def may_compact(self) -> bool:
        """The requests of the step compact directly."""
        return not self.label.startswith(NO_EFFORT)


class Turn(NamedTuple):
    """kcompactd has something to do before a step: a proactive round, or it was woken."""

    step: int
    pages: int | None = None
    """How many a round moved before kswapd woke, None: it came to its end."""
    woken: bool = False


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
        rows = [COLUMNS, *map(_row, self.attempts)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        bound = (
            "noretry and hugetlb within 10 %, after compact_memory within 15 %"
            if self.grouped
            else f"within {SAME_BLOCKS} blocks"
        )
        lines = [
            f"{self.capture}: blocks got from {START}, "
            f"{'with' if self.grouped else 'without'} grouping by mobility ({bound})"
        ]
        for row in rows:
            cells = [
                text.ljust(width) if name in TEXTS else text.rjust(width)
                for name, text, width in zip(COLUMNS, row, widths, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


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


def judge_attempts(folder: Path) -> AttemptsReport:
    """Repeat the attempts of a folder from its state after the drop.

    Raises InputError for a record or a state that cannot be read.
    """
    steps = read_steps(folder / RECORD)
    snapshot = read_snapshot(folder / START)
    grouped = not snapshot.state.group_by_mobility_disabled
    got = repeat(snapshot, steps, turns_of_kcompactd(folder, steps))
    return AttemptsReport(folder.resolve().name, grouped, judged(steps, got, grouped))


def read_steps(path: Path) -> tuple[Step, ...]:
    """Read the steps that follow the drop; raises InputError with the line that does not fit."""
    steps: list[Step] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            if line["label"] == "drop":
                steps.clear()
            elif "order" in line or line["label"] == COMPACT_MEMORY:
                steps.append(_step(line))
        except (ValueError, LookupError, TypeError) as error:
            message = f"is no step: {error}" if str(error) else "is no step"
            raise InputError([Problem(str(path), number, 0, message)]) from error
    if not steps:
        raise InputError([Problem(str(path), 0, 0, "records no attempt")])
    return tuple(steps)


def _step(line: dict[str, object]) -> Step:
    label, gfp = str(line["label"]), str(line.get("gfp", ""))
    order, got, ms = (float(str(line.get(name, 0))) for name in ("order", "got", "ms"))
    if not (0 <= order <= MAX_PAGE_ORDER and got >= 0 and ms >= 0):
        raise ValueError(f"order {order}, got {got}, ms {ms}")
    if label != COMPACT_MEMORY:
        request_of_step(label, gfp)
    vmstat = line.get("vmstat", {})
    counted = vmstat if isinstance(vmstat, dict) else {}
    sources = counted.get("compact_migrate_scanned", 0)
    return Step(
        label,
        gfp,
        int(order),
        int(got),
        ms,
        kswapd_ran=bool(counted.get("pageoutrun", 0)),
        moved=counted.get("pgmigrate_success", 0),
        scanned=sources + counted.get("compact_free_scanned", 0),
        sources=sources,
        wakes=counted.get("compact_daemon_wake", 0),
    )


def turns_of_kcompactd(folder: Path, steps: Sequence[Step]) -> tuple[Turn, ...]:
    """Say when proactive compaction had its turns, as far as the counters tell.

    When they came is chance, and decides what the steps after them find. The counters move in a
    step that does not compact, or between the steps from one snapshot to the next: then the turn
    was during the first of the two. Where kswapd wakes in the step after it, it ended there. What
    woke kcompactd between two steps was the last one's doing.
    """
    seen = list(_snapshots(folder, steps))
    if len(seen) < 2 or seen[0].before:
        return () if steps[0].kswapd_ran else (Turn(0),)
    turns = []
    for first, last in pairwise(seen):
        part = steps[first.before : last.before]
        alone = [i for i, step in enumerate(part) if step.compacted and not step.may_compact]
        between = last.sources - first.sources - sum(step.sources for step in part)
        moved = last.moved - first.moved - sum(step.moved for step in part)
        if last.wakes - first.wakes > sum(step.wakes for step in part):
            turns.append(Turn(last.before, woken=True))
        if alone and part[alone[0]].kswapd_ran:
            turns.append(Turn(first.before + alone[0], moved + part[alone[0]].moved))
        elif alone or between > 0:
            turns.append(Turn(first.before + (alone[0] if alone else 0)))
    return tuple(turns)


class _Snapshot(NamedTuple):
    """What the counters said before a step."""

    before: int
    sources: int
    moved: int
    wakes: int


def _snapshots(folder: Path, steps: Sequence[Step]) -> Iterator[_Snapshot]:
    """Yield the counters of the snapshots that are there, in order."""
    for name, before in ((START, 0), *_snapshots_before(steps)):
        path = folder / name / "vmstat.txt"
        if path.is_file():
            lines = path.read_text(encoding="ascii").splitlines()
            counted = {key: int(value) for key, value in (line.split() for line in lines)}
            yield _Snapshot(
                before,
                sources=counted.get("compact_migrate_scanned", 0),
                moved=counted.get("pgmigrate_success", 0),
                wakes=counted.get("compact_daemon_wake", 0),
            )


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


def repeat(snapshot: Snapshot, steps: Sequence[Step], turns: Sequence[Turn]) -> tuple[int, ...]:
    """Carry out all steps on the memory of a snapshot; return the blocks got by each.

    A step lasts at least as long as it took the kernel, and a snapshot between two as long as on
    the traced machines, so that the daemons come to their turns; what else passed between two steps
    is not recorded, and taken to be nothing. Proactive compaction begins where ``turns`` say it,
    and from the first time that kcompactd has worked also by itself, but not between two steps.
    """
    grouped = not snapshot.state.group_by_mobility_disabled
    tables: PolicyTables = (mobility if grouped else none).Policy().tables(LINUX_6_1)
    memory = restore(snapshot.state, tables, pages=snapshot.pages, pressure=pressure_of(steps))
    attempts = Attempts(memory)
    attempts.put_off_kcompactd()
    pauses = {before: PAUSE_NS[name] for name, before in _snapshots_before(steps)}
    pages = {turn.step: turn.pages for turn in turns if not turn.woken}
    got = []
    for i, step in enumerate(steps):
        if Turn(i, woken=True) in turns:
            attempts.wake_kcompactd(steps[i - 1].order)
        attempts.pause(pauses.get(i, 0))
        began = attempts.now
        if i in pages and not attempts.expects_kcompactd:
            attempts.compact_proactively(pages[i])
        if step.label == COMPACT_MEMORY:
            attempts.compact_memory()
            got.append(0)
        else:
            got.append(attempts.blocks(request_of_step(step.label, step.gfp), step.order))
        attempts.wait_until(began + int(step.ms * NS_PER_MS))
    return tuple(got)


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


def judged(steps: Sequence[Step], got: Sequence[int], grouped: bool) -> tuple[Attempted, ...]:
    """Hold the blocks got in each step against the kernel's."""
    rows = []
    for step, blocks in zip(steps, got, strict=True):
        if step.label == COMPACT_MEMORY:
            continue
        bound = _bound(step, grouped)
        verdict: Verdict = "not judged"
        if bound is not None:
            verdict = "ok" if abs(blocks - step.got) <= bound else "DIFFERS"
        rows.append(Attempted(step.label, step.gfp, step.order, step.got, blocks, verdict))
    return tuple(rows)


def _bound(step: Step, grouped: bool) -> float | None:
    """Say by how many blocks a step may differ; None if kcompactd's timing decides it."""
    after = step.label.startswith("after_compact")
    if not after and step.label.startswith("nowait"):
        return None
    if not grouped:
        return SAME_BLOCKS
    return step.got * (COMPACTED if after else TENTH)
