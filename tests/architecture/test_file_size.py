"""No file outgrows one idea, and none is named after nothing in particular."""

import ast
import re
from pathlib import Path

import pytest
from architecture.source_tree import ROOT, python_files

MAX_LINES = 400
VAGUE_FILE = re.compile(r"(.*_)?(utils?|helpers?|common|misc)|base(_.*)?")
VAGUE_CLASS = re.compile(r".*Manager")


def size_faults(root: Path) -> list[str]:
    """Files of the package above the limit."""
    sizes = {path: len(path.read_text().splitlines()) for path in python_files(root)}
    return [f"{path.relative_to(root)}: {n} lines" for path, n in sizes.items() if n > MAX_LINES]


def name_faults(root: Path) -> list[str]:
    """Files, folders and classes whose name says nothing."""
    faults = []
    for path in python_files(root):
        where = path.relative_to(root)
        faults += [f"{where}: {part}" for part in where.with_suffix("").parts if _vague(part)]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and VAGUE_CLASS.fullmatch(node.name):
                faults.append(f"{where}:{node.lineno}: {node.name}")
    return faults


def _vague(part: str) -> bool:
    return VAGUE_FILE.fullmatch(part.lower()) is not None


def test_files_are_short():
    assert python_files(ROOT)
    assert size_faults(ROOT) == []


def test_names_say_something():
    assert name_faults(ROOT) == []


def test_a_long_file_is_found(tmp_path):
    (tmp_path / "memsim").mkdir()
    (tmp_path / "memsim/fits.py").write_text("\n" * MAX_LINES)
    assert size_faults(tmp_path) == []
    (tmp_path / "memsim/long.py").write_text("\n" * (MAX_LINES + 1))
    assert size_faults(tmp_path) == ["memsim/long.py: 401 lines"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("utils.py", ""),
        ("trace_helpers.py", ""),
        ("base_policy.py", ""),
        ("utils/zones.py", ""),
        ("zones.py", "class ZoneManager:\n    pass\n"),
    ],
)
def test_a_vague_name_is_found(tmp_path, file, text):
    path = tmp_path / "memsim" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(name_faults(tmp_path)) == 1
