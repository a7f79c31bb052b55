"""What a check compares: all that a run or a baseline says, read and held to what it must be."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from memsim.check.tables import LAYOUTS, Key, Table, read_table
from memsim.errors import InputError, Problem
from memsim.results import Run
from memsim.results.store import MANIFEST
from memsim.results.tables import TableName, csv_text
from memsim.scenario import Scenario, as_text
from memsim.schema import Column

AGAIN = "memsim check --update writes a baseline anew once the old one is removed"


@dataclass(frozen=True)
class Record:
    """A run or a baseline in memory."""

    folder: Path
    about: Path
    """The file with versions and declarations."""
    scenario: Scenario
    memsim: str
    numpy: str
    engine: Mapping[str, str]
    """SHA-256 of what simulates each policy."""
    columns: Mapping[str, Column]
    """The metrics, as declared."""
    tables: Mapping[TableName, Table]
    overrides: tuple[str, ...]
    tolerances: tuple[str, ...] = ()
    """In the grammar of ``memsim.check.tolerance``."""
    target: str = ""
    """What to simulate, as it stands in the baseline; empty if it does not say."""

    @property
    def figures(self) -> set[str]:
        """The names of all figures, as tolerances address them."""
        names = set(self.tables["trials"].values)
        names |= {f"high_order:{name}" for name in self.tables["high_order"].values}
        counters = {row.cells["counter"] for row in self.tables["vmstat"].rows.values()}
        return names | {f"vmstat:{name}" for name in counters}

    def only(self, policies: Collection[str], seeds: Collection[int]) -> Record:
        """Keep these policies and seeds."""
        kept = tuple(name for name in self.scenario.policies if name in policies)
        chosen = tuple(seed for seed in self.scenario.seeds if seed in seeds)
        if not kept or not chosen:
            message = "has no trial of the chosen policies and seeds"
            raise InputError([Problem(str(self.folder), 0, 0, message)])
        scenario = self.scenario
        scenario = scenario if kept == tuple(scenario.policies) else scenario.only(kept)
        scenario = scenario if chosen == scenario.seeds else scenario.with_seeds(chosen)
        texts = {str(seed) for seed in chosen}
        tables = {
            name: replace(
                table,
                rows={
                    key: row
                    for key, row in table.rows.items()
                    if row.cells["policy"] in kept and row.cells["seed"] in texts
                },
            )
            for name, table in self.tables.items()
        }
        return replace(self, scenario=scenario, tables=tables)


def record_of(run: Run) -> Record:
    """Take what a run says; raises InputError if its files were changed."""
    manifest, scenario, columns = run.manifest, run.scenario, run.metric_columns
    tables = {}
    for name in LAYOUTS:
        file = run.table_file(name)
        content = run.content(file)
        tables[name] = read_table(name, run.folder / file, content, scenario.axes, columns)
    return Record(
        folder=run.folder,
        about=run.folder / MANIFEST,
        scenario=scenario,
        memsim=manifest["memsim"],
        numpy=manifest["libraries"].get("numpy", "?"),
        engine=manifest["engine"],
        columns=columns,
        tables=tables,
        overrides=tuple(manifest["overrides"]),
    )


def refuse_other_trials(trials: Table, scenario: Scenario) -> None:
    """Raise InputError if a table has not just the trials of its scenario."""
    strangers = trials.rows.keys() ^ _trials(scenario)
    if strangers:
        key = min(strangers)
        what = "lacks" if key not in trials.rows else "has, unlike scenario.json,"
        refuse(trials.path, f"{what} the trial {', '.join(key)}", AGAIN)


def _trials(scenario: Scenario) -> set[Key]:
    """The keys of the trials that a scenario expands to."""
    points = itertools.product(*([csv_text(as_text(v)) for v in a] for a in scenario.axes.values()))
    return {
        (csv_text(policy), *point, str(seed))
        for point in points
        for policy in scenario.policies
        for seed in scenario.seeds
    }


def scenario_of(path: Path, written: object, inputs: Mapping[str, str]) -> Scenario:
    """Read back a scenario that a baseline holds; raises InputError."""
    if not isinstance(written, dict):
        refuse(path, "is no scenario", AGAIN)
    try:
        return Scenario.from_written(written, ".", tuple(sorted(inputs.items())))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        refuse(path, f"is no scenario: {where}: {first['msg']}", AGAIN)


def refuse(path: Path, message: str, hint: str = "") -> NoReturn:
    """Raise InputError about a file."""
    raise InputError([Problem(str(path), 0, 0, message, hint)])
