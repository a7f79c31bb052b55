"""The C beside the benchmarks: compiled on first use, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

HERE = Path(__file__).parent
CACHE = HERE.parent / "results" / "bench" / ".cache"
COMPILE = ("cc", "-O3", "-march=native", "-shared", "-fPIC")


@cache
def library(source: str) -> ctypes.CDLL:
    """Return ``bench/<source>`` as a library, built again when its text has changed."""
    path = HERE / source
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    built = CACHE / f"{path.stem}-{digest}.so"
    if not built.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = built.with_suffix(".new")
        subprocess.run([*COMPILE, str(path), "-o", str(fresh)], check=True)
        fresh.replace(built)
    return ctypes.CDLL(str(built))


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    """Return where an array's elements lie; the caller keeps the array alive."""
    return ctypes.c_void_p(array.ctypes.data)
