"""YAML text -> plain data, with the place of every key and value.

Plain data comes from YAML's event stream instead of its constructors: of plain words only
``true``, ``false``, ``null`` and decimal numbers mean something, all else is text. Aliases, tags
and repeated keys are refused, so a small file stays small.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from memsim.errors import InputError, Problem
from memsim.rules.findings import Finding
from memsim.scenario.paths import Loc, with_value
from memsim.units import describe

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_YAML_ADVICE = {
    "that cannot start any token": "indent with spaces, and put text that begins with "
    "a special character in quotes",
    "mapping values are not allowed here": 'put text that contains ": " in quotes',
    "could not find expected ':'": "a key is followed by a colon and a space",
}


class Mark(NamedTuple):
    """A place in an input, counted from 1; 0 if lines mean nothing there."""

    path: str
    line: int
    column: int

    def problem(self, message: str, hint: str = "") -> Problem:
        """Say that something is wrong here."""
        return Problem(*self, message, hint)


@dataclass(frozen=True)
class Document:
    """Plain data, and where each key and value of it was written."""

    data: Any
    values: dict[Loc, Mark]
    keys: dict[Loc, Mark] = field(default_factory=dict)

    def put(self, loc: Loc, other: Document) -> Document:
        """Return a copy in which another document stands at a place."""

        def outside(marks: dict[Loc, Mark]) -> dict[Loc, Mark]:
            return {at: mark for at, mark in marks.items() if at[: len(loc)] != loc}

        values = {loc + at: mark for at, mark in other.values.items()}
        keys = {loc + at: mark for at, mark in other.keys.items()}
        for n in range(1, len(loc)):
            values.setdefault(loc[:n], self.values.get(loc[:n], other.values[()]))
        return Document(
            with_value(self.data, loc, other.data),
            {**outside(self.values), **values},
            {**outside(self.keys), **keys, loc: other.values[()]},
        )

    def problem(self, finding: Finding) -> Problem:
        """Give a finding its place: that of the key or value, or of what is nearest around it."""
        loc = finding.loc
        while loc not in self.values:
            loc = loc[:-1]
        mark = self.values[loc]
        if (finding.on_key or loc != finding.loc) and loc in self.keys:
            mark = self.keys[loc]
        return mark.problem(finding.message, finding.hint)


@dataclass
class _Open:
    """A mapping or list that is being read."""

    loc: Loc
    value: dict[str, Any] | list[Any]
    key: str | None = None

    def place(self) -> Loc:
        return (*self.loc, len(self.value) if isinstance(self.value, list) else self.key or "")

    def add(self, value: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        else:
            self.value[self.key or ""] = value
            self.key = None


class _Reader:
    """Builds a document from YAML's events, noting what memsim does not allow."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.document = Document(None, {})
        self.open: list[_Open] = []
        self.documents = 0

    def mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        return Mark(self.name, start.line + 1, start.column + 1) if start else Mark(self.name, 1, 1)

    def read(self, events: Iterator[yaml.Event]) -> Document:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    self.refuse(event, "a scenario file holds one document, found a second")
                    break
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
            elif isinstance(event, yaml.AliasEvent):
                self.refuse(event, "aliases are not allowed", "write the value out")
                self.scalar_like(event, None)
            elif isinstance(event, yaml.NodeEvent):
                self.node(event)
                if len(self.open) > MAX_DEPTH:
                    self.refuse(event, f"nested more than {MAX_DEPTH} deep")
                    break
        return self.document

    def refuse(self, event: yaml.Event, message: str, hint: str = "") -> None:
        self.problems.append(self.mark(event).problem(message, hint))

    def node(self, event: Any) -> None:
        if event.anchor is not None:
            self.refuse(event, "anchors are not allowed", "write the value out")
        if event.tag is not None:
            self.refuse(event, f"tags are not allowed, found {describe(event.tag)}", "leave it out")
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None
            self.scalar_like(event, plain_value(event.value) if plain else event.value)
            return
        container: dict[str, Any] | list[Any]
        container = {} if isinstance(event, yaml.MappingStartEvent) else []
        loc = self.value_starts(event, container)
        self.open.append(_Open(loc, container))

    def scalar_like(self, event: Any, value: Any) -> None:
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self.key_starts(event, top)
            return
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            self.refuse(event, "text is not valid Unicode")
            value = ""
        self.value_starts(event, value)

    def key_starts(self, event: Any, top: _Open) -> None:
        key = getattr(event, "value", "")
        if key == "<<" and event.style is None:
            self.refuse(event, "merge keys are not allowed", "write the keys out")
        if any("\ud800" <= c <= "\udfff" for c in key):
            self.refuse(event, "text is not valid Unicode")
            key = ""
        loc = (*top.loc, key)
        if key in top.value:
            first = self.document.keys[loc]
            where = f"the first one is in line {first.line}"
            self.refuse(event, f"key {describe(key)} appears twice", where)
        else:
            self.document.keys[loc] = self.mark(event)
        top.key = key

    def value_starts(self, event: Any, value: Any) -> Loc:
        """Put a value where it belongs and return its place."""
        if not self.open:
            self.document = Document(value, {(): self.mark(event)})
            return ()
        top = self.open[-1]
        if isinstance(top.value, dict) and top.key is None:
            self.refuse(event, "a key must be a word, found a list or a mapping")
            top.key = ""
            self.document.keys.setdefault(top.place(), self.mark(event))
        loc = top.place()
        self.document.values[loc] = self.mark(event)
        top.add(value)
        return loc


def plain_value(text: str) -> str | int | float | bool | None:
    """Say what a word without quotes means: YAML 1.2's core, decimal numbers only."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_yaml(text: str, name: str) -> Document:
    """Read one YAML document into plain data with places; raises InputError."""
    reader = _Reader(name)
    try:
        document = reader.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        reader.problems.append(mark.problem(f"character U+{code:04X} is not allowed in YAML"))
    except yaml.MarkedYAMLError as error:
        reader.problems.append(_syntax_problem(error, name))
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reader.problems.append(Mark(name, 1, 1).problem(f"this is not YAML: {error}"))
    if reader.problems:
        raise InputError(sorted(set(reader.problems)))
    return document


def _syntax_problem(error: yaml.MarkedYAMLError, name: str) -> Problem:
    place = error.problem_mark or error.context_mark
    mark = Mark(name, place.line + 1, place.column + 1) if place else Mark(name, 1, 1)
    message = " ".join(filter(None, [error.context, error.problem]))
    hints = [hint for symptom, hint in _YAML_ADVICE.items() if symptom in message]
    return mark.problem(f"this is not YAML: {message}", *hints[:1])


def read_text(path: Path) -> str:
    """Read a small UTF-8 file; raises InputError."""
    place = Mark(str(path), 0, 0)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError([place.problem(f"cannot be read: {reason}")]) from None
    if len(content) > MAX_BYTES:
        raise InputError([place.problem(f"is larger than {MAX_BYTES} bytes")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With a byte order mark the codec counts from after it; the line stays the same.
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        mark = Mark(str(path), line, column)
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise InputError([mark.problem(message, "save the file as UTF-8")]) from None
