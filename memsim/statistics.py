"""Paired differences: how large, how sure, and how many more pairs would make them surer.

Student's t throughout, with one addition for values that lie on a grid, as counts do: see ``step``.
docs/statistics.md says why, and how often the verdicts err.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""Chance of any false finding in a whole comparison, and 1 - the level of each interval."""
MOST_PAIRS = 10_000
"""No more are asked for."""
FINEST_STEP = 1e-6
"""Part of the spread of values below which a step of theirs makes no difference."""
FLOAT_NOISE = 1e-12
"""Relative error of a difference that is the computer's, not the values'."""

Verdict = Literal["better", "worse", "differs", "same", "too few seeds", "not comparable"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Paired:
    """The differences of n pairs; None is what n does not allow to say."""

    n: int
    mean: float
    deviation: float | None = None
    """Standard deviation of the differences as they are."""
    error: float | None = None
    """Standard error of the mean, with what the values' grid adds."""
    p: float | None = None
    """Two-sided; None also where there is nothing to test: no pair differs, or all is exact."""
    exact: bool = False
    """Nothing random reaches the values: the difference holds for every seed."""

    @property
    def half(self) -> float | None:
        """Half the width of the mean's interval."""
        if self.exact:
            return 0.0
        return None if self.error is None else quantile(self.n) * self.error

    @property
    def effect(self) -> float | None:
        """The mean in standard deviations; None where nothing deviates."""
        return self.mean / self.deviation if self.deviation else None


@lru_cache(maxsize=1 << 14)
def quantile(n: int, alpha: float = ALPHA) -> float:
    """Two-sided quantile of Student's t for the mean of n values."""
    return -float(stdtrit(n - 1, alpha / 2))


def half_width(values: Sequence[float]) -> float:
    """Half the width of the interval of a mean; infinite for less than two values."""
    if len(values) < 2:
        return math.inf
    return quantile(len(values)) * _deviation(values) / math.sqrt(len(values))


def paired(baseline: Sequence[float], side: Sequence[float], *, exact: bool = False) -> Paired:
    """Compare values of equal length >= 1, pair by pair; ``exact`` is the caller's knowledge."""
    n = len(side)
    baseline, side = [*map(float, baseline)], [*map(float, side)]
    differences = [b - a for a, b in zip(baseline, side, strict=True)]
    mean = math.fsum(differences) / n
    if n < 2:
        return Paired(n, mean)
    deviation = _deviation(differences)
    if deviation < FLOAT_NOISE * max(map(abs, [*baseline, *side])):
        deviation = 0.0
    if exact or not any(differences):
        return Paired(n, mean, deviation, 0.0, None, exact)
    grid = step([*baseline, *side])
    error = math.hypot(deviation, grid / math.sqrt(12)) / math.sqrt(n)
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Paired(n, mean, deviation, error, p)


def step(values: Sequence[float]) -> float:
    """Return the largest natural step of a grid on which all values lie.

    Natural are any step of fractions, which are parts of some number of attempts, and of whole
    numbers the powers of two, for pages come in blocks. Values are known no better than to their
    step, whose rounding has the variance step^2 / 12. Without it, +1 in each of three seeds would
    have no spread, and be certain. With it, n equal differences of one step have a p-value close to
    2 / 4^n: the chance with which two coins that have nothing to do with each other differ in the
    same way n times.
    """
    # In order, for near the finest step the result would depend on it.
    low, *others = sorted(set(values))
    gaps = [value - low for value in others]
    if all(gap.is_integer() for gap in gaps):
        common = math.gcd(*map(int, gaps))
        return common & -common
    return _common_step(gaps)


def _common_step(gaps: Sequence[float]) -> float:
    """Euclid's algorithm for fractions: it ends where only rounding is left."""
    least = gaps[-1] * FINEST_STEP
    found = 0.0
    for gap in gaps:
        while gap > least:
            rest = math.fmod(found, gap)
            found, gap = gap, min(rest, gap - rest)
    return found


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.hypot(*(v - mean for v in values)) / math.sqrt(len(values) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that any is below ALPHA by chance in ALPHA of all families."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(order), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def judge(found: Paired, margin: float, adjusted: float | None, better: Better) -> Verdict:
    """Say what differences mean: ``margin`` is what makes no difference, in the metric's unit."""
    half = found.half
    if half is None:
        return "too few seeds"
    if abs(found.mean) + half <= margin:
        return "same"
    if not found.exact and (adjusted is None or adjusted >= ALPHA):
        return "too few seeds"
    if better == "neither":
        return "differs"
    return "better" if (found.mean > 0) == (better == "higher") else "worse"


def pairs_needed(found: Paired, margin: float, unsettled: int = 1) -> int | None:
    """Say how many pairs would settle it if mean and deviation stay as they are.

    Settled is a mean that differs from 0, at the level that Holm's procedure leaves for the first
    of the ``unsettled`` rows of the comparison, or an interval within the margin. None is more than
    MOST_PAIRS, or not known, as that of one pair.
    """
    if found.error is None:
        return None
    spread = found.error * math.sqrt(found.n)

    def settled(n: int) -> bool:
        error = spread / math.sqrt(n)
        differs = abs(found.mean) > quantile(n, ALPHA / unsettled) * error
        return differs or abs(found.mean) + quantile(n) * error <= margin

    return _least(settled, found.n + 1, MOST_PAIRS)


def _least(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Find the least number from low to high that holds, if all above it do."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
