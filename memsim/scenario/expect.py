"""The small grammar of ``expect:``: ``METRIC OP VALUE [in N% of seeds] [for POLICY]``.

``hotplug.removed_bytes >= 4GiB in 95% of seeds for mobility``. Without ``in`` every seed must
hold, without ``for`` every policy must.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from memsim.units import BYTES, DURATIONS, describe, split_quantity

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
EXAMPLE = "fallback.events <= 100 in 95% of seeds for mobility"
METRIC = r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+"
_GRAMMAR = re.compile(
    rf"\s*(?P<metric>{METRIC})\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>\S+)"
    r"(?:\s+in\s+(?P<share>[0-9.]+)%\s+of\s+seeds)?(?:\s+for\s+(?P<policy>[A-Za-z0-9_-]+))?\s*",
    re.ASCII,
)


@dataclass(frozen=True)
class Expectation:
    """One line of ``expect:``, understood."""

    text: str
    metric: str
    op: str
    value: Fraction
    unit: str
    """``bytes``, ``ns``, ``%`` (the value is then a ratio), or nothing."""
    share: Fraction
    """Part of the seeds that must hold, 0 to 1."""
    policy: str | None


@dataclass(frozen=True)
class Verdict:
    """How an expectation fared, in the group of trials where it did worst."""

    expectation: Expectation
    met: bool
    group: tuple[str, ...]
    """Policy (and axis values) of that group."""
    held: int
    trials: int


def parse_expectation(text: str) -> Expectation:
    """Read one expectation; ValueError says what was expected."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(f'expected something like "{EXAMPLE}", found {describe(text)}')
    share = split_quantity(match["share"] or "100")
    if share is None or share[0] > 100:
        raise ValueError(f"expected a share from 0% to 100% of seeds, found {match['share']}%")
    value, unit = parse_number(match["value"])
    return Expectation(
        text, match["metric"], match["op"], value, unit, share[0] / 100, match["policy"]
    )


def parse_number(text: str) -> tuple[Fraction, str]:
    """Read a number of any unit: its value, and ``bytes``, ``ns``, ``%`` (a part) or nothing."""
    quantity = split_quantity(text.removeprefix("-"))
    if quantity is not None:
        number = -quantity[0] if text.startswith("-") else quantity[0]
        unit = quantity[1]
        if unit in BYTES:
            return number * BYTES[unit], "bytes"
        if unit in DURATIONS:
            return number * DURATIONS[unit], "ns"
        if unit == "%":
            return number / 100, "%"
        if not unit:
            return number, ""
    raise ValueError(f"expected a number such as 100, 4GiB, 10ms or 60%, found {describe(text)}")


def judge(
    expectation: Expectation,
    rows: Iterable[Mapping[str, object]],
    groups: Sequence[str] = ("policy",),
) -> Verdict:
    """Hold an expectation against the rows of a trials table.

    ``groups`` are the columns whose values part the rows (policy first, then axes); each group
    must have the wanted share of its seeds. A blank value, as that of a failed trial, does not
    hold; and without any row nothing is met.
    """
    held: dict[tuple[str, ...], list[bool]] = {}
    for row in rows:
        if expectation.policy in (None, row["policy"]):
            key = tuple(str(row[name]) for name in groups)
            held.setdefault(key, []).append(_holds(expectation, row[expectation.metric]))
    if not held:
        return Verdict(expectation, False, (), 0, 0)
    worst = min(held, key=lambda key: Fraction(sum(held[key]), len(held[key])))
    n, of = sum(held[worst]), len(held[worst])
    return Verdict(expectation, Fraction(n, of) >= expectation.share, worst, n, of)


def _holds(expectation: Expectation, value: object) -> bool:
    try:
        number = float(str(value))
    except ValueError:
        return False
    # A NaN is how tables mark a blank; it must not hold, not even "!=".
    return number == number and OPERATORS[expectation.op](number, float(expectation.value))
