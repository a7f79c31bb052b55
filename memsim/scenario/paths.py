"""Dotted paths into the plain data of a scenario, as ``axes:`` and ``--set`` use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from memsim.errors import suggest
from memsim.units import HintedError, describe

Loc = tuple[str | int, ...]
"""Keys and indices from the top of a scenario to one of its values."""
_NAMED: dict[Loc, str] = {("policies",): "policy", ("workloads",): "workload"}
"""Mappings whose keys are names that a path may not invent."""
EVERY = "*"
"""In place of a name: every one that the mapping has."""


def dotted(loc: Loc) -> str:
    """Write a location as a path."""
    return ".".join(map(str, loc))


def resolve(data: Mapping[str, Any], path: str) -> tuple[Loc, ...]:
    """Turn ``machine.nodes.1.memory`` into keys and indices; ValueError if it leads nowhere.

    The last parts may be absent from the data, as long as a validator would know them. ``*`` stands
    for every policy or workload: the path then has a place in each.
    """
    places: list[tuple[Loc, Any]] = [((), data)]
    for part in path.split("."):
        places = [step for loc, here in places for step in _steps(loc, here, part)]
    return tuple(loc for loc, _ in places)


def _steps(loc: Loc, here: Any, part: str) -> list[tuple[Loc, Any]]:
    """Go on from a place by one part of a path."""
    if isinstance(here, list):
        if not (part.isascii() and part.isdigit() and len(part) < 7 and int(part) < len(here)):
            raise ValueError(f"{dotted(loc)} has {len(here)} items, no item {describe(part)}")
        return [((*loc, int(part)), here[int(part)])]
    if not isinstance(here, dict):
        raise ValueError(f"{dotted(loc)} is {describe(here)}, which has no {describe(part)}")
    if loc in _NAMED and part == EVERY and here:
        return [((*loc, name), value) for name, value in here.items()]
    if loc in _NAMED and part not in here:
        raise HintedError(f"there is no {_NAMED[loc]} {describe(part)}", suggest(part, here))
    return [((*loc, part), here.get(part, {}))]


def with_values(data: Any, locs: Iterable[Loc], value: object) -> Any:
    """Return a copy of the data with one value put at several places."""
    for loc in locs:
        data = with_value(data, loc, value)
    return data


def with_value(data: Any, loc: Loc, value: object) -> Any:
    """Return a copy of the data with a value put at a place; mappings on the way are made."""
    if not loc:
        return deepcopy(value)
    copy = list(data) if isinstance(data, list) else dict(data)
    if isinstance(copy, list):
        index = int(loc[0])
        copy[index] = with_value(copy[index], loc[1:], value)
    else:
        copy[str(loc[0])] = with_value(copy.get(str(loc[0]), {}), loc[1:], value)
    return copy
