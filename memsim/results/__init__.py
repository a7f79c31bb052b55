"""The results of a run, on disk: tables, the scenario as it was, and a manifest.

``manifest.json`` is written last and is the only file with times and host: where it stands, the run
is complete.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsim.errors import InputError, Problem
from memsim.results import tables
from memsim.results.manifest import AGAIN, make_manifest, read_manifest
from memsim.results.store import MANIFEST, UNFINISHED, write_whole
from memsim.scenario import PluginSource, Scenario
from memsim.scenario.content import canonical_json
from memsim.schema import Column

if TYPE_CHECKING:
    from pandas import DataFrame

WRITTEN = "scenario.json"
"""The scenario as it was understood: machine file and overrides are in it."""


@dataclass(frozen=True)
class Run:
    """A run that is complete on disk; tables are read when they are asked for."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, seeds, trials, host and times."""
        return read_manifest(self.folder)

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, as it was understood when the run began."""
        written = json.loads((self.folder / WRITTEN).read_bytes())
        return Scenario.from_written(
            written,
            self.manifest["directory"],
            tuple(self.manifest["inputs"].items()),
            tuple(PluginSource(**plugin) for plugin in self.manifest["plugins"]),
        )

    @cached_property
    def metric_columns(self) -> dict[str, Column]:
        """The metrics of the trials table, also those of plug-ins that are not here now."""
        return {name: Column(**column) for name, column in self.manifest["columns"].items()}

    @cached_property
    def trials(self) -> DataFrame:
        """A row for each trial: policy, axes, seed, status, every metric."""
        columns = {**self.metric_columns, **_named(tables.SEED, *tables.STATUS)}
        return self._table("trials", columns)

    @cached_property
    def high_order(self) -> DataFrame:
        """A row for each group of like attempts to get a block."""
        return self._table("high_order", _named(tables.SEED, *tables.HIGH_ORDER))

    @cached_property
    def vmstat(self) -> DataFrame:
        """A row for each counter of each trial."""
        return self._table("vmstat", _named(tables.SEED, *tables.VMSTAT))

    @cached_property
    def timeline(self) -> DataFrame:
        """A row for each zone at each sampled instant of each trial."""
        return self._table("timeline", {})

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the scenario, as columns of every table."""
        return tuple(self.manifest["axes"])

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial["status"] == "failed" for trial in self.manifest["trials"])

    def trial_rows(self) -> list[dict[str, str]]:
        """Return the rows of trials.csv as they stand there."""
        with (self.folder / "trials.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _table(self, name: str, columns: Mapping[str, Column]) -> DataFrame:
        import pandas

        if f"{name}.parquet" in self.manifest["files"]:
            return pandas.read_parquet(self.folder / f"{name}.parquet")
        kinds = {"int64": "Int64", "float64": "float64", "str": "object"}
        path = self.folder / f"{name}.csv"
        present = pandas.read_csv(path, nrows=0).columns
        dtypes = {c: kinds[columns[c].dtype] if c in columns else "object" for c in present}
        text = [c for c in present if dtypes[c] == "object"]
        table = pandas.read_csv(path, dtype=dtypes)
        return table.fillna(dict.fromkeys(text, ""))


def _named(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


def is_complete(folder: Path) -> bool:
    """Say whether a run's results are all there."""
    return (folder / MANIFEST).is_file()


def begin(folder: Path, scenario: Scenario) -> None:
    """Say in the folder of a run what is about to be simulated; ``save`` takes that away."""
    about = {"scenario": scenario.name, "trials": [trial.name for trial in scenario.trials()]}
    write_whole(folder / UNFINISHED, canonical_json(about).encode() + b"\n")


def save(
    folder: Path, scenario: Scenario, finished: tables.Finished, about: Mapping[str, Any]
) -> None:
    """Write the tables of a run, and the manifest at the end.

    The large tables of a sweep, a scenario with axes, are Parquet, all others CSV. ``about`` is
    what only the manifest says: times, and how the run was carried out.
    """
    written = canonical_json(scenario.written)
    files = {
        "scenario.yaml": (scenario.source or written).encode(),
        WRITTEN: written.encode() + b"\n",
        "trials.csv": tables.trials_table(finished).to_csv(),
        "timeline.parquet": tables.timeline_table(finished).to_parquet(),
    }
    large = {
        "high_order": tables.high_order_table(finished),
        "vmstat": tables.vmstat_table(finished),
    }
    for name, table in large.items():
        if scenario.axes:
            files[f"{name}.parquet"] = table.to_parquet()
        else:
            files[f"{name}.csv"] = table.to_csv()
    for name, content in files.items():
        write_whole(folder / name, content)
    manifest = make_manifest(scenario, finished, files, about)
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
    (folder / UNFINISHED).unlink(missing_ok=True)


def read_results(folder: Path | str) -> Run:
    """Read the results of a run from its folder; raises InputError if they are not all there."""
    run = Run(Path(folder))
    _check_trials(run)
    return run


def _check_trials(run: Run) -> None:
    """Insist that the table has the trials of the manifest; raises InputError."""
    keys = ("policy", "seed", "status", "error")
    try:
        wanted = [(t["policy"], str(t["seed"]), t["status"]) for t in run.manifest["trials"]]
        rows = [tuple(row[key] for key in (*keys, *run.axes)) for row in run.trial_rows()]
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        wanted, rows = [("", "", "")], []
    if [row[:3] for row in rows] != wanted:
        message = "the trials in trials.csv are not those of manifest.json"
        raise InputError([Problem(str(run.folder), 0, 0, message, AGAIN)])
