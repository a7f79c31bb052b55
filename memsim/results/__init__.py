"""The results of a run, on disk: tables, the scenario as it was, and a manifest.

``manifest.json`` is written last and is the only file with times and host: where it stands, the run
is complete.
"""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsim import __version__, plugins
from memsim.errors import InputError, Problem
from memsim.results import tables
from memsim.results.store import MANIFEST, SCHEMA_VERSION, write_whole
from memsim.scenario import Scenario
from memsim.scenario.content import canonical_json
from memsim.schema import Column

if TYPE_CHECKING:
    from pandas import DataFrame

AGAIN = "memsim run --force simulates again"
LIBRARIES = ("numba", "numpy", "pyarrow", "pydantic")


@dataclass(frozen=True)
class Run:
    """A run that is complete on disk; tables are read when they are asked for."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, seeds, trials, host and times."""
        return _read_manifest(self.folder / MANIFEST)

    @cached_property
    def trials(self) -> DataFrame:
        """A row for each trial: policy, axes, seed, status, every metric."""
        columns = {**plugins.metric_columns(), **_named(tables.SEED, *tables.STATUS)}
        return self._table("trials.csv", columns)

    @cached_property
    def high_order(self) -> DataFrame:
        """A row for each group of like attempts to get a block."""
        return self._table("high_order.csv", _named(tables.SEED, *tables.HIGH_ORDER))

    @cached_property
    def vmstat(self) -> DataFrame:
        """A row for each counter of each trial."""
        return self._table("vmstat.csv", _named(tables.SEED, *tables.VMSTAT))

    @cached_property
    def timeline(self) -> DataFrame:
        """A row for each zone at each sampled instant of each trial."""
        import pandas

        return pandas.read_parquet(self.folder / "timeline.parquet")

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

        kinds = {"int64": "Int64", "float64": "float64", "str": "object"}
        path = self.folder / name
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


def save(
    folder: Path, scenario: Scenario, finished: tables.Finished, about: Mapping[str, Any]
) -> None:
    """Write the tables of a run, and the manifest at the end.

    ``about`` is what only the manifest says: times, and how the run was carried out.
    """
    source = scenario.source or canonical_json(scenario.written)
    files = {
        "scenario.yaml": source.encode(),
        "trials.csv": tables.trials_table(finished).to_csv(),
        "high_order.csv": tables.high_order_table(finished).to_csv(),
        "vmstat.csv": tables.vmstat_table(finished).to_csv(),
        "timeline.parquet": tables.timeline_table(finished).to_parquet(),
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    manifest = {**_manifest(scenario, finished), **about}
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")


def _manifest(scenario: Scenario, finished: tables.Finished) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "memsim": __version__,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "host": {
            "name": platform.node(),
            "system": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "scenario": scenario.name,
        "title": scenario.title,
        "content_hash": scenario.content_hash,
        "overrides": list(scenario.overrides),
        "inputs": dict(scenario.inputs),
        "plugins": [plugin._asdict() for plugin in scenario.plugins],
        "policies": list(scenario.policies),
        "profiles": sorted({trial.profile for trial, _ in finished}),
        "axes": list(scenario.axes),
        "seeds": list(scenario.seeds),
        "trials": [
            {
                "name": trial.name,
                "policy": trial.policy,
                "point": dict(trial.point),
                "seed": trial.seed,
                "status": result.status,
            }
            for trial, result in finished
        ],
        "notes": list(dict.fromkeys(note for _, result in finished for note in result.notes)),
    }


def read_results(folder: Path | str) -> Run:
    """Read the results of a run from its folder; raises InputError if they are not all there."""
    run = Run(Path(folder))
    found = run.manifest.get("schema_version")
    if found != SCHEMA_VERSION:
        place = str(run.folder / MANIFEST)
        message = f"expected results of version {SCHEMA_VERSION}, found version {found}"
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        hint = "update memsim" if newer else AGAIN
        raise InputError([Problem(place, 0, 0, message, hint)])
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


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        hint = "give the folder of one run, results/<scenario>/<run>"
        raise InputError([Problem(str(path), 0, 0, "there is no such file", hint)]) from None
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise InputError([Problem(str(path), 0, 0, f"is no JSON: {error}", AGAIN)]) from None
    if not isinstance(manifest, dict):
        raise InputError([Problem(str(path), 0, 0, "is no manifest of a run", AGAIN)])
    return manifest
