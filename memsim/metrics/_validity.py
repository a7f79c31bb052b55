"""Take the measurements of all metrics, and hold each to the columns that it declares."""

from __future__ import annotations

import math
from typing import Any

from memsim import plugins
from memsim.schema import Column, TrialRecord


def measure_all(record: TrialRecord) -> dict[str, int | float | None]:
    """Return the value of every column of every metric, as ``<file>.<column>``, in order.

    Raises plugins.PluginFault for a metric that does not measure what it declares.
    """
    found: dict[str, int | float | None] = {}
    for name in plugins.offered("metrics"):
        module = plugins.find("metrics", name)
        with plugins.watch("metrics", name, "measure"):
            measured = module.measure(record)
        fault = measured_fault(measured, module.COLUMNS)
        if fault:
            raise plugins.fault("metrics", name, "measure", f"measure(): {fault}")
        found |= {f"{name}.{column.name}": measured[column.name] for column in module.COLUMNS}
    return found


def measured_fault(measured: Any, columns: tuple[Column, ...]) -> str:
    """Say what is wrong with what a metric has measured, empty if nothing is."""
    if not isinstance(measured, dict):
        return f"expected a dict, found {type(measured).__name__}"
    names = [column.name for column in columns]
    unknown = [key for key in measured if key not in names]
    if unknown:
        return f"{unknown[0]!r} is none of its COLUMNS"
    for column in columns:
        if column.name not in measured:
            return f'no value of its column "{column.name}"; None leaves it blank'
        fault = _value_fault(measured[column.name], column)
        if fault:
            return f'column "{column.name}": {fault}'
    return ""


def _value_fault(value: Any, column: Column) -> str:
    if value is None:
        return ""
    wanted = float if column.dtype == "float64" else int
    if type(value) is not wanted:
        return f"expected {wanted.__name__} or None, found {type(value).__name__}"
    fits = math.isfinite(value) if wanted is float else abs(value) < 2**63
    if not fits:
        return f"{value} does not fit a table; None leaves it blank"
    return ""
