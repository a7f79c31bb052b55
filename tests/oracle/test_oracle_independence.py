import ast
from pathlib import Path

import pytest

ORACLE = sorted(Path(__file__).parent.glob("naive_*.py"))
ALLOWED = {"collections", "memsim.mm"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", ORACLE, ids=lambda path: path.stem)
def test_the_oracle_shares_nothing_with_memsim_but_constants(path):
    names = {name for name in imports(path) if not name.startswith("oracle.")}
    assert "memsim.mm" in names
    assert names <= ALLOWED


def test_the_oracle_is_found():
    assert {path.stem for path in ORACLE} >= {"naive_zone", "naive_pcp", "naive_alloc"}
