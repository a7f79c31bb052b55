"""Where a Memory begins: a capture's snapshot, or a machine that has just booted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from memsim.errors import InputError, Problem
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.balancing import demote_to, know_slower
from memsim.memory.boot import boot
from memsim.memory.boot_2005 import boot_2005
from memsim.memory.pressure import pressure_arrays, pressure_of
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.memory.undetermined import draw_pins, draw_undetermined
from memsim.mm import ZoneType
from memsim.mm_init.memory_tiers import demotion_targets
from memsim.policies import Kernel, kernel_with
from memsim.profiles import PROFILES
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine
from memsim.snapshot.observed import is_folder_of_copies, observe
from memsim.snapshot.state import draw_state
from memsim.traces.capture import find_state, read_snapshot

SNAPSHOT_KEY = (1,)
"""Sets what is drawn of a snapshot apart from the streams of workloads."""


def kernel_of(machine: Machine, profile: str) -> Kernel:
    """Say what a policy may know of the kernel that a machine runs."""
    return kernel_with(PROFILES[profile].mechanism, machine.max_page_order)


def start(
    machine: Machine,
    profile: str,
    cmdline: Cmdline,
    tables: PolicyTables,
    directory: str,
    seed: int = 0,
) -> Memory:
    """Build the memory that a scenario begins with: a booted machine's, a capture's, a snapshot's.

    It reclaims, swaps and compacts. ``profile`` is the kernel under trial; ``directory`` is what
    ``machine.from_`` is relative to; what a snapshot does not tell is drawn from ``seed``. Raises
    InputError for a machine that cannot boot and for a folder without a start state.
    """
    if machine.from_ is None:
        memory = _booted(machine, profile, cmdline, tables)
    else:
        folder = Path(directory, machine.from_)
        memory = _taken_over(folder, tables, machine.vm.watermark_boost_factor, seed)
    if machine.nodes:
        memory.setup = replace(memory.setup, distances=machine.distance_matrix)
    put_under_pressure(memory, replace(pressure_of(machine), lumpy=PROFILES[profile].lumpy))
    _know_tiers(memory, machine)
    return memory


def _know_tiers(memory: Memory, machine: Machine) -> None:
    """Say which nodes are slower, and whether reclaim demotes pages to them."""
    targets = demotion_targets(
        [len(node.cpus) for node in machine.nodes],
        [node.total for node in machine.nodes],
        machine.distance_matrix,
    )
    for node, slower in enumerate(targets):
        if machine.vm.demotion_enabled:
            demote_to(memory, node, slower)
        else:
            know_slower(memory, node, slower)


def put_under_pressure(memory: Memory, pressure: Pressure) -> None:
    """Let a Memory in which nothing has happened yet reclaim, swap and compact."""
    memory.setup = replace(memory.setup, pressure=pressure)
    arrays = pressure_arrays(memory.setup, memory.nr_pages)
    memory.mem = memory.mem._replace(
        swap_map=arrays["swap_map"],
        nodes=arrays["nodes"],
        system=arrays["system"],
        access_ps=arrays["access_ps"],
    )


def _booted(machine: Machine, profile: str, cmdline: Cmdline, tables: PolicyTables) -> Memory:
    if PROFILES[profile].mechanism == "linux-6.1":
        return boot(machine, cmdline, tables)
    return boot_2005(machine, PROFILES[profile], cmdline, tables)


def _taken_over(folder: Path, tables: PolicyTables, boost_factor: int, seed: int) -> Memory:
    """Build the memory that a capture's start state shows, or that copies of /proc allow."""
    if find_state(folder, "start") is not None:
        state, pages = read_snapshot(folder / "start")
        return restore(state, tables, boost_factor, pages=pages)
    if not is_folder_of_copies(folder):
        message = "has no start/state.txt, plain or gzip, and no copies of /proc"
        hint = "memsim snapshot makes a folder of copies"
        raise InputError([Problem(str(folder), 0, 0, message, hint)])
    chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=SNAPSHOT_KEY))
    seen = observe(folder)
    drawn = draw_state(seen, chance).snapshot
    memory = restore(drawn.state, tables, boost_factor, pages=drawn.pages)
    draw_undetermined(memory, drawn, chance)
    for node, pins in seen.pins:
        # Pages of ZONE_MOVABLE are moved out of it when they are pinned for long.
        zones = [z for z in memory.setup.zones if z.node == node and z.zone_type < ZoneType.MOVABLE]
        draw_pins(memory, zones, pins, chance)
    return memory
