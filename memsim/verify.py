"""Carry out a run again from its folder alone, and compare every byte of its tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memsim import __version__, plugins
from memsim.errors import InputError, Problem
from memsim.execute import How, Planned, Watcher, carry_out_all
from memsim.execute.runner import where
from memsim.execute.watch import Unwatched
from memsim.results import Run, files_of
from memsim.results.manifest import AGAIN, TRIALS_TABLE, digests
from memsim.results.store import MANIFEST, read_whole
from memsim.scenario import Scenario, Trial, engine_digest
from memsim.scenario.content import digest_path
from memsim.simulate import TrialResult

Rows = list[list[str]]
MOST_SHOWN = 20


@dataclass(frozen=True)
class Verified:
    """What became of a run that was carried out again."""

    trials: int
    files: int
    bytes: int
    count: int
    """How many differences were found."""
    differences: tuple[str, ...]
    """The first of them, a line each: what was, and what is."""


def changes(run: Run) -> list[str]:
    """Say what has changed since a run that might change its results, a sentence each."""
    manifest = run.manifest
    then = manifest["memsim"]
    digest = {policy: engine_digest(run.scenario, policy) for policy in run.scenario.policies}
    if digest == manifest["engine"]:
        return []
    return [
        f"memsim's sources, or numpy, have changed since this run (memsim {then} then, "
        f"{__version__} now): differences may come from there"
    ]


def trials_of(run: Run) -> list[Planned]:
    """Return the trials of a run, all of which are to be carried out.

    Raises InputError if an input file or a plug-in is not what it was.
    """
    problems = [*_plugin_problems(run), *_input_problems(run)]
    if problems:
        raise InputError(problems)
    offered = {_key(t.policy, dict(t.point), t.seed): t for t in run.scenario.trials()}
    wanted = [_key(t["policy"], t["point"], t["seed"]) for t in run.manifest["trials"]]
    if not set(wanted) <= set(offered):
        message = f"has trials that are not of the scenario of {run.folder}"
        raise InputError([Problem(str(run.folder / MANIFEST), 0, 0, message, AGAIN)])
    return [Planned(offered[key], None, "runs: memsim verify") for key in wanted]


def _key(policy: str, point: dict[str, str], seed: int) -> tuple[object, ...]:
    return policy, tuple(point.items()), seed


def _plugin_problems(run: Run) -> Iterator[Problem]:
    recorded = {(p["folder"], p["name"]): p for p in run.manifest["plugins"]}
    loaded = {(file.folder, file.name): file for file in plugins.loaded()}
    for key, plugin in recorded.items():
        path, digest = plugin["path"], plugin["sha256"]
        if key not in loaded:
            message = "this plug-in was in use, and is not now"
            yield Problem(path, 0, 0, message, f"give it: --plugin FILE (sha256 {digest})")
        elif loaded[key].sha256 != digest:
            message = "this plug-in has changed since the run"
            yield Problem(loaded[key].path, 0, 0, message, f"it had sha256 {digest}")
    for key, file in loaded.items():
        if key not in recorded:
            yield Problem(file.path, 0, 0, "this plug-in was not in use", "leave it out")


def _input_problems(run: Run) -> Iterator[Problem]:
    for name, digest in run.scenario.inputs:
        path = Path(run.scenario.directory, name)
        try:
            found = digest_path(path) if path.exists() else ""
        except OSError as error:
            yield Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")
            continue
        if found != digest:
            what = "has changed since the run" if found else "is gone"
            yield Problem(str(path), 0, 0, f"this input {what}", f"it had sha256 {digest}")


def verify(
    run: Run, *, how: How | None = None, fail_fast: bool = False, watcher: Watcher | None = None
) -> Verified:
    """Carry out all trials of a run again and compare; nothing is kept, the run is not touched.

    With ``fail_fast`` the first trial that fails although it had not ends it. Raises InputError if
    the run cannot be carried out from what its folder says.
    """
    watcher = watcher or Unwatched()
    planned = trials_of(run)
    watcher.planned(planned)
    statuses = [trial["status"] for trial in run.manifest["trials"]]
    had = {one.trial.name: status for one, status in zip(planned, statuses, strict=True)}
    results: dict[str, TrialResult] = {}
    refusals: list[InputError] = []
    trials = (one.trial for one in planned)
    with closing(carry_out_all(trials, how or How(), watcher)) as finished:
        for done in finished:
            results[done.trial.name] = done.result
            watcher.ends(done)
            if isinstance(done.error, InputError):
                refusals.append(done.error)
            if isinstance(done.error, plugins.PluginTimeout):
                raise done.error
            if fail_fast and done.result.status == "failed" != had[done.trial.name]:
                what = f"{TRIALS_TABLE}: {where(done.trial)}: fails now: {done.result.error}"
                return Verified(len(results), 0, 0, 1, (what,))
    if len(refusals) == len(planned):
        raise refusals[0]
    pairs = [(one.trial, results[one.trial.name]) for one in planned]
    return _compared(run, run.scenario, pairs)


def _compared(
    run: Run, scenario: Scenario, finished: Sequence[tuple[Trial, TrialResult]]
) -> Verified:
    again = files_of(scenario, finished)
    files, size, count = run.manifest["files"], 0, 0
    shown: list[str] = []
    for name in sorted(files):
        try:
            content = read_whole(run.folder / name)
            size += len(content)
            found = _file_differences(run, name, content, again[name])
        except InputError as error:
            found = iter([error.problems[0].message])
        for difference in found:
            count += 1
            if count <= MOST_SHOWN:
                shown.append(f"{name}: {difference}")
    return Verified(len(finished), len(files), size, count, tuple(shown))


def _file_differences(run: Run, name: str, was: bytes, now: bytes) -> Iterator[str]:
    """Yield what differs, a cell each; for what is no table, and for the same cells, one line."""
    recorded = run.manifest["files"][name]
    if digests({name: was})[name] != recorded:
        yield "was changed since memsim wrote it, or manifest.json was"
    if was == now:
        return
    try:
        before = _rows(name, was)
    except Exception as error:
        yield f"is no table: {str(error).partition(chr(10))[0][:200]}"
        return
    if before == (after := _rows(name, now)):
        then = run.manifest["libraries"].get("pyarrow", "unknown")
        yield f"other bytes, though all cells are the same (pyarrow {then} then)"
    yield from _row_differences(before, after, 2 + len(run.axes))


def _rows(name: str, content: bytes) -> Rows:
    """Read a table as text, its head first; raises whatever reading it raises."""
    if name.endswith(".csv"):
        return list(csv.reader(io.StringIO(content.decode(), newline="")))
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(content))
    columns: list[list[Any]] = [column.to_pylist() for column in table.columns]
    return [table.column_names, *(list(map(str, row)) for row in zip(*columns, strict=True))]


def _row_differences(was: Rows, now: Rows, keys: int) -> Iterator[str]:
    """Yield what differs between tables whose first columns, ``keys`` in number, name a trial."""
    (heads, *before), (new_heads, *after) = was or [[]], now
    if heads != new_heads:
        gone = [head for head in heads if head not in new_heads]
        new = [head for head in new_heads if head not in heads]
        yield f"columns: gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'}"
        return
    if len(before) != len(after):
        yield f"rows: was {len(before)}, is {len(after)}"
    for number, (old, fresh) in enumerate(zip(before, after, strict=False), 1):
        if len(old) != len(heads):
            yield f"row {number}: is broken"
        elif old != fresh:
            at = f"row {number} ({', '.join(fresh[:keys])})"
            for head, cell, other in zip(heads, old, fresh, strict=True):
                if cell != other:
                    yield f"{at}: {head}: was {cell or 'blank'}, is {other or 'blank'}"
