"""The folder of a run: files appear whole or not at all, finished trials are kept one by one."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memsim.errors import InputError, Problem
from memsim.scenario import Scenario, Trial
from memsim.scenario.content import canonical_json
from memsim.simulate import Sample, TrialResult
from memsim.simulate.probes import ProbeTally

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RUN_DIGITS = 8


def run_folder(root: Path, scenario: Scenario) -> Path:
    """Say where a scenario's results lie: ``<root>/<scenario>/<hash of all that decides them>``."""
    return root / scenario.name / scenario.content_hash[:RUN_DIGITS]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that others see complete or not at all; raises InputError if that fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError([Problem(str(path), 0, 0, f"cannot be written: {reason}")]) from None


def check_place(folder: Path) -> None:
    """Raise InputError if nothing can be written below a folder, which need not exist yet."""
    with _writing(folder):
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        if not nearest.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


class TrialStore:
    """The finished trials of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trials"

    def _path(self, trial: Trial) -> Path:
        return self.folder / f"{trial.name}.json"

    def get(self, trial: Trial) -> TrialResult | None:
        """Return the result of a finished trial, None if there is none that can be read."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            data = json.loads(self._path(trial).read_bytes())
            if data.pop("schema_version") == SCHEMA_VERSION:
                return _result(data)
        return None

    def put(self, trial: Trial, result: TrialResult) -> None:
        """Keep the result of a finished trial."""
        data = {"schema_version": SCHEMA_VERSION, **asdict(result)}
        write_whole(self._path(trial), canonical_json(data).encode())


def _result(data: dict[str, Any]) -> TrialResult:
    return TrialResult(
        status=data["status"],
        error=data["error"],
        metrics=data["metrics"],
        counters=tuple((zone, name, value) for zone, name, value in data["counters"]),
        high_order=tuple(
            ProbeTally._make([*rest, tuple(why_not)]) for *rest, why_not in data["high_order"]
        ),
        timeline=tuple(Sample(*row) for row in data["timeline"]),
        notes=tuple(data["notes"]),
    )
