"""What a scenario must fulfil beyond the types of its fields.

``check`` finds everything that is wrong with the plain data of a scenario at once: rules are held
against every part that is sound in itself, even if others are not. A plug-in whose own code fails
ends the check at once, as PluginFault.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from memsim import plugins
from memsim.errors import suggest
from memsim.mm import NR_ORDERS
from memsim.policies import KERNELS, Kernel, kernel_with
from memsim.policies._validity import tables_of
from memsim.profiles import PROFILES
from memsim.rules import vocabulary
from memsim.rules.findings import Finding, explain
from memsim.rules.kernel import kernel_findings, pairing_findings
from memsim.rules.machine import machine_findings
from memsim.scenario import Event, PolicySpec, ScenarioText, WorkloadSpec, as_text
from memsim.scenario.expect import Expectation, parse_expectation
from memsim.scenario.machine import Machine
from memsim.scenario.paths import Loc, resolve, with_values
from memsim.units import format_duration, parse_duration

MAX_TRIALS = 1_000_000
MAX_POINTS = 10_000
MAX_OCCURRENCES = 1_000_000
MAX_ATTEMPTS = 10_000_000
AXIS_ROOTS = ("duration", "events", "machine", "policies", "workloads")

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Checked:
    """What a check came to: the scenario unless something was found, and the files it reads."""

    scenario: ScenarioText | None
    findings: tuple[Finding, ...]
    inputs: frozenset[str]


@dataclass(frozen=True)
class Parts:
    """Those parts of a scenario that are sound in themselves."""

    duration: int | None
    machine: Machine | None
    policies: dict[str, PolicySpec]
    workloads: dict[str, WorkloadSpec]
    events: dict[int, Event]
    expect: dict[int, Expectation]
    context: dict[str, Any] = field(repr=False)

    @property
    def nodes(self) -> range:
        """Ids of the machine's nodes; empty if they are not known."""
        return range(len(self.machine.nodes)) if self.machine else range(0)


def check(data: dict[str, Any], directory: str) -> Checked:
    """Find all that is wrong with a scenario; paths in it are relative to ``directory``."""
    inputs: set[str] = set()
    findings, scenario = _check_one(data, directory, inputs)
    axes = data.get("axes")
    if isinstance(axes, dict):
        findings += _axis_findings(data, axes, set(findings), directory, inputs)
    if scenario is not None and scenario.trial_count > MAX_TRIALS:
        message = f"{scenario.trial_count} trials are more than {MAX_TRIALS}"
        findings.append(Finding(("seeds",) if "seeds" in data else (), message, "take fewer seeds"))
    ordered = tuple(dict.fromkeys(findings))
    return Checked(None if ordered else scenario, ordered, frozenset(inputs))


def _check_one(
    data: dict[str, Any], directory: str, inputs: set[str]
) -> tuple[list[Finding], ScenarioText | None]:
    context: dict[str, Any] = {"directory": directory, "inputs": inputs, "nodes": ()}
    findings: list[Finding] = []
    scenario = None
    try:
        scenario = _model(ScenarioText, data, context)
    except ValidationError as error:
        findings = [*explain(error, vocabulary.text_schema(), data)]
        # An event of another version has keys of its own: only its name is worth a line.
        foreign = {f.loc[:2] for f in findings if f.loc[:1] == ("events",) and f.loc[2:] == ("do",)}
        findings = [f for f in findings if f.loc[:2] not in foreign or f.loc[2:] == ("do",)]
    parts = _parts(data, context)
    context["nodes"] = parts.nodes
    context["max_page_order"] = parts.machine.max_page_order if parts.machine else NR_ORDERS - 1
    rules = (_machine, _policies, _workloads, _events, _expectations)
    return findings + [finding for rule in rules for finding in rule(parts)], scenario


def _model(model: type[M], value: object, context: dict[str, Any]) -> M:
    return model.model_validate_json(json.dumps(value), strict=True, context=context)


def _parts(data: dict[str, Any], context: dict[str, Any]) -> Parts:
    def sound(model: type[M], items: Iterable[tuple[Any, object]]) -> dict[Any, M]:
        found = {}
        for key, value in items:
            try:
                found[key] = _model(model, value, context)
            except ValidationError:
                continue
        return found

    def entries(key: str) -> Iterable[tuple[Any, object]]:
        value = data.get(key)
        if isinstance(value, dict):
            return value.items()
        return enumerate(value) if isinstance(value, list) else ()

    machine = sound(Machine, [("machine", data.get("machine"))])
    return Parts(
        duration=_or_none(parse_duration, data.get("duration")) or None,
        machine=machine.get("machine"),
        policies=sound(PolicySpec, entries("policies")),
        workloads=sound(WorkloadSpec, entries("workloads")),
        events=sound(Event, entries("events")),
        expect={
            i: understood
            for i, text in entries("expect")
            if isinstance(text, str) and (understood := _or_none(parse_expectation, text))
        },
        context=context,
    )


def _or_none(parse: Any, value: object) -> Any:
    try:
        return parse(value)
    except ValueError:
        return None


def _machine(parts: Parts) -> Iterator[Finding]:
    if parts.machine is not None:
        found = [*machine_findings(parts.machine)]
        yield from found or kernel_findings(parts.machine, parts.policies)


def _knobs(
    folder: plugins.ModelFolder, name: str, at: Loc, key: str, knobs: dict[str, Any], parts: Parts
) -> Iterator[Finding]:
    try:
        plugins.build(folder, name, knobs, parts.context)
    except plugins.PluginError as error:
        yield Finding((*at, key), error.message, error.hint)
    except ValidationError as error:
        for found in explain(error, vocabulary.knob_schema(folder, name), knobs):
            yield Finding((*at, *found.loc), found.message, found.hint, found.on_key)


def _policies(parts: Parts) -> Iterator[Finding]:
    for name, spec in parts.policies.items():
        at: Loc = ("policies", name)
        found = [*_knobs("policies", spec.placement, at, "placement", spec.options, parts)]
        yield from found
        profile = spec.profile or (parts.machine.profile if parts.machine else None)
        if not found and profile is not None:
            offered = plugins.find("policies", spec.placement).Policy.PROFILES
            yield from pairing_findings(at, spec.placement, profile, offered)
            if profile in offered:
                policy = plugins.build("policies", spec.placement, spec.options)
                tables_of(spec.placement, policy, _kernel(parts.machine, profile))


def _kernel(machine: Machine | None, profile: str) -> Kernel:
    mechanism = PROFILES[profile].mechanism
    if machine is None or any(machine_findings(machine)):
        return KERNELS[mechanism]
    return kernel_with(mechanism, machine.max_page_order)


def _workloads(parts: Parts) -> Iterator[Finding]:
    for name, spec in parts.workloads.items():
        at: Loc = ("workloads", name)
        yield from _knobs("workloads", spec.kind, at, "kind", spec.params, parts)


def _events(parts: Parts) -> Iterator[Finding]:
    for i, event in parts.events.items():
        at: Loc = ("events", i)
        if event.node is not None and parts.nodes and event.node not in parts.nodes:
            listed = " and ".join(", ".join(map(str, parts.nodes)).rsplit(", ", 1))
            message = f"node {event.node} does not exist"
            yield Finding((*at, "node"), message, f"nodes are {listed}")
        largest = parts.machine.max_page_order if parts.machine else NR_ORDERS - 1
        if max(event.orders) > largest:
            message = f"expected orders from 0 to {largest}, found {max(event.orders)}"
            yield Finding((*at, "orders"), message)
        if parts.duration is None:
            continue
        for key in ("at", "every", "until"):
            instant = getattr(event, key)
            if instant is not None and instant > parts.duration:
                when, end = format_duration(instant), format_duration(parts.duration)
                message = f"{key}: {when} is after the end of the scenario"
                yield Finding((*at, key), message, f"it ends at {end}")
        times = len(event.times(parts.duration))
        if times > MAX_OCCURRENCES:
            message = f"the event would happen more than {MAX_OCCURRENCES} times"
            yield Finding((*at, "every"), message)
        elif (attempts := times * len(event.orders) * event.attempts) > MAX_ATTEMPTS:
            message = f"the event would make {attempts} attempts, {MAX_ATTEMPTS} is the most"
            yield Finding(at, message, "take fewer attempts, orders or instants")


def _expectations(parts: Parts) -> Iterator[Finding]:
    columns = plugins.metric_columns() if parts.expect else {}
    for i, expectation in parts.expect.items():
        at: Loc = ("expect", i)
        column = columns.get(expectation.metric)
        if column is None:
            message = f'there is no metric "{expectation.metric}"'
            yield Finding(at, message, suggest(expectation.metric, columns))
        elif expectation.unit in ("bytes", "ns") and expectation.unit != column.unit:
            message = f'metric "{expectation.metric}" is not in {expectation.unit}'
            yield Finding(at, message, f"its unit is {column.unit}")
        if expectation.policy is not None and expectation.policy not in parts.policies:
            message = f'there is no policy "{expectation.policy}"'
            yield Finding(at, message, suggest(expectation.policy, parts.policies))


def _axis_findings(
    data: dict[str, Any],
    axes: dict[str, Any],
    known: set[Finding],
    directory: str,
    inputs: set[str],
) -> list[Finding]:
    """Hold every value of every axis, and every point, against what holds for the file itself."""
    base = {key: value for key, value in data.items() if key != "axes"}
    findings: list[Finding] = []
    places: dict[str, tuple[Loc, ...]] = {}
    for path, values in axes.items():
        at: Loc = ("axes", path)
        try:
            places[path] = resolve(base, path)
        except ValueError as error:
            findings.append(Finding(at, str(error), getattr(error, "hint", ""), on_key=True))
            continue
        refusal = _no_axis(path, places)
        if refusal is not None:
            findings.append(refusal)
            continue
        for i, value in enumerate(values if isinstance(values, list) else ()):
            if value in values[:i]:
                findings.append(Finding((*at, i), f"{as_text(value)} appears twice"))
            if places[path] == (("machine",),) and isinstance(value, dict) and "like" in value:
                hint = "--set machine.like=NAME takes another machine"
                place = (*at, i, "like")
                findings.append(Finding(place, "a machine file cannot be on an axis", hint, True))
                continue
            changed = with_values(base, places[path], value)
            for found in _check_one(changed, directory, inputs)[0]:
                if found not in known:
                    rest = _inside(found.loc, places[path])
                    findings.append(Finding((*at, i, *rest), found.message, found.hint))
    if findings or len(axes) < 2 or not all(isinstance(v, list) for v in axes.values()):
        return findings
    return _point_findings(base, axes, places, known, directory, inputs)


def _no_axis(path: str, places: dict[str, tuple[Loc, ...]]) -> Finding | None:
    """Say why the last of some axes cannot be one."""
    at: Loc = ("axes", path)
    message = f'"{path}" cannot be an axis'
    if places[path][0][0] not in AXIS_ROOTS:
        return Finding(at, message, f"axes lie in {', '.join(AXIS_ROOTS)}", True)
    if places[path] == (("machine", "like"),):
        return Finding(at, message, f"--set {path}=NAME takes another machine", True)
    for other in list(places)[:-1]:
        if any(_inside(a, places[path]) or a in places[path] for a in places[other]):
            return Finding(at, f'"{path}" overwrites the axis "{other}"', on_key=True)
    return None


def _inside(loc: Loc, places: tuple[Loc, ...]) -> Loc:
    """Return the rest of a location that lies in one of some places; nothing for others."""
    return next((loc[len(place) :] for place in places if loc[: len(place)] == place), ())


def _point_findings(
    base: dict[str, Any],
    axes: dict[str, list[Any]],
    places: dict[str, tuple[Loc, ...]],
    known: set[Finding],
    directory: str,
    inputs: set[str],
) -> list[Finding]:
    """Find the first point whose values are sound one by one but not together."""
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_POINTS:
        return [Finding(("axes",), f"{count} points are more than {MAX_POINTS}", on_key=True)]
    for point in itertools.product(*axes.values()):
        changed = base
        for path, value in zip(axes, point, strict=True):
            changed = with_values(changed, places[path], value)
        new = [f for f in _check_one(changed, directory, inputs)[0] if f not in known]
        if new:
            values_here = [
                f"{path} = {as_text(value)}" for path, value in zip(axes, point, strict=True)
            ]
            where = ", ".join(values_here)
            return [Finding(("axes",), f"with {where}: {f.message}", f.hint, True) for f in new]
    return []
