"""The same sources as ordinary Python give the same tables."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MEMSIM = "from memsim.cli import main; main()"


def test_tables_are_the_same_without_the_jit(tmp_path):
    command = [sys.executable, "-c", MEMSIM, "run", "tiny", "--out", str(tmp_path)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}
    )
    (folder,) = (tmp_path / "tiny").iterdir()
    for table in ("trials.csv", "high_order.csv", "vmstat.csv"):
        golden = (HERE / f"tiny.{table}").read_text()
        assert (folder / table).read_text().splitlines() == golden.splitlines()
