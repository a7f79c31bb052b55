"""Which points of its axes a scenario keeps."""

from __future__ import annotations

from collections.abc import Sequence

from memsim.errors import InputError, Problem, suggest
from memsim.scenario import Scenario, as_text
from memsim.units import describe


def at_points(scenario: Scenario, points: Sequence[str]) -> Scenario:
    """Keep of each axis only the values that are named, as ``path=value`` with values as in tables.

    Trials keep their names: a point is part of them. Raises InputError for an axis or value that
    the scenario does not have.
    """
    chosen: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for text in points:
        path, equals, value = text.partition("=")
        known = [as_text(one) for one in scenario.axes.get(path, ())]
        if not equals:
            message, hint = f"expected path=value, found {describe(text)}", ""
        elif path not in scenario.axes:
            message = f"the scenario has no axis {describe(path)}"
            hint = suggest(path, scenario.axes)
        elif value not in known:
            message, hint = f"the axis has no value {describe(value)}", suggest(value, known)
        else:
            chosen.setdefault(path, []).append(value)
            continue
        problems.append(Problem(f"--point {path}", 0, 0, message, hint))
    if problems:
        raise InputError(problems)
    axes = {
        path: tuple(v for v in values if path not in chosen or as_text(v) in chosen[path])
        for path, values in scenario.axes.items()
    }
    return scenario.with_axes(axes) if chosen else scenario
