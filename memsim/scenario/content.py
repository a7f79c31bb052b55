"""Names by content: digests of input files and of memsim's own sources."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path

ENGINE = (
    "bootup", "errors", "kernels", "memory", "metrics", "mm", "mm_init", "plugins", "policies",
    "profiles", "scenario", "schema", "simulate", "snapshot", "traces", "units", "workloads",
)  # fmt: skip
"""The modules that ``simulate`` stands on: a change elsewhere leaves results as they are."""


def canonical_json(data: object) -> str:
    """Write plain data in the one way that is hashed: sorted keys, no spaces, ASCII."""
    return json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def sha256(data: object) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256([[p.relative_to(path).as_posix(), digest_path(p)] for p in files])


@cache
def sources_digest(placement: str, kinds: tuple[str, ...]) -> str:
    """SHA-256 of the sources that simulate, without the plug-ins that are not in use.

    numpy's version counts too: a minor version may change what a generator draws.
    """
    package = Path(__file__).parents[1]
    idle = {*(package / "policies").glob("[!_]*.py"), *(package / "workloads").glob("[!_]*.py")}
    idle -= {package / f"policies/{placement}.py"}
    idle -= {package / f"workloads/{kind}.py" for kind in kinds}
    sources = {
        path
        for name in ENGINE
        for path in (package / f"{name}.py", *(package / name).rglob("*.py"))
        if path.is_file()
    }
    digests = [[p.relative_to(package).as_posix(), digest_path(p)] for p in sorted(sources - idle)]
    return sha256([digests, version("numpy").split(".")[:2]])
