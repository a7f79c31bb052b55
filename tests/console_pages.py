"""The pages whose commands run: what they save, what they type, what they say is printed.

A block of YAML whose first line is a comment with a file's name is that file. A block ``console``
has commands after ``$ ``, each followed by its output, in which ``...`` is any text.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```(?P<kind>yaml|console|python)\n(?P<text>.*?)^```$", re.M | re.S)
SAVED = re.compile(r"# (?P<name>[\w.-]+)\n")
EXITS = re.compile(r"  # exits with (\d+)$")


class Save(NamedTuple):
    """A file that the reader saves."""

    line: int
    name: str
    text: str


class Command(NamedTuple):
    """A command that the reader types, and what it prints."""

    line: int
    words: list[str]
    exit_code: int
    shown: str


def steps(page):
    """Yield what a reader of a page does, in order."""
    for block in BLOCK.finditer(page):
        line = page[: block.start()].count("\n") + 2
        if block["kind"] == "console":
            yield from _commands(block["text"], line)
        elif name := SAVED.match(block["text"]):
            yield Save(line, name["name"], block["text"])


def _commands(text, first):
    parts = re.split(r"^\$ ", text, flags=re.M)
    assert not parts[0], f"line {first}: output before a command"
    line = first
    for part in parts[1:]:
        typed, _, shown = part.partition("\n")
        exits = EXITS.search(typed)
        words = shlex.split(EXITS.sub("", typed))
        yield Command(line, words, int(exits[1]) if exits else 0, shown)
        line += part.count("\n")


def agrees(shown, printed):
    """Say whether output is as a page shows it; spaces at the ends of lines do not count."""

    def plain(text):
        return re.sub(r" +$", "", text, flags=re.M).strip("\n")

    pieces = [re.escape(piece.strip("\n")) for piece in plain(shown).split("...")]
    return re.fullmatch(r"[\s\S]*".join(pieces), plain(printed)) is not None
