"""``memsim check``: exit codes, what it says, and that --update is the way to accept it."""

import itertools
import json
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from baseline_desk import FAILING, edit, plus, rows_of
from click.testing import CliRunner
from plugin_files import METRIC
from trials import SMALL

from memsim.cli import main

BASE = Path("base/small")


def memsim(*args, command="check"):
    result = CliRunner().invoke(main, [command, *map(str, args)])
    assert "Traceback" not in result.output or result.exit_code == 70
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a scenario, its results and a baseline of them."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "small.yaml").write_text(SMALL)
        result = memsim("small.yaml", "--baseline", "base", "--update")
        assert (result.exit_code, result.stdout) == (0, "wrote base/small\n"), result.output
    return folder


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    shutil.copytree(made, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def worsen(table="trials", line=3, column="pageblocks.mixed", amount=-1):
    """Plant a baseline better than memsim is; the line that must be printed begins so."""
    old = int(edit(BASE / f"{table}.csv", line, column, plus(amount)))
    policy, seed = rows_of(BASE / f"{table}.csv")[line - 1][:2]
    return (
        f"base/small/{table}.csv:{line}: worse: {column} of {policy}, seed {seed}: "
        f"{old + amount} -> {old} ("
    )


def folder_of_run():
    (folder,) = Path("results/small").iterdir()
    return folder


@pytest.mark.parametrize(
    ("targets", "place"),
    [
        *itertools.product([["small.yaml"], ["run"], ["results/small"]], ["base", BASE, "run"]),
        ([], "base"),
        ([], BASE),
    ],
)
def test_what_is_as_it_was_passes(desk, targets, place):
    targets = [folder_of_run() if target == "run" else target for target in targets]
    place = folder_of_run() if place == "run" else place
    result = memsim(*targets, "--baseline", place)
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith("small: 4 trials, ") and line.endswith(": as in the baseline")


@pytest.mark.parametrize("targets", [[], ["results/small"]])
def test_a_planted_worsening_is_found_and_named(desk, targets):
    line = worsen()
    result = memsim(*targets, "--baseline", "base")
    assert result.exit_code == 1
    first, summary, accept = result.stdout.splitlines()
    assert first.startswith(line)
    assert summary.endswith(" figures compared: 1 worse")
    again = ["memsim", "check", *targets, "--baseline", "base", "--update"]
    assert accept == f"to accept: {shlex.join(again)}"


def test_an_improvement_passes_unless_strict(desk):
    worsen(amount=1)
    result = memsim("--baseline", "base")
    assert result.exit_code == 0
    assert ": better: pageblocks.mixed of none, seed 2: " in result.stdout
    assert memsim("--baseline", "base", "--strict").exit_code == 1


def test_a_tolerance_lets_it_pass_and_is_kept_by_update(desk):
    worsen()
    rule = "pageblocks.mixed = 1 abs"
    assert memsim("--baseline", "base", "--tolerance", rule).exit_code == 0
    updated = memsim("--baseline", "base", "--tolerance", rule, "--update")
    assert updated.exit_code == 0
    assert updated.stdout.splitlines()[-1] == "wrote base/small"
    worsen()
    assert memsim("--baseline", "base").exit_code == 0
    assert memsim("--baseline", "base", "--tolerance", "* = exact").exit_code == 1


def test_update_prints_the_difference_and_accepts_it(desk):
    before = {path.name: path.read_bytes() for path in BASE.iterdir()}
    line = worsen()
    result = memsim("--baseline", "base", "--update")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith(line)
    assert {path.name: path.read_bytes() for path in BASE.iterdir()} == before
    again = memsim("--baseline", "base", "--update")
    assert again.stdout.splitlines()[-1] == "base/small stays as it is"


def test_rows_that_vanish_do_not_pass(desk):
    memsim("small.yaml", "--baseline", "base", "--seeds", "1..3", "--update")
    (desk / "small.yaml").write_text(SMALL.replace("  none:     {placement: none}\n", ""))
    result = memsim("--baseline", "base")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].endswith("not the scenario of the baseline: policy none is gone")
    assert [line.partition(": ")[2] for line in lines[1:4]] == [
        f"missing row: none, seed {seed}: the trial is not there now" for seed in (1, 2, 3)
    ]


def test_seeds_policies_and_overrides_of_the_baseline_are_used_again(desk):
    options = ("--seeds", "3..4", "--policy", "mobility", "--set", "workloads.app.anon=1MiB")
    assert memsim("small.yaml", "--baseline", "other", *options, "--update").exit_code == 0
    result = memsim("--baseline", "other")
    assert result.exit_code == 0
    assert result.stdout.startswith("small: 2 trials, ")
    assert "as in the baseline" in result.stdout
    # A policy that the scenario gains is none of this baseline; seeds it did not choose are.
    text = SMALL.replace("policies:", "policies:\n  third: {placement: none}")
    (desk / "small.yaml").write_text(text)
    assert "as in the baseline" in memsim("--baseline", "other").stdout
    assert "policy third is new" in memsim("--baseline", "base").stdout
    changed = memsim("--baseline", "other", "--set", "workloads.kern.rate=4000/s")
    assert "not the scenario of the baseline: workload kern changed" in changed.stdout


def test_what_is_chosen_now_is_compared_alone(desk):
    line = worsen(line=2)
    none = memsim("--baseline", "base", "--policy", "mobility")
    assert (none.exit_code, none.stdout[:17]) == (0, "small: 2 trials, ")
    second = memsim("--baseline", "base", "--seeds", "2")
    assert (second.exit_code, second.stdout[:17]) == (0, "small: 2 trials, ")
    first = memsim("--baseline", "base", "--seeds", "1", "--policy", "none")
    assert first.exit_code == 1 and first.stdout.startswith(line)
    other = memsim("--baseline", "base", "--seeds", "7")
    assert other.exit_code == 2
    assert "has no trial of the chosen policies and seeds" in other.stderr


def test_a_trial_that_fails_now_fails_the_check(desk):
    result = memsim("--baseline", "base", "--set", "workloads.kern.rate=30000000000/s")
    assert result.exit_code == 1, result.output
    failed = [line for line in result.stdout.splitlines() if ": failed: " in line]
    assert len(failed) == 4
    assert failed[0].startswith("base/small/trials.csv:2: failed: none, seed 1: the trial fails")


def test_a_baseline_of_a_failed_trial_is_written_and_says_so(desk):
    (desk / "small.yaml").write_text(FAILING)
    result = memsim("small.yaml", "--baseline", "failing", "--seeds", "1", "--update")
    assert result.exit_code == 3
    assert "failed: none, seed 1: " in result.stderr
    assert memsim("--baseline", "failing").exit_code == 0


def test_a_bug_of_memsim_is_none_of_the_baseline(desk, monkeypatch):
    from memsim.execute import task

    def broken(*args, **options):
        raise RuntimeError("what a bug")

    monkeypatch.setattr(task, "simulate", broken)
    before = {path.name: path.read_bytes() for path in BASE.iterdir()}
    for update in ([], ["--update"]):
        result = memsim("--baseline", "base", "--no-cache", "--executor", "serial", *update)
        assert result.exit_code == 70
        assert "what a bug" in result.stderr
    assert {path.name: path.read_bytes() for path in BASE.iterdir()} == before


def test_json_is_all_of_standard_output(desk):
    line = worsen()
    result = memsim("--baseline", "base", "--format", "json", "--github")
    assert result.exit_code == 1
    (one,) = json.loads(result.stdout)
    (finding,) = one["findings"]
    assert not one["passes"] and finding["line"] == 3
    assert f"{finding['file']}:{finding['line']}: worse: {finding['message']}".startswith(line)
    assert "::error file=base/small/trials.csv,line=3," in result.stderr


def test_junit_and_markdown_are_written_as_files(desk):
    worsen()
    result = memsim("--baseline", "base", "--junit", "a/junit.xml", "--markdown", "a/check.md")
    assert result.exit_code == 1
    root = ElementTree.parse(desk / "a/junit.xml").getroot()
    assert [suite.get("failures") for suite in root] == ["1"]
    (failure,) = root.iter("failure")
    assert failure.text in result.stdout.splitlines()
    markdown = (desk / "a/check.md").read_text()
    assert markdown.splitlines()[4].startswith("| ❌ | small | 4 | ")


def test_markdown_may_be_standard_output(desk):
    line = worsen()
    result = memsim("--baseline", "base", "--markdown", "-")
    assert result.stdout.startswith("### memsim check\n")
    assert line not in result.stdout and line in result.stderr


def test_lines_are_marked_where_github_runs_it(desk, monkeypatch):
    worsen()
    assert "::error" not in memsim("--baseline", "base").stdout
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "::error file=base/small/trials.csv,line=3," in memsim("--baseline", "base").stdout
    assert "::error" not in memsim("--baseline", "base", "--no-github").stdout


def test_findings_are_limited_and_the_rest_is_counted(desk):
    for line in (2, 3, 4, 5):
        worsen(line=line)
    lines = memsim("--baseline", "base", "--limit", "1").stdout.splitlines()
    assert lines[1] == "and 3 more (--limit 4 shows all)"
    assert lines[2].endswith(": 4 worse")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--baseline", "nowhere"], "nowhere: no baseline can be read", id="missing"),
        pytest.param(["--baseline", "results"], "there is no baseline here", id="none in it"),
        pytest.param(["--baseline", "run"], "does not say which file", id="run without target"),
        pytest.param(["tiny", "--baseline", "base"], "no baseline of \"tiny\"", id="other name"),
        pytest.param(["small.yaml", "--baseline", "results/small"], "its own folder", id="up"),
        pytest.param(["tiny", "--baseline", BASE], "of small, not of tiny", id="another's"),
        pytest.param(["nine.yaml", "--baseline", "base"], "nine.yaml", id="no scenario"),
        pytest.param(["base", "--baseline", "base"], "there is no such run", id="no run"),
        pytest.param(
            ["--baseline", "base", "--tolerance", "fallbck.events = 5%"],
            'did you mean "fallback.events"',
            id="figure",
        ),
        pytest.param(["--baseline", "base", "--tolerance", "x"], "something like", id="grammar"),
        pytest.param(["--baseline", "base", "--policy", "nine"], 'policy "nine"', id="policy"),
        pytest.param(["--baseline", "base", "--limit", "0"], "--limit", id="limit"),
        pytest.param(["--baseline", "base", "--junit", "small.yaml/x"], "Not a dir", id="junit"),
        pytest.param(["--baseline", "base", "--markdown", "."], ".: is a folder", id="folder"),
        pytest.param(
            ["--baseline", "base", "--junit", "x", "--markdown", "./x"], "the same file", id="same"
        ),
        pytest.param(["--baseline", "/"], "/: there is no baseline here", id="root"),
        pytest.param(
            ["results/small", "--baseline", "base", "--set", "a=b"], "are for scenarios", id="set"
        ),
        pytest.param(
            ["--baseline", "base", "--update", "--junit", "x"], "--update goes", id="update"
        ),
        pytest.param(
            ["--baseline", "base", "--format", "json", "--markdown", "-"], "both JSON", id="stdout"
        ),
        pytest.param([], "--baseline", id="no baseline"),
    ],
)  # fmt: skip
def test_input_that_is_no_good_exits_with_2(desk, args, message):
    result = memsim(*(folder_of_run() if arg == "run" else arg for arg in args))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""


def test_all_baselines_are_read_before_anything_runs(desk):
    memsim("tiny", "--seeds", "1", "--baseline", "base", "--update")
    shutil.rmtree("results")
    Path("base/small/trials.csv").unlink()
    Path("base/tiny/vmstat.csv").write_text("")
    result = memsim("--baseline", "base")
    assert result.exit_code == 2
    assert result.stderr == (
        "base/small/trials.csv: there is no such file\nbase/tiny/vmstat.csv: is empty\n"
    )
    assert not Path("results").exists()


def test_a_baseline_under_another_name_is_refused(desk):
    shutil.copytree("base/small", "base/other")
    result = memsim("--baseline", "base")
    assert result.exit_code == 2
    assert result.stderr == "base/other: is a baseline of small: its folder must be called so\n"


def test_a_baseline_without_its_scenario_asks_for_it(desk):
    result = memsim("results/small", "--baseline", "apart", "--update")
    assert result.stdout == "wrote apart/small\n"
    result = memsim("--baseline", "apart")
    assert result.exit_code == 2
    assert "does not say which file its scenario is in" in result.stderr
    assert memsim("small.yaml", "--baseline", "apart").exit_code == 0


def test_a_shipped_scenario_is_found_by_its_name_from_anywhere(desk, monkeypatch):
    result = memsim("tiny", "--seeds", "1", "--baseline", "base", "--update")
    assert result.exit_code == 0, result.output
    (desk / "elsewhere").mkdir()
    monkeypatch.chdir(desk / "elsewhere")
    result = memsim("--baseline", "../base", "--out", "../results")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["small", "tiny"]
    assert result.exit_code == 0


def test_a_baseline_may_be_the_folder_one_is_in(desk, monkeypatch):
    monkeypatch.chdir(desk / "base/small")
    out = ("--out", "../../results")
    assert memsim("--baseline", ".", *out).exit_code == 0
    edit(Path("trials.csv"), 2, "pageblocks.mixed", plus(1))
    result = memsim("../../small.yaml", "--baseline", ".", "--update", *out)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("wrote .\n")
    monkeypatch.chdir(desk)
    assert [path.name for path in Path("base").iterdir()] == ["small"]
    assert memsim("--baseline", "base").stdout.endswith(": as in the baseline\n")


def test_runs_are_not_rewritten(desk):
    result = memsim("small.yaml", "--baseline", folder_of_run(), "--update")
    assert result.exit_code == 2
    assert "is a run, and runs are not rewritten" in result.stderr


def test_a_plugin_that_was_edited_is_judged_and_its_columns_are_missed(desk):
    (desk / "extra.py").write_text(METRIC)
    plugin = ("--plugin", "extra.py")
    made = memsim("small.yaml", *plugin, "--baseline", "plugged", "--update")
    assert made.exit_code == 0, made.output
    assert memsim("--baseline", "plugged", *plugin).exit_code == 0
    lower = METRIC.replace("len(record.zones)", "len(record.zones) - 1")
    assert lower != METRIC
    (desk / "extra.py").write_text(lower)
    edited = memsim("--baseline", "plugged", *plugin)
    assert edited.exit_code == 1
    lines = edited.stdout.splitlines()
    assert len([line for line in lines if ": worse: extra.zones of " in line]) == 4
    assert any(line.startswith("note: small: what simulates none, mobility") for line in lines)
    assert lines[-1].endswith("--update --plugin extra.py")
    without = memsim("--baseline", "plugged")
    assert without.exit_code == 1
    assert ": missing column: extra.zones is not there now" in without.stdout
