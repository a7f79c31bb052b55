"""``memsim run``: exit codes, formats, and what goes where."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from trials import SMALL

from memsim.cli import main
from memsim.execute import estimate
from memsim.scenario.expect import parse_expectation

FOOT = "not simulated: memcg"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a small scenario, to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def memsim(*args):
    return CliRunner().invoke(main, ["run", *args])


def test_the_answer_comes_first_then_files_then_conditions(desk):
    result = memsim("small.yaml")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "small     2 policies x 2 seeds   4 trials"
    assert lines[2].split() == ["none", "mobility"]
    assert any(line.startswith("  pageblocks.mixed") for line in lines)
    assert lines[-1].startswith("results/small/") and "seeds 1-2" in lines[-1]
    assert FOOT in lines[-1]
    (folder,) = (desk / "results/small").iterdir()
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "trials.csv", "high_order.csv", "oom.csv", "migration.csv", "hotplug.csv", "vmstat.csv",
        "timeline.parquet", "map.parquet",
        "scenario.yaml", "manifest.json", "scenario.json",
    }  # fmt: skip


def test_a_second_run_prints_the_same(desk):
    assert memsim("small.yaml").stdout == memsim("small.yaml").stdout


def test_options_choose_policies_seeds_values_and_place(desk):
    result = memsim(
        "small.yaml", "--policy", "mobility,none", "--seeds", "3..4", "--jobs", "2",
        "--out", "else", "--set", "workloads.app.anon=1MiB", "--check", "--format", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["seeds"] == [3, 4]
    assert list(data["rows"][0]["means"]) == ["none", "mobility"]
    assert data["folder"].startswith("else/small/")
    manifest = json.loads((desk / data["folder"] / "manifest.json").read_text())
    assert manifest["overrides"] == ["workloads.app.anon=1MiB", "seeds=3..4"]


def test_csv_is_for_programs(desk):
    result = memsim("small.yaml", "--format", "csv")
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(table[0]) == ["metric", "unit", "better", "none", "mobility"]
    assert all(float(row["none"]) >= 0 for row in table)
    assert FOOT in result.stderr and FOOT not in result.stdout


def test_markdown_is_a_table(desk):
    result = memsim("small.yaml", "--format", "markdown")
    head, rule, *rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert head == "| metric | none | mobility |"
    assert rule == "| --- | --: | --: |"
    assert rows and all(row.count("|") == 4 for row in rows)


def test_axes_part_the_table(desk):
    axes = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"
    (desk / "small.yaml").write_text(SMALL + axes)
    result = memsim("small.yaml", "--seeds", "1")
    assert "machine.vm.watermark_boost_factor = 0\n" in result.stdout
    assert "machine.vm.watermark_boost_factor = 15000\n" in result.stdout


def test_an_unmet_expectation_exits_with_1(desk):
    text = "allocation.success_ratio < 1% for none"
    assert parse_expectation(text).policy == "none"
    (desk / "small.yaml").write_text(SMALL + f'expect: ["{text}"]\n')
    result = memsim("small.yaml")
    assert result.exit_code == 1
    assert f"expect {text}: NOT met: holds in 0 of 2 seeds of none" in result.stdout


def test_a_met_expectation_exits_with_0(desk):
    (desk / "small.yaml").write_text(SMALL + 'expect: ["allocation.success_ratio >= 1%"]\n')
    result = memsim("small.yaml")
    assert result.exit_code == 0
    assert "expect allocation.success_ratio >= 1%: met" in result.stdout


def test_a_failed_trial_is_a_row_and_exits_with_3(desk):
    # Two billion slabs are more than a trial can hold; one is fine.
    axes = "axes:\n  workloads.kern.rate: [100/s, 30000000000/s]\n"
    (desk / "small.yaml").write_text(SMALL + axes)
    result = memsim("small.yaml", "--seeds", "1")
    assert result.exit_code == 3, result.output
    assert "failed: policy none, workloads.kern.rate = 30000000000/s, seed 1: " in result.stderr
    assert "\\n" not in result.stderr
    (folder,) = (desk / "results/small").iterdir()
    table = list(csv.DictReader(io.StringIO((folder / "trials.csv").read_text())))
    assert [row["status"] for row in table] == ["ok", "failed", "ok", "failed"]
    assert table[1]["allocation.success_ratio"] == ""


AXES = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"


def test_point_keeps_one_value_of_an_axis_and_the_names_of_trials(desk):
    (desk / "small.yaml").write_text(SMALL + AXES)
    point = "machine.vm.watermark_boost_factor=15000"
    assert memsim("small.yaml").exit_code == 0
    result = memsim("small.yaml", "--point", point, "--seeds", "2", "--why")
    assert "1 machine.vm.watermark_boost_factor" in result.stdout
    assert "0 to run, 2 kept" in result.stdout
    table = memsim("small.yaml", "--point", point).stdout
    assert "boost_factor = 15000\n" in table and "boost_factor = 0\n" not in table


@pytest.mark.parametrize(
    ("point", "message", "hint"),
    [
        pytest.param("duration", "expected path=value", "", id="no value"),
        pytest.param("duration=1s", 'no axis "duration"', "known: machine.vm", id="no axis"),
        pytest.param("machine.vm.watermark_boost_factor=15001", 'no value "15001"',
                     'did you mean "15000"?', id="value"),
    ],
)  # fmt: skip
def test_points_that_are_not_there_are_refused(desk, point, message, hint):
    (desk / "small.yaml").write_text(SMALL + AXES)
    result = memsim("small.yaml", "--point", point)
    assert result.exit_code == 2
    assert message in result.stderr and hint in result.stderr
    assert not (desk / "results").exists()


def test_a_dry_run_says_what_it_takes_and_writes_nothing(desk):
    assert memsim("small.yaml", "--seeds", "1").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in desk.rglob("*")}
    result = memsim("small.yaml", "--dry-run", "--jobs", "2")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "2 to run, 2 kept" in lines
    assert any(line.startswith("memory: at most ") and "2 at a time" in line for line in lines)
    assert "time: under a second (from 2 kept trials)" in lines
    assert lines[-1].startswith("results/small/")
    assert {path: path.stat().st_mtime_ns for path in desk.rglob("*")} == before


def test_why_has_a_line_for_each_trial(desk):
    assert memsim("small.yaml", "--seeds", "1").exit_code == 0
    lines = memsim("small.yaml", "--why").stdout.splitlines()[2:6]
    assert [line.split("  ")[1] for line in lines] == [
        "none, seed 1", "none, seed 2", "mobility, seed 1", "mobility, seed 2",
    ]  # fmt: skip
    assert "is kept: results/.trials/" in lines[0]
    assert lines[1].endswith("runs: no result is kept")
    forced = memsim("small.yaml", "--why", "--no-cache").stdout
    assert forced.count("runs: --no-cache") == 4


def test_a_dry_run_for_programs(desk):
    data = json.loads(memsim("small.yaml", "--dry-run", "--format", "json").stdout)
    assert (data["run"], data["kept"], data["failed"]) == (4, 0, 0)
    assert data["total_bytes"] > data["trial_bytes"] > 0
    assert data["time_from"] == "guessed" and data["seconds"] > 0
    assert [(t["policy"], t["seed"], t["runs"]) for t in data["trials"][:2]] == [
        ("none", 1, True), ("none", 2, True),
    ]  # fmt: skip
    assert not (desk / "results").exists()


def test_a_run_that_does_not_fit_is_refused_before_anything_is_written(desk, monkeypatch):
    monkeypatch.setattr(estimate, "available_bytes", lambda: 1 << 20)
    for options in ([], ["--dry-run"], ["--executor", "processes"]):
        result = memsim("small.yaml", *options)
        assert result.exit_code == 2
        assert "1.0 MiB are available\n  hint: " in result.stderr
        assert "--force" in result.stderr
        assert not (desk / "results").exists()
    assert memsim("small.yaml", "--force").exit_code == 0


def test_jobs_beyond_memory_are_bounded_with_a_note(desk, monkeypatch):
    monkeypatch.setattr(estimate, "available_bytes", lambda: 280 << 20)
    result = memsim("small.yaml", "--jobs", "500", "--format", "json")
    assert result.exit_code == 0
    assert "note: " in result.stderr and "at a time, not 500: one needs about" in result.stderr
    manifest = json.loads(
        (desk / json.loads(result.stdout)["folder"] / "manifest.json").read_text()
    )
    assert 1 <= manifest["jobs"] < 500


def test_no_cache_simulates_again(desk):
    assert memsim("small.yaml").exit_code == 0
    assert memsim("small.yaml", "--no-cache").exit_code == 0
    (folder,) = (desk / "results/small").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["kept_trials"] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["nowhere"], "there is no such scenario", id="no scenario"),
        pytest.param(["small.yaml", "--policy", "nine"], 'there is no policy "nine"', id="policy"),
        pytest.param(["small.yaml", "--set", "duration"], "expected path=value", id="set"),
        pytest.param(["small.yaml", "--jobs", "0"], "--jobs", id="jobs"),
        pytest.param(["small.yaml", "--jobs", "all"], "expected auto or a number", id="jobs text"),
        pytest.param(["small.yaml", "--jobs", "9" * 5000], "expected auto", id="many jobs"),
        pytest.param(["small.yaml", "--executor", "gpu"], "--executor", id="executor"),
        pytest.param(
            ["small.yaml", "--scheduler", "tcp://x:1"], "goes with --executor dask", id="scheduler"
        ),
        pytest.param(["small.yaml", "--insecure"], "goes with --executor dask", id="insecure"),
        pytest.param(["small.yaml", "--out", ""], "expected a folder, found nothing", id="no out"),
        pytest.param(["small.yaml", "--out", "small.yaml"], "Not a directory", id="out is a file"),
        pytest.param(["small.yaml", "--format", "xml"], "xml", id="format"),
        pytest.param(
            ["small.yaml", "--set", "machine.nodes.0.memory=32MiB"], "kernel image", id="boot"
        ),
    ],
)
def test_input_that_is_no_good_exits_with_2_and_writes_nothing(desk, args, message):
    result = memsim(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert [p.name for p in desk.iterdir()] == ["small.yaml"]


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(desk, monkeypatch):
    from memsim.execute import task

    whole = task.simulate
    calls = []

    def interrupted(trial, **options):
        calls.append(trial)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(trial, **options)

    monkeypatch.setattr(task, "simulate", interrupted)
    monkeypatch.setattr(sys, "argv", ["memsim", "run", "small.yaml"])
    result = memsim("small.yaml", "--jobs", "1")
    assert result.exit_code == 130
    assert "2 more of 4 trials are finished and kept" in result.stderr
    assert "  memsim run small.yaml\n" in result.stderr
    monkeypatch.undo()
    os.chdir(desk)
    calls.clear()
    assert memsim("small.yaml").exit_code == 0
    (folder,) = (desk / "results/small").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["kept_trials"] == 2


def test_a_bug_names_the_trial_and_exits_with_70(desk, monkeypatch):
    from memsim.execute import task

    def broken(trial, **options):
        raise AssertionError("lists and counts differ")

    monkeypatch.setattr(task, "simulate", broken)
    result = memsim("small.yaml")
    assert result.exit_code == 70
    assert "in the trial of policy none, seed 1" in result.stderr


def test_warmup_says_where_kernels_are_kept():
    result = CliRunner().invoke(main, ["warmup"])
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith(" s")


def test_warmup_calls_every_entry_point():
    from memsim.kernels import (
        batch,
        boot,
        census,
        contig_range,
        hugetlb_pool,
        kcompactd,
        memory_hotplug,
        migration,
        numa_balancing,
    )
    from memsim.kernels.linux_2_6_14 import batch as old_batch
    from memsim.kernels.linux_2_6_14 import boot as old_boot
    from memsim.kernels.linux_2_6_14 import memory_hotplug as old_hotplug
    from memsim.kernels.linux_2_6_14 import migrate_pages as old_migration
    from memsim.warmup import entry_points

    calls = entry_points()
    for call in calls.values():
        call()
    new = (
        batch,
        boot,
        census,
        contig_range,
        hugetlb_pool,
        kcompactd,
        memory_hotplug,
        migration,
        numa_balancing,
    )
    defined = {
        value.__module__.removeprefix("memsim.kernels.").rpartition(".")[0] + "." * old + name
        for old, modules in enumerate([new, (old_batch, old_boot, old_hotplug, old_migration)])
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "signatures", None) and value.targetoptions.get("nogil")
        and not value.targetoptions.get("forceinline")
        and getattr(value, "_cache", None).__class__.__name__ == "FunctionCache"
    }  # fmt: skip
    assert {"run_batch", "linux_2_6_14.run_batch"} <= defined
    assert defined <= set(calls)


def test_a_warm_run_imports_nothing_that_it_has_no_use_for(desk):
    script = (
        "import sys\n"
        "from memsim.cli import main\n"
        "try:\n"
        "    main(['run', 'small.yaml'])\n"
        "finally:\n"
        "    print('modules', *sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    modules = set(result.stdout.partition("modules ")[2].split())
    assert "memsim.simulate" in modules
    # numba imports scipy.linalg if it is there.
    unused = {"pandas", "scipy.special", "scipy.stats", "distributed", "dask", "rich.live"}
    assert unused & modules == set()


def test_the_public_names_are_there_at_once():
    code = (
        "import sys, memsim\n"
        "assert 'numpy' not in sys.modules\n"
        "scenario = memsim.load('tiny', seeds='1')\n"
        "assert scenario.name == 'tiny'\n"
        "assert callable(memsim.run) and callable(memsim.read_results)\n"
        "from memsim.load import load_scenario\n"
        "assert memsim.load('tiny').seeds == (1, 2)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_from_the_start_is_no_fault(desk, stream):
    code = "from memsim.cli import main; main()"
    command = f"exec '{sys.executable}' -c '{code}' run small.yaml --seeds 1 {stream}"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert ("small/" in result.stdout) == (stream != ">&-")
