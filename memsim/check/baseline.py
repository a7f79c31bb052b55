"""A baseline: tables as a run writes them, in CSV, with what they are of. No times, no host.

``baseline.json`` stands beside ``trials.csv``, ``high_order.csv``, ``vmstat.csv``,
``scenario.json`` and ``scenario.yaml``; one folder of baselines has one for each scenario, under
the scenario's name.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from memsim.check.record import AGAIN, Record, record_of, refuse, refuse_other_trials, scenario_of
from memsim.check.tables import LAYOUTS, read_bytes, read_table
from memsim.check.tolerance import parse_rules, refuse_unknown
from memsim.errors import InputError, Problem, suggest
from memsim.results import read_results
from memsim.results.manifest import WRITTEN
from memsim.results.places import refuse_links
from memsim.results.store import MANIFEST
from memsim.schema import Column
from memsim.units import describe

BASELINE = "baseline.json"
VERSION = 1
"""Of baselines: what another version wrote is not read."""
MAX_ABOUT = 4 << 20
MAKES_ONE = "memsim check SCENARIO --baseline PATH --update makes one"
OLD = ".old"
"""Ends the name under which a baseline waits while a new one takes its place."""


class Declared(BaseModel):
    """A metric, as it was declared."""

    model_config = ConfigDict(extra="forbid", strict=True)

    unit: str
    better: Literal["higher", "lower", "neither"]
    tolerance: float
    dtype: Literal["int64", "float64", "str"]


class About(BaseModel):
    """What ``baseline.json`` says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int
    memsim: str
    numpy: str
    scenario: str
    target: str
    """What to simulate: the name of a shipped scenario, or a file relative to the baseline."""
    text_hash: str
    engine: dict[str, str]
    inputs: dict[str, str]
    policies: list[str]
    axes: list[str]
    seeds: list[int]
    overrides: list[str]
    tolerances: list[str]
    columns: dict[str, Declared]


def about_of(record: Record) -> bytes:
    """Write ``baseline.json`` of a record."""
    declared = {
        name: Declared.model_validate(
            {key: value for key, value in asdict(column).items() if key not in ("name", "doc")}
        )
        for name, column in record.columns.items()
    }
    scenario = record.scenario
    about = About(
        version=VERSION,
        memsim=record.memsim,
        numpy=record.numpy,
        scenario=scenario.name,
        target=record.target,
        text_hash=scenario.text_hash,
        engine=dict(record.engine),
        inputs=dict(scenario.inputs),
        policies=list(scenario.policies),
        axes=list(scenario.axes),
        seeds=list(scenario.seeds),
        overrides=list(record.overrides),
        tolerances=list(record.tolerances),
        columns=declared,
    )
    return json.dumps(about.model_dump(), indent=2).encode() + b"\n"


def read_baseline(folder: Path) -> Record:
    """Read a baseline, or a run in its place; raises InputError in one line for any damage."""
    refuse_links(folder, folder)
    if not (folder / BASELINE).is_file() and (folder / MANIFEST).is_file():
        return record_of(read_results(folder))
    path = folder / BASELINE
    about = read_about(folder)
    written = _json(folder / WRITTEN)
    scenario = scenario_of(folder / WRITTEN, written, about.inputs)
    says = (about.text_hash, about.scenario, about.policies, about.axes, about.seeds)
    lists = list(scenario.policies), list(scenario.axes), list(scenario.seeds)
    if says != (scenario.text_hash, scenario.name, *lists):
        refuse(path, f"is not about the scenario in {WRITTEN}", AGAIN)
    columns = {
        name: Column(name, doc="", **declared.model_dump())
        for name, declared in about.columns.items()
    }
    tables = {}
    for name in LAYOUTS:
        file = folder / f"{name}.csv"
        tables[name] = read_table(name, file, read_bytes(file), scenario.axes, columns)
    refuse_other_trials(tables["trials"], scenario)
    record = Record(
        folder=folder,
        about=path,
        scenario=scenario,
        memsim=about.memsim,
        numpy=about.numpy,
        engine=about.engine,
        columns=columns,
        tables=tables,
        overrides=tuple(about.overrides),
        tolerances=tuple(about.tolerances),
        target=about.target,
    )
    refuse_unknown(parse_rules(about.tolerances, str(path)), record.figures, str(path))
    return record


def read_about(folder: Path) -> About:
    """Read ``baseline.json``; raises InputError."""
    path = folder / BASELINE
    data = _json(path)
    found = data.get("version") if isinstance(data, dict) else None
    if type(found) is not int or found != VERSION:
        newer = isinstance(found, int) and found > VERSION
        message = f"expected a baseline of version {VERSION}, found {describe(found)}"
        refuse(path, message, "update memsim" if newer else AGAIN)
    try:
        return About.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        refuse(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", AGAIN)


def _json(path: Path) -> object:
    try:
        return json.loads(read_bytes(path, MAX_ABOUT))
    except (ValueError, RecursionError) as error:
        refuse(path, f"is no JSON: {str(error)[:200]}", AGAIN)


def baselines_in(place: Path) -> dict[str, Path]:
    """Return the baselines that a path offers, by scenario; under "" itself, if it is one."""
    settle(place)
    if (place / BASELINE).is_file() or (place / MANIFEST).is_file():
        return {"": place}
    try:
        names = sorted(p.name for p in place.iterdir())
    except OSError as error:
        refuse(place, f"no baseline can be read here: {error.strerror}", MAKES_ONE)
    lost = [name[1 : -len(OLD)] for name in names if name[:1] == "." and name.endswith(OLD)]
    for name in lost:
        settle(place / name)
    return {name: place / name for name in sorted({*names, *lost}) if _is_one(place / name)}


def _is_one(folder: Path) -> bool:
    return folder.name[:1] != "." and (folder / BASELINE).is_file()


def baseline_for(scenario: str, place: Path) -> Path:
    """Return the folder of a scenario's baseline; raises InputError if there is none."""
    found = baselines_in(place)
    folder = found.get("", found.get(scenario))
    if folder is None:
        message = f"there is no baseline of {describe(scenario)}"
        hint = (
            suggest(scenario, found) if found else f"{MAKES_ONE}; a run is given by its own folder"
        )
        raise InputError([Problem(str(place), 0, 0, message, hint)])
    refuse_links(place, folder)
    return folder


def settle(folder: Path) -> None:
    """Put the old baseline back if an update was killed just before it put the new one there."""
    if not folder.exists() and beside(folder, OLD).is_dir():
        beside(folder, OLD).rename(folder)


def beside(folder: Path, ending: str) -> Path:
    """Name a hidden folder beside a baseline."""
    place = Path(os.path.abspath(folder))
    return place.with_name(f".{place.name}{ending}")
