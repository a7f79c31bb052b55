"""Whole tables of shipped scenarios, compared to the last digit (``make golden`` rewrites them)."""

from pathlib import Path

import pytest
from trials import SCENARIOS

from memsim.execute import run
from memsim.load import load_scenario

HERE = Path(__file__).parent
TABLES = [
    ("tiny", "trials.csv"),
    ("tiny", "high_order.csv"),
    ("tiny", "vmstat.csv"),
    ("replay-kernel", "trials.csv"),
    ("replay-kernel", "vmstat.csv"),
    ("five-policies", "trials.csv"),
    ("highmem-2005", "trials.csv"),
    ("sections-2005", "trials.csv"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of each scenario's results."""
    out = tmp_path_factory.mktemp("results")
    names = {scenario for scenario, _ in TABLES}
    return {n: run(load_scenario(SCENARIOS / f"{n}.yaml"), out=out).folder for n in names}


@pytest.mark.parametrize(("scenario", "table"), TABLES)
def test_tables_are_as_they_were(runs, update_golden, scenario, table):
    golden = HERE / f"{scenario}.{table}"
    found = (runs[scenario] / table).read_text()
    if update_golden:
        golden.write_text(found)
    assert found.splitlines() == golden.read_text().splitlines()
