"""``memsim verify``: what it says, and how it ends."""

import shutil

import pytest
from click.testing import CliRunner
from trials import SMALL, small

from memsim.cli import main
from memsim.execute import run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(small(), out=tmp_path_factory.mktemp("made"))


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    """A folder with results, but without the trials that were kept."""
    shutil.copytree(made.folder.parent, tmp_path / "results/small")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/small" / made.folder.name


def verify(*args):
    result = CliRunner().invoke(main, ["verify", *args])
    assert "Traceback" not in result.output
    return result


def test_an_identical_run_exits_with_0(desk):
    result = verify("small", "--executor", "serial")
    assert result.exit_code == 0, result.output
    files = [path for path in desk.iterdir() if path.name != "manifest.json"]
    size = sum(path.stat().st_size for path in files)
    folder = f"results/small/{desk.name}"
    assert result.stdout == f"identical: 4 trials, 10 files, {size:,} bytes   {folder}\n"
    assert result.stderr == ""


def test_a_different_run_exits_with_1_and_says_where(desk):
    path = desk / "trials.csv"
    path.write_bytes(path.read_bytes().replace(b"none,2,ok,", b"none,2,ok,\x1b[2J"))
    result = verify(str(desk))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "trials.csv: was changed since memsim wrote it, or manifest.json was",
        "trials.csv: row 2 (none, 2): error: was \\x1b[2J, is blank",
        f"different in 2 places: 4 trials   {desk}",
    ]


def test_of_many_differences_the_number_is_said(desk):
    path = desk / "vmstat.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"7\n").replace(b"value7", b"value", 1))
    lines = verify("small").stdout.splitlines()
    assert len(lines) == 22
    assert lines[-2].startswith("and ") and lines[-2].endswith(" more")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("smal",), 'did you mean "small"'),
        (("small", "--out", "nowhere"), "there is no such run below nowhere"),
    ],
)
def test_what_is_no_run_exits_with_2(desk, args, message):
    result = verify(*args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_link_out_of_the_results_exits_with_2(desk, tmp_path):
    desk.rename(tmp_path / "elsewhere")
    desk.symlink_to(tmp_path / "elsewhere")
    result = verify(f"small/{desk.name}")
    assert result.exit_code == 2
    assert "symbolic link out of" in result.stderr


def test_an_input_that_is_gone_exits_with_2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        '"""x"""\nfrom memsim.schema import Column\nCOLUMNS = (Column("x", "1", "x"),)\n'
        "def measure(record):\n    return {'x': 1}\n"
    )
    (tmp_path / "small.yaml").write_text(SMALL)
    args = ["run", "small.yaml", "--seeds", "1", "--plugin", "mine.py"]
    assert CliRunner().invoke(main, args).exit_code == 0
    result = verify("small")
    assert result.exit_code == 2
    assert "mine.py: this plug-in was in use, and is not now\n  hint: give it: --plugin" in (
        result.stderr
    )
    assert verify("small", "--plugin", "mine.py").exit_code == 0


def test_an_interrupted_verification_leaves_all_as_it_is(desk, monkeypatch):
    before = sorted(desk.parents[1].rglob("*"))

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("memsim.execute.task.simulate", interrupt)
    result = verify("small", "--executor", "serial")
    assert result.exit_code == 130
    assert sorted(desk.parents[1].rglob("*")) == before
