"""How cost grows: with the machine, with the number of events; and what an empty machine costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import full_path
from bench.start_up import MEMSIM, ROOT
from memsim.mm import PAGE_SIZE

GIB = 1 << 30
EVENTS = 2_000_000
SIZES = tuple(gib * GIB for gib in (4, 16, 64, 256, 1024))
COUNTS = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
TERABYTE = Path(__file__).with_name("terabyte.yaml")

EMPTY_MACHINE = """
import time
from bench.full_path import machine, resident_bytes, warm_up
warm_up()
before, begin = resident_bytes(), time.perf_counter()
memory = machine({size})
print(time.perf_counter() - begin, resident_bytes() - before)
"""


class Run(NamedTuple):
    """What a whole process took."""

    seconds: float
    """Wall time from start to end."""
    peak_bytes: int


def empty_machine(size: int) -> tuple[float, int]:
    """Boot a machine in a new process; return wall seconds and by how much the process grew."""
    script = EMPTY_MACHINE.format(size=size)
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    seconds, grown = printed.split()
    return float(seconds), int(grown)


def by_size(sizes: tuple[int, ...]) -> list[float]:
    """Return the ns per event of a mix on machines of these sizes, 60 to 80 % in use."""
    return [full_path.ns_per_event(size, EVENTS, 1)[0] for size in sizes]


def by_count(counts: tuple[int, ...]) -> list[float]:
    """Return the seconds of CPU time that so many events take at 4 GiB."""
    events, filled, handles = full_path.mixed_events(4 * GIB // PAGE_SIZE, max(counts))
    full_path.warm_up()
    seconds = []
    for count in counts:
        memory = full_path.machine(4 * GIB)
        memory.add_handles(handles)
        memory.run(*events.part(0, filled))
        ns = full_path.timed(memory, events.part(filled, filled + count))
        seconds.append(ns * count / 1e9)
    return seconds


def exponent(x: tuple[int, ...], y: list[float]) -> float:
    """Return the k of the power law y ~ x^k that fits best, in logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def terabyte() -> Run:
    """Run the scenario of 1 TiB and 10^8 events from the command line, generation included."""
    with tempfile.TemporaryDirectory() as results:
        command = [str(MEMSIM), "run", str(TERABYTE), "--out", results]
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - begin
    assert child.returncode == 0
    return Run(took, usage.ru_maxrss * 1024)
