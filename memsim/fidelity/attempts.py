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
    kcompactd_ran: bool = False
    """Pages were moved though nobody compacted directly, and kswapd, for which proactive compaction
    stops, did not run."""


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
    got = repeat(snapshot, steps, turn_of_kcompactd(folder, steps))
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
    moved = counted.get("compact_isolated", 0) + counted.get("pgmigrate_success", 0)
    kswapd = bool(counted.get("pageoutrun", 0))
    alone = label.startswith("nowait") and moved > 0 and not kswapd
    return Step(label, gfp, int(order), int(got), ms, kswapd, alone)


def turn_of_kcompactd(folder: Path, steps: Sequence[Step]) -> int | None:
    """Say before which step proactive compaction has its turn, None if it had none.

    When it came is chance, and decides what the steps after it find. The counters tell: they move
    in a step, or else between this snapshot and the next one before the first step. Where kswapd
    ran in the meantime, proactive compaction was stopped at once: it had no turn.
    """
    within = next((i for i, step in enumerate(steps) if step.kcompactd_ran), None)
    if within is not None:
        return within
    if steps[0].kswapd_ran:
        return None
    snapshots = sorted(path.parent for path in folder.glob("s*/vmstat.txt"))
    after = [path for path in snapshots if path.name > START][:1]
    if not after or not (folder / START / "vmstat.txt").is_file():
        return 0
    scanned = [_migrate_scanned(path / "vmstat.txt") for path in (folder / START, *after)]
    return 0 if scanned[1] > scanned[0] else None


def _migrate_scanned(path: Path) -> int:
    counters = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
    return int(counters.get("compact_migrate_scanned", 0))


def repeat(snapshot: Snapshot, steps: Sequence[Step], turn: int | None) -> tuple[int, ...]:
    """Carry out all steps on the memory of a snapshot; return the blocks got by each.

    A step lasts at least as long as it took the kernel, so that the daemons come to their turns;
    the time that passed between two steps is not recorded, and taken to be none. Proactive
    compaction begins with step ``turn``.
    """
    grouped = not snapshot.state.group_by_mobility_disabled
    tables: PolicyTables = (mobility if grouped else none).Policy().tables(LINUX_6_1)
    memory = restore(
        snapshot.state, tables, pages=snapshot.pages, pressure=Pressure(shared_cpu=True)
    )
    attempts = Attempts(memory)
    attempts.put_off_kcompactd()
    got = []
    for i, step in enumerate(steps):
        began = attempts.now
        if i == turn:
            attempts.call_kcompactd()
        if step.label == COMPACT_MEMORY:
            attempts.compact_memory()
            got.append(0)
        else:
            got.append(attempts.blocks(request_of_step(step.label, step.gfp), step.order))
        attempts.wait_until(began + int(step.ms * NS_PER_MS))
    return tuple(got)


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
