"""The manifest of a run: what it is made of, and the only place for times and host."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from memsim import __version__, plugins
from memsim.errors import InputError, Problem
from memsim.results.store import MANIFEST, SCHEMA_VERSION, UNFINISHED, read_whole
from memsim.results.tables import Finished
from memsim.scenario import Scenario, engine_digest
from memsim.scenario.content import sources_digest

AGAIN = "memsim run --force writes it again"
WRITTEN, SOURCE, TRIALS_TABLE = "scenario.json", "scenario.yaml", "trials.csv"
"""The scenario as it was understood, with machine file and overrides; and as it was written."""
LARGE_TABLES = ("high_order", "oom", "migration", "hotplug", "vmstat")
"""Parquet in a sweep, a scenario with axes; else CSV."""
LIBRARIES = ("numba", "numpy", "pyarrow", "pydantic", "scipy")


def make_manifest(
    scenario: Scenario, finished: Finished, files: Mapping[str, bytes], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a run whose ``files`` are written; ``about`` is how it was carried out."""
    kinds = sorted({spec.kind for spec in scenario.workloads.values()})
    return {
        **made_here(),
        "scenario": scenario.name,
        "title": scenario.title,
        "content_hash": scenario.content_hash,
        "text_hash": scenario.text_hash,
        "simulator": sources_digest("", tuple(kinds)),
        "engine": {name: engine_digest(scenario, name) for name in scenario.policies},
        "directory": str(Path(scenario.directory).resolve()),
        "overrides": list(scenario.overrides),
        "inputs": dict(scenario.inputs),
        "plugins": [plugin._asdict() for plugin in scenario.plugins],
        "policies": list(scenario.policies),
        "profiles": sorted({trial.profile for trial, _ in finished}),
        "axes": list(scenario.axes),
        "seeds": list(scenario.seeds),
        "columns": {name: asdict(column) for name, column in plugins.metric_columns().items()},
        "files": digests(files),
        "trials": [
            {
                "name": trial.name,
                "policy": trial.policy,
                "point": dict(trial.point),
                "seed": trial.seed,
                "status": result.status,
                "parts": {part: digest[:16] for part, digest in trial.parts.items()},
            }
            for trial, result in finished
        ],
        "notes": list(dict.fromkeys(note for _, result in finished for note in result.notes)),
        **about,
    }


def made_here() -> dict[str, Any]:
    """Say which memsim, on which computer, writes a manifest."""
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
    }


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run; raises InputError for one that is not there or no good."""
    path = folder / MANIFEST
    if not path.exists():
        hint = "give the folder of one run, results/<scenario>/<run>"
        if (folder / UNFINISHED).exists():
            raise _refusal(
                folder, "this run is not finished", "the same memsim run goes on with it"
            )
        raise _refusal(path, "there is no such file", hint)
    try:
        manifest = from_json(read_whole(path), allow_inf_nan=False)
    except ValueError as error:
        raise _refusal(path, f"is no JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise _refusal(path, "is no manifest of a run")
    check_version(path, manifest.get("schema_version"))
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise _refusal(path, f"{place}: {first['msg']}") from None
    fault = _inconsistency(manifest)
    if fault:
        raise _refusal(path, fault)
    return manifest


def _refusal(path: Path, message: str, hint: str = AGAIN) -> InputError:
    return InputError([Problem(str(path), 0, 0, message, hint)])


def check_version(path: Path, found: object) -> None:
    """Raise InputError if what ``path`` says it is of is not the version that memsim writes."""
    if type(found) is int and found == SCHEMA_VERSION:
        return
    message = f"expected results of version {SCHEMA_VERSION}, found "
    if type(found) is not int or found < 1:
        raise _refusal(path, message + "no version")
    message += f"version {found}" if found < 1_000_000 else "a later version"
    if found > SCHEMA_VERSION:
        raise _refusal(path, message, "update memsim: a later one wrote this")
    hint = "memsim run writes today's beside it, memsim results rm removes this"
    raise _refusal(path, message, hint)


def _inconsistency(manifest: Mapping[str, Any]) -> str:
    """Say what in a manifest does not belong together; empty if all does."""
    policies, axes = set(manifest["policies"]), manifest["axes"]
    seeds, trials = set(manifest["seeds"]), manifest["trials"]
    for number, trial in enumerate(trials):
        if trial["policy"] not in policies or trial["seed"] not in seeds:
            return f"trials.{number}: policy or seed is not one of the run"
        if list(trial["point"]) != axes:
            return f"trials.{number}: point: expected a value on each axis"
    for what, said in (("policy", policies), ("seed", seeds)):
        if not said <= {trial[what] for trial in (*trials, *manifest.get("missing", ()))}:
            return f"trials: expected some of each {what}"
    if len({trial["name"] for trial in trials}) != len(trials):
        return "trials: two have the same name"
    if set(manifest["engine"]) != policies:
        return "engine: expected a digest for each policy"
    if set(manifest["files"]) != file_names(axes):
        return "files: expected those of a run"
    return ""


def file_names(axes: Sequence[str]) -> set[str]:
    """Name the files of a run, the manifest aside."""
    end = "parquet" if axes else "csv"
    large = {f"{name}.{end}" for name in LARGE_TABLES}
    return {WRITTEN, SOURCE, TRIALS_TABLE, "timeline.parquet", "map.parquet", *large}


class _Shape(BaseModel):
    """What a part of a manifest must say."""

    model_config = ConfigDict(strict=True, extra="forbid")


_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Number = Annotated[int, Field(ge=0, lt=1 << 63)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Column(_Shape):
    name: str
    unit: str
    doc: str
    better: Literal["higher", "lower", "neither"]
    tolerance: _Amount
    dtype: Literal["int64", "float64", "str"]


class _Plugin(_Shape):
    folder: str
    name: str
    path: str
    sha256: _Digest


class _Missing(_Shape):
    policy: str
    point: dict[str, str]
    seed: _Number


class _Trial(_Missing):
    name: _Digest
    status: Literal["ok", "failed"]
    parts: dict[str, str]


class _Manifest(_Shape):
    # How a run was carried out may say more.
    model_config = ConfigDict(extra="allow")

    schema_version: int
    memsim: str
    python: str
    libraries: dict[str, str]
    host: dict[str, str | int | None]
    scenario: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
    title: str
    content_hash: _Digest
    text_hash: _Digest
    simulator: _Digest
    engine: dict[str, _Digest]
    directory: str
    overrides: list[str]
    inputs: dict[str, _Digest]
    plugins: list[_Plugin]
    policies: Annotated[list[str], Field(min_length=1)]
    profiles: list[str]
    axes: list[str]
    seeds: Annotated[list[_Number], Field(min_length=1)]
    columns: dict[str, _Column]
    files: dict[str, _Digest]
    trials: Annotated[list[_Trial], Field(min_length=1)]
    missing: list[_Missing] = []
    notes: list[str]
    started: str
    wall_time_s: _Amount
