"""``--plugin``: files of one's own join the folders."""

import csv
import json
from hashlib import sha256
from pathlib import Path

import pytest
from plugin_desk import (
    import_trace,
    memsim,
    one_message,
    run_metric,
    run_policy,
    run_workload,
    set_up,
)
from plugin_files import METRIC, POLICY, TRACE, WORKLOAD, changed


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a small scenario, to try plug-ins in."""
    return set_up(tmp_path, monkeypatch)


def test_a_policy_of_ones_own_runs_and_stands_in_the_manifest(desk):
    result = run_policy(POLICY)
    assert result.exit_code == 0, result.output
    (manifest,) = desk.glob("results/small/*/manifest.json")
    digest = sha256(POLICY.encode()).hexdigest()
    assert json.loads(manifest.read_text())["plugins"] == [
        {"folder": "policies", "name": "mine", "path": "mine.py", "sha256": digest}
    ]


def test_a_workload_of_ones_own_runs_in_threads(desk):
    serial = run_workload(WORKLOAD, "--seeds", "1..3")
    threads = run_workload(WORKLOAD, "--seeds", "1..3", "--jobs", "3", "--out", "threads")
    assert serial.exit_code == threads.exit_code == 0, threads.output
    (one,) = desk.glob("results/small/*/trials.csv")
    (other,) = desk.glob("threads/small/*/trials.csv")
    assert one.read_bytes() == other.read_bytes()


def test_a_metric_of_ones_own_is_two_columns(desk):
    result = run_metric(METRIC)
    assert result.exit_code == 0, result.output
    assert "mine.free_ratio" in result.stdout
    (trials,) = desk.glob("results/small/*/trials.csv")
    (row,) = csv.DictReader(trials.read_text().splitlines())
    assert row["mine.zones"] == "2" and 0 < float(row["mine.free_ratio"]) < 1


def test_what_a_metric_says_of_itself_is_escaped(desk):
    text = changed(METRIC, '"zones", "zones", "zones of', '"zones", "=1+1", "\\x1b[31mzones of')
    result = run_metric(text, "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "mine.zones,'=1+1,higher," in result.stdout
    listed = memsim("list", "metrics", "mine", "--plugin", "mine.py")
    assert "\\x1b[31mzones of the machine" in listed.stdout
    assert "\x1b" not in run_metric(text).stdout + listed.stdout


def test_a_trace_format_of_ones_own_is_read(desk):
    result = import_trace(TRACE)
    assert result.exit_code == 0, result.output
    assert "parsed                                  2" in result.stdout
    assert (desk / "out.parquet").exists()


def test_lists_and_the_schema_know_plugins(desk):
    for name, text in {"pol": POLICY, "work": WORKLOAD, "met": METRIC, "tra": TRACE}.items():
        (desk / f"{name}.py").write_text(text)
    files = [part for name in ("pol", "work", "met", "tra") for part in ("--plugin", f"{name}.py")]
    assert "pol       Treat all alike." in memsim("list", "policies", *files).stdout
    listed = memsim("list", "workloads", *files).stdout
    assert any(line.split()[:4] == ["work", "Ask", "for", "ten"] for line in listed.splitlines())
    assert "met.zones" in memsim("list", "metrics", *files).stdout
    assert "tra " in memsim("list", "traces", *files).stdout
    schema = json.loads(memsim("schema", *files).stdout)
    assert "work" in schema["$defs"]["WorkloadSpec"]["properties"]["kind"]["enum"]
    assert memsim("validate", "small.yaml", *files).exit_code == 0
    assert "pol" not in memsim("list", "policies", "--format", "json").stdout


def test_a_scenario_cannot_name_a_file(desk):
    (desk / "mine.py").write_text(POLICY)
    result = memsim("run", "small.yaml", "--set", "policies.none.placement=mine.py")
    assert one_message(result).endswith('there is no policy "mine.py"')


def test_an_edited_plugin_makes_another_run_and_one_not_in_use_the_same(desk):
    run_workload(WORKLOAD)
    run_workload(changed(WORKLOAD, "pages: int = 10", "pages: int = 11"))
    assert len([*desk.glob("results/small/*")]) == 2
    Path("other.py").write_text(POLICY)
    run_workload(WORKLOAD, "--plugin", "other.py")
    assert len([*desk.glob("results/small/*")]) == 2
