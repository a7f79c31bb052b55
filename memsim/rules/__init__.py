"""What a scenario must fulfil beyond the types of its fields.

``check`` finds everything that is wrong with the plain data of a scenario at once: rules are held
against every part that is sound in itself, even if others are not. A plug-in whose own code fails
ends the check at once, as PluginFault.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sized
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
from memsim.rules.axes import axis_findings
from memsim.rules.events import event_findings, time_findings
from memsim.rules.findings import Finding, explain
from memsim.rules.happenings import happening_findings, mode_findings, overlap_findings
from memsim.rules.kernel import kernel_findings, pairing_findings
from memsim.rules.machine import machine_findings
from memsim.scenario import PolicySpec, ScenarioText, WorkloadSpec
from memsim.scenario.event import Event
from memsim.scenario.expect import Expectation, parse_expectation
from memsim.scenario.machine import Machine
from memsim.scenario.paths import Loc
from memsim.units import format_bytes, parse_duration

MAX_TRIALS = 1_000_000

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Checked:
    """What a check came to: the scenario unless something was found, and the files it reads."""

    scenario: ScenarioText | None
    findings: tuple[Finding, ...]
    inputs: frozenset[str]


Memo = dict[tuple[object, ...], Any]
"""What was found out about like parts in the same check: points of axes have most in common."""


@dataclass(frozen=True)
class Parts:
    """Those parts of a scenario that are sound in themselves."""

    duration: int | None
    machine: Machine | None
    policies: dict[str, PolicySpec]
    workloads: dict[str, WorkloadSpec]
    events: dict[int, Event]
    expect: dict[int, Expectation]
    named: tuple[str, ...]
    """All workloads by name, also those that are not sound."""
    context: dict[str, Any] = field(repr=False)
    memo: Memo = field(repr=False)

    @property
    def nodes(self) -> range:
        """Ids of the machine's nodes; empty if they are not known."""
        return range(len(self.machine.nodes)) if self.machine else range(0)

    @property
    def memory(self) -> int | None:
        """Bytes of the machine; None if they are not known, or those of a capture."""
        return self.machine.total or None if self.machine else None


def check(data: dict[str, Any], directory: str) -> Checked:
    """Find all that is wrong with a scenario; paths in it are relative to ``directory``."""
    inputs: set[str] = set()
    memo: Memo = {}
    findings, scenario = _check_one(data, directory, inputs, memo)
    axes = data.get("axes")
    if isinstance(axes, dict):
        base = {key: value for key, value in data.items() if key != "axes"}
        names = _names(base)

        def findings_of(changed: dict[str, Any]) -> list[Finding]:
            parts = _parts(changed, directory, inputs, memo)
            if _names(changed) == names and _all_sound(parts, changed):
                return [*_broken_rules(parts)]
            return _check_one(changed, directory, inputs, memo)[0]

        findings += axis_findings(base, axes, set(findings), findings_of)
    if scenario is not None and scenario.trial_count > MAX_TRIALS:
        message = f"{scenario.trial_count} trials are more than {MAX_TRIALS}"
        findings.append(Finding(("seeds",) if "seeds" in data else (), message, "take fewer seeds"))
    ordered = tuple(dict.fromkeys(findings))
    return Checked(None if ordered else scenario, ordered, frozenset(inputs))


def _names(data: dict[str, Any]) -> list[list[str] | None]:
    """Return what the mappings call their entries; None for what is no mapping."""
    values = (data.get(key) for key in ("policies", "workloads"))
    return [list(value) if isinstance(value, dict) else None for value in values]


def _all_sound(parts: Parts, data: dict[str, Any]) -> bool:
    """Say whether each part of the data that can be on an axis is sound in itself."""
    if parts.duration is None or parts.machine is None:
        return False
    listed: tuple[tuple[object, Sized], ...] = (
        (data.get("policies", {}), parts.policies),
        (data.get("workloads", {}), parts.workloads),
        (data.get("events", []), parts.events),
    )
    return all(isinstance(v, dict | list) and len(v) == len(found) for v, found in listed)


def _check_one(
    data: dict[str, Any], directory: str, inputs: set[str], memo: Memo
) -> tuple[list[Finding], ScenarioText | None]:
    findings: list[Finding] = []
    scenario = None
    try:
        scenario = _model(ScenarioText, json.dumps(data), _context(directory, inputs))
    except ValidationError as error:
        findings = [*explain(error, vocabulary.text_schema(), data)]
        # An event of another version has keys of its own: only its name is worth a line.
        foreign = {f.loc[:2] for f in findings if f.loc[:1] == ("events",) and f.loc[2:] == ("do",)}
        findings = [f for f in findings if f.loc[:2] not in foreign or f.loc[2:] == ("do",)]
    return [*findings, *_broken_rules(_parts(data, directory, inputs, memo))], scenario


def _broken_rules(parts: Parts) -> Iterator[Finding]:
    for rule in (_machine, _policies, _workloads, _events, _expectations):
        yield from rule(parts)


def _context(directory: str, inputs: set[str]) -> dict[str, Any]:
    return {"directory": directory, "inputs": inputs, "nodes": ()}


def _model(model: type[M], text: str, context: dict[str, Any]) -> M:
    return model.model_validate_json(text, strict=True, context=context)


def _parts(data: dict[str, Any], directory: str, inputs: set[str], memo: Memo) -> Parts:
    context = _context(directory, inputs)

    def read(model: type[M], value: object) -> M | None:
        text = json.dumps(value)
        if (model, text) not in memo:
            try:
                memo[model, text] = _model(model, text, context)
            except ValidationError:
                memo[model, text] = None
        found: M | None = memo[model, text]
        return found

    def sound(model: type[M], items: Iterable[tuple[Any, object]]) -> dict[Any, M]:
        found = ((key, read(model, value)) for key, value in items)
        return {key: one for key, one in found if one is not None}

    def entries(key: str) -> Iterable[tuple[Any, object]]:
        value = data.get(key)
        if isinstance(value, dict):
            return value.items()
        return enumerate(value) if isinstance(value, list) else ()

    machine = read(Machine, data.get("machine"))
    parts = Parts(
        duration=_or_none(parse_duration, data.get("duration")) or None,
        machine=machine,
        policies=sound(PolicySpec, entries("policies")),
        workloads=sound(WorkloadSpec, entries("workloads")),
        events=sound(Event, entries("events")),
        expect={
            i: understood
            for i, text in entries("expect")
            if isinstance(text, str) and (understood := _or_none(parse_expectation, text))
        },
        named=tuple(str(name) for name, _ in entries("workloads")),
        context=context,
        memo=memo,
    )
    context["nodes"] = parts.nodes
    context["max_page_order"] = machine.max_page_order if machine else NR_ORDERS - 1
    return parts


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
        profile = spec.profile or (parts.machine.profile if parts.machine else None)
        kernel = None if profile is None else _kernel(parts.machine, profile)
        key = ("policies", name, spec.canonical, profile, kernel)
        if key not in parts.memo:
            parts.memo[key] = [*_policy(("policies", name), spec, profile, kernel, parts)]
        yield from parts.memo[key]


def _policy(
    at: Loc, spec: PolicySpec, profile: str | None, kernel: Kernel | None, parts: Parts
) -> Iterator[Finding]:
    found = [*_knobs("policies", spec.placement, at, "placement", spec.options, parts)]
    yield from found
    if not found and profile is not None and kernel is not None:
        offered = plugins.find("policies", spec.placement).Policy.PROFILES
        yield from pairing_findings(at, spec.placement, profile, offered)
        if profile in offered:
            policy = plugins.build("policies", spec.placement, spec.options)
            tables_of(spec.placement, policy, kernel)


def _kernel(machine: Machine | None, profile: str) -> Kernel:
    mechanism = PROFILES[profile].mechanism
    if machine is None or any(machine_findings(machine)):
        return KERNELS[mechanism]
    return kernel_with(mechanism, machine.max_page_order)


def _workloads(parts: Parts) -> Iterator[Finding]:
    locked = 0
    for name, spec in parts.workloads.items():
        at: Loc = ("workloads", name)
        key = (*at, spec.canonical, parts.nodes, parts.context["max_page_order"])
        if key not in parts.memo:
            parts.memo[key] = [*_knobs("workloads", spec.kind, at, "kind", spec.params, parts)]
        yield from parts.memo[key]
        if not parts.memo[key]:
            workload = plugins.build("workloads", spec.kind, spec.params, parts.context)
            locked += getattr(workload, "locked_bytes", 0)
    if parts.memory and locked > parts.memory:
        message = f"{format_bytes(locked)} of locked memory do not fit in the machine"
        yield Finding(("workloads",), message, f"it has {format_bytes(parts.memory)}", True)


def _events(parts: Parts) -> Iterator[Finding]:
    for i, event in parts.events.items():
        at: Loc = ("events", i)
        if event.node is not None and parts.nodes and event.node not in parts.nodes:
            listed = " and ".join(", ".join(map(str, parts.nodes)).rsplit(", ", 1))
            message = f"node {event.node} does not exist"
            yield Finding((*at, "node"), message, f"nodes are {listed}")
        yield from event_findings(at, event, parts.context["max_page_order"], parts.memory)
        old, modern = _profile_in_use(parts, old=True), _profile_in_use(parts, old=False)
        yield from happening_findings(at, event, parts.machine, parts.named, old)
        yield from mode_findings(at, event, modern)
        if parts.duration is not None:
            yield from time_findings(at, event, parts.duration, parts.memory)
    yield from overlap_findings(parts.events, parts.machine)


def _profile_in_use(parts: Parts, *, old: bool) -> str | None:
    """Name a profile in use whose kernel is of 2005, or of later."""
    if parts.machine is None:
        return None
    used = [spec.profile or parts.machine.profile for spec in parts.policies.values()]
    return next((n for n in used if (PROFILES[n].mechanism != "linux-6.1") == old), None)


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
