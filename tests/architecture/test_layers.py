"""Imports point down only, and names side by side do not import each other."""

from pathlib import Path

import pytest
from architecture.source_tree import ROOT, imports, python_files

LAYERS = """
    mm units errors statistics chances
    kernels profiles
    scenario schema mm_init
    plugins bootup
    policies metrics traces
    workloads snapshot
    rules
    memory
    simulate warmup conformance
    load results
    execute
    compare check verify
    plots
    explain solve fidelity report fit export
    cli
"""
RANK = {name: rank for rank, row in enumerate(LAYERS.split("\n")) for name in row.split()}
SIDEWAYS = {("report", "explain")}
FACADE = {"__init__", "__main__"}
"""memsim/__init__.py offers names from anywhere, and all may ask it for the version."""


def layer_of(path: Path) -> str:
    """The first name below memsim/: ``kernels`` for memsim/kernels/buddy.py."""
    return path.parts[1].removesuffix(".py")


def layer_of_module(module: str) -> str | None:
    """The layer that an import reaches, None outside memsim and for the package itself."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if package == "memsim" and name and not name.startswith("__") else None


def layer_faults(root: Path) -> list[str]:
    """One line for every import that does not point down."""
    faults = []
    for path in python_files(root):
        source = layer_of(path.relative_to(root))
        if source in FACADE:
            continue
        if source not in RANK:
            faults.append(f"{path.relative_to(root)} has no layer")
            continue
        for one in imports(root, path):
            target = layer_of_module(one.module)
            if target is None or target == source or (source, target) in SIDEWAYS:
                continue
            if target not in RANK or RANK[target] >= RANK[source]:
                faults.append(f"{one}, which is not below {source}")
    return faults


def test_imports_point_down():
    assert python_files(ROOT)
    assert layer_faults(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        pytest.param(
            "memory.py", "from memsim.simulate import simulate\n", "memsim.simulate", id="up"
        ),
        pytest.param("memory.py", "import memsim.cli\n", "memsim.cli", id="plain import"),
        pytest.param("memory.py", "from memsim import execute\n", "memsim.execute", id="from root"),
        pytest.param("memory.py", "from . import execute\n", "memsim.execute", id="relative"),
        pytest.param(
            "kernels/buddy.py", "from ..memory import Memory\n", "memsim.memory", id="two dots"
        ),
        pytest.param(
            "memory.py",
            "def late():\n    from memsim.results import save\n",
            "memsim.results",
            id="lazy",
        ),
        pytest.param(
            "memory.py", "import_module('memsim.plots')\n", "memsim.plots", id="by its name"
        ),
        pytest.param("scenario.py", "import memsim.schema\n", "memsim.schema", id="side by side"),
        pytest.param(
            "explain.py", "import memsim.report\n", "memsim.report", id="report's inverse"
        ),
        pytest.param("odds.py", "", "no layer", id="unknown file"),
        pytest.param("memory.py", "import memsim.odds\n", "memsim.odds", id="unknown target"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, file, text, fault):
    path = tmp_path / "memsim" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (found,) = layer_faults(tmp_path)
    assert fault in found


def test_right_imports_pass(tmp_path):
    package = tmp_path / "memsim"
    package.mkdir()
    (package / "__init__.py").write_text("from memsim.execute import run\n")
    (package / "report.py").write_text("import numpy\nfrom memsim import explain, __version__\n")
    assert layer_faults(tmp_path) == []
