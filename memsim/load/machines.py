"""Machine files: what ``machine: {like: NAME}`` of a scenario stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from memsim.errors import InputError, Problem, suggest
from memsim.load.document import Document, Mark, read_text, read_yaml
from memsim.scenario.paths import Loc
from memsim.units import describe

_AT: Loc = ("machine",)
TITLE = "title"
_REFUSED = {
    "like": "a machine file cannot be like another",
    "from": "a machine file describes a machine that boots",
}


def with_machine_file(
    document: Document, directory: str, shipped: Mapping[str, Path]
) -> tuple[Document, list[Problem]]:
    """Put the keys of the machine file that a scenario names beside those that it writes itself.

    A key of the scenario replaces the file's as a whole. The file is one of ``shipped`` by name,
    or a path relative to ``directory``. Keys keep the places where they were written.
    """
    data = document.data
    machine = data.get("machine") if isinstance(data, dict) else None
    like = machine.get("like") if isinstance(machine, dict) else None
    if not isinstance(machine, dict) or not isinstance(like, str):
        return document, []
    mark = document.values[*_AT, "like"]
    try:
        file = read_machine(find_machine(like, directory, shipped, mark))
    except InputError as error:
        return document, error.problems
    inherited = {key: value for key, value in file.data.items() if key not in machine | {TITLE: 1}}

    def beneath(marks: dict[Loc, Mark]) -> dict[Loc, Mark]:
        return {_AT + loc: mark for loc, mark in marks.items() if loc and loc[0] in inherited}

    merged = Document(
        {**data, "machine": {**machine, **inherited}},
        {**document.values, **beneath(file.values)},
        {**document.keys, **beneath(file.keys)},
    )
    return merged, []


def read_machine(path: Path) -> Document:
    """Read a machine file; what its keys say is checked with the scenario.

    Raises InputError.
    """
    document = read_yaml(read_text(path), str(path))
    if not isinstance(document.data, dict):
        found = "an empty file" if document.data is None else describe(document.data)
        mark = document.values.get((), Mark(str(path), 1, 1))
        raise InputError([mark.problem(f"expected the keys of a machine, found {found}")])
    problems = [
        document.keys[(key,)].problem(f'"{key}" has no place in a machine file', why)
        for key, why in _REFUSED.items()
        if key in document.data
    ]
    title = document.data.get(TITLE, "")
    if not isinstance(title, str):
        problems.append(
            document.values[(TITLE,)].problem(f"title: expected text, found {describe(title)}")
        )
    if problems:
        raise InputError(sorted(problems))
    return document


def find_machine(like: str, directory: str, shipped: Mapping[str, Path], mark: Mark) -> Path:
    """Return the machine file of a name or path that was written at ``mark``."""
    if Path(like).suffix not in (".yaml", ".yml"):
        if like not in shipped:
            message = f"there is no machine {describe(like)}"
            raise InputError([mark.problem(message, suggest(like, shipped))])
        return shipped[like]
    path = Path(directory, like)
    if not path.is_file():
        raise InputError([mark.problem(f"file {describe(like)} does not exist")])
    return path
