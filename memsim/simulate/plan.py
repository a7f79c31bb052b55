"""What a trial is made of: its policy's tables, its CPUs, and what its workloads will ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim import plugins
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.memory.start import kernel_of
from memsim.mm import PAGE_SIZE
from memsim.policies._validity import tables_of
from memsim.scenario import Scenario, Trial, WorkloadSpec
from memsim.schema import Stream
from memsim.simulate.probes import event_streams
from memsim.workloads import Context
from memsim.workloads._validity import stream_of

Cpus = Mapping[int, tuple[int, ...]]
"""Of each node."""


def plan_streams(
    trial: Trial, zones: Sequence[ZoneSetup], cpus: Cpus
) -> tuple[list[str], list[Stream]]:
    """Plan what workloads and attempts will ask for; return their names and a stream for each."""
    scenario = trial.scenario
    pages: dict[int, int] = {}
    for zone in zones:
        pages[zone.node] = pages.get(zone.node, 0) + zone.present
    # By name, not as written: a trial's name does not know the order of its workloads.
    names = sorted(scenario.workloads)
    streams = [
        _workload_stream(trial, name, scenario.workloads[name], pages, cpus) for name in names
    ]
    memory = sum(zone.managed for zone in zones) * PAGE_SIZE
    phases, attempts = event_streams(scenario.events, scenario.duration, cpus, memory)
    return names + phases, streams + attempts


def _workload_stream(
    trial: Trial, name: str, spec: WorkloadSpec, pages: dict[int, int], cpus: Cpus
) -> Stream:
    context = Context(
        name=name,
        duration_ns=trial.scenario.duration,
        rng=generator(trial.seed, name),
        cpus=dict(cpus),
        pages=pages,
        directory=trial.scenario.directory,
    )
    return stream_of(spec.kind, plugins.build("workloads", spec.kind, spec.params), context)


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one workload: they depend on the seed and its name only."""
    words: NDArray[Any] = np.frombuffer(hashlib.sha256(name.encode()).digest(), ">u4")
    sequence = np.random.SeedSequence([seed, *words.tolist()])
    return np.random.Generator(np.random.PCG64(sequence))


def order_of(size: int) -> int:
    """Return the order of the smallest block that holds so many bytes."""
    return (size // PAGE_SIZE - 1).bit_length()


def tables_of_trial(trial: Trial) -> PolicyTables:
    """Build the tables of the policy under trial; raises what ``simulate`` raises."""
    name = trial.spec.placement
    kernel = kernel_of(trial.scenario.machine, trial.profile)
    return tables_of(name, plugins.build("policies", name, trial.spec.options), kernel)


def cpus_of_nodes(trial: Trial, memory: Memory) -> dict[int, tuple[int, ...]]:
    """Return the CPUs of each node."""
    if trial.scenario.machine.nodes:
        return {node.id: node.cpus for node in trial.scenario.machine.nodes}
    cpu_node = memory.setup.cpu_node
    return {
        node: tuple(cpu for cpu, home in enumerate(cpu_node) if home == node)
        for node in range(len(memory.setup.zonelists))
    }


def with_what_is_to_go(setup: MachineSetup, scenario: Scenario) -> MachineSetup:
    """Add the memory that events take offline to what is meant to be removed."""
    ranges = list(setup.hotpluggable)
    pages = scenario.machine.memory_block_size // PAGE_SIZE
    for event in scenario.events:
        if event.do == "offline":
            ranges += [(block * pages, (block + 1) * pages) for block in event.blocks]
            mine = [zone for zone in setup.zones if zone.node == event.node]
            ranges += [piece for zone in mine for piece in zone.pieces]
    return replace(setup, hotpluggable=tuple(_apart(ranges)))


def _apart(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what ranges cover, no part of it twice."""
    covered = 0
    for start, end in sorted(ranges):
        if end > max(start, covered):
            yield max(start, covered), end
        covered = max(covered, end)


def machine_notes(trial: Trial) -> tuple[str, ...]:
    """Say what of a policy the machine cannot follow."""
    if trial.scenario.machine.from_ is None or not trial.spec.cmdline:
        return ()
    return (f"policy {trial.policy}: a machine taken from a capture keeps its own command line",)
