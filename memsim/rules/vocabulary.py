"""The JSON Schema of scenario files, with the knobs of every workload and policy in it."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel

from memsim import plugins
from memsim.rules.descriptions import descriptions
from memsim.scenario import PolicySpec, Record, ScenarioText, WorkloadSpec
from memsim.scenario.event import Event
from memsim.scenario.machine import Costs, Dimm, Machine, Node, Swap, Vm

KNOBS: tuple[tuple[plugins.ModelFolder, str, str], ...] = (
    ("policies", "PolicySpec", "placement"),
    ("workloads", "WorkloadSpec", "kind"),
)
"""Folder of plug-ins, the definition that names one, and the key that does."""


@cache
def text_schema() -> dict[str, Any]:
    """Describe what scenarios have in common, without plug-ins' knobs."""
    return ScenarioText.model_json_schema()


def knob_schema(folder: plugins.ModelFolder, name: str) -> dict[str, Any]:
    """Describe the knobs of one policy or workload."""
    return _schema(plugins.model_of(folder, name))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def knobs(folder: plugins.ModelFolder, name: str) -> list[dict[str, Any]]:
    """List the knobs of one policy or workload: name, default as written, meaning."""
    schema = knob_schema(folder, name)
    unset = plugins.model_of(folder, name).model_construct()
    defaults = unset.model_dump(mode="json", by_alias=True, exclude_none=True)
    defaults |= dict.fromkeys(schema.get("required", ()), "required")
    return [
        {"name": key, "default": defaults.get(key), "about": about.get("description", "")}
        for key, about in schema.get("properties", {}).items()
    ]


def scenario_schema() -> dict[str, Any]:
    """Describe a whole scenario file, for editors."""
    schema = ScenarioText.model_json_schema()
    _describe(schema, ScenarioText)
    for model in (Machine, Node, Dimm, Swap, Vm, Costs, Event, PolicySpec, WorkloadSpec, Record):
        _describe(schema["$defs"][model.__name__], model)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "memsim scenario"
    definitions = schema["$defs"]
    for folder, spec, key in KNOBS:
        common = definitions[spec]
        names = plugins.offered(folder)
        common["properties"][key] = {"enum": list(names)}
        common["oneOf"] = [_variant(folder, name, key, common, definitions) for name in names]
    _drop_bare_defaults(schema)
    return schema


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Let keys say what they mean in place of what kind of value they take."""
    said = descriptions(model)
    for name, field in model.model_fields.items():
        key = schema["properties"].get(field.alias or name)
        if key is not None and name in said:
            key["description"] = said[name]


def _drop_bare_defaults(schema: Any) -> None:
    """Remove defaults that an editor would fill in without their unit."""
    children = schema.values() if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and schema.get("type") == ["string", "number"]:
        schema.pop("default", None)
    for child in children:
        if isinstance(child, dict | list):
            _drop_bare_defaults(child)


def _variant(
    folder: plugins.ModelFolder,
    name: str,
    key: str,
    common: dict[str, Any],
    definitions: dict[str, Any],
) -> dict[str, Any]:
    """Describe one kind: its own knobs, and of the common keys that they may stand beside them."""
    place = f"#/$defs/{folder}.{name}."
    knobs = plugins.model_of(folder, name).model_json_schema(ref_template=place + "{model}")
    for model, definition in knobs.pop("$defs", {}).items():
        definitions[f"{folder}.{name}.{model}"] = definition
    beside = {other: True for other in common["properties"]}
    knobs["properties"] = {**beside, **knobs.get("properties", {}), key: {"const": name}}
    return knobs
