"""What a check finds: one finding for each thing that is not as in the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memsim.errors import visible

Kind = Literal[
    "scenario", "failed", "missing row", "missing column", "worse", "declaration", "changed",
    "new column", "extra row", "better",
]  # fmt: skip
ORDER: tuple[Kind, ...] = (
    "scenario", "failed", "missing row", "missing column", "worse", "declaration", "changed",
    "new column", "extra row", "better",
)  # fmt: skip
"""As they are shown: first what explains the others, then the worst."""
WORSENING = frozenset[Kind]({"failed", "missing row", "missing column", "worse"})
"""What fails a check; a table whose rows vanish must not pass."""


@dataclass(frozen=True)
class Group:
    """What figures are of: a table, a policy and a point of the axes; empty for all of them."""

    table: str = ""
    policy: str = ""
    point: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that is not as in the baseline."""

    kind: Kind
    group: Group
    figure: str
    """Name of the metric, column or counter; empty for a whole row."""
    path: Path
    line: int
    """Where the baseline's row stands; 0 if it is not about one."""
    message: str
    size: float = 0.0
    """Relative change: among those of a kind the larger is shown first."""
    old: str = ""
    new: str = ""

    @property
    def place(self) -> str:
        """File and line of the baseline."""
        return visible(f"{self.path}:{self.line}" if self.line else str(self.path))

    @property
    def text(self) -> str:
        """Kind and message."""
        return visible(f"{self.kind}: {self.message}")

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    def fails(self, *, strict: bool) -> bool:
        """Say whether it fails a check."""
        return strict or self.kind in WORSENING


@dataclass(frozen=True)
class Outcome:
    """What the check of one scenario has found."""

    scenario: str
    baseline: Path
    trials: int
    figures: int
    """Cells that were compared."""
    groups: tuple[tuple[Group, str], ...]
    """Group and figure of all that was compared, in the order of the tables."""
    findings: tuple[Finding, ...]
    """First what explains the others, then the worst."""
    notes: tuple[str, ...] = ()
    """What explains findings but is none."""

    def fails(self, *, strict: bool) -> bool:
        """Say whether anything that was found fails the check."""
        return any(finding.fails(strict=strict) for finding in self.findings)

    def summary(self) -> str:
        """Say in one line what was compared and found."""
        trials = f"{self.trials:,} {'trial' if self.trials == 1 else 'trials'}"
        counts = [(kind, sum(f.kind == kind for f in self.findings)) for kind in ORDER]
        found = ", ".join(f"{n:,} {kind}" for kind, n in counts if n) or "as in the baseline"
        return visible(f"{self.scenario}: {trials}, {self.figures:,} figures compared: {found}")


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sort findings: by kind, then by size, then as they were found."""
    return tuple(sorted(findings, key=lambda f: (ORDER.index(f.kind), -f.size)))
