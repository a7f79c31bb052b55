"""``memsim compare``: what is printed where, exit codes, and what is refused."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from trials import SMALL

from memsim.cli import main

CHOSEN = ("--metric", "overhead.refills,allocation.attempts")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a small scenario, to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def memsim(*args, command="compare"):
    return CliRunner().invoke(main, [command, *args])


def test_the_answer_comes_first_then_files_then_what_words_mean(desk):
    result = memsim("small.yaml", "--seeds", "1..5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "small     2 policies x 5 seeds   10 trials"
    assert lines[2].startswith("  mobility  beside none: ")
    assert any(line.startswith("  findings") or line.startswith("  not settled") for line in lines)
    assert lines[-2].startswith("results/small/")
    assert lines[-1].startswith("5 seeds (1-5)   ±: 95 % intervals of paired differences from none")
    assert "Holm over" in lines[-1] and "same: within 1 %" in lines[-1]
    assert "\x1b" not in result.output


def test_what_is_kept_is_not_simulated_again_and_a_run_says_the_same(desk, monkeypatch):
    first = memsim("small.yaml")
    from memsim.execute import task

    monkeypatch.setattr(task, "simulate", None)
    assert memsim("small.yaml").stdout == first.stdout
    (folder,) = (desk / "results/small").iterdir()
    assert memsim(str(folder.relative_to(desk))).stdout == first.stdout


def test_policies_baseline_and_margin_are_chosen(desk):
    result = memsim(
        "small.yaml", "--baseline", "mobility", "--policy", "none", "--margin", "100%",
        "--format", "json", *CHOSEN,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["sides"], data["baseline"], data["margin"]) == (["none", "mobility"],
                                                                 "mobility", 1.0)  # fmt: skip
    assert {row["metric"] for row in data["rows"]} == {"overhead.refills", "allocation.attempts"}
    assert {row["side"] for row in data["rows"]} == {"none"}


def test_csv_is_raw_numbers_and_blanks(desk):
    result = memsim("small.yaml", "--format", "csv", *CHOSEN)
    (attempts, refills) = csv.DictReader(io.StringIO(result.stdout))
    assert attempts["metric"] == "allocation.attempts"
    assert (attempts["difference"], attempts["verdict"]) == ("0.0", "same")
    assert (attempts["effect"], attempts["p_adjusted"], attempts["more_seeds"]) == ("", "", "")
    assert float(refills["low"]) < float(refills["difference"]) < float(refills["high"])
    assert float(refills["mean"]) - float(refills["baseline_mean"]) == float(refills["difference"])
    assert "Holm over" in result.stderr and "Holm over" not in result.stdout


def test_markdown_is_a_table(desk):
    result = memsim("small.yaml", "--format", "markdown", *CHOSEN)
    head, rule, *rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert head == "| metric | none | beside | mean | difference | verdict |"
    assert len(rows) == 2 and all(row.count("|") == 7 for row in [rule, *rows])


def test_axes_part_the_rows_of_a_metric(desk):
    axes = "axes:\n  workloads.app.anon: [1MiB, 4MiB]\n"
    (desk / "small.yaml").write_text(SMALL + axes)
    lines = memsim("small.yaml", "--metric", "overhead.refills").stdout.splitlines()
    at = lines.index("  overhead.refills")
    assert lines[at - 1].split()[-4:] == ["workloads.app.anon", "none", "mobility", "difference"]
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["1MiB", "4MiB"]


def test_two_runs_are_compared_and_what_differs_is_said(desk):
    memsim("small.yaml", command="run")
    memsim("small.yaml", "--set", "workloads.kern.rate=9000/s", command="run")
    folders = sorted(map(str, (desk / "results/small").iterdir()))
    result = memsim(*folders, "--metric", "allocation.attempts")
    assert result.exit_code == 0, result.output
    above, _, _ = result.stdout.partition("findings")
    assert "different scenarios: workloads differ" in above
    swapped = memsim(*folders, "--baseline", folders[1], "--format", "json")
    assert json.loads(swapped.stdout)["baseline"] == folders[1].rpartition("/")[2]


def test_failed_trials_exit_with_3(desk):
    # Two billion slabs are more than a trial can hold; one is fine.
    axes = "axes:\n  workloads.kern.rate: [100/s, 30000000000/s]\n"
    (desk / "small.yaml").write_text(SMALL + axes)
    result = memsim("small.yaml", "--seeds", "1..2", "--force")
    assert result.exit_code == 3, result.output
    assert "note: 2 of 4 trials of none failed; their pairs are left out" in result.stdout
    assert result.stderr.count("failed: ") == 4
    assert "Traceback" not in result.output


def test_a_bound_that_is_reached_or_not_is_said_and_exits_with_0(desk):
    reached = memsim("small.yaml", "--until", "ci(allocation.success_ratio) < 1%")
    assert reached.exit_code == 0, reached.output
    last = reached.stdout.splitlines()[-1]
    assert last == "until ci(allocation.success_ratio) < 1%: reached (5 seeds)"
    missed = memsim("small.yaml", "--until", "ci(overhead.refills) < 0.01", "--max-seeds", "6")
    assert missed.exit_code == 0
    last = missed.stdout.splitlines()[-1]
    assert last.startswith("until ci(overhead.refills) < 0.01: NOT reached: mobility: ")
    assert last.endswith("(6 seeds)")


def test_one_policy_is_enough_for_a_bound(desk):
    result = memsim("small.yaml", "--policy", "none", "--until", "ci(allocation.pages) < 50%")
    assert result.exit_code == 0, result.output
    assert "not simulated: memcg" in result.stdout.splitlines()[-2]
    assert result.stdout.splitlines()[-1].endswith("reached (5 seeds)")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["nowhere"], "neither a scenario nor the folder", id="nothing"),
        pytest.param(["no/where.yaml"], "neither a scenario nor the folder", id="no file"),
        pytest.param(["small.yaml", "small.yaml"], "no such run", id="two scenarios"),
        pytest.param(["."], "there is no such run", id="no run"),
        pytest.param(["small.yaml", "--policy", "none"], "there is one policy", id="alone"),
        pytest.param(["small.yaml", "--policy", "nine"], 'no policy "nine"', id="policy"),
        pytest.param(["small.yaml", "--baseline", "nine"], 'no policy "nine"', id="baseline"),
        pytest.param(["small.yaml", "--metric", "x.y"], 'no metric "x.y"', id="metric"),
        pytest.param(["small.yaml", "--margin", "1"], "a percentage such as 1%", id="margin"),
        pytest.param(["small.yaml", "--until", "forever"], 'like "ci(', id="until"),
        pytest.param([".", "--until", "ci(a.b) < 1"], "goes with a scenario", id="until of run"),
        pytest.param([".", ".", "--seeds", "1"], "goes with a scenario", id="seeds of runs"),
    ],
)
def test_input_that_is_no_good_exits_with_2_and_simulates_nothing(desk, args, message):
    result = memsim(*args)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert [p.name for p in desk.iterdir()] == ["small.yaml"]


def test_names_of_users_cannot_steer_terminals_or_tables(desk):
    axes = 'axes:\n  workloads.app.anon: ["1MiB"]\n'
    text = SMALL.replace("name: small\n", 'name: small\ntitle: "\\e[31m|<b>"\n') + axes
    (desk / "small.yaml").write_text(text)
    for form in ("table", "markdown", "csv", "json"):
        result = memsim("small.yaml", "--format", form, *CHOSEN)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output


def test_a_comparison_is_in_color_on_terminals_only(desk):
    from memsim.cli._comparison import as_table
    from memsim.compare import compare
    from memsim.results import read_results

    memsim("small.yaml", "--seeds", "1..5", command="run")
    (folder,) = (desk / "results/small").iterdir()
    found = compare(read_results(folder))
    plain, colored = (as_table(found, color=color) for color in (False, True))
    assert "\x1b[" in colored and "\x1b" not in plain
    for code in (2, 31, 32, 33, 0):
        colored = colored.replace(f"\x1b[{code}m", "")
    assert colored == plain


def test_run_and_help_do_not_wait_for_scipy():
    code = "import memsim.cli.run, memsim.cli.compare, sys; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_comparison_without_a_row_is_printed_too(desk):
    from dataclasses import replace

    from memsim.cli import _comparison
    from memsim.compare import compare
    from memsim.results import read_results

    memsim("small.yaml", command="run")
    (folder,) = (desk / "results/small").iterdir()
    empty = replace(compare(read_results(folder)), rows=())
    assert "mobility  beside none: nothing to compare" in _comparison.as_table(empty, color=False)
    assert _comparison.as_csv(empty) == ""
    assert len(_comparison.as_markdown(empty).splitlines()) == 2
