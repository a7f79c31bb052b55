"""A plug-in from outside the package: one Python file, named and judged when it is read."""

from __future__ import annotations

import ast
import hashlib
import keyword
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import Any

from memsim.plugins._contract import FOLDERS, MARKS, Folder, contract_breach
from memsim.plugins._watch import PluginFault, watching

MAX_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
KINDS = "class Policy; class Workload; COLUMNS and measure(); sniff() and read()"


@dataclass(frozen=True)
class PluginFile:
    """A file from outside that has been read."""

    folder: Folder
    """The kind that it is of."""
    name: str
    path: str
    """As it was given."""
    source: bytes
    module: ModuleType
    lines: Mapping[str, int]
    """Line of each name of the module, and of each method as ``Class.method``."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the source."""
        return hashlib.sha256(self.source).hexdigest()

    def line(self, name: str) -> int:
        """Say where a name is defined, or else what it is part of; 0 if it is nowhere."""
        return self.lines.get(name) or self.lines.get(name.partition(".")[0], 0)

    def forget(self) -> None:
        """Take the module from what Python knows."""
        sys.modules.pop(self.module.__name__, None)


def read_plugin(path: str, number: int, source: bytes | None = None) -> PluginFile:
    """Read and run a file; raises PluginFault or PluginTimeout, naming file and line.

    ``number`` tells files of the same name apart. With a ``source`` the file need not be here.
    """
    source = _source(path) if source is None else source
    name = _name(path)
    with watching(path, 0, "it"):
        tree = ast.parse(source, path)
    module = ModuleType(f"memsim_plugin_{number}_{name}")
    module.__file__ = path
    # Annotations are looked up in the module that a class says it is from.
    sys.modules[module.__name__] = module
    try:
        with watching(path, 1, "its import"):
            exec(compile(tree, path, "exec", dont_inherit=True), vars(module))
        lines = _lines(tree)
        folder = _kind(path, module)
        file = PluginFile(folder, name, path, source, module, lines)
        _check(file)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    return file


def _source(path: str) -> bytes:
    place = Path(path)
    try:
        if place.exists() and not place.is_file():
            raise PluginFault.at(path, 0, "is no file", "give one Python file")
        with place.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PluginFault.at(path, 0, f"cannot be read: {reason}") from None
    if len(source) > MAX_BYTES:
        raise PluginFault.at(path, 0, f"has more than {MAX_BYTES} bytes")
    if b"\0" in source:
        raise PluginFault.at(path, 0, "is no Python: it is no text")
    try:
        decode_source(source)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise PluginFault.at(path, 0, f"is no Python: {error}") from None
    return source


def _name(path: str) -> str:
    place = Path(path)
    stem = place.stem
    if place.suffix != ".py":
        raise PluginFault.at(path, 0, "expected a file whose name ends in .py")
    if not NAME.fullmatch(stem) or keyword.iskeyword(stem):
        hint = "letters, digits and _, beginning with a letter: what scenarios call it"
        raise PluginFault.at(path, 0, f'"{stem}" is no name for a plug-in', hint)
    return stem


def _lines(tree: ast.Module) -> dict[str, int]:
    lines: dict[str, int] = {}
    for node in tree.body:
        for name in _names(node):
            lines[name] = node.lineno
            if isinstance(node, ast.ClassDef):
                lines |= {f"{name}.{n}": part.lineno for part in node.body for n in _names(part)}
    return lines


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _kind(path: str, module: ModuleType) -> Folder:
    kinds = [
        folder
        for folder in FOLDERS
        if any(_is_own(vars(module).get(mark)) for mark in MARKS[folder])
    ]
    if len(kinds) == 1:
        return kinds[0]
    if not kinds:
        raise PluginFault.at(path, 0, "is no plug-in: it defines none of its kinds", KINDS)
    found = " and ".join(MARKS[folder][0] for folder in kinds)
    hint = "one file is one plug-in"
    raise PluginFault.at(path, 0, f"is more than one plug-in: it defines {found}", hint)


def _is_own(value: Any) -> bool:
    """Say whether a module's name is its own: a class of memsim's may just be imported."""
    return value is not None and not (
        isinstance(value, type) and value.__module__.startswith("memsim.")
    )


def _check(file: PluginFile) -> None:
    """Hold a file to its contract, and what it says of itself to what lists can show."""
    breach = contract_breach(file.folder, file.module)
    if breach is not None:
        hint = f"see docs/extending.md and memsim/{file.folder}/__init__.py"
        raise PluginFault.at(file.path, file.line(breach.name), breach.message, hint)
    model = getattr(file.module, MARKS[file.folder][0])
    if file.folder in ("policies", "workloads"):
        what = f"describing class {model.__name__}"
        with watching(file.path, file.line(model.__name__), what), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.model_json_schema()
            model.model_construct().model_dump(mode="json")


def refuse_names_taken(
    files: Sequence[PluginFile], built_in: Mapping[Folder, Sequence[str]]
) -> None:
    """Raise PluginFault if the last file has the name of another of its kind."""
    file = files[-1]
    others = [
        other for other in files[:-1] if (other.folder, other.name) == (file.folder, file.name)
    ]
    if file.name in built_in[file.folder]:
        message = f'memsim\'s own {file.folder} have a "{file.name}" already'
        raise PluginFault.at(file.path, 0, message, "give the file another name")
    if others:
        message = f'{others[0].path} is called "{file.name}" too'
        raise PluginFault.at(file.path, 0, message, "give one of the files another name")
