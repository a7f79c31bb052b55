"""What earlier runs of a scenario have left, and what has changed since."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from memsim.errors import InputError
from memsim.results.manifest import read_manifest
from memsim.results.store import MANIFEST
from memsim.scenario import Trial

Key = tuple[str, tuple[tuple[str, str], ...], int]
"""Policy, axis point and seed: what makes two trials the same for a user."""
_NAME = re.compile("[0-9a-f]{64}")


class EarlierTrial(NamedTuple):
    """A trial as the manifest of its run describes it."""

    folder: Path
    name: str
    parts: Mapping[str, str]
    """Beginnings of the digests of what decided its outcome."""


@dataclass(frozen=True)
class History:
    """The complete runs of one scenario; those that cannot be read are passed over."""

    folder: Path
    """Of all runs of the scenario."""

    def newest(self, trial: Trial) -> EarlierTrial | None:
        """Return what the newest run with this policy, point and seed says of it."""
        return next((run[_key(trial)] for run in self._runs if _key(trial) in run), None)

    def beside(self, trial: Trial) -> Iterator[str]:
        """Yield the names of all trials of the same policy and point."""
        yield from dict.fromkeys(
            earlier.name
            for run in self._runs
            for key, earlier in run.items()
            if key[:2] == _key(trial)[:2]
        )

    @cached_property
    def _runs(self) -> list[dict[Key, EarlierTrial]]:
        """The trials of each run, newest run first."""
        found = sorted(self.folder.glob(f"*/{MANIFEST}"), key=_written, reverse=True)
        return [_trials(path.parent) for path in found]


def changed(trial: Trial, earlier: EarlierTrial) -> list[str]:
    """Name what decides a trial's outcome and is not as it was."""
    names = {"policy": f"policy {trial.policy}", "axis point": "its axis point"}
    return [
        names.get(part, part)
        for part, digest in trial.parts.items()
        if not digest.startswith(earlier.parts.get(part) or "-")
    ]


def _key(trial: Trial) -> Key:
    return trial.policy, trial.point, trial.seed


def _written(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, str(path)
    except OSError:
        return 0, str(path)


def _trials(folder: Path) -> dict[Key, EarlierTrial]:
    try:
        return dict(_trial(folder, row) for row in read_manifest(folder)["trials"])
    except (InputError, LookupError, TypeError, ValueError, AttributeError):
        return {}


def _trial(folder: Path, row: Mapping[str, Any]) -> tuple[Key, EarlierTrial]:
    key = str(row["policy"]), tuple(row["point"].items()), int(row["seed"])
    name = row["name"]
    if not _NAME.fullmatch(name):
        raise ValueError("no name of a trial")
    parts = {str(part): str(digest) for part, digest in row["parts"].items()}
    return key, EarlierTrial(folder, name, parts)
