"""What a check is of: runs and scenarios, and what each is held against."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memsim.check.baseline import (
    BASELINE,
    MAKES_ONE,
    baseline_for,
    baselines_in,
    read_about,
    read_baseline,
)
from memsim.check.record import Record, record_of, refuse
from memsim.check.update import place_of
from memsim.errors import InputError, Problem
from memsim.load import find_scenario, load_scenario, shipped_scenarios
from memsim.load.document import read_text, read_yaml
from memsim.results import read_results
from memsim.results.manifest import SOURCE
from memsim.results.places import find_run, refuse_links
from memsim.scenario import Scenario


@dataclass(frozen=True)
class Chosen:
    """What the command line says of the trials, instead of what baselines say."""

    policies: tuple[str, ...] = ()
    seeds: str | None = None
    sets: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.policies or self.seeds or self.sets)


@dataclass(frozen=True)
class Target:
    """One thing to check: a record of what is now, or a scenario that will make one."""

    folder: Path
    """Of its baseline, which need not exist if it is to be made."""
    base: Record | None
    now: Record | None
    """None before the scenario is carried out."""
    scenario: Scenario | None
    target: str
    """What a baseline says to simulate."""


def targets_of(
    texts: Sequence[str], place: Path, out: Path, chosen: Chosen, *, update: bool
) -> list[Target]:
    """Find out what to check; raises InputError with the problems of all.

    ``texts`` are runs and scenarios; without any, all baselines at ``place`` say what they are of.
    To ``update``, no baseline need be there.
    """
    targets, problems = [], []
    for text in texts or _all_targets(place):
        try:
            targets.append(_target(text, place, out, chosen, update=update))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return targets


def _all_targets(place: Path) -> list[str]:
    """Name the scenarios of all baselines; raises InputError with the problems of all."""
    found = baselines_in(place)
    if not found:
        refuse(place, "there is no baseline here", MAKES_ONE)
    texts, problems = [], []
    for name, folder in found.items():
        try:
            refuse_links(place, folder)
            texts.append(_target_of(name, folder))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return texts


def _target_of(name: str, folder: Path) -> str:
    """Say what to simulate for a baseline; without a name it may be of any scenario, or a run."""
    about = read_about(folder) if (folder / BASELINE).is_file() else None
    if about is None or not about.target:
        hint = "memsim check FILE --baseline PATH, with the file of the scenario"
        refuse(folder, "does not say which file its scenario is in", hint)
    if name not in ("", about.scenario):
        refuse(folder, f"is a baseline of {about.scenario}: its folder must be called so")
    shipped = about.target in shipped_scenarios()
    return about.target if shipped else os.path.normpath(folder / about.target)


def _target(text: str, place: Path, out: Path, chosen: Chosen, *, update: bool) -> Target:
    if text not in shipped_scenarios() and os.path.isdir(text):
        return _run_target(text, place, out, chosen, update=update)
    path = find_scenario(text)
    name = load_scenario(path).name
    folder, base = _baseline(name, place, update=update)
    scenario = _as_recorded(path, base, chosen)
    if base is not None and (chosen.policies or chosen.seeds) and not update:
        base = base.only(tuple(scenario.policies), scenario.seeds)
    known = base.target if base else ""
    return Target(folder, base, None, scenario, _target_text(text, folder) or known)


def _run_target(text: str, place: Path, out: Path, chosen: Chosen, *, update: bool) -> Target:
    if chosen:
        message = "is a run; --policy, --seeds and --set are for scenarios"
        raise InputError([Problem(text, 0, 0, message)])
    run = find_run(text, out)
    refuse_links(run, run)
    now = record_of(read_results(run))
    folder, base = _baseline(now.scenario.name, place, update=update)
    known = now.scenario.name if now.scenario.name in shipped_scenarios() else ""
    return Target(folder, base, now, None, base.target if base else known)


def _baseline(name: str, place: Path, *, update: bool) -> tuple[Path, Record | None]:
    """Find the baseline of a scenario; to ``update`` it, it need not be there."""
    if update:
        folder = place_of(name, place)
        return folder, read_baseline(folder) if folder.exists() else None
    folder = baseline_for(name, place)
    base = read_baseline(folder)
    if base.scenario.name != name:
        message = f"is a baseline of {base.scenario.name}, not of {name}"
        refuse(folder, message, "give the folder that has baselines by scenario")
    return folder, base


def _as_recorded(path: Path, base: Record | None, chosen: Chosen) -> Scenario:
    """Load a scenario with the overrides of its baseline, and what was chosen instead."""
    recorded = base.overrides if base else ()
    sets = {text.partition("=")[0]: text for text in (*recorded, *chosen.sets)}
    if chosen.seeds:
        sets.pop("seeds", None)
    scenario = load_scenario(
        path, sets=list(sets.values()), policies=chosen.policies, seeds=chosen.seeds
    )
    if base is None or chosen.policies or not _is_part(base):
        return scenario
    kept = tuple(name for name in scenario.policies if name in base.scenario.policies)
    return scenario.only(kept) if kept else scenario


def _is_part(base: Record) -> bool:
    """Say whether a baseline has some only of the policies that its scenario had."""
    source = base.folder / SOURCE
    data = read_yaml(read_text(source), str(source)).data
    policies = data.get("policies") if isinstance(data, dict) else None
    return isinstance(policies, dict) and not set(policies) <= set(base.scenario.policies)


def _target_text(text: str, folder: Path) -> str:
    """Say how a baseline finds its scenario: no path that is of one computer only."""
    if text in shipped_scenarios():
        return text
    here = os.path.abspath(os.curdir)
    inside = [os.path.commonpath([here, os.path.abspath(p)]) == here for p in (text, folder)]
    return os.path.relpath(text, folder) if all(inside) else ""
