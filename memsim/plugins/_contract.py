"""What a plug-in of each kind must define."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel

from memsim.mm import NR_PLACEMENT_TYPES
from memsim.profiles import PROFILES
from memsim.scenario import PolicySpec
from memsim.schema import Column

Folder = Literal["policies", "workloads", "metrics", "traces"]
ModelFolder = Literal["policies", "workloads"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)
MARKS: Mapping[Folder, tuple[str, ...]] = {
    "policies": ("Policy",),
    "workloads": ("Workload",),
    "metrics": ("COLUMNS", "measure"),
    "traces": ("sniff", "read"),
}
"""The names by which a file shows its kind."""
SCENARIO_KEYS = {"Policy": tuple(PolicySpec.model_fields), "Workload": ("kind",)}
"""What stands beside the fields of a policy or workload in a scenario."""
COLUMN_DTYPES = ("int64", "float64")


class Breach(NamedTuple):
    """How a module breaks its contract."""

    message: str
    """What follows the file's name."""
    name: str = ""
    """What it concerns: a name of the module, perhaps with one of its attributes."""


def contract_breach(folder: Folder, module: ModuleType) -> Breach | None:
    """Say how a module breaks its folder's contract; None if it keeps it."""
    checks: Mapping[Folder, Callable[[ModuleType], Breach | None]] = {
        "policies": _policy_breach,
        "workloads": lambda m: _model_breach(m, "Workload", "stream"),
        "metrics": lambda m: _columns_breach(m) or _function_breach(m, "measure"),
        "traces": lambda m: _function_breach(m, "sniff") or _function_breach(m, "read"),
    }
    return checks[folder](module)


def _function_breach(module: ModuleType, name: str) -> Breach | None:
    found = getattr(module, name, None)
    return None if callable(found) else Breach(f"does not define {name}()", name)


def _model_breach(module: ModuleType, name: str, method: str) -> Breach | None:
    model = getattr(module, name, None)
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return Breach(f"does not define a class {name} that is a pydantic model", name)
    if not (model.model_config.get("frozen") and model.model_config.get("extra") == "forbid"):
        return Breach(f"has a {name} that is not frozen or lets unknown keys pass", name)
    if not callable(getattr(model, method, None)):
        return Breach(f"has a {name} without a method {method}()", name)
    taken = [key for key in SCENARIO_KEYS[name] if key in model.model_fields]
    if taken:
        message = f'has a {name} with a field "{taken[0]}", which scenarios use for something else'
        return Breach(message, f"{name}.{taken[0]}")
    return None


def _policy_breach(module: ModuleType) -> Breach | None:
    breach = _model_breach(module, "Policy", "tables")
    if breach is not None:
        return breach
    policy: Any = module.Policy
    if not _texts(getattr(policy, "PROFILES", None)):
        return Breach(
            "has a Policy without PROFILES, a ClassVar tuple of different names", "Policy"
        )
    unknown = [name for name in policy.PROFILES if name not in PROFILES]
    if unknown:
        message = f'has a Policy with an unknown profile "{unknown[0]}"'
        return Breach(f"{message}; known: {', '.join(PROFILES)}", "Policy.PROFILES")
    types = getattr(policy, "TYPES", None)
    if not _texts(types) or len(policy.TYPES) > NR_PLACEMENT_TYPES:
        wanted = f"a ClassVar tuple of 1 to {NR_PLACEMENT_TYPES} different names"
        return Breach(f"has a Policy without TYPES, {wanted}", "Policy")
    return None


def _texts(value: object) -> bool:
    if not isinstance(value, tuple) or not value:
        return False
    return all(isinstance(v, str) and v for v in value) and len(set(value)) == len(value)


def _columns_breach(module: ModuleType) -> Breach | None:
    columns = getattr(module, "COLUMNS", None)
    if not isinstance(columns, tuple) or not columns:
        return Breach("does not define COLUMNS, a tuple of Column", "COLUMNS")
    names = set()
    for column in columns:
        fault = _column_fault(column)
        if not fault and column.name in names:
            fault = f'has two columns "{column.name}"'
        if fault:
            return Breach(fault, "COLUMNS")
        names.add(column.name)
    return None


def _column_fault(column: object) -> str:
    if not isinstance(column, Column):
        return f"does not define COLUMNS, a tuple of Column: found {type(column).__name__}"
    name = column.name
    if not (isinstance(name, str) and name.isascii() and name.isidentifier()):
        return f"has a column with the name {name!r}, which is no identifier"
    if not all(isinstance(text, str) and text for text in (column.unit, column.doc)):
        return f'has a column "{name}" without unit or doc'
    if column.dtype not in COLUMN_DTYPES:
        wanted = " or ".join(COLUMN_DTYPES)
        return f'has a column "{name}" of dtype {column.dtype!r}, expected {wanted}'
    if column.better not in ("higher", "lower", "neither"):
        return f'has a column "{name}" with better={column.better!r}'
    if isinstance(column.tolerance, bool) or not isinstance(column.tolerance, int | float):
        return f'has a column "{name}" with tolerance={column.tolerance!r}'
    return ""
