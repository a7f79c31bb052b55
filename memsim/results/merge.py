"""One run from runs of the same scenario with other seeds, policies or points of its axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from memsim.errors import InputError, Problem
from memsim.results import Run, is_complete, read_results, scenario_files, write_run
from memsim.results.manifest import digests, made_here
from memsim.results.parts import Key, key_of, rows_of_trials, table_bytes
from memsim.results.store import RUN_DIGITS
from memsim.results.tables import TABLES, TableName
from memsim.scenario import PluginSource, Scenario, as_text
from memsim.scenario.content import sha256
from memsim.units import parse_int_set

PARTS = "merge takes parts of one run: other seeds, policies or points of the same axes"
MAY_DIFFER = ("seeds", "policies", "axes", "expect")
KEPT = ("scenario", "title", "simulator", "directory", "inputs", "axes", "columns")
FROM_EACH = ("content_hash", "memsim", "python", "libraries", "host", "started", "wall_time_s")


def merge(runs: Sequence[Run], out: Path, *, source: Mapping[str, Any], force: bool = False) -> Run:
    """Write the run that has the trials of all, below ``out``; return it.

    Only the folders of the runs are read, not the trials that are kept. ``source`` is what the
    scenario's file says, which decides the order of policies and of values on the axes; what it
    does not say follows in the order of the runs. Raises InputError if the runs are not parts of
    one, or if results are there already and not ``force``.
    """
    for run in runs[1:]:
        _check_parts(runs[0], run)
    scenario = _united(runs, source)
    entries = {run.folder: _entries(run) for run in runs}
    owners = _owners(runs, entries)
    wanted = {key_of(trial): trial for trial in _trials(scenario)}
    order = [key for key in wanted if key in owners]
    missing = [trial for key, trial in wanted.items() if key not in owners]
    files = scenario_files(scenario)
    for name in TABLES:
        file = runs[0].table_file(name)
        files[file] = _joined(name, order, owners)
    described = [entries[owners[key][0].folder][key] for key in order]
    manifest = _manifest(runs, scenario, files, described, missing)
    folder = out / scenario.name / manifest["content_hash"][:RUN_DIGITS]
    if is_complete(folder) and not force:
        hint = "--force replaces it, --out takes another place"
        raise InputError([Problem(str(folder), 0, 0, "this run is there already", hint)])
    write_run(folder, files, manifest)
    return read_results(folder)


def _check_parts(first: Run, other: Run) -> None:
    """Insist that two runs may be parts of one."""
    one, two = first.manifest, other.manifest
    text, others = first.scenario.written, other.scenario.written
    faults = [
        f"another scenario: {key}"
        for key in dict.fromkeys([*text, *others])
        if key not in MAY_DIFFER and text.get(key) != others.get(key)
    ]
    faults += [
        f"another policy {name}"
        for name in text["policies"].keys() & others["policies"].keys()
        if text["policies"][name] != others["policies"][name]
    ]
    faults += [
        f"other sources of memsim for policy {name}"
        for name in one["engine"].keys() & two["engine"].keys()
        if one["engine"][name] != two["engine"][name]
    ]
    same = {
        "axes": "axes",
        "input files": "inputs",
        "metrics": "columns",
        "sources of memsim, or another numpy": "simulator",
    }
    faults += [f"other {what}" for what, key in same.items() if one[key] != two[key]]
    digests = {(p["folder"], p["name"]): p["sha256"] for p in one["plugins"]}
    faults += [
        f"another plug-in {p['name']}"
        for p in two["plugins"]
        if digests.get((p["folder"], p["name"]), p["sha256"]) != p["sha256"]
    ]
    if faults:
        message = f"has {'; '.join(sorted(faults))} than {first.folder}"
        raise InputError([Problem(str(other.folder), 0, 0, message, PARTS)])


def _united(runs: Sequence[Run], source: Mapping[str, Any]) -> Scenario:
    """Return the scenario that has all policies, points and seeds of the runs."""
    scenarios = [run.scenario for run in runs]
    first = scenarios[0]
    texts = [s.written for s in scenarios]
    specs = {name: spec for text in texts for name, spec in text["policies"].items()}
    policies = _ordered(specs, source.get("policies"))
    axes = {
        path: _ordered((v for s in scenarios for v in s.axes[path]), _at(source, "axes", path))
        for path in first.axes
    }
    expect = _ordered((text for s in scenarios for text in s.expect), source.get("expect"))
    written = {
        **{key: value for key, value in texts[0].items() if key not in ("axes", "expect")},
        "policies": {name: specs[name] for name in policies},
        **({"axes": axes} if axes else {}),
        **({"expect": expect} if expect else {}),
    }
    plugins = {
        (p["folder"], p["name"]): PluginSource(**p) for run in runs for p in run.manifest["plugins"]
    }
    loaded = tuple(plugins[key] for key in sorted(plugins))
    scenario = Scenario.from_written(written, first.directory, first.inputs, loaded)
    seeds = _seeds({seed for s in scenarios for seed in s.seeds}, source.get("seeds"))
    scenario = scenario if seeds == first.seeds else scenario.with_seeds(seeds)
    overrides = dict.fromkeys(text for s in scenarios for text in s.overrides)
    return scenario.model_copy(update={"source": first.source, "overrides": tuple(overrides)})


def _at(source: Mapping[str, Any], *keys: str) -> Any:
    found: Any = source
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _ordered(found: Iterable[Any], wanted: Any) -> list[Any]:
    """Return each value once: as ``wanted`` has them if it has them, then as they come."""
    named = list(wanted) if isinstance(wanted, Mapping | list | tuple) else []
    place = {as_text(value): number for number, value in reversed([*enumerate(named)])}
    values = {as_text(value): value for value in found}
    return [values[text] for text in sorted(values, key=lambda t: place.get(t, len(place)))]


def _seeds(found: set[int], wanted: Any) -> tuple[int, ...]:
    """Put seeds into the scenario's order if it has them all, else into that of numbers."""
    try:
        named = parse_int_set(wanted)
    except ValueError:
        named = ()
    if found <= set(named):
        return tuple(seed for seed in named if seed in found)
    return tuple(sorted(found))


def _trials(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Yield policy, point and seed of all trials, in the order of a run of everything."""
    for policy, values, seed in product(
        scenario.policies, [*product(*scenario.axes.values())], scenario.seeds
    ):
        point = dict(zip(scenario.axes, map(as_text, values), strict=True))
        yield {"policy": policy, "point": point, "seed": seed}


def _entries(run: Run) -> dict[Key, dict[str, Any]]:
    return {key_of(trial): trial for trial in run.manifest["trials"]}


def _owners(
    runs: Sequence[Run], entries: Mapping[Path, Mapping[Key, dict[str, Any]]]
) -> dict[Key, list[Run]]:
    """Return the runs that have each trial; raises InputError if they mean different ones."""
    owners: dict[Key, list[Run]] = {}
    names: dict[Key, dict[str, Any]] = {}
    for run in runs:
        for key, trial in entries[run.folder].items():
            owners.setdefault(key, []).append(run)
            known = names.setdefault(key, trial)
            if known["name"] != trial["name"]:
                parts = [p for p, d in known["parts"].items() if trial["parts"].get(p) != d]
                what = f"was made of another {' and '.join(parts) or 'trial'}"
                raise _refusal(run, owners[key][0], key, what)
    return owners


def _refusal(run: Run, other: Run, key: Key, what: str) -> InputError:
    message = f"trial {', '.join(key)} {what} than in {other.folder}"
    hint = "memsim verify says which of the two memsim gives today"
    return InputError([Problem(str(run.folder), 0, 0, message, hint)])


def _joined(name: TableName, order: Sequence[Key], owners: Mapping[Key, Sequence[Run]]) -> bytes:
    """Write a table of all trials in their order, each trial from the first run that has it."""
    runs = {run.folder: run for having in owners.values() for run in having}
    rows = {folder: rows_of_trials(run, name) for folder, run in runs.items()}
    for key in order:
        first, *others = owners[key]
        for other in others:
            if rows[first.folder].of(key) != rows[other.folder].of(key):
                raise _refusal(other, first, key, f"has other rows in {other.table_file(name)}")
    return table_bytes([rows[owners[key][0].folder].of(key) for key in order])


def _manifest(
    runs: Sequence[Run],
    scenario: Scenario,
    files: Mapping[str, bytes],
    trials: Sequence[Mapping[str, Any]],
    missing: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    first = runs[0].manifest
    engine = {name: digest for run in runs for name, digest in run.manifest["engine"].items()}
    engine = {name: engine[name] for name in scenario.policies}
    # A part of a run must not lie where the whole of it would.
    part = [trial["name"] for trial in trials] if missing else []
    identity = [scenario.text_hash, engine, *part]
    return {
        **{key: first[key] for key in KEPT},
        **made_here(),
        "content_hash": sha256(identity),
        "text_hash": scenario.text_hash,
        "engine": engine,
        "overrides": list(scenario.overrides),
        "plugins": [plugin._asdict() for plugin in scenario.plugins],
        "policies": list(scenario.policies),
        "profiles": sorted({name for run in runs for name in run.manifest["profiles"]}),
        "seeds": list(scenario.seeds),
        "files": digests(files),
        "trials": list(trials),
        "notes": list(dict.fromkeys(note for run in runs for note in run.manifest["notes"])),
        "started": min(run.manifest["started"] for run in runs),
        "wall_time_s": round(sum(run.manifest["wall_time_s"] for run in runs), 3),
        "merged": [
            {key: run.manifest[key] for key in FROM_EACH} | {"folder": str(run.folder)}
            for run in runs
        ],
        "missing": list(missing),
    }
