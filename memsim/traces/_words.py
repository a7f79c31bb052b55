"""A line taken apart into words, with errors that name line and column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.errors import InputError
from memsim.mm import MAX_PFN
from memsim.traces._files import printable, refuse

_WORD = re.compile(r"\S+")
_DECIMAL = re.compile(r"[0-9]{1,19}")
HEX = re.compile(r"[0-9a-f]{1,8}")
"""A number as the kernel prints it with %lx."""


@dataclass
class Line:
    """One line taken apart into words; what does not fit is reported with line and column."""

    path: Path
    number: int
    text: str
    words: list[str]
    at: int = 0

    def error(self, word: int, message: str) -> InputError:
        """Make the error at a word (or behind the last)."""
        starts = [match.start() + 1 for match in _WORD.finditer(self.text)]
        column = starts[word] if word < len(starts) else len(self.text.rstrip()) + 1
        return refuse(self.path, message, line=self.number, column=column)

    def expect(self, what: str) -> str:
        """Take the next word, whatever it is."""
        if self.at >= len(self.words):
            raise self.error(self.at, f"the line ends where {what} was expected")
        self.at += 1
        return self.words[self.at - 1]

    def key(self, name: str) -> None:
        """Take the word ``name``."""
        if (word := self.expect(f'"{name}"')) != name:
            raise self.error(self.at - 1, f'found "{printable(word.encode())}", expected "{name}"')

    def number_below(self, limit: int, what: str, *, pattern: re.Pattern[str] = _DECIMAL) -> int:
        """Take a number from 0 to ``limit`` - 1."""
        word = self.expect(what)
        if not pattern.fullmatch(word):
            kind = "a hexadecimal" if pattern is HEX else "a decimal"
            raise self._bad(f"{kind} number ({what})")
        value = int(word, 16 if pattern is HEX else 10)
        if value >= limit:
            raise self._bad(f"{what} below {limit}")
        return value

    def _bad(self, expected: str) -> InputError:
        found = printable(self.words[self.at - 1].encode())
        return self.error(self.at - 1, f'found "{found}", expected {expected}')

    def value(self, name: str, limit: int = MAX_PFN, *, hexadecimal: bool = False) -> int:
        """Take ``name N``."""
        self.key(name)
        return self.number_below(limit, name, pattern=HEX if hexadecimal else _DECIMAL)

    def done(self) -> None:
        """Insist that nothing is left."""
        if self.at < len(self.words):
            raise self.error(self.at, "the line goes on where its end was expected")

    def pfns(self) -> NDArray[np.int32]:
        """Take all remaining words as page frames."""
        rest = self.words[self.at :]
        for i, word in enumerate(rest):
            if not HEX.fullmatch(word) or int(word, 16) >= MAX_PFN:
                self.at += i + 1
                raise self._bad("a page frame in hexadecimal")
        return np.array([int(word, 16) for word in rest], np.int32)
