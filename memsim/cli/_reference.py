"""Reference pages in markdown: every key of a scenario, every metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from memsim import plugins
from memsim.rules.vocabulary import KNOBS, knobs, scenario_schema
from memsim.scenario import PolicySpec, Record, ScenarioText, WorkloadSpec, as_text
from memsim.scenario.event import KEYS, Event
from memsim.scenario.machine import Costs, Dimm, Machine, Model, Node, Swap, Vm

MODELS: tuple[tuple[str, type[Model]], ...] = (
    ("the top level", ScenarioText), ("machine", Machine), ("a node", Node), ("a DIMM", Dimm),
    ("machine.swap", Swap), ("machine.vm", Vm), ("machine.costs", Costs), ("an event", Event),
    ("a policy", PolicySpec), ("a workload", WorkloadSpec), ("record", Record),
)  # fmt: skip
HEAD = ("| key | value | default | meaning |", "|---|---|---|---|")
Schema = Mapping[str, Any]


def scenario_reference() -> str:
    """List every key of scenario files with what it takes, its default and what it means."""
    schema = scenario_schema()
    lines = []
    for title, model in MODELS:
        name = model.__name__
        table = schema if model is ScenarioText else schema["$defs"][name]
        lines += ["", f"### Keys of {title}", "", *HEAD, *_rows(table, model)]
        lines += _keys_of_events() if model is Event else ()
    for folder, spec, key in KNOBS:
        title = {"policies": "Options of policy", "workloads": "Knobs of workload"}[folder]
        of_kind = {v["properties"][key]["const"]: v for v in schema["$defs"][spec]["oneOf"]}
        for name in plugins.offered(folder):
            rows = list(_knobs(folder, name, of_kind[name]))
            lines += ["", f"### {title} `{name}`", "", *(HEAD if rows else ()), *rows]
            lines += [] if rows else ["None."]
    return "\n".join(lines).strip("\n")


def metrics_reference() -> str:
    """List every metric with its unit, the better direction and what it means."""
    lines = ["| metric | unit | better | meaning |", "|---|---|---|---|"]
    for name, column in plugins.metric_columns().items():
        lines.append(_line(f"`{name}`", column.unit, column.better, column.doc))
    return "\n".join(lines)


def _rows(schema: Schema, model: type[Model]) -> Iterator[str]:
    unset = model.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)
    required = schema.get("required", ())
    for key, about in schema["properties"].items():
        default = "required" if key in required else _default(unset.get(key))
        yield _line(f"`{key}`", _kind(about), default, about.get("description", ""))


def _keys_of_events() -> Iterator[str]:
    yield from ("", "| `do` | keys besides `at` |", "|---|---|")
    for do, keys in KEYS.items():
        yield _line(f"`{do}`", ", ".join(f"`{key}`" for key in sorted(keys)))


def _knobs(folder: plugins.ModelFolder, name: str, schema: Schema) -> Iterator[str]:
    for knob in knobs(folder, name):
        default = knob["default"]
        shown = default if default == "required" else _default(default)
        about = " ".join(knob["about"].replace("``", "`").split())
        yield _line(f"`{knob['name']}`", _kind(schema["properties"][knob["name"]]), shown, about)


def _default(value: Any) -> str:
    return "" if value in (None, "", [], {}) or isinstance(value, dict) else f"`{as_text(value)}`"


def _kind(about: Schema) -> str:
    """Say what a key takes."""
    if "anyOf" in about:
        kinds = [_kind(one) for one in about["anyOf"] if one != {"type": "null"}]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in about:
        return f"`{about['const']}`"
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if "$ref" in about:
        return "mapping"
    if "examples" in about:
        return f"such as `{about['examples'][0]}`"
    if about.get("type") == "array":
        return "list"
    if about.get("type") == "integer":
        return _whole(about)
    return {"boolean": "true or false", "object": "mapping", "number": "number"}.get(
        str(about.get("type")), "text"
    )


def _whole(about: Schema) -> str:
    low, high = about.get("minimum"), about.get("maximum")
    if low is None or high is None:
        return "whole number" if low is None else f"whole number from {low}"
    return f"{low} to {high}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(_escaped(cells))} |"


def _escaped(cells: Iterable[str]) -> Iterator[str]:
    return (cell.replace("|", "\\|") for cell in cells)
