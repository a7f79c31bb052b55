"""Look whether the input files of a trial are still what its run began with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from memsim.errors import InputError, Problem
from memsim.scenario import Scenario
from memsim.scenario.content import digest_path

Stamp = tuple[str, int, int]
"""Path of a file, time of its last change, and size."""


def refuse_changed(scenario: Scenario, worker: str) -> None:
    """Raise InputError if an input file is gone or not what the scenario was loaded with.

    ``worker`` is who reads it, if that is not the runner itself.
    """
    problems = list(_problems(scenario, worker))
    if problems:
        raise InputError(problems)


def _problems(scenario: Scenario, worker: str) -> Iterator[Problem]:
    for written, digest in scenario.inputs:
        path = Path(scenario.directory, written)
        try:
            found = _digest(path, _stamps(path))
        except OSError as error:
            by = f" by worker {worker}" if worker else ""
            message = f"cannot be read ({error.strerror or error}){by}"
            hint = "the folder must be shared with the workers" if worker else ""
            yield Problem(str(path), 0, 0, message, hint)
            continue
        if found != digest:
            message = "is not what the run began with" + (
                f", for worker {worker}" if worker else ""
            )
            hint = "it was changed since the run began"
            hint += ", or the folder is not shared with the workers" if worker else ""
            yield Problem(str(path), 0, 0, message, hint)


def _stamps(path: Path) -> tuple[Stamp, ...]:
    """Return the stamp of a file, or those of all files of a folder."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return tuple((str(f), (at := f.stat()).st_mtime_ns, at.st_size) for f in files)


@lru_cache(maxsize=64)
def _digest(path: Path, stamps: tuple[Stamp, ...]) -> str:
    return digest_path(path)
