"""Names by content: digests of input files and of memsim's own sources."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path


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
    """SHA-256 of memsim's sources, without the command line and the plug-ins not in use."""
    package = Path(__file__).parents[1]
    idle = {*(package / "policies").glob("[!_]*.py"), *(package / "workloads").glob("[!_]*.py")}
    idle -= {package / f"policies/{placement}.py"}
    idle -= {package / f"workloads/{kind}.py" for kind in kinds}
    sources = {path for path in package.rglob("*.py") if package / "cli" not in path.parents}
    return sha256(
        [[p.relative_to(package).as_posix(), digest_path(p)] for p in sorted(sources - idle)]
    )
