"""Which runs lie below a folder of results, and what a user may call them.

A folder of results is read and written below itself only: symbolic links that lead out of it are
refused. The folder itself may be a link, for the user has named it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from memsim.errors import InputError, Problem, suggest
from memsim.results.store import MANIFEST, TRIALS, UNFINISHED


class RunPlace(NamedTuple):
    """A folder that has, or was to have, the results of a run."""

    folder: Path
    complete: bool
    """Its manifest, which is written last, is there."""

    @property
    def name(self) -> str:
        """The scenario and the run, as ``find_run`` takes them."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def refuse_links(root: Path, folder: Path) -> None:
    """Raise InputError for a symbolic link that leads out of a folder of results.

    Looked at are the folder of a run, which need not exist, all on the way to it, its files, and
    the trials that are kept for all runs.
    """
    folder, base = Path(os.path.abspath(folder)), Path(os.path.abspath(root))
    above = [place for place in folder.parents if base in place.parents]
    for place in (*above, folder, *_entries(folder), root / TRIALS, *_entries(root / TRIALS)):
        refuse_link(root, place)


def refuse_link(root: Path, place: Path) -> None:
    """Raise InputError if a place is a symbolic link that leads out of a folder of results."""
    if not os.path.islink(place):
        return
    real, target = os.path.realpath(root), os.path.realpath(place)
    if os.path.commonpath([real, target]) != real:
        hint = f"give the folder that it leads to, or remove the link: {target}"
        message = f"is a symbolic link out of {root}"
        raise InputError([Problem(str(place), 0, 0, message, hint)])


def runs_below(root: Path) -> list[RunPlace]:
    """Return all runs below a folder of results, complete or begun, by scenario and run.

    Raises InputError if the folder is there but cannot be read.
    """
    try:
        folders = [
            run
            for scenario in sorted(root.iterdir())
            if os.path.isdir(scenario) and not scenario.name.startswith(".")
            for run in _entries(scenario)
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError([Problem(str(root), 0, 0, message)]) from None
    return [place for folder in folders for place in _place(folder)]


def find_run(text: str, root: Path) -> Path:
    """Return the folder of the run that a user means; raises InputError.

    ``text`` is the folder of a run, or a folder of runs, or of the runs below ``root`` one of:
    ``scenario/run``, ``scenario`` for its newest complete run, or the beginning of a run's name.
    """
    folder = Path(text)
    if text and os.path.isdir(folder):
        if _place(folder):
            return folder
        within = [place for run in _entries(folder) for place in _place(run)]
        if within:
            return _newest(within)
    places = runs_below(root)
    scenario, slash, run = text.rstrip("/").rpartition("/")
    if slash:
        places = [place for place in places if place.folder.parent.name == scenario]
    else:
        of_scenario = [place for place in places if place.folder.parent.name == run]
        if of_scenario:
            return _newest(of_scenario)
    found = [p for p in places if p.folder.name == run] or [
        p for p in places if run and p.folder.name.startswith(run)
    ]
    if len(found) == 1:
        return found[0].folder
    if found:
        hint = f"it may be {' or '.join(place.name for place in found[:8])}"
        raise InputError([Problem(text, 0, 0, f"is more than one run below {root}", hint)])
    known = {place.name for place in places}
    if not (slash and known):
        known = {name for p in runs_below(root) for name in (p.name, p.folder.parent.name)}
    hint = suggest(text, known) if known else "memsim run writes runs; --out says where they lie"
    raise InputError([Problem(text, 0, 0, f"there is no such run below {root}", hint)])


def _newest(places: list[RunPlace]) -> Path:
    """Take the complete run that was written last; one that is not complete only if all are so."""
    complete = [place for place in places if place.complete] or places
    return max(complete, key=lambda place: (_written(place.folder), place.folder.name)).folder


def _written(folder: Path) -> int:
    try:
        return (folder / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0


def _place(folder: Path) -> list[RunPlace]:
    """Say what a folder is: one run, or none."""
    complete = os.path.isfile(folder / MANIFEST)
    begun = complete or os.path.isfile(folder / UNFINISHED)
    return [RunPlace(folder, complete)] if begun else []


def _entries(folder: Path) -> list[Path]:
    """List what is in a folder, if it is one that can be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
