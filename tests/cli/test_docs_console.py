"""The commands in docs/tutorial.md and docs/cookbook.md print what the pages show."""

import shutil

import pytest
from click.testing import CliRunner
from console_pages import DOCS, Command, Save, agrees, steps

from memsim.cli import main

COPIES = DOCS.parent / "tests/data/captures/e1/n2kc"
"""What a reader has at hand as ``copies``: those of a real machine."""
PAGES = ("tutorial.md", "cookbook.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_followed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(COPIES, tmp_path / "copies")
    page = (DOCS / name).read_text(encoding="utf-8")
    followed, faults = 0, []
    for step in steps(page):
        if isinstance(step, Save):
            (tmp_path / step.name).write_text(step.text)
            continue
        assert step.words[0] == "memsim", f"{name}:{step.line}"
        result = CliRunner().invoke(main, step.words[1:])
        followed += 1
        if result.exit_code != step.exit_code or not agrees(step.shown, result.stdout):
            faults.append(f"{name}:{step.line}: exits with {result.exit_code}\n{result.output}")
    assert followed > 3
    assert not faults, "\n".join(faults)


def test_steps_are_read_in_order():
    page = (
        "```yaml\n# a.yaml\nx: 1\n```\n\n```console\n$ memsim a 'b c'  # exits with 2\nout\n```\n"
    )
    saved, typed = steps(page)
    assert saved == Save(2, "a.yaml", "# a.yaml\nx: 1\n")
    assert typed == Command(7, ["memsim", "a", "b c"], 2, "out\n")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        pytest.param("a\n...\nb\n", "a\nx\ny\nb\n", True, id="lines"),
        pytest.param("a ... c\n", "a b c\n", True, id="words"),
        pytest.param("a\n...\nb\n", "a\nx\n", False, id="missing"),
        pytest.param("a\n", "a\nb\n", False, id="more"),
    ],
)
def test_dots_stand_for_any_text(shown, printed, same):
    assert agrees(shown, printed) == same
