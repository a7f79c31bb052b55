"""Each heavy dependency has one door, and kernels know nothing of memsim but mm."""

from pathlib import Path

import pytest
from architecture.source_tree import ROOT, imports, python_files

ABOVE_RESULTS = "results execute compare check plots explain solve fidelity report fit snapshot"
PANDAS = tuple(f"memsim/{name}{end}" for name in ABOVE_RESULTS.split() for end in (".py", "/"))
DOORS = {
    "numba": ("memsim/kernels/_jit.py",),
    "llvmlite": ("memsim/kernels/_jit.py",),
    "yaml": ("memsim/load/",),
    "click": ("memsim/cli/",),
    "distributed": ("memsim/execute/dask_cluster.py",),
    "dask": ("memsim/execute/dask_cluster.py",),
    "scipy": ("memsim/statistics.py",),
    "psutil": ("memsim/execute/estimate.py",),
    "altair": ("memsim/plots/",),
    "vl_convert": ("memsim/plots/",),
    "jinja2": ("memsim/report/",),
    "pandas": (*PANDAS, "memsim/cli/"),
}


def door_faults(root: Path) -> list[str]:
    """One line for every import that does not go through its door."""
    faults = []
    for path in python_files(root):
        where = path.relative_to(root).as_posix()
        for one in imports(root, path):
            doors = DOORS.get(one.module.partition(".")[0])
            if doors and not any(where.startswith(door) for door in doors):
                faults.append(f"{one}, whose door is {', '.join(doors)}")
            elif where.startswith("memsim/kernels/") and not _kernels_may(one.module):
                faults.append(f"{one}: kernels know memsim.mm only")
    return faults


def _kernels_may(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package != "memsim" or rest.partition(".")[0] in {"mm", "kernels"}


def test_doors_are_used():
    assert any(one.module.startswith("numba") for one in _all_imports()), "nothing was scanned"
    assert door_faults(ROOT) == []


def _all_imports():
    return [one for path in python_files(ROOT) for one in imports(ROOT, path)]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param("kernels/buddy.py", "from numba import njit\n", id="numba"),
        pytest.param("memory.py", "def f():\n    import llvmlite.ir\n", id="llvmlite, lazily"),
        pytest.param("scenario.py", "import yaml\n", id="yaml"),
        pytest.param("simulate.py", "from click import echo\n", id="click"),
        pytest.param("results.py", "from dask.distributed import Client\n", id="dask"),
        pytest.param("execute.py", "import altair as alt\n", id="altair"),
        pytest.param("workloads/replay.py", "import pandas as pd\n", id="pandas"),
        pytest.param("load.py", "import pandas\n", id="pandas beside results"),
        pytest.param("kernels/buddy.py", "from memsim.schema import Stream\n", id="schema"),
        pytest.param("kernels/buddy.py", "from ..errors import Problem\n", id="errors, relative"),
    ],
)
def test_a_wrong_door_is_found(tmp_path, file, text):
    path = tmp_path / "memsim" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert len(door_faults(tmp_path)) == 1


def test_the_doors_themselves_pass(tmp_path):
    (tmp_path / "memsim/kernels").mkdir(parents=True)
    (tmp_path / "memsim/kernels/_jit.py").write_text("import numba\nfrom memsim.mm import Gfp\n")
    (tmp_path / "memsim/results.py").write_text("import pandas\n")
    assert door_faults(tmp_path) == []
