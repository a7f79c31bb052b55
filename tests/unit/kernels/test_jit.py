"""Where compiled kernels are kept, and that none is ever stale."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from backend import MachineSpec, ZoneSpec
from kernel_backend import KernelMachine
from numpy.typing import NDArray

import memsim
from memsim.kernels import _jit

PACKAGE = Path(memsim.__file__).parent
BOOT = """
import tempfile; tempfile.tempdir = {temporary!r}
from kernel_backend import KernelMachine
from backend import MachineSpec, ZoneSpec
from memsim.kernels import _jit
memory = KernelMachine(MachineSpec((ZoneSpec(0, 4096, ()),))).memory
memory.free_boot_range(0, 1, 4096)
print(_jit.CACHE is not None, [memory.free_list(0, o, 1).tolist() for o in range(11)])
"""


class Table(NamedTuple):
    """Arrays whole and in columns, and a number."""

    whole: NDArray[np.int64]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    step: int


@_jit.helper
def move(t, i):
    """Move an element from the last column to the first; note its number."""
    t.first[i] = int(t.last[i]) + t.step
    t.last[i] = 0
    t.whole[i] += i


@_jit.kernel
def move_all(table):
    """Move each element; return what the first column then holds."""
    t = _jit.pointers(table)
    total = 0
    for i in range(5):
        move(t, i)
        total += int(t.first[i])
    return total


def run_boot(folder, temporary, **env):
    """Boot a small zone with the memsim in ``folder``; return what it printed."""
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(folder), str(tests)])
    return subprocess.run(
        [sys.executable, "-c", BOOT.format(temporary=str(temporary))],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "NUMBA_DISABLE_JIT": "0", **env},
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    ).stdout


def test_an_edited_callee_is_compiled_again(tmp_path):
    copy = tmp_path / "memsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    env = {"MEMSIM_CACHE_DIR": str(tmp_path / "cache")}
    before = run_boot(tmp_path, tmp_path, **env)
    assert "[1024, 2048, 3072]" in before
    assert run_boot(tmp_path, tmp_path, **env) == before
    buddy = copy / "kernels" / "buddy.py"
    text = buddy.read_text()
    assert text.count("tail or buddy_merge_likely") == 1
    buddy.write_text(text.replace("tail or buddy_merge_likely", "buddy_merge_likely"))
    assert "[3072, 2048, 1024]" in run_boot(tmp_path, tmp_path, **env)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_without_a_place_for_the_cache_kernels_still_run():
    nowhere = "/proc/nowhere"
    env = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "MEMSIM_CACHE_DIR": nowhere}
    printed = run_boot(PACKAGE.parent, nowhere, **env)
    assert printed.startswith("False [[1], [2], [4]")


def test_the_cache_is_private_and_named_by_the_sources(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMSIM_CACHE_DIR", str(tmp_path / "deep" / "cache"))
    directory = _jit.cache_directory()
    assert directory.parent == tmp_path / "deep" / "cache"
    assert directory.name.startswith(_jit.source_hash())
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("file", ["kernels/linux_2_6_14/pcp.py", "kernels/pcp.py", "mm.py"])
def test_every_source_of_the_kernels_counts(tmp_path, monkeypatch, file):
    copy = tmp_path / "memsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_jit, "_HERE", copy / "kernels")
    before = _jit.source_hash()
    with (copy / file).open("a") as source:
        source.write("ONE_MORE = 1\n")
    assert _jit.source_hash() != before


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMSIM_CACHE_DIR", str(tmp_path / "theirs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert _jit.cache_directory() is None


def test_helpers_share_a_tuple_of_columns_with_their_kernel():
    rows = np.arange(5 * _jit.COLUMNS, dtype=np.int32).reshape(5, _jit.COLUMNS)
    expected = rows.copy()
    expected[:, 0], expected[:, -1] = rows[:, -1] + 7, 0
    table = Table(np.full(5, 100), rows[:, 0], rows[:, -1], 7)
    assert move_all(table) == expected[:, 0].sum()
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(table.whole, 100 + np.arange(5))


def test_columns_of_pages_lie_as_kernels_expect():
    memory = KernelMachine(MachineSpec((ZoneSpec(0, 1024, ()),))).memory
    for mem in (memory.mem, memory.copy().mem):
        columns = mem.state, mem.rmap, mem.next, mem.prev
        assert {column.strides for column in columns} == {(4 * _jit.COLUMNS,)}
        assert [column[-1] for column in columns[2:]] == 2 * [len(mem.next) - 1]
    assert not np.shares_memory(memory.mem.rmap, mem.rmap)


def test_the_rows_of_four_buddies_share_a_cache_line():
    memories = [KernelMachine(MachineSpec((ZoneSpec(0, n, ()),))).memory for n in (1024, 4096)]
    assert {memory.mem.state.ctypes.data % 64 for memory in memories} == {0}
