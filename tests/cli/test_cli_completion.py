"""What a shell offers: commands, shipped scenarios, runs; the scripts for three shells."""

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from memsim.cli import main


def offered(*args, incomplete=""):
    found = ShellComplete(main, {}, "memsim", "_MEMSIM_COMPLETE")
    return [item.value for item in found.get_completions(list(args), incomplete)]


def test_commands_and_options():
    assert offered(incomplete="resu") == ["results"]
    assert "--seeds" in offered("run", incomplete="--se")


def test_shipped_scenarios_and_files():
    assert "first-look" in offered("run", incomplete="fi")
    assert offered("validate", incomplete="./x") == ["./x"]


def test_runs_by_scenario_and_by_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/mine/0a1b2c3d"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    assert offered("explain", incomplete="m") == ["mine", "mine/0a1b2c3d"]
    other = offered("verify", "--out", str(tmp_path / "nowhere"), incomplete="m")
    assert other == ["m"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_MEMSIM_COMPLETE={shell}_complete" in result.output
