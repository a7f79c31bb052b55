"""``memsim export``: what it writes, what it refuses."""

import pytest
from click.testing import CliRunner
from trials import small

from memsim.cli import main
from memsim.execute import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(run(small(), out=tmp_path_factory.mktemp("made")).folder)


def export(*args):
    result = CliRunner().invoke(main, ["export", *args])
    assert "Traceback" not in result.output
    return result


def test_a_file_and_standard_output_have_the_same(folder, tmp_path):
    path = tmp_path / "trace.txt"
    assert export(folder, "--format", "ftrace", "-o", str(path)).output == f"{path}\n"
    printed = export(folder, "--format", "ftrace").stdout
    assert path.read_text() == printed
    assert printed.startswith("# tracer: nop\n")
    other = export(folder, "--format", "ftrace", "--policy", "mobility", "--seed", "2").stdout
    assert other != printed


def test_what_is_there_is_kept(folder, tmp_path):
    path = tmp_path / "here"
    path.write_text("mine")
    result = export(folder, "--format", "vmstat", "-o", str(path))
    assert (result.exit_code, path.read_text()) == (2, "mine")
    assert "--force replaces it" in result.stderr
    assert export(folder, "--format", "vmstat", "-o", str(path), "--force").exit_code == 0
    assert path.read_text().startswith("nr_free_pages ")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--format", "vmstat", "--at", "5x"], "5x", id="time"),
        pytest.param(["--format", "vmstat", "--at", "5h"], "the trial ends after", id="late"),
        pytest.param(["--format", "smaps"], "'smaps' is not one of", id="format"),
        pytest.param(["--format", "vmstat", "--policy", "x"], "no policy", id="policy"),
        pytest.param(["--format", "vmstat", "-o", "/nowhere/x"], "cannot be written", id="place"),
    ],
)
def test_bad_input_exits_with_2(folder, args, says):
    result = export(folder, *args)
    assert result.exit_code == 2
    assert says in result.stderr
