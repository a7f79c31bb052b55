"""The vocabulary of an experiment: machine, policies, workloads, events, and their trials.

Everything here is frozen, hashable and picklable, and says no more than the scenario file says;
whether it makes sense together is the business of ``memsim.rules``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

from memsim.scenario.cmdline import Cmdline, parse_cmdline
from memsim.scenario.content import canonical_json, sha256, sources_digest
from memsim.scenario.event import Event, Name, positive
from memsim.scenario.expect import Expectation, parse_expectation
from memsim.scenario.machine import Machine, Model, Profile
from memsim.scenario.paths import resolve, with_values
from memsim.units import Duration, IntSet


def _cmdline(text: str) -> str:
    parse_cmdline(text)
    return text


def _expectation(text: str) -> str:
    parse_expectation(text)
    return text


def _some(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values:
        raise ValueError("expected at least one number, found none")
    return values


class PolicySpec(Model):
    """A named variant: a placement policy with its options, and a kernel command line."""

    model_config = ConfigDict(extra="allow")

    placement: str
    """A placement policy."""
    cmdline: Annotated[str, AfterValidator(_cmdline)] = ""
    """Words of the kernel's command line."""
    profile: Profile | None = None
    """The kernel, if not the machine's."""

    @property
    def kernel(self) -> Cmdline:
        """The kernel command line, understood."""
        return parse_cmdline(self.cmdline)

    @property
    def options(self) -> dict[str, JsonValue]:
        """The options of the placement policy, as written."""
        return dict(self.model_extra or {})


class WorkloadSpec(Model):
    """A workload: its kind, and the knobs of that kind as written."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """Which workload it is."""

    @property
    def params(self) -> dict[str, JsonValue]:
        """The knobs, as written."""
        return dict(self.model_extra or {})


class Record(Model):
    """What trials keep of their course, besides their tables."""

    map: bool | None = None
    """Whether they keep a map of memory at 51 instants; if not said, in scenarios without axes."""


class ScenarioText(Model):
    """What a scenario file says."""

    memsim: Literal[1]
    """Version of this format."""
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
    """A folder below ``results`` is called so."""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    """One line for people."""
    duration: Annotated[Duration, AfterValidator(positive)]
    """Simulated time."""
    seeds: Annotated[IntSet, AfterValidator(_some)] = (1,)
    """Every policy gets the same ones."""
    policies: Annotated[dict[Name, PolicySpec], Field(min_length=1)]
    """Named variants; the first is the baseline."""
    machine: Machine
    """What is simulated."""
    workloads: dict[Name, WorkloadSpec] = Field({})
    """Who asks for memory."""
    events: tuple[Event, ...] = ()
    """What happens to the machine."""
    axes: dict[str, Annotated[tuple[JsonValue, ...], Field(min_length=1)]] = Field({})
    """Paths, and the values to put there."""
    expect: tuple[Annotated[str, AfterValidator(_expectation)], ...] = ()
    """Statements about metrics that must hold."""
    record: Record = Record()
    """What trials keep of their course."""

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """The lines of ``expect``, understood."""
        return tuple(parse_expectation(text) for text in self.expect)

    @property
    def trial_count(self) -> int:
        """How many trials policies, axes and seeds expand to."""
        points = 1
        for values in self.axes.values():
            points *= len(values)
        return len(self.policies) * points * len(self.seeds)


Point = tuple[tuple[str, str], ...]
"""One value of each axis: (path, value as text)."""


class PluginSource(NamedTuple):
    """A plug-in that is a file from outside the package."""

    folder: str
    name: str
    path: str
    """As it was given."""
    sha256: str


class Scenario(ScenarioText):
    """A valid scenario, with what loading it found out."""

    directory: str = "."
    """Folder that paths in the scenario are relative to."""
    source: str = ""
    """The text of the file."""
    overrides: tuple[str, ...] = ()
    """Every ``--set`` that was applied."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Path as written and SHA-256 of each file or folder that trials read, sorted."""
    plugins: tuple[PluginSource, ...] = ()
    """The plug-ins from outside that were in use when it was loaded."""

    @property
    def baseline(self) -> str:
        """The policy that others are compared with: the first."""
        return next(iter(self.policies))

    @property
    def written(self) -> dict[str, Any]:
        """What the file says, as plain data with units."""
        return self.model_dump(
            mode="json",
            by_alias=True,
            exclude_unset=True,
            include=set(ScenarioText.model_fields),
        )

    @cached_property
    def policy_parts(self) -> dict[str, dict[str, str]]:
        """SHA-256 of each part of what decides the outcome of a policy's trials but point and seed.

        Other policies and the seeds do not.
        """
        common = {
            "machine": self.machine.canonical,
            "workloads": {name: spec.canonical for name, spec in self.workloads.items()},
            "events": [event.canonical for event in self.events],
            "duration": self.duration,
            "input files": self.inputs,
            "record": self.record.canonical,
        }
        shared = {name: sha256(part) for name, part in common.items()}
        return {
            name: {
                **shared,
                "policy": sha256([name, spec.canonical]),
                "engine": sha256(engine_digest(self, name)),
            }
            for name, spec in self.policies.items()
        }

    @property
    def text_hash(self) -> str:
        """SHA-256 of what the scenario says and of its input files, whatever simulates it."""
        # Canonical text knows no order, but tables have one, and the first policy is the baseline.
        order = [list(self.policies), list(self.axes)]
        return sha256([canonical_json(self.written), order, self.inputs])

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that decides the results: text, input files, engine sources."""
        engine = {name: engine_digest(self, name) for name in self.policies}
        return sha256([self.text_hash, engine])

    @classmethod
    def from_written(
        cls,
        written: Mapping[str, Any],
        directory: str,
        inputs: tuple[tuple[str, str], ...] = (),
        plugins: tuple[PluginSource, ...] = (),
    ) -> Scenario:
        """Read back what ``written`` gave; raises pydantic.ValidationError.

        The rules are not held against it again: they were when it was loaded.
        """
        text = ScenarioText.model_validate_json(json.dumps(written), strict=True)
        return cls.model_construct(
            text.model_fields_set,
            **dict(text),
            directory=directory,
            inputs=inputs,
            plugins=plugins,
        )

    def with_seeds(self, seeds: tuple[int, ...]) -> Scenario:
        """Take other seeds instead of the scenario's."""
        return self._with(seeds=seeds)

    def with_axes(self, axes: Mapping[str, tuple[JsonValue, ...]]) -> Scenario:
        """Take other values on the axes, or other axes."""
        return self._with(axes=dict(axes))

    def only(self, policies: tuple[str, ...]) -> Scenario:
        """Keep these policies, in the scenario's order, and what concerns them."""
        gone = set(self.policies) - set(policies)
        kept = {name: spec for name, spec in self.policies.items() if name not in gone}
        lost = {f"policies.{name}" for name in gone}
        axes = {
            path: values
            for path, values in self.axes.items()
            if ".".join(path.split(".")[:2]) not in lost
        }
        expect = tuple(e.text for e in self.expectations if e.policy not in gone)
        changed = self._with(policies=kept, axes=axes, expect=expect)
        changed.__pydantic_fields_set__ &= self.model_fields_set
        return changed

    def _with(self, **changes: Any) -> Scenario:
        """Copy all but what is cached."""
        fields = self.model_fields_set | set(changes)
        return Scenario.model_construct(fields, **{**dict(self), **changes})

    def at(self, values: Mapping[str, JsonValue]) -> Scenario:
        """Put a value at each path, as if it had been written there; the axes are then gone."""
        data = self.written
        data.pop("axes", None)
        for path, value in values.items():
            data = with_values(data, resolve(data, path), value)
        return self.from_written(data, self.directory, self.inputs, self.plugins)

    def trials(self) -> Iterator[Trial]:
        """Expand policies x axes x seeds, in this order."""
        # A trial is sent to where it is carried out; it need not know of all seeds.
        lean = self.with_seeds(self.seeds[:1])
        points: list[tuple[Point, Scenario]] = []
        for values in itertools.product(*self.axes.values()):
            chosen = dict(zip(self.axes, values, strict=True))
            point = tuple((path, as_text(value)) for path, value in chosen.items())
            points.append((point, lean.at(chosen)))
        for policy in self.policies:
            for point, scenario in points:
                for seed in self.seeds:
                    yield Trial(scenario, policy, point, seed)


@dataclass(frozen=True)
class Trial:
    """One simulation: a scenario without axes, one of its policies, one seed."""

    scenario: Scenario
    policy: str
    point: Point
    """Where on the axes the scenario was taken; it is applied already."""
    seed: int

    @property
    def spec(self) -> PolicySpec:
        """The policy under trial."""
        return self.scenario.policies[self.policy]

    @property
    def profile(self) -> str:
        """The kernel under trial: the policy's, else the machine's."""
        return self.spec.profile or self.scenario.machine.profile

    @property
    def keeps_map(self) -> bool:
        """Whether a map of its memory is kept."""
        wanted = self.scenario.record.map
        return not self.point if wanted is None else wanted

    @property
    def parts(self) -> dict[str, str]:
        """SHA-256 of each part of what decides the outcome."""
        own = {"axis point": sha256(self.point), "seed": sha256(self.seed)}
        return {**self.scenario.policy_parts[self.policy], **own}

    @cached_property
    def name(self) -> str:
        """SHA-256 of all its parts: the same trial in two runs has the same name."""
        return sha256(self.parts)


def as_text(value: JsonValue) -> str:
    """Write the value of an axis as a table shows it."""
    return value if isinstance(value, str) else json.dumps(value)


def engine_digest(scenario: Scenario, policy: str) -> str:
    """SHA-256 of the sources that decide the outcome of a policy's trials, and numpy's version."""
    kinds = sorted({spec.kind for spec in scenario.workloads.values()})
    placement = scenario.policies[policy].placement
    own = sources_digest(placement, tuple(kinds))
    chosen = {"policies": {placement}, "workloads": set(kinds)}
    outside = [
        (plugin.folder, plugin.name, plugin.sha256)
        for plugin in scenario.plugins
        if plugin.name in chosen.get(plugin.folder, {plugin.name})
    ]
    return sha256([own, outside]) if outside else own
