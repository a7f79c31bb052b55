"""A stranger who clones the project has only the project: nothing reads what lies outside it."""

from pathlib import Path

import pytest
from architecture.source_tree import ROOT

PLACES = ("memsim", "tests", "scenarios", "bench", "Makefile", ".ci", "pyproject.toml")
NEEDLES = (b"../" + b"shared", b"/wo" + b"rk/")


def outside_faults(root: Path) -> list[str]:
    """Files that name a folder outside the project."""
    faults = []
    for path in files(root):
        content = path.read_bytes()
        faults += [f"{path.relative_to(root)}: {n.decode()}" for n in NEEDLES if n in content]
    return faults


def files(root: Path) -> list[Path]:
    """All files of the project that run or are read when it runs."""
    found = [root / place for place in PLACES if (root / place).is_file()]
    found += [p for place in PLACES for p in (root / place).rglob("*") if p.is_file()]
    return sorted(p for p in found if "__pycache__" not in p.parts)


def test_nothing_outside_is_read():
    assert {ROOT / "Makefile", ROOT / ".ci/run", ROOT / "memsim/mm.py"} <= set(files(ROOT))
    assert outside_faults(ROOT) == []


@pytest.mark.parametrize("needle", NEEDLES)
@pytest.mark.parametrize("file", ["Makefile", ".ci/run", "memsim/a.py", "tests/data/x/SOURCE"])
def test_a_path_outside_is_found(tmp_path, file, needle):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"see " + needle + b"spec")
    assert outside_faults(tmp_path) == [f"{file}: {needle.decode()}"]
