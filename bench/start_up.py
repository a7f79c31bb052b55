"""How long a user waits before anything happens; each measured in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEMSIM = Path(sys.executable).with_name("memsim")


FIRST_EVENTS = """
from memsim.load import find_scenario, load_scenario
from memsim.simulate import simulate

result = simulate(next(iter(load_scenario(find_scenario("tiny")).trials())))
assert result.status == "ok"
"""


def _seconds(*command: str, **environment: str) -> float:
    """Run a command and return the wall time in seconds; it must succeed."""
    begin = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        cwd=ROOT,
    )
    return time.perf_counter() - begin


def help_text() -> float:
    """Time ``memsim --help``."""
    return _seconds(str(MEMSIM), "--help")


def warm_start() -> float:
    """Time Python's start, imports, cached kernels and the first trial of the smallest scenario."""
    return _seconds(sys.executable, "-c", FIRST_EVENTS)


def whole_run() -> float:
    """Time the command that runs the smallest scenario, all trials, tables and answer included."""
    with tempfile.TemporaryDirectory() as results:
        return _seconds(str(MEMSIM), "run", "tiny", "--out", results)


def cold_compile() -> float:
    """Time ``memsim warmup`` with an empty cache: all kernels are compiled."""
    with tempfile.TemporaryDirectory() as cache:
        return _seconds(str(MEMSIM), "warmup", MEMSIM_CACHE_DIR=cache)
