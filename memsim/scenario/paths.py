"""Dotted paths into the plain data of a scenario, as ``axes:`` and ``--set`` use them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from memsim.errors import suggest
from memsim.units import HintedError, describe

Loc = tuple[str | int, ...]
"""Keys and indices from the top of a scenario to one of its values."""


_NAMED: dict[Loc, str] = {("policies",): "policy", ("workloads",): "workload"}
"""Mappings whose keys are names that a path may not invent."""


def dotted(loc: Loc) -> str:
    """Write a location as a path."""
    return ".".join(map(str, loc))


def resolve(data: Mapping[str, Any], path: str) -> Loc:
    """Turn ``machine.nodes.1.memory`` into keys and indices; ValueError if it leads nowhere.

    The last parts may be absent from the data, as long as a validator would know them.
    """
    loc: Loc = ()
    here: Any = data
    for part in path.split("."):
        if isinstance(here, list):
            if not (part.isascii() and part.isdigit() and len(part) < 7 and int(part) < len(here)):
                raise ValueError(f"{dotted(loc)} has {len(here)} items, no item {describe(part)}")
            loc, here = (*loc, int(part)), here[int(part)]
        elif isinstance(here, dict):
            if loc in _NAMED and part not in here:
                raise HintedError(
                    f"there is no {_NAMED[loc]} {describe(part)}", suggest(part, here)
                )
            loc, here = (*loc, part), here.get(part, {})
        else:
            raise ValueError(f"{dotted(loc)} is {describe(here)}, which has no {describe(part)}")
    return loc


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
