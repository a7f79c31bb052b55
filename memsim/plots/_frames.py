"""Means over the seeds, and the places on the axes in one column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memsim.results import Run
from memsim.results.tables import csv_text
from memsim.statistics import half_width

if TYPE_CHECKING:
    from pandas import DataFrame

NS = 1e9
AT = ["policy", "point"]


def placed(run: Run, table: DataFrame) -> Any:
    """Return a copy of a table with all axes in one column, ``point``."""
    axes = [csv_text(axis) for axis in run.axes]
    points = table[axes].agg(", ".join, axis=1) if axes and len(table) else ""
    return table.drop(columns=axes).assign(point=points)


def good_trials(run: Run) -> Any:
    """Return the rows of the trials that did not fail."""
    trials = placed(run, run.trials)
    return trials[trials.status == "ok"]


def over_seeds(table: DataFrame, keys: Sequence[str], value: str) -> Any:
    """Return mean and 95 % interval of a column over the seeds, in the order of the rows.

    ``low`` and ``high`` are blank where there is one seed.
    """
    import pandas

    records: list[dict[str, Any]] = []
    for key, group in table.dropna(subset=[value]).groupby([*keys], sort=False):
        values = [float(v) for v in group[value]]
        mean, half = math.fsum(values) / len(values), half_width(values)
        low, high = (mean - half, mean + half) if math.isfinite(half) else (math.nan, math.nan)
        at = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        records.append({**at, "mean": mean, "low": low, "high": high, "seeds": len(values)})
    return pandas.DataFrame(records, columns=[*keys, "mean", "low", "high", "seeds"])


def clipped(rows: Any, low: float, high: float) -> Any:
    """Keep intervals of parts of a whole within what is possible."""
    return rows.assign(low=rows.low.clip(low, high), high=rows.high.clip(low, high))


def percent(part: float) -> str:
    """Write a part of a whole; what is not all is not rounded to that."""
    text = f"{100 * part:.1f}"
    return f"{100 * part:.3f} %" if text == "100.0" and part < 1 else f"{text} %"
