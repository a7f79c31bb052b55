"""What runs there are below a folder of results, and what state they are in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from memsim.errors import InputError, Problem
from memsim.results.manifest import check_version, read_manifest
from memsim.results.places import RunPlace, refuse_links, runs_below
from memsim.results.store import UNFINISHED, TrialStore, read_whole


class _Begun(BaseModel):
    """What the folder of a run says until the run is finished."""

    model_config = ConfigDict(strict=True)

    schema_version: int
    scenario: str
    trials: list[Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]]


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it; what is not known is empty."""

    place: RunPlace
    bytes: int
    """Of all its files."""
    damage: str = ""
    """Why it cannot be read."""
    when: str = ""
    trials: int = 0
    failed: int = 0
    kept: int = 0
    """Of the trials of an unfinished run, those that need not be carried out again."""
    missing: int = 0
    """Trials that a merged run has not."""
    seeds: tuple[int, ...] = ()
    policies: tuple[str, ...] = ()
    memsim: str = ""


def list_runs(root: Path, scenario: str = "") -> list[Listed]:
    """Describe the runs below a folder of results, of one scenario or of all."""
    places = [p for p in runs_below(root) if scenario in ("", p.folder.parent.name)]
    return [_listed(root, place) for place in places]


def _listed(root: Path, place: RunPlace) -> Listed:
    size = sum(entry.stat(follow_symlinks=False).st_size for entry in files_of(place.folder))
    try:
        refuse_links(root, place.folder)
        if place.complete:
            return _complete(place, size, read_manifest(place.folder))
        names = begun(place.folder)
    except InputError as error:
        return Listed(place, size, error.problems[0].message)
    store = TrialStore(root)
    kept = sum(store.path(name).is_file() for name in names)
    return Listed(place, size, trials=len(names), kept=kept)


def _complete(place: RunPlace, size: int, manifest: dict[str, Any]) -> Listed:
    missing = manifest.get("missing", ())
    return Listed(
        place,
        size,
        when=manifest["started"],
        trials=len(manifest["trials"]),
        failed=sum(trial["status"] == "failed" for trial in manifest["trials"]),
        missing=len(missing) if isinstance(missing, list) else 0,
        seeds=tuple(manifest["seeds"]),
        policies=tuple(manifest["policies"]),
        memsim=manifest["memsim"],
    )


def files_of(folder: Path) -> list[os.DirEntry[str]]:
    """List the files of a folder, links among them, by name; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def begun(folder: Path) -> list[str]:
    """Name the trials of a run that is not finished; raises InputError if it does not say."""
    path = folder / UNFINISHED
    try:
        found = _Begun.model_validate_json(read_whole(path))
    except ValidationError:
        message = "does not say which trials the run is to have"
        hint = "memsim run writes it again"
        raise InputError([Problem(str(path), 0, 0, message, hint)]) from None
    check_version(path, found.schema_version)
    return found.trials
