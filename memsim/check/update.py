"""Write a baseline: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from memsim.check.baseline import BASELINE, OLD, about_of, beside, read_baseline, settle
from memsim.check.differences import compare
from memsim.check.findings import Outcome
from memsim.check.record import Record, refuse
from memsim.check.tolerance import merged, parse_rules, refuse_unknown
from memsim.results import scenario_files
from memsim.results.places import refuse_links
from memsim.results.store import MANIFEST, check_place, write_all
from memsim.results.tables import csv_bytes


def place_of(scenario: str, place: Path) -> Path:
    """Say where a scenario's baseline is, or is to be.

    A path that ends in the scenario's name is the baseline itself, unless it has one of that
    scenario in it; any other is a folder of baselines.
    """
    if (place / MANIFEST).is_file():
        refuse(place, "is a run, and runs are not rewritten", "give a folder for baselines")
    inside = place / scenario
    settle(place)
    settle(inside)
    itself = (place / BASELINE).is_file() or place.name == scenario
    folder = place if itself and not (inside / BASELINE).is_file() else inside
    refuse_links(place, folder)
    return folder


class Updated(NamedTuple):
    """What became of a baseline."""

    written: bool
    outcome: Outcome | None
    """The difference, whatever the tolerances; None if there was no baseline."""


def update(folder: Path, now: Record, tolerances: tuple[str, ...]) -> Updated:
    """Make what a run says the baseline, with these tolerances besides those it has.

    Where it is the same already, nothing is written. Raises InputError.
    """
    check_place(folder)
    old = read_baseline(folder) if folder.exists() else None
    rules = merged(old.tolerances if old else (), tolerances)
    refuse_unknown(parse_rules(rules, "--tolerance"), now.figures, "--tolerance")
    new = replace(now, tolerances=tuple(rules))
    if old is None:
        _write(folder, new)
        return Updated(True, None)
    outcome = compare(old, new, parse_rules(["* = exact"], ""))
    others = (old.tolerances, old.target) != (new.tolerances, new.target)
    if outcome.findings or others:
        _write(folder, new)
    return Updated(bool(outcome.findings) or others, outcome)


def _write(folder: Path, record: Record) -> None:
    folder = Path(os.path.abspath(folder))
    new, old = beside(folder, ".new"), beside(folder, OLD)
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)
    try:
        write_all({new / name: content for name, content in _files(record).items()})
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException as error:
        settle(folder)
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, OSError):
            refuse(folder, f"cannot be written: {error.strerror}")
        raise
    shutil.rmtree(old, ignore_errors=True)


def _files(record: Record) -> dict[str, bytes]:
    """Write a record as the run did, its large tables as CSV; what is text in it is escaped."""
    files = {BASELINE: about_of(record), **scenario_files(record.scenario)}
    for name, table in record.tables.items():
        rows = (row.cells.values() for row in table.rows.values())
        files[f"{name}.csv"] = csv_bytes([table.columns, *rows])
    return files
