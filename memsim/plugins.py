"""Find what a plug-in folder offers: policies, workloads, metrics, traces.

A file in the folder is a plug-in by being there; names that begin with ``_`` are skipped.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from pydantic import BaseModel

from memsim.errors import MemsimError, suggest
from memsim.schema import Column

Folder = Literal["policies", "workloads", "metrics", "traces"]
ModelFolder = Literal["policies", "workloads"]
FOLDERS: tuple[Folder, ...] = ("policies", "workloads", "metrics", "traces")
_SINGULAR = {"policies": "policy", "workloads": "workload", "metrics": "metric", "traces": "trace"}


class PluginError(MemsimError):
    """A plug-in that does not exist, or that does not keep its folder's contract."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n  hint: {hint}" if hint else message)


@cache
def offered(folder: Folder) -> tuple[str, ...]:
    """List the plug-ins of a folder by name, sorted; imports none of them."""
    place = Path(__file__).parent / folder
    found = pkgutil.iter_modules([str(place)])
    return tuple(sorted(module.name for module in found if not module.name.startswith("_")))


@cache
def find(folder: Folder, name: str) -> ModuleType:
    """Import one plug-in by name and hold it to its contract; raises PluginError."""
    if name not in offered(folder):
        what = _SINGULAR[folder]
        raise PluginError(f'there is no {what} "{name}"', suggest(name, offered(folder)))
    module = importlib.import_module(f"memsim.{folder}.{name}")
    broken = contract_breach(folder, module)
    if broken:
        raise PluginError(f"memsim/{folder}/{name}.py {broken}", f"see memsim/{folder}/__init__.py")
    return module


def contract_breach(folder: Folder, module: ModuleType) -> str:
    """Say how a module breaks its folder's contract; empty if it keeps it."""
    match folder:
        case "workloads":
            return _model_breach(module, "Workload", "stream")
        case "policies":
            breach = _model_breach(module, "Policy", "tables")
            if not breach and not module.Policy.PROFILES:
                return "has a Policy without PROFILES"
            return breach
        case "metrics":
            columns = getattr(module, "COLUMNS", ())
            if not columns or not all(isinstance(column, Column) for column in columns):
                return "does not define COLUMNS, a tuple of Column"
            return _function_breach(module, "measure")
        case "traces":
            return _function_breach(module, "sniff") or _function_breach(module, "read")


def _function_breach(module: ModuleType, name: str) -> str:
    return "" if callable(getattr(module, name, None)) else f"does not define {name}()"


def _model_breach(module: ModuleType, name: str, method: str) -> str:
    model = getattr(module, name, None)
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return f"does not define a class {name} that is a pydantic model"
    if not (model.model_config.get("frozen") and model.model_config.get("extra") == "forbid"):
        return f"has a {name} that is not frozen or lets unknown keys pass"
    if not callable(getattr(model, method, None)):
        return f"has a {name} without a method {method}()"
    return ""


def model_of(folder: ModelFolder, name: str) -> type[BaseModel]:
    """Return the model whose fields are the knobs of a policy or workload."""
    module = find(folder, name)
    model: type[BaseModel] = module.Workload if folder == "workloads" else module.Policy
    return model


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
