"""Where a Memory begins: a capture's snapshot, or a machine that has just booted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from memsim.errors import InputError, Problem
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.boot import boot
from memsim.memory.boot_2005 import boot_2005
from memsim.memory.pressure import pressure_arrays, pressure_of
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.policies import Kernel, kernel_with
from memsim.profiles import PROFILES
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine
from memsim.traces.capture import find_state, read_snapshot


def kernel_of(machine: Machine, profile: str) -> Kernel:
    """Say what a policy may know of the kernel that a machine runs."""
    return kernel_with(PROFILES[profile].mechanism, machine.max_page_order)


def start(
    machine: Machine, profile: str, cmdline: Cmdline, tables: PolicyTables, directory: str
) -> Memory:
    """Build the memory that a scenario begins with: a booted machine's, or a capture's.

    It reclaims, swaps and compacts. ``profile`` is the kernel under trial; ``directory`` is what
    ``machine.from_`` is relative to. Raises InputError for a machine that cannot boot and for a
    folder without a start state.
    """
    memory = _at_rest(machine, profile, cmdline, tables, directory)
    if machine.nodes:
        memory.setup = replace(memory.setup, distances=machine.distance_matrix)
    put_under_pressure(memory, replace(pressure_of(machine), lumpy=PROFILES[profile].lumpy))
    return memory


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


def _at_rest(
    machine: Machine, profile: str, cmdline: Cmdline, tables: PolicyTables, directory: str
) -> Memory:
    if machine.from_ is None:
        if PROFILES[profile].mechanism == "linux-6.1":
            return boot(machine, cmdline, tables)
        return boot_2005(machine, PROFILES[profile], cmdline, tables)
    folder = Path(directory, machine.from_)
    if find_state(folder, "start") is None:
        raise InputError([Problem(str(folder), 0, 0, "has no start/state.txt, plain or gzip")])
    state, pages = read_snapshot(folder / "start")
    return restore(state, tables, machine.vm.watermark_boost_factor, pages=pages)
