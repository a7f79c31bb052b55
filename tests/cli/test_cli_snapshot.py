"""``memsim snapshot``: a folder with a scenario that runs, from copies of /proc and /sys."""

import shutil
import subprocess
from pathlib import Path

import pytest
from architecture.source_tree import ROOT
from click.testing import CliRunner

from memsim.cli import main
from memsim.snapshot.observed import observe

IDLE = ROOT / "tests/data/captures/e1/n2kc"


def call(*args):
    outcome = CliRunner().invoke(main, [str(arg) for arg in args])
    return outcome.exit_code, outcome.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshot") / "host"
    code, output = call("snapshot", "--from", IDLE, "-o", folder)
    assert code == 0, output
    return folder, output


def test_it_says_what_is_missing_contradictory_and_drawn(made):
    _, output = made
    assert "/proc/kpagecount is not there" in output
    assert "node 1, zone Normal: buddyinfo has 27,045 free pages, kpageflags 27,029" in output
    assert "owners and reference counts" in output


def test_the_scenario_says_so_too_and_runs(made, tmp_path):
    folder, _ = made
    text = (folder / "snapshot.yaml").read_text()
    assert "# - /proc/kpagecount is not there" in text
    assert "  from: state\n  block_size: 128MiB\n" in text
    args = ("--seeds", "1", "--set", "duration=1s", "--out", tmp_path / "results")
    code, output = call("run", folder / "snapshot.yaml", *args)
    assert code == 0, output


def test_its_copies_say_what_the_originals_said(made):
    ours, theirs = observe(made[0] / "state"), observe(IDLE)
    assert ours.differences == theirs.differences
    assert ours.system == theirs.system
    assert (ours.flags == theirs.flags).all()


def test_unplug_says_of_it_what_is_seen_and_what_the_simulation_does(made):
    folder, _ = made
    code, seen = call("unplug", folder / "snapshot.yaml")
    assert code == 0
    assert "| 37 |  | no | is in more than one zone |" in seen
    code, both = call("unplug", folder / "snapshot.yaml", "--block", 40, "--at", "0s")
    assert code == 0
    assert "| 40 | node1 Movable | no obstacle seen |" in both
    assert "# 128MiB of 128MiB can go" in both


def test_nothing_is_replaced_without_force(made):
    code, output = call("snapshot", "--from", IDLE, "-o", made[0])
    assert code == 2
    assert "exists already" in output


def test_force_replaces_a_snapshot_and_nothing_else(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").write_text("dear")
    code, output = call("snapshot", "--from", IDLE, "-o", tmp_path / "mine", "--force")
    assert code == 2
    assert "has no snapshot.yaml, so it is not replaced" in output
    (tmp_path / "mine/snapshot.yaml").write_text("old")
    assert call("snapshot", "--from", IDLE, "-o", tmp_path / "mine", "--force")[0] == 0
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["snapshot.yaml", "state"]


def test_a_truncated_copy_leaves_nothing_behind(tmp_path):
    shutil.copytree(IDLE, tmp_path / "copies")
    path = tmp_path / "copies/zoneinfo.txt"
    path.write_text(path.read_text()[:3000])
    code, output = call("snapshot", "--from", tmp_path / "copies", "-o", tmp_path / "out")
    assert code == 2
    assert "zoneinfo.txt:" in output
    assert [entry.name for entry in tmp_path.iterdir()] == ["copies"]


def script():
    text = (ROOT / "docs/traces.md").read_text()
    return text.split("```sh\n#!/bin/sh")[1].split("```")[0]


def test_the_script_for_machines_without_python_copies_what_is_needed(tmp_path):
    root = tmp_path / "root"
    system = root / "sys/devices/system"
    for name in ("node/node0/memory0", "memory/memory0"):
        (system / name).mkdir(parents=True)
    (system / "memory/block_size_bytes").write_text("8000000\n")
    (system / "memory/memory0/state").write_text("online\n")
    (system / "memory/memory0/valid_zones").write_text("DMA32\n")
    (system / "node/node0/cpulist").write_text("0\n")
    (system / "node/node0/distance").write_text("10\n")
    (root / "proc").mkdir()
    for name in ("buddyinfo", "zoneinfo", "pagetypeinfo", "vmstat", "meminfo"):
        shutil.copy(IDLE / f"{name}.txt", root / "proc" / name)
    raw = subprocess.run(
        ["gzip", "-dc", IDLE / "kpageflags.bin.gz"], capture_output=True, check=True
    ).stdout
    (root / "proc/kpageflags").write_bytes(raw)
    assert len(script().strip().splitlines()) <= 14
    done = subprocess.run(["sh", "-c", script(), "sh", "copies", root], cwd=tmp_path, check=False)
    assert done.returncode == 0
    seen = observe(Path(tmp_path / "copies"))
    assert seen.system.blocks == ((0, 0, True, "DMA32"),)
    assert seen.system.cpu_node == (0,)
    assert (seen.flags == observe(IDLE).flags).all()
    assert seen.missing == ("/proc/kpagecount is not there",)
