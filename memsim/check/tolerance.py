"""The small grammar of tolerances: ``PATTERN = exact | N% | N abs | interval``.

``fallback.* = 5%`` lets figures differ by a twentieth of the baseline's, ``... = 0.01 abs`` by so
much whatever they are. ``interval`` is for runs of several seeds: it lets pass what differs by
chance, when the 95 % interval of the mean difference holds 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Literal

from memsim.errors import InputError, Problem, suggest
from memsim.schema import Column
from memsim.units import describe

Kind = Literal["exact", "relative", "absolute", "interval"]
EXAMPLES = "fallback.* = 5%, high_order.success_ratio = 0.01 abs, fallback.events = interval"
_GRAMMAR = re.compile(
    r"\s*(?P<pattern>[A-Za-z0-9_.*:-]{1,200})\s*=\s*"
    r"(?:(?P<word>exact|interval)|(?P<amount>[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?P<unit>%|abs))\s*",
    re.ASCII,
)


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may be from the baseline's without being a finding."""

    kind: Kind = "exact"
    amount: Fraction = Fraction(0)
    """A share of the baseline's figure if relative."""

    def allows(self, old: Fraction, new: Fraction) -> bool:
        """Say whether one figure may take the place of another; ``interval`` is exact here."""
        match self.kind:
            case "relative":
                return abs(new - old) <= self.amount * abs(old)
            case "absolute":
                return abs(new - old) <= self.amount
            case _:
                return new == old

    def __str__(self) -> str:
        match self.kind:
            case "relative":
                return f"{float(100 * self.amount):g} %"
            case "absolute":
                return f"{float(self.amount):g}"
            case kind:
                return kind


EXACT = Tolerance()


@dataclass(frozen=True)
class Rule:
    """A tolerance for all figures whose name fits a pattern."""

    text: str
    pattern: str
    """``*`` stands for any characters."""
    tolerance: Tolerance

    def fits(self, name: str) -> bool:
        """Say whether the rule is about a figure."""
        return fnmatchcase(name, self.pattern)


def parse_rule(text: str) -> Rule:
    """Read one tolerance; ValueError says what was expected."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(f"expected something like {EXAMPLES}; found {describe(text)}")
    if match["word"]:
        kind: Kind = "interval" if match["word"] == "interval" else "exact"
        return Rule(text, match["pattern"], Tolerance(kind))
    amount = Fraction(match["amount"])
    if match["unit"] == "%":
        return Rule(text, match["pattern"], Tolerance("relative", amount / 100))
    return Rule(text, match["pattern"], Tolerance("absolute", amount))


def parse_rules(texts: Sequence[str], place: str) -> list[Rule]:
    """Read tolerances that stand at one place; raises InputError with every problem."""
    rules, problems = [], []
    for text in texts:
        try:
            rules.append(parse_rule(text))
        except ValueError as error:
            problems.append(Problem(place, 0, 0, str(error)))
    if problems:
        raise InputError(problems)
    return rules


def refuse_unknown(rules: Iterable[Rule], names: Iterable[str], place: str) -> None:
    """Raise InputError for rules that fit none of the figures' names."""
    known = sorted(set(names))
    problems = [
        Problem(
            place, 0, 0, f"there is no figure {describe(rule.pattern)}", _hint(rule.pattern, known)
        )
        for rule in rules
        if not any(rule.fits(name) for name in known)
    ]
    if problems:
        raise InputError(problems)


def _hint(pattern: str, known: list[str]) -> str:
    hint = suggest(pattern, known)
    return hint if hint.startswith("did you mean") else "memsim list metrics names them"


def tolerance_of(name: str, column: Column, rules: Sequence[Rule]) -> Tolerance:
    """Return the tolerance of a figure: that of the last rule that fits, else as declared."""
    for rule in reversed(rules):
        if rule.fits(name):
            return rule.tolerance
    if column.tolerance:
        return Tolerance("relative", Fraction(str(column.tolerance)))
    return EXACT


def merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Put new rules, as texts, in the place of old ones with the same pattern."""
    by_pattern: Mapping[str, str] = {parse_rule(text).pattern: text for text in (*old, *new)}
    return [" ".join(text.split()) for text in by_pattern.values()]
