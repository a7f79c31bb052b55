"""docs/extending.md runs as it stands: its files are written, its commands carried out."""

import re
import shlex

import pytest
from click.testing import CliRunner

from memsim.cli import main

CODE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```\n(memsim .*?)^```$", re.MULTILINE | re.DOTALL)
PAIRS = "# pairs\n0.000 + 1000\n0.001 + 1001\n0.500 - 1000\n"


@pytest.fixture
def page(request):
    return (request.config.rootpath / "docs/extending.md").read_text(encoding="utf-8")


@pytest.fixture
def desk(page, tmp_path, monkeypatch):
    """A folder with the files of the page."""
    monkeypatch.chdir(tmp_path)
    for name, code in CODE.findall(page):
        (tmp_path / name).write_text(code)
    (tmp_path / "pages.txt").write_text(PAIRS)
    return tmp_path


def carried_out(line):
    program, *args = shlex.split(line)
    assert program == "memsim"
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_page_has_one_file_of_each_kind(desk):
    assert sorted(path.name for path in desk.glob("*.py")) == [
        "bursts.py", "edges.py", "fate.py", "pairs.py",
    ]  # fmt: skip


def test_the_policy_has_about_thirty_lines(page):
    assert 25 <= dict(CODE.findall(page))["fate.py"].count("\n") <= 35


def test_all_commands_run(page, desk):
    lines = [line for block in COMMANDS.findall(page) for line in block.splitlines()]
    printed = {line: carried_out(line) for line in lines}
    assert len(lines) == 6
    types, verified, run, bursts, edges, imported = printed.values()
    assert re.search(r"^page table +Process", types, re.MULTILINE)
    assert re.search(r"^fate +linux-6\.1 +(ok +){7}", verified, re.MULTILINE)
    assert run.splitlines()[2].split() == ["mobility", "fate", "apart"]
    assert "allocation.success_ratio" in bursts
    assert "edges.small_ratio" in edges
    assert re.search(r"^parsed +3$", imported, re.MULTILINE)


def test_the_trace_format_serves_a_replay(desk):
    replay = "workloads.kern={kind: replay, trace: " + str(desk / "pages.txt") + "}"
    assert "allocation.success_ratio" in carried_out(
        f"memsim run tiny --plugin pairs.py --set '{replay}'"
    )


def test_each_file_can_be_used_beside_the_others(desk):
    plugins = " ".join(f"--plugin {path.name}" for path in sorted(desk.glob("*.py")))
    assert "fate" in carried_out(f"memsim list policies {plugins}")
    assert carried_out(f"memsim validate tiny {plugins}").endswith("OK, 4 trials\n")
