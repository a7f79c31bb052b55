"""``memsim explain``: what it says, and how it ends."""

import json

import pytest
from click.testing import CliRunner
from trials import small

from memsim.cli import main
from memsim.execute import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(run(small(), out=tmp_path_factory.mktemp("made")).folder)


def explain(*args):
    result = CliRunner().invoke(main, ["explain", *args])
    assert "Traceback" not in result.output
    return result


def test_an_attempt_is_explained(folder):
    result = explain(folder, "--allocation", "2", "--policy", "mobility", "--seed", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# Failed attempt 2: policy mobility, seed 1\n")
    again = explain(folder, "--allocation=2", "--policy=mobility", "--seed=1", "--format", "json")
    data = json.loads(again.stdout)
    assert (data["number"], data["trial"]) == (2, "policy mobility, seed 1")


def test_without_options_it_is_the_first_trial(folder):
    assert "policy none, seed 1" in explain(folder, "--allocation", "1").stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--allocation", "100000"], "attempts failed in this trial", id="too many"),
        pytest.param(["--allocation", "0"], "0 is not in the range", id="zero"),
        pytest.param(["--allocation", "1", "--policy", "x"], "no policy", id="policy"),
        pytest.param(["--allocation", "1", "--point", "a=1"], "no axis", id="point"),
    ],
)
def test_what_is_not_there_exits_with_2(folder, args, says):
    result = explain(folder, *args)
    assert result.exit_code == 2
    assert says in result.stderr
