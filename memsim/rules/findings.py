"""What is wrong with the data of a scenario: pydantic's errors in memsim's own sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from memsim.errors import suggest
from memsim.scenario.paths import Loc
from memsim.units import describe

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "text",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length}",
    "tuple_type": "a list",
}
_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(frozen=True, order=True)
class Finding:
    """A problem at a place of the data."""

    loc: Loc
    message: str
    hint: str = ""
    on_key: bool = False
    """It is the key that is wrong, not its value."""


def schema_at(schema: Mapping[str, Any], loc: Loc) -> Iterator[Mapping[str, Any]]:
    """Yield each JSON Schema that describes the value at a place (several of a union)."""
    yield from _walk(schema, schema, loc)


def _walk(
    root: Mapping[str, Any], here: Mapping[str, Any], loc: Loc
) -> Iterator[Mapping[str, Any]]:
    if "$ref" in here:
        here = root["$defs"][here["$ref"].rpartition("/")[2]]
    if "anyOf" in here:
        for branch in here["anyOf"]:
            yield from _walk(root, branch, loc)
    elif not loc:
        yield here
    elif isinstance(loc[0], int):
        prefix = here.get("prefixItems", [])
        item = prefix[loc[0]] if loc[0] < len(prefix) else here.get("items")
        if isinstance(item, dict):
            yield from _walk(root, item, loc[1:])
    else:
        named = here.get("properties", {}).get(loc[0])
        others = [*here.get("patternProperties", {}).values(), here.get("additionalProperties")]
        for value in [named] if named else others:
            if isinstance(value, dict):
                yield from _walk(root, value, loc[1:])


def known_keys(schema: Mapping[str, Any], loc: Loc) -> list[str]:
    """List the keys that the mapping at a place may have."""
    return [key for found in schema_at(schema, loc) for key in found.get("properties", ())]


def _example(schema: Mapping[str, Any], loc: Loc) -> str:
    for found in schema_at(schema, loc):
        for example in found.get("examples", ()):
            return f"for example {loc[-1]}: {example}"
    return ""


def value_at(data: Any, loc: Loc) -> Any:
    """Return the value at a place of the data."""
    for part in loc:
        data = data[part]
    return data


def present(data: Any, loc: Loc) -> Loc:
    """Leave out what is not in the data: missing keys, and pydantic's names for union members."""
    found: Loc = ()
    for part in loc:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            found, data = (*found, part), data[part]
    return found


def explain(error: ValidationError, schema: Mapping[str, Any], data: Any) -> Iterator[Finding]:
    """Turn the errors of one validation of ``data`` into findings, in their order."""
    details = [
        (present(data, detail["loc"]), detail)
        for detail in error.errors(include_url=False, include_input=False)
    ]
    for loc, group in groupby(details, key=lambda pair: pair[0]):
        yield from _explain_place(loc, [detail for _, detail in group], schema, data)


def _explain_place(
    loc: Loc, details: list[Any], schema: Mapping[str, Any], data: Any
) -> Iterator[Finding]:
    alternatives: list[str] = []
    others: list[Finding] = []
    for detail in details:
        kind, missing = detail["type"], detail["loc"][-1] if detail["loc"] else ""
        if kind == "missing":
            hint = _example(schema, (*loc, str(missing)))
            others.append(Finding(loc, f"missing key {describe(missing)}", hint, on_key=True))
        elif kind == "extra_forbidden":
            known = known_keys(schema, loc[:-1])
            message = f"unknown key {describe(str(loc[-1]))}"
            others.append(Finding(loc, message, suggest(str(loc[-1]), known), on_key=True))
        elif missing == "[key]":
            pattern = detail["ctx"]["pattern"]
            message = f"expected a name that matches {pattern}, found {describe(loc[-1])}"
            others.append(Finding(loc, message, on_key=True))
        elif kind == "value_error":
            refusal = detail["ctx"]["error"]
            others.append(Finding(loc, str(refusal), getattr(refusal, "hint", "")))
        elif kind in _EXPECTED:
            expected = _EXPECTED[kind].format(**detail.get("ctx", {})).replace("'", '"')
            alternatives.append(expected)
        else:
            others.append(Finding(loc, detail["msg"][:1].lower() + detail["msg"][1:]))
    if alternatives:
        wanted = " or ".join(dict.fromkeys(alternatives))
        value = value_at(data, loc)
        name = f"{loc[-1]}: " if loc and isinstance(loc[-1], str) else ""
        message = f"{name}expected {wanted}, found {describe(value)}"
        others = [Finding(loc, message, _hint(wanted, value) or _example(schema, loc))]
    yield from others


def _hint(expected: str, value: object) -> str:
    """Explain what YAML makes of a value that looks like what was expected."""
    if expected == "text" and isinstance(value, bool | int | float):
        return f'put it in quotes: "{describe(value)}"'
    if expected == "true or false" and str(value).lower() in _YAML_1_1:
        return f"write {_YAML_1_1[str(value).lower()]}"
    if "whole number" in expected and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}" if abs(value) < 1e18 else ""
    if isinstance(value, str) and value[:1] == "0" and value.isdigit():
        return "a number with a leading zero is text; write it without"
    return ""
