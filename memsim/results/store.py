"""Where results lie: the folder of a run, and finished trials kept one by one for all runs.

Files appear whole or not at all. A trial is kept under its name, which is a hash of all that
decides its outcome, so any run may take it, and two runners may write it at once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from memsim.errors import InputError, Problem
from memsim.scenario import Scenario, Trial
from memsim.scenario.content import canonical_json
from memsim.simulate import TrialResult

SCHEMA_VERSION = 5
"""Of manifests, tables and kept trials: what another version wrote is not read."""
MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
"""Stands in the folder of a run from its beginning to its end."""
TRIALS = ".trials"
RUN_DIGITS = 8


def run_folder(root: Path, scenario: Scenario) -> Path:
    """Say where a scenario's results lie: ``<root>/<scenario>/<hash of all that decides them>``."""
    return root / scenario.name / scenario.content_hash[:RUN_DIGITS]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that others see complete or not at all; raises InputError if that fails."""
    write_all({path: content})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write files in this order; raises InputError if that fails.

    Others see each complete or not at all. Where there is no room for all, all stay as they were.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            drafts[path] = _draft_of(path)
            with writing(path):
                _write_draft(drafts[path], content)
        for path, draft in drafts.items():
            with writing(path):
                draft.replace(path)
    except BaseException:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink()
        raise


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write text as it comes; the file appears whole or not at all, InputError if that fails."""
    draft = _draft_of(path)
    try:
        with writing(path):
            file = draft.open("w", encoding="utf-8")
        with file:
            for piece in pieces:
                with writing(path):
                    file.write(piece)
        with writing(path):
            draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def _write_draft(draft: Path, content: bytes) -> None:
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.write_bytes(content)
    except FileNotFoundError:
        # Another process removes runs, and took the folder while it was empty.
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)


def read_whole(path: Path, hint: str = "") -> bytes:
    """Read a file of results; raises InputError if that fails."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {reason}", hint)]) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses into an InputError that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError([Problem(str(path), 0, 0, f"cannot be written: {reason}")]) from None


def check_place(folder: Path) -> None:
    """Raise InputError if nothing can be written below a folder, which need not exist yet."""
    with writing(folder):
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        if not nearest.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


class Kept(NamedTuple):
    """A trial that was carried out."""

    result: TrialResult
    seconds: float
    """Wall time that it took, on whatever computer that was."""


class TrialStore:
    """The trials that were carried out, of all runs below one folder of results."""

    def __init__(self, root: Path) -> None:
        self.folder = root / TRIALS

    def path(self, name: str) -> Path:
        """Say where the trial of a name is kept."""
        return self.folder / name[:2] / f"{name}.json"

    def get(self, trial: Trial) -> Kept | None:
        """Return a trial that was kept, None if there is none that can be read."""
        return self.named(trial.name)

    def named(self, name: str) -> Kept | None:
        """Return the trial of a name as ``get`` does."""
        try:
            return _kept().validate_json(_unsealed(self.path(name).read_bytes()))
        except (OSError, ValueError, ValidationError):
            return None

    def put(self, trial: Trial, kept: Kept) -> None:
        """Keep a trial."""
        data = {"result": asdict(kept.result), "seconds": round(kept.seconds, 6)}
        write_whole(self.path(trial.name), _sealed(canonical_json(data).encode()))


@cache
def _kept() -> TypeAdapter[Kept]:
    return TypeAdapter(Kept)


def _sealed(content: bytes) -> bytes:
    """Put version and digest in front of a record, so that a changed one is found."""
    head = {"schema_version": SCHEMA_VERSION, "sha256": hashlib.sha256(content).hexdigest()}
    return canonical_json(head).encode() + b"\n" + content


def _unsealed(sealed: bytes) -> bytes:
    head, _, content = sealed.partition(b"\n")
    data: dict[str, Any] = json.loads(head)
    wanted = {"schema_version": SCHEMA_VERSION, "sha256": hashlib.sha256(content).hexdigest()}
    if data != wanted:
        raise ValueError("the record was changed, or another version wrote it")
    return content
