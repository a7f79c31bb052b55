"""Find what a plug-in folder offers: policies, workloads, metrics, traces.

A file in the folder is a plug-in by being there; names that begin with ``_`` are skipped. Files
from outside the package join them for as long as ``outside`` lasts; only their code is watched.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from memsim.errors import MemsimError, suggest
from memsim.plugins._contract import FOLDERS, Folder, ModelFolder, contract_breach
from memsim.plugins._outside import PluginFile, read_plugin, refuse_names_taken
from memsim.plugins._watch import (
    PluginFault,
    PluginTimeout,
    refuse_threads_left,
    threads_since,
    watching,
)
from memsim.schema import Column

__all__ = [
    "FOLDERS", "Folder", "ModelFolder", "PluginError", "PluginFault", "PluginFile",
    "PluginTimeout", "build", "fault", "find", "is_outside", "loaded", "metric_columns",
    "model_of", "offered", "outside", "summary", "threads_left", "watch",
]  # fmt: skip
_PACKAGE = Path(__file__).parents[1]
_SINGULAR = {"policies": "policy", "workloads": "workload", "metrics": "metric", "traces": "trace"}
_loaded: dict[tuple[Folder, str], PluginFile] = {}
_stray: list[threading.Thread] = []


class PluginError(MemsimError):
    """A plug-in that does not exist, or that does not keep its folder's contract."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)


@contextmanager
def outside(
    paths: Sequence[str], sources: Mapping[str, bytes] = MappingProxyType({})
) -> Iterator[tuple[PluginFile, ...]]:
    """Let files join what the folders offer; raises InputError naming file and line.

    The module of each file is run once, here, and shared by all threads. A file whose source is
    given, by path, is not read: it may be on another computer.
    """
    built_in = {folder: offered(folder) for folder in FOLDERS}
    files: list[PluginFile] = []
    before = set(threading.enumerate())
    try:
        for path in paths:
            files.append(read_plugin(path, len(files), sources.get(path)))
            refuse_names_taken(files, built_in)
            _loaded[files[-1].folder, files[-1].name] = files[-1]
        _forget()
        yield tuple(files)
        refuse_threads_left([file.path for file in files], before)
    finally:
        _stray.extend(threads_since(before))
        for file in files:
            file.forget()
        _loaded.clear()
        _forget()


def threads_left() -> bool:
    """Say whether a thread of a plug-in is still running, for which Python would wait at exit."""
    return any(thread.is_alive() for thread in _stray)


def _forget() -> None:
    offered.cache_clear()
    find.cache_clear()


def loaded() -> tuple[PluginFile, ...]:
    """Return the files from outside that are in use now, by folder and name."""
    return tuple(_loaded[key] for key in sorted(_loaded))


def is_outside(folder: Folder, name: str) -> bool:
    """Say whether a plug-in is a file from outside."""
    return (folder, name) in _loaded


@cache
def offered(folder: Folder) -> tuple[str, ...]:
    """List the plug-ins of a folder by name, sorted; imports none of them."""
    found = pkgutil.iter_modules([str(_PACKAGE / folder)])
    names = [module.name for module in found if not module.name.startswith("_")]
    return tuple(sorted([*names, *(file.name for file in loaded() if file.folder == folder)]))


@cache
def find(folder: Folder, name: str) -> ModuleType:
    """Import one plug-in by name and hold it to its contract; raises PluginError."""
    if name not in offered(folder):
        what = _SINGULAR[folder]
        raise PluginError(f'there is no {what} "{name}"', suggest(name, offered(folder)))
    if is_outside(folder, name):
        return _loaded[folder, name].module
    module = importlib.import_module(f"memsim.{folder}.{name}")
    breach = contract_breach(folder, module)
    if breach is not None:
        message = f"memsim/{folder}/{name}.py {breach.message}"
        raise PluginError(message, f"see memsim/{folder}/__init__.py")
    return module


def watch(folder: Folder, name: str, what: str) -> AbstractContextManager[None]:
    """Run a plug-in's own code, the function or method ``what``; see ``_watch.watching``."""
    file = _loaded.get((folder, name))
    if file is None:
        return nullcontext()
    return watching(file.path, file.line(what), f"{what.rpartition('.')[2]}()")


def fault(folder: Folder, name: str, what: str, message: str, line: int = 0) -> PluginFault:
    """Make the error of a plug-in whose function or method ``what`` gave something wrong."""
    file = _loaded.get((folder, name))
    if file is None:
        return PluginFault.at(f"memsim/{folder}/{name}.py", 0, message)
    return PluginFault.at(file.path, line or file.line(what), message)


def model_of(folder: ModelFolder, name: str) -> type[BaseModel]:
    """Return the model whose fields are the knobs of a policy or workload."""
    module = find(folder, name)
    model: type[BaseModel] = module.Workload if folder == "workloads" else module.Policy
    return model


def build(
    folder: ModelFolder, name: str, knobs: dict[str, Any], context: dict[str, Any] | None = None
) -> Any:
    """Make a policy or workload from knobs as a scenario has them; raises ValidationError."""
    model = model_of(folder, name)
    with watch(folder, name, model.__name__):
        try:
            return model.model_validate_json(json.dumps(knobs), strict=True, context=context)
        except ValidationError as error:
            refusal = error
    raise refusal


def metric_columns() -> dict[str, Column]:
    """Return every column of the trials table that a metric fills, as ``<file>.<column>``."""
    return {
        f"{name}.{column.name}": column
        for name in offered("metrics")
        for column in find("metrics", name).COLUMNS
    }


def summary(folder: Folder, name: str) -> str:
    """Return the first sentence of a plug-in's documentation."""
    module = find(folder, name)
    described = {"workloads": "Workload", "policies": "Policy"}.get(folder)
    text = inspect.getdoc(getattr(module, described) if described else module) or ""
    return text.partition("\n")[0]
