"""Errors whose text is the line that the user reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


def visible(text: str) -> str:
    """Escape what does not print, so that text of a user cannot steer the terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, or what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:80], names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "there is none"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with one input, printed as ``file:line:column: message`` and a hint."""

    path: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])
        hint = f"\n  hint: {visible(self.hint)}" if self.hint else ""
        return f"{visible(place)}: {visible(self.message)}{hint}"


class MemsimError(Exception):
    """Base of all errors that a user can cause; ``exit_code`` is what the command returns."""

    exit_code = 2


@dataclass
class InputError(MemsimError):
    """One or more problems with scenarios, traces, captures or options."""

    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self.problems)


class TrialError(MemsimError):
    """A trial could not be carried out."""

    exit_code = 3
