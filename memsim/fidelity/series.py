"""A recorded series of attempts: for what each step asks, and what it got (``e4.jsonl``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from memsim.errors import InputError, Problem
from memsim.fidelity.attempting import request_of_step
from memsim.mm import MAX_PAGE_ORDER

RECORD = "e4.jsonl"
START = "s2_dropped"
"""The state that the steps after the drop began with."""
COMPACT_MEMORY = "compact_memory"
NO_EFFORT = ("nowait", "after_compact_nowait")
"""Steps whose requests neither reclaim nor compact."""


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
    faults: int = 0
    allocs: int = 0
    """Page faults, and pages and blocks that were handed out."""

    @property
    def compacted(self) -> bool:
        """Somebody compacted during the step."""
        return self.moved + self.scanned > 0

    @property
    def may_compact(self) -> bool:
        """The requests of the step compact directly."""
        return not self.label.startswith(NO_EFFORT)


def read_steps(path: Path) -> tuple[Step, ...]:
    """Read the steps that follow the drop; raises InputError with the line that does not fit."""
    steps: list[Step] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
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
        faults=counted.get("pgfault", 0),
        allocs=counted.get("numa_hit", 0),
    )
