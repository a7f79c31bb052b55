"""What ``memsim compare`` prints, whole (``make golden`` rewrites it)."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from trials import SMALL

from memsim import __version__
from memsim.cli import main

HERE = Path(__file__).parent
SEVERAL = SMALL.replace(
    "policies:\n", "policies:\n  ideal: {placement: mobility, cmdline: movablecore=24M}\n"
)
SEVERAL += "axes:\n  workloads.app.anon: [1MiB, 24MiB]\n"
PRINTED = [
    pytest.param("tiny.comparison.txt", ["tiny", "--seeds", "1..6"], id="tiny"),
    pytest.param(
        "several.comparison.txt",
        ["several.yaml", "--seeds", "1..5", "--baseline", "none"],
        id="several",
    ),
]


@pytest.mark.parametrize(("name", "args"), PRINTED)
def test_a_comparison_is_printed_as_it_was(tmp_path, monkeypatch, update_golden, name, args):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "several.yaml").write_text(SEVERAL)
    result = CliRunner().invoke(main, ["compare", *args])
    assert result.exit_code == 0, result.output
    found = re.sub(r"^(results/[a-z-]+)/[0-9a-f]{8}$", r"\1/RUN", result.stdout, flags=re.M)
    found = found.replace(f"memsim {__version__}", "memsim VERSION")
    golden = HERE / name
    if update_golden:
        golden.write_text(found)
    assert found.splitlines() == golden.read_text().splitlines()
