"""The results of a run, on disk: tables, the scenario as it was, and a manifest.

``manifest.json`` is written last and is the only file with times and host: where it stands, the run
is complete.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from memsim.errors import InputError, Problem
from memsim.results import tables
from memsim.results.manifest import (
    AGAIN,
    LARGE_TABLES,
    SOURCE,
    TRIALS_TABLE,
    WRITTEN,
    digests,
    make_manifest,
    read_manifest,
)
from memsim.results.places import refuse_links
from memsim.results.store import (
    MANIFEST,
    SCHEMA_VERSION,
    UNFINISHED,
    read_whole,
    write_all,
    write_whole,
    writing,
)
from memsim.results.tables import TableName, csv_text, declared
from memsim.scenario import PluginSource, Scenario
from memsim.scenario.content import canonical_json
from memsim.schema import Column

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Run:
    """A run that is complete on disk; tables are read when they are asked for.

    All that reads a file raises InputError if it was changed since memsim wrote it.
    """

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, seeds, trials, host and times."""
        return read_manifest(self.folder)

    def content(self, name: str) -> bytes:
        """Return one of the files of the manifest, as memsim wrote it."""
        wanted = self.manifest["files"][name]
        content = read_whole(self.folder / name, AGAIN)
        if digests({name: content})[name] != wanted:
            raise self._refusal(name, "was changed since memsim wrote it")
        return content

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, as it was understood when the run began."""
        manifest = self.manifest
        try:
            scenario = Scenario.from_written(
                from_json(self.content(WRITTEN)),
                manifest["directory"],
                tuple(manifest["inputs"].items()),
                tuple(PluginSource(**plugin) for plugin in manifest["plugins"]),
            )
            source = self.content(SOURCE).decode()
        except (ValueError, TypeError) as error:
            raise self._refusal(WRITTEN, f"is no scenario: {_first_line(error)}") from None
        overrides = tuple(manifest["overrides"])
        scenario = scenario.model_copy(update={"source": source, "overrides": overrides})
        if scenario.text_hash != manifest["text_hash"]:
            raise self._refusal(WRITTEN, f"is not the scenario of {MANIFEST}")
        return scenario

    @cached_property
    def metric_columns(self) -> dict[str, Column]:
        """The metrics of the trials table, also those of plug-ins that are not here now."""
        return {name: Column(**column) for name, column in self.manifest["columns"].items()}

    @cached_property
    def trials(self) -> DataFrame:
        """A row for each trial: policy, axes, seed, status, every metric."""
        return self._table("trials")

    @cached_property
    def high_order(self) -> DataFrame:
        """A row for each group of like attempts to get a block."""
        return self._table("high_order")

    @cached_property
    def oom(self) -> DataFrame:
        """A row for each OOM kill of each trial."""
        return self._table("oom")

    @cached_property
    def migration(self) -> DataFrame:
        """A row for each event that was to move pages of a workload."""
        return self._table("migration")

    @cached_property
    def hotplug(self) -> DataFrame:
        """A row for each memory block that was to be taken away, or brought back."""
        return self._table("hotplug")

    @cached_property
    def vmstat(self) -> DataFrame:
        """A row for each counter of each trial."""
        return self._table("vmstat")

    @cached_property
    def timeline(self) -> DataFrame:
        """A row for each zone at each sampled instant of each trial."""
        return self._table("timeline")

    @cached_property
    def map(self) -> DataFrame:
        """A row for each zone at each instant of the map of each trial that kept one."""
        return self._table("map")

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the scenario, as columns of every table."""
        return tuple(self.manifest["axes"])

    @property
    def failed(self) -> int:
        """How many trials failed."""
        return sum(trial["status"] == "failed" for trial in self.manifest["trials"])

    def trial_rows(self) -> list[dict[str, str]]:
        """Return the rows of the trials table: a number is text or, if there is none, empty."""
        return [dict(row) for row in self._trial_rows]

    @cached_property
    def _trial_rows(self) -> list[dict[str, str]]:
        """The rows, with policies and points as the manifest has them: without escapes."""
        content = self.content(TRIALS_TABLE)
        columns = self._columns("trials")
        trials = self.manifest["trials"]
        try:
            heads, *rows = [
                *csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
            ] or [[]]
            if heads != [csv_text(column.name) for column in columns]:
                raise ValueError("its columns are others")
            if any(len(row) != len(heads) for row in rows):
                raise ValueError("its rows are not of one length")
            keys = [_keys(trial) for trial in trials]
            if [row[: len(keys[0])] for row in rows] != keys:
                raise ValueError("its trials are others")
            for number, column in enumerate(columns):
                if column.dtype != "str":
                    _check_numbers([row[number] for row in rows if row[number]])
        except (ValueError, csv.Error) as error:
            message = f"does not go with {MANIFEST}: {error}"
            raise self._refusal(TRIALS_TABLE, message) from None
        names = [column.name for column in columns]
        named = [dict(zip(names, row, strict=True)) for row in rows]
        for row, trial in zip(named, trials, strict=True):
            row |= {"policy": trial["policy"], **trial["point"]}
        return named

    def _columns(self, name: TableName) -> tuple[Column, ...]:
        return declared(name, self.axes, self.metric_columns)

    def table_file(self, name: TableName) -> str:
        """Name the file of a table."""
        names: list[str] = [*self.manifest["files"]]
        return next(file for file in names if file.partition(".")[0] == name)

    def _table(self, name: TableName) -> DataFrame:
        import pandas
        import pyarrow

        file, columns = self.table_file(name), self._columns(name)
        content = io.BytesIO(self.content(file))
        names = [csv_text(column.name) for column in columns]
        try:
            if file.endswith(".parquet"):
                table = pandas.read_parquet(content)
            else:
                table = _csv_frame(content, dict(zip(names, columns, strict=True)))
            if list(table.columns) != names:
                raise ValueError("its columns are others")
        except (ValueError, OSError, LookupError, TypeError, ArithmeticError,
                pyarrow.ArrowException) as error:  # fmt: skip
            message = f"is no table of memsim's: {_first_line(error)}"
            raise self._refusal(file, message) from None
        return table

    def _refusal(self, name: str, message: str) -> InputError:
        return InputError([Problem(str(self.folder / name), 0, 0, message, AGAIN)])


def _csv_frame(content: io.BytesIO, columns: Mapping[str, Column]) -> DataFrame:
    """Read a CSV table; only an empty cell is blank, for a policy may be called NA."""
    import pandas

    kinds = {"int64": "Int64", "str": "str"}
    dtypes = {name: kinds[c.dtype] for name, c in columns.items() if c.dtype != "float64"}
    return pandas.read_csv(
        content,
        dtype=dtypes,
        # pandas's own reading of fractions may be one bit off.
        converters={name: _fraction for name in columns if name not in dtypes},
        na_values={name: [""] for name, dtype in dtypes.items() if dtype != "str"},
        keep_default_na=False,
    )


def _fraction(cell: str) -> float:
    return float(cell) if cell else math.nan


def _keys(trial: Mapping[str, Any]) -> list[str]:
    """Return the first cells of a trial's row: policy, point, seed, status."""
    at = [csv_text(text) for text in (trial["policy"], *trial["point"].values())]
    return [*at, str(trial["seed"]), trial["status"]]


def _check_numbers(cells: list[str]) -> None:
    if not all(map(math.isfinite, map(float, cells))):
        raise ValueError("a cell is no number")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def is_complete(folder: Path) -> bool:
    """Say whether a run's results are all there."""
    return (folder / MANIFEST).is_file()


def begin(folder: Path, scenario: Scenario) -> None:
    """Say in the folder of a run what is about to be simulated; ``save`` takes that away."""
    about = {
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario.name,
        "trials": [trial.name for trial in scenario.trials()],
    }
    refuse_links(folder.parents[1], folder)
    write_whole(folder / UNFINISHED, canonical_json(about).encode() + b"\n")


def save(
    folder: Path, scenario: Scenario, finished: tables.Finished, about: Mapping[str, Any]
) -> None:
    """Write the tables of a run, and the manifest at the end.

    ``about`` is what only the manifest says: times, and how the run was carried out.
    """
    files = files_of(scenario, finished)
    write_run(folder, files, make_manifest(scenario, finished, files, about))


def write_run(folder: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write the files of a run, the manifest last; raises InputError."""
    refuse_links(folder.parents[1], folder)
    described = json.dumps(manifest, indent=2).encode() + b"\n"
    write_all({folder / name: content for name, content in {**files, MANIFEST: described}.items()})
    with writing(folder / UNFINISHED):
        (folder / UNFINISHED).unlink(missing_ok=True)


def files_of(scenario: Scenario, finished: tables.Finished) -> dict[str, bytes]:
    """Return what is written of a run by file name, the manifest aside.

    The large tables of a sweep, a scenario with axes, are Parquet, all others CSV.
    """
    files = {
        **scenario_files(scenario),
        TRIALS_TABLE: tables.trials_table(finished).to_csv(),
        "timeline.parquet": tables.timeline_table(finished).to_parquet(),
        "map.parquet": tables.map_table(finished).to_parquet(),
    }
    makers = {
        "high_order": tables.high_order_table,
        "oom": tables.oom_table,
        "migration": tables.migration_table,
        "hotplug": tables.hotplug_table,
        "vmstat": tables.vmstat_table,
    }
    for name in LARGE_TABLES:
        table = makers[name](finished)
        if scenario.axes:
            files[f"{name}.parquet"] = table.to_parquet()
        else:
            files[f"{name}.csv"] = table.to_csv()
    return files


def scenario_files(scenario: Scenario) -> dict[str, bytes]:
    """Return the scenario as it was written, and as it was understood."""
    # Not sorted: policies and axes have an order.
    written = json.dumps(scenario.written, separators=(",", ":"))
    return {
        SOURCE: (scenario.source or written).encode(),
        WRITTEN: written.encode() + b"\n",
    }


def open_run(folder: Path | str) -> Run:
    """Open the results of a run, whose tables are not looked at; raises InputError."""
    run = Run(Path(folder))
    place = Path(os.path.abspath(run.folder))
    refuse_links(place.parents[min(1, len(place.parents) - 1)], place)
    _ = run.manifest
    return run


def read_results(folder: Path | str) -> Run:
    """Read the results of a run from its folder; raises InputError if they are not all there."""
    run = open_run(folder)
    run.trial_rows()
    return run
