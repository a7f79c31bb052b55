"""Which metrics are compared, and with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memsim.compare.samples import Side, telling
from memsim.errors import InputError, Problem, suggest
from memsim.results.answer import matters, named_metrics
from memsim.schema import Column
from memsim.units import describe


def choose_metrics(
    columns: Mapping[str, Column], patterns: Sequence[str], sides: Sequence[Side]
) -> dict[str, Column]:
    """Return the metrics that patterns name, in the order of the table; raises InputError.

    Without patterns these are the metrics that an answer shows.
    """
    numeric = {name: column for name, column in columns.items() if column.dtype != "str"}
    if not patterns:
        worth = {name: column for name, column in numeric.items() if matters(column)}
        return {name: numeric[name] for name in telling(sides, worth)}
    return named_metrics(numeric, patterns)


def chosen_side(sides: Sequence[Side], name: str | None, folders: Sequence[str]) -> Side:
    """Return the side of a name, or of a run's folder, else the first; raises InputError."""
    if name is None:
        return sides[0]
    labels = [side.label for side in sides]
    if name in labels:
        return sides[labels.index(name)]
    if name in folders:
        return sides[list(folders).index(name)]
    what = "run" if folders else "policy"
    message = f"there is no {what} {describe(name)}"
    raise InputError([Problem("--baseline", 0, 0, message, suggest(name, labels))])
