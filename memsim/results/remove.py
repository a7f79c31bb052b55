"""Take runs away, with the trials that no other run needs, and what is of no use any more.

Only files that memsim writes are removed, and of links the link, not what it leads to.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from memsim.errors import InputError, Problem
from memsim.results.listing import begun, files_of
from memsim.results.manifest import SOURCE, WRITTEN, read_manifest
from memsim.results.places import RunPlace, refuse_link, refuse_links, runs_below
from memsim.results.store import MANIFEST, SCHEMA_VERSION, TRIALS, UNFINISHED, TrialStore
from memsim.results.tables import TABLES

TABLE_FILES = {f"{name}.{end}" for name in TABLES for end in ("csv", "parquet")}
FILES = {SOURCE, WRITTEN, *TABLE_FILES}
MARKS = (UNFINISHED, MANIFEST)
"""Without these a folder is no run: they go last."""
TRIALS_OF_VERSION_1 = "trials"
RECORD = re.compile(r"[0-9a-f]{64}\.json")
DRAFT = re.compile(r"\..+\.[0-9]+\.[0-9a-f]{8}")
"""A file that is being written, or was when its writer was killed."""
DRAFT_SECONDS = 3600


@dataclass(frozen=True)
class Removal:
    """What goes."""

    runs: tuple[Path, ...]
    trials: tuple[Path, ...]
    """Kept trials."""
    files: tuple[Path, ...]
    """Other files, of the runs and stale ones."""
    notes: tuple[str, ...] = ()
    """What stays, though it might have been meant."""

    @property
    def bytes(self) -> int:
        """The size of all that goes."""
        return sum(_size(path) for path in (*self.trials, *self.files))


def plan_removal(root: Path, folders: Sequence[Path]) -> Removal:
    """Say what goes with runs; raises InputError for a folder that is no run below ``root``."""
    places = {os.path.abspath(place.folder): place for place in runs_below(root)}
    wanted = dict.fromkeys(os.path.abspath(folder) for folder in folders)
    problems = [
        Problem(path, 0, 0, f"is no run below {root}", "--out says where the results are")
        for path in wanted
        if path not in places
    ]
    if problems:
        raise InputError(problems)
    refuse_links(root, root / TRIALS)
    going = [places[path] for path in wanted]
    for place in going:
        refuse_link(root, place.folder.parent)
    staying = [place for path, place in places.items() if path not in wanted]
    trials, notes = _trials_of(root, going, staying)
    files: list[Path] = []
    for place in going:
        if place.folder.is_symlink():
            files.append(place.folder)
            continue
        own = list(_own_files(place.folder))
        files += own
        others = {Path(entry) for entry in files_of(place.folder)} - {*own}
        notes += [f"{path} stays: memsim did not write it" for path in sorted(others)]
    runs = tuple(place.folder for place in going)
    return Removal(runs, tuple(trials), tuple(files), tuple(notes))


def _own_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a run that memsim writes, those that make it a run last."""
    for entry in files_of(folder):
        if entry.name in FILES or DRAFT.fullmatch(entry.name):
            yield Path(entry)
    for entry in files_of(folder / TRIALS_OF_VERSION_1):
        if RECORD.fullmatch(entry.name):
            yield Path(entry)
    yield from (folder / name for name in MARKS if os.path.lexists(folder / name))


def _trials_of(
    root: Path, going: Sequence[RunPlace], staying: Sequence[RunPlace]
) -> tuple[list[Path], list[str]]:
    """Return the kept trials that only these runs name, and why all stay if they do."""
    offered: set[str] = set()
    for place in going:
        with suppress(InputError):
            offered |= _names(root, place)
    try:
        needed = {name for place in staying for name in _names(root, place)}
    except InputError as error:
        problem = error.problems[0]
        return [], [f"all kept trials stay: {problem.path}: {problem.message}"]
    paths = [TrialStore(root).path(name) for name in sorted(offered - needed)]
    return [path for path in paths if path.is_file()], []


def _names(root: Path, place: RunPlace) -> set[str]:
    """Name the trials of a run; raises InputError if it does not say which it has."""
    if place.folder.is_symlink():
        return set()
    refuse_links(root, place.folder)
    mark = MANIFEST if place.complete else UNFINISHED
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        if json.loads((place.folder / mark).read_bytes())["schema_version"] != SCHEMA_VERSION:
            # It has none here that this memsim would read.
            return set()
    if place.complete:
        return {trial["name"] for trial in read_manifest(place.folder)["trials"]}
    return set(begun(place.folder))


def plan_stale(root: Path) -> Removal:
    """Say what no memsim of this version reads: forgotten drafts, kept trials of other versions."""
    refuse_links(root, root / TRIALS)
    stores = _folders(root / TRIALS)
    folders = [*stores, *(run for scenario in _folders(root) for run in _folders(scenario))]
    old = time.time() - DRAFT_SECONDS
    drafts = [
        Path(entry)
        for folder in folders
        for entry in files_of(folder)
        if DRAFT.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < old
    ]
    records = [
        Path(entry)
        for store in stores
        for entry in files_of(store)
        if RECORD.fullmatch(entry.name) and not _is_of_today(Path(entry))
    ]
    return Removal((), tuple(records), tuple(drafts))


def _folders(folder: Path) -> list[Path]:
    """List the folders in a folder, links to folders aside."""
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return []


def _is_of_today(record: Path) -> bool:
    try:
        with record.open("rb") as file:
            head = json.loads(file.readline(1000))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(head, dict) and head.get("schema_version") == SCHEMA_VERSION


def remove(removal: Removal) -> None:
    """Take away what was planned; raises InputError if that fails.

    What is gone already is no error.
    """
    for path in (*removal.trials, *removal.files):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            message = f"cannot be removed: {error.strerror}"
            raise InputError([Problem(str(path), 0, 0, message)]) from None
    for path in removal.trials:
        _remove_empty(path.parent)
    for run in removal.runs:
        _remove_empty(run / TRIALS_OF_VERSION_1)
        _remove_empty(run)
        _remove_empty(run.parent)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
