"""Which axes make no sense: alone, with one of their values, or all together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from memsim.rules.findings import Finding
from memsim.scenario import as_text
from memsim.scenario.paths import Loc, resolve, with_values

MAX_POINTS = 10_000
AXIS_ROOTS = ("duration", "events", "machine", "policies", "workloads")

FindingsOf = Callable[[dict[str, Any]], Iterable[Finding]]
"""Checks the plain data of a scenario without axes."""


def axis_findings(
    base: dict[str, Any], axes: dict[str, Any], known: set[Finding], findings_of: FindingsOf
) -> list[Finding]:
    """Hold every value of every axis, and every point, against what holds for the file itself.

    ``known`` is what was found in ``base``, the scenario without its axes.
    """
    findings: list[Finding] = []
    places: dict[str, tuple[Loc, ...]] = {}
    for path, values in axes.items():
        at: Loc = ("axes", path)
        try:
            places[path] = resolve(base, path)
        except ValueError as error:
            findings.append(Finding(at, str(error), getattr(error, "hint", ""), on_key=True))
            continue
        refusal = _no_axis(path, places)
        if refusal is not None:
            findings.append(refusal)
            continue
        for i, value in enumerate(values if isinstance(values, list) else ()):
            if value in values[:i]:
                findings.append(Finding((*at, i), f"{as_text(value)} appears twice"))
            if places[path] == (("machine",),) and isinstance(value, dict) and "like" in value:
                hint = "--set machine.like=NAME takes another machine"
                place = (*at, i, "like")
                findings.append(Finding(place, "a machine file cannot be on an axis", hint, True))
                continue
            changed = with_values(base, places[path], value)
            for found in findings_of(changed):
                if found not in known:
                    rest = _inside(found.loc, places[path])
                    findings.append(Finding((*at, i, *rest), found.message, found.hint))
    if findings or len(axes) < 2 or not all(isinstance(v, list) for v in axes.values()):
        return findings
    return _point_findings(base, axes, places, known, findings_of)


def _no_axis(path: str, places: dict[str, tuple[Loc, ...]]) -> Finding | None:
    """Say why the last of some axes cannot be one."""
    at: Loc = ("axes", path)
    message = f'"{path}" cannot be an axis'
    if places[path][0][0] not in AXIS_ROOTS:
        return Finding(at, message, f"axes lie in {', '.join(AXIS_ROOTS)}", True)
    if places[path] == (("machine", "like"),):
        return Finding(at, message, f"--set {path}=NAME takes another machine", True)
    for other in list(places)[:-1]:
        if any(_inside(a, places[path]) or a in places[path] for a in places[other]):
            return Finding(at, f'"{path}" overwrites the axis "{other}"', on_key=True)
    return None


def _inside(loc: Loc, places: tuple[Loc, ...]) -> Loc:
    """Return the rest of a location that lies in one of some places; nothing for others."""
    return next((loc[len(place) :] for place in places if loc[: len(place)] == place), ())


def _point_findings(
    base: dict[str, Any],
    axes: dict[str, list[Any]],
    places: dict[str, tuple[Loc, ...]],
    known: set[Finding],
    findings_of: FindingsOf,
) -> list[Finding]:
    """Find the first point whose values are sound one by one but not together."""
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_POINTS:
        return [Finding(("axes",), f"{count} points are more than {MAX_POINTS}", on_key=True)]
    for point in itertools.product(*axes.values()):
        changed = base
        for path, value in zip(axes, point, strict=True):
            changed = with_values(changed, places[path], value)
        new = [f for f in findings_of(changed) if f not in known]
        if new:
            values_here = [
                f"{path} = {as_text(value)}" for path, value in zip(axes, point, strict=True)
            ]
            where = ", ".join(values_here)
            return [Finding(("axes",), f"with {where}: {f.message}", f.hint, True) for f in new]
    return []
