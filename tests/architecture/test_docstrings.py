"""Everything public says in one sentence what it is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from architecture.source_tree import ROOT, python_files

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
TWO_SENTENCES = re.compile(r"[a-z)`][.!?] +[A-Z]")


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions and classes, and the public methods of the latter."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


def docstring_faults(root: Path) -> list[str]:
    """One line for every public name whose docstring does not begin with one sentence."""
    faults = []
    for path in python_files(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, node in public_definitions(tree.body):
            if fault := sentence_fault(ast.get_docstring(node)):
                faults.append(f"{path.relative_to(root)}:{node.lineno}: {name}: {fault}")
    return faults


def sentence_fault(docstring: str | None) -> str | None:
    """Say what is wrong with the first line of a docstring."""
    if not docstring:
        return "no docstring"
    first = docstring.splitlines()[0]
    if not first.endswith((".", "?")):
        return "the first line does not end a sentence"
    if TWO_SENTENCES.search(first):
        return "the first line is more than one sentence"
    return None


def test_public_names_say_what_they_are():
    assert python_files(ROOT)
    assert docstring_faults(ROOT) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def f():\n    pass\n", "no docstring"),
        ("class C:\n    pass\n", "no docstring"),
        ("class C:\n    '''Hold.'''\n    def m(self):\n        pass\n", "C.m: no docstring"),
        ("def f():\n    '''Take a block'''\n", "does not end"),
        ("def f():\n    '''Take a block and\n    split it.'''\n", "does not end"),
        ("def f():\n    '''Take a block. Split it.'''\n", "more than one"),
    ],
)
def test_a_bad_docstring_is_found(tmp_path, text, fault):
    (tmp_path / "memsim").mkdir()
    (tmp_path / "memsim/zone.py").write_text(text)
    (found,) = docstring_faults(tmp_path)
    assert fault in found


def test_private_names_and_references_pass(tmp_path):
    (tmp_path / "memsim").mkdir()
    (tmp_path / "memsim/zone.py").write_text(
        "def f():\n    '''Take a block (mm/page_alloc.c, expand, 6.1).'''\n\n"
        "    def inner():\n        pass\n\n\ndef _g():\n    pass\n"
    )
    assert docstring_faults(tmp_path) == []
