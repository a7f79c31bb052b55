"""The counters of a run, policies side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memsim.plots._frames import placed
from memsim.results import Run

MOST_COLUMNS = 12


@dataclass(frozen=True)
class Counters:
    """Means over the seeds of the machine's counters; all zero in all columns are left out."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]


def counters_of(run: Run) -> Counters:
    """Return a row for each counter, a column for each policy and point, up to some."""
    table = placed(run, run.vmstat)
    machine = table[table.zone.fillna("") == ""]
    place = machine.policy.astype(str) + machine.point.map(lambda p: f" {p}" if p else "")
    means: Any = machine.assign(place=place).groupby(["counter", "place"], sort=False)["value"]
    wide = means.mean().unstack("place")
    wide = wide[list(dict.fromkeys(place))[:MOST_COLUMNS]].fillna(0)
    wide = wide[(wide != 0).any(axis=1)]
    order = list(dict.fromkeys(machine.counter))
    wide = wide.reindex([name for name in order if name in wide.index])
    return Counters(
        tuple(map(str, wide.columns)),
        tuple(
            (str(name), tuple(map(float, row)))
            for name, row in zip(wide.index, wide.to_numpy().tolist(), strict=True)
        ),
    )
