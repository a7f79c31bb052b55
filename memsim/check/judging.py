"""Judge one figure, or one figure over all seeds: as in the baseline, worse, better, changed?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from memsim.check.findings import Finding, Group, Kind
from memsim.check.tolerance import EXACT, Tolerance
from memsim.schema import Column
from memsim.units import describe


@dataclass(frozen=True)
class Figure:
    """One cell of a baseline's table, and what stands there now; an empty text is a blank."""

    group: Group
    name: str
    where: str
    """The row, without what the name says."""
    where_all: str
    """The same without the seed."""
    path: Path
    line: int
    column: Column
    old: str
    new: str

    @property
    def numbers(self) -> tuple[Fraction, Fraction] | None:
        """Both as exact numbers; None if one is blank or text."""
        if self.column.dtype == "str" or not (self.old and self.new):
            return None
        return _number(self.old), _number(self.new)


def _number(text: str) -> Fraction:
    return Fraction(text) if text.lstrip("-").isdecimal() else Fraction(repr(float(text)))


def judge(figure: Figure, tolerance: Tolerance) -> Finding | None:
    """Judge one figure."""
    if figure.old == figure.new:
        return None
    numbers = figure.numbers
    if numbers is None:
        return _other(figure)
    old, new = numbers
    if tolerance.allows(old, new):
        return None
    note = "interval needs 2 seeds: exact" if tolerance.kind == "interval" else str(tolerance)
    message = f"{figure.old} -> {figure.new} ({_change(old, new)}; tolerance {note})"
    return _finding(figure, figure.where, message, old, new)


def judge_series(figures: Sequence[Figure]) -> list[Finding]:
    """Judge one figure, none of them blank, over all seeds by the 95 % interval of the difference.

    Of a single seed it is judged exactly.
    """
    from memsim.statistics import paired

    numbers = [both for figure in figures if (both := figure.numbers) is not None]
    found = paired([float(old) for old, _ in numbers], [float(new) for _, new in numbers])
    if found.half is None:
        alone = [judge(figure, Tolerance("interval")) for figure in figures]
        return [finding for finding in alone if finding is not None]
    if abs(found.mean) <= found.half:
        return []
    first = next(figure for figure in figures if figure.old != figure.new)
    old, new = (sum(side, Fraction(0)) / len(numbers) for side in zip(*numbers, strict=True))
    low, high = found.mean - found.half, found.mean + found.half
    message = (
        f"mean {_shown(old)} -> {_shown(new)} ({_change(old, new)}; 95 % interval of the "
        f"difference {low:+.4g} .. {high:+.4g})"
    )
    return [_finding(first, f"{first.where_all}, {len(numbers)} seeds", message, old, new)]


def _finding(figure: Figure, where: str, message: str, old: Fraction, new: Fraction) -> Finding:
    better = figure.column.better
    kind: Kind = "changed"
    if better != "neither":
        kind = "better" if (new > old) == (better == "higher") else "worse"
    size = float(abs(new - old) / abs(old)) if old else math.inf
    return _made(figure, kind, f"{figure.name} of {where}: {message}", size)


def _other(figure: Figure) -> Finding:
    """Judge text, or a blank in place of a number or the reverse."""
    if figure.column.dtype == "str":
        old, new = (describe(text) if text else "blank" for text in (figure.old, figure.new))
    else:
        old, new = figure.old or "blank", figure.new or "blank"
    lost = not figure.new and figure.column.better != "neither"
    message = f"{figure.name} of {figure.where}: {old} -> {new} (tolerance {EXACT})"
    return _made(figure, "worse" if lost else "changed", message, math.inf if lost else 0.0)


def _made(figure: Figure, kind: Kind, message: str, size: float) -> Finding:
    return Finding(
        kind, figure.group, figure.name, figure.path, figure.line, message, size,
        figure.old, figure.new,
    )  # fmt: skip


def _change(old: Fraction, new: Fraction) -> str:
    change = f"+{_shown(new - old)}" if new > old else _shown(new - old)
    if not old:
        return change
    percent = float(100 * (new - old) / abs(old))
    return f"{change}, {percent:+.1f} %" if abs(percent) >= 0.1 else f"{change}, {percent:+.1g} %"


def _shown(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.6g}"
