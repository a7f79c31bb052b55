"""docs/python.md runs as it stands: its blocks in order, and they print what the page shows.

A block of output stands right after the block of Python that prints it; ``...`` is any text, and
spaces at the ends of lines do not count. A block of Python without one prints nothing.
"""

import contextlib
import io
import re

import pytest

BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


@pytest.fixture
def page(request):
    return (request.config.rootpath / "docs/python.md").read_text(encoding="utf-8")


def agrees(shown, printed):
    pattern = ".*".join(map(re.escape, shown.split("...")))
    return (
        re.fullmatch(pattern, re.sub(" +$", "", printed, flags=re.MULTILINE), re.DOTALL) is not None
    )


def test_the_blocks_print_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    names = {"__name__": "__main__"}
    differing = []
    for block in BLOCK.finditer(page):
        out = io.StringIO()
        line = page[: block.start()].count("\n") + 1
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * line + block["code"], "docs/python.md", "exec"), names)
        if not agrees(block["shown"] or "", out.getvalue()):
            differing.append(f"line {line} prints:\n{out.getvalue()}")
    assert not differing, "\n".join(differing)


def test_every_block_of_the_page_is_python_or_what_it_prints(page):
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) > 8
    fences = re.findall(r"^```.*$", page, re.MULTILINE)
    assert len(fences) == sum(2 if block["shown"] is None else 4 for block in blocks)


def test_all_public_names_are_used(page):
    code = "".join(block["code"] for block in BLOCK.finditer(page))
    for name in ("load", "run", "compare", "read_results", "Policy"):
        assert f"memsim.{name}(" in code


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("x/...\nb\n", "x/1f\nb\n", True),
        ("x/...\nb\n", "x/1f\nc\n", False),
        ("a.c\n", "abc\n", False),
        ("a\nb\n", "a  \nb\n", True),
        ("a\nb\n", "a\n b\n", False),
    ],
)
def test_what_agrees(shown, printed, same):
    assert agrees(shown, printed) is same
