"""What must agree between runs that are compared, and what a reader must know if it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from memsim.compare.samples import Side
from memsim.errors import InputError, Problem
from memsim.results import Run
from memsim.schema import Column
from memsim.units import format_int_set

TEXT_PARTS = ("machine", "workloads", "events", "duration", "policy", "input files")
"""The parts of a trial that its scenario decides."""


def common_columns(runs: Sequence[Run]) -> dict[str, Column]:
    """Return the metrics that all runs have; raises InputError if they are not the same ones."""
    first, *others = runs
    common = dict(first.metric_columns)
    for run in others:
        theirs = run.metric_columns
        for name in common.keys() & theirs.keys():
            mine, their = common[name], theirs[name]
            if (mine.unit, mine.better, mine.dtype) != (their.unit, their.better, their.dtype):
                message = f"{name} is declared differently than in {first.folder}"
                hint = "run one of them again with the other's memsim and plug-ins"
                raise InputError([Problem(str(run.folder), 0, 0, message, hint)])
        common = {name: column for name, column in common.items() if name in theirs}
    return common


def refuse_unpaired(baseline: Side, sides: Sequence[Side], runs: Sequence[Run]) -> None:
    """Insist that every side has trials in common with the baseline; raises InputError."""
    for side in sides:
        if any(
            seeds.keys() & side.trials.get(point, {}).keys()
            for point, seeds in baseline.trials.items()
        ):
            continue
        message = f"{side.label} and {baseline.label} have no trial in common: "
        message += _why_unpaired(baseline, side)
        hint = "compare runs of one scenario that share policies, axis points and seeds"
        place = str(runs[0].folder) if len(runs) == 1 else side.label
        raise InputError([Problem(place, 0, 0, message, hint)])


def _why_unpaired(baseline: Side, side: Side) -> str:
    if baseline.trials.keys() & side.trials.keys():
        one, other = (_seeds(s) for s in (baseline, side))
        return f"seeds {_listed(one)} there, {_listed(other)} here"
    axes = [sorted({path for point in s.trials for path, _ in point}) for s in (baseline, side)]
    if axes[0] != axes[1]:
        there, here = (", ".join(names) or "none" for names in axes)
        return f"axes {there} there, {here} here"
    there, here = (
        "; ".join(", ".join(f"{p} = {v}" for p, v in point) for point in list(s.trials)[:3])
        for s in (baseline, side)
    )
    return f"{there} there, {here} here"


def _seeds(side: Side) -> set[int]:
    return {seed for seeds in side.trials.values() for seed in seeds}


def _listed(seeds: set[int]) -> str:
    text = format_int_set(tuple(sorted(seeds)))
    return text if isinstance(text, str) else ", ".join(map(str, text))


def differing(runs: Sequence[Run], labels: Sequence[str], sides: Sequence[Side]) -> list[str]:
    """Say in one sentence each what else differs between runs that can be paired."""
    notes = []
    first = runs[0]
    for run, label in zip(runs[1:], labels[1:], strict=True):
        beside = f"{label} and {labels[0]}"
        parts = _differing_parts(first, run)
        texts = [part for part in TEXT_PARTS if part in parts]
        if texts:
            notes.append(f"{beside} are of different scenarios: {', '.join(texts)} differ")
        engine = list(_differing_versions(first.manifest, run.manifest))
        if not engine and _kinds(first) == _kinds(run) and _engine_differs(first, run, parts):
            engine = ["sources of memsim, of a policy or of a plug-in"]
        if engine:
            notes.append(f"{beside} were simulated by different engines: {', '.join(engine)}")
        missing = first.metric_columns.keys() ^ run.metric_columns.keys()
        if missing:
            notes.append(f"only one of {beside} has {', '.join(sorted(missing))}")
    return [*notes, *_differing_trials(sides)]


def _differing_parts(first: Run, other: Run) -> set[str]:
    """Name the parts in which trials differ that are at one place and have one seed."""
    mine, theirs = _by_key(first), _by_key(other)
    gone: set[str] = set()
    if not mine.keys() & theirs.keys():
        # Each run has one policy, and these are compared: they differ on purpose.
        mine, theirs = ({("", *key[1:]): v for key, v in d.items()} for d in (mine, theirs))
        gone = {"policy", "engine"}
    differing = {
        part
        for key in mine.keys() & theirs.keys()
        for part, digest in mine[key].items()
        if theirs[key].get(part) != digest
    }
    return differing - gone


def _engine_differs(first: Run, other: Run, parts: Set[str]) -> bool:
    return "engine" in parts or first.manifest["simulator"] != other.manifest["simulator"]


def _kinds(run: Run) -> set[str]:
    """Kinds of workloads: with other ones, other sources are in use."""
    return {spec.kind for spec in run.scenario.workloads.values()}


def _by_key(run: Run) -> dict[tuple[Any, ...], dict[str, str]]:
    return {
        (trial["policy"], tuple(sorted(trial["point"].items())), trial["seed"]): trial["parts"]
        for trial in run.manifest["trials"]
    }


def _differing_versions(first: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    versions = [("memsim", first["memsim"], other["memsim"])]
    numpy = (m["libraries"].get("numpy", "unknown") for m in (first, other))
    versions.append(("numpy", *numpy))
    for name, mine, theirs in versions:
        if mine != theirs:
            yield f"{name} {mine} and {theirs}"


def _differing_trials(sides: Sequence[Side]) -> Iterator[str]:
    first = sides[0]
    for side in sides[1:]:
        beside = f"{side.label} and {first.label}"
        lone = first.trials.keys() ^ side.trials.keys()
        if lone:
            names = sorted({", ".join(value for _, value in point) for point in lone})
            notes = f"only one of {beside} has {', '.join(names[:5])}"
            yield notes + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        one, other = _seeds(first), _seeds(side)
        if one != other:
            yield (
                f"{beside} have different seeds ({_listed(other)} and {_listed(one)}): "
                f"compared are {_listed(one & other)}"
            )
