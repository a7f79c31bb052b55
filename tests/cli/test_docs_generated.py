"""What the pages say that a command prints is what it prints now (``make docs``)."""

import pytest
from generated_docs import DOCS, PART, generated

PAGES = [path for path in sorted(DOCS.glob("*.md")) if PART.search(path.read_text())]


def test_the_references_are_generated():
    assert {"scenario.md", "metrics.md"} <= {path.name for path in PAGES}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_what_its_commands_print(path):
    page = path.read_text(encoding="utf-8")
    assert generated(page) == page, "make docs writes it anew"


def test_a_stale_part_is_found():
    stale = "a\n<!-- memsim list metrics --format markdown -->\nSTALE\n<!-- end -->\nb\n"
    assert "| `allocation.attempts` |" in generated(stale)
    assert "STALE" not in generated(stale)
