"""Parts of the pages that a command prints: ``python -m generated_docs`` writes them anew.

Such a part stands between ``<!-- memsim ... -->``, which is the command, and ``<!-- end -->``.
"""

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from memsim.cli import main

DOCS = Path(__file__).parent.parent / "docs"
PART = re.compile(r"^<!-- memsim (?P<args>.*) -->\n(?P<text>.*?)^<!-- end -->$", re.M | re.S)


def generated(page):
    """Return a page's text with all such parts as their commands print them now."""
    return PART.sub(_printed, page)


def _printed(part):
    result = CliRunner().invoke(main, shlex.split(part["args"]))
    assert result.exit_code == 0, result.output
    return f"<!-- memsim {part['args']} -->\n\n{result.stdout.strip()}\n\n<!-- end -->"


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (new := generated(page)) != page:
            path.write_text(new, encoding="utf-8")
            print(path)
