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


def _seconds(*arguments: str, **environment: str) -> float:
    """Run memsim and return the wall time in seconds; it must succeed."""
    begin = time.perf_counter()
    subprocess.run(
        [str(MEMSIM), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        cwd=ROOT,
    )
    return time.perf_counter() - begin


def help_text() -> float:
    """Time ``memsim --help``."""
    return _seconds("--help")


def warm_start() -> float:
    """Time a run of the smallest scenario whose kernels are in the cache."""
    with tempfile.TemporaryDirectory() as results:
        return _seconds("run", "tiny", "--out", results)


def cold_compile() -> float:
    """Time ``memsim warmup`` with an empty cache: all kernels are compiled."""
    with tempfile.TemporaryDirectory() as cache:
        return _seconds("warmup", MEMSIM_CACHE_DIR=cache)
