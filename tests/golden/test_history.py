"""The figures of docs/history.md are those that the commands print."""

import csv
import re
from pathlib import Path

import pytest

from memsim.fidelity.beside import beside
from memsim.plugins import metric_columns
from memsim.results.answer import shown
from memsim.traces.capture import read_capture

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HISTORY = (ROOT / "docs/history.md").read_text()
TABLES = re.findall(r"<!-- golden: (\S+)(?: (\S+)=(\S+))? -->\n((?:\|.*\n)+)", HISTORY)


def cells(line):
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def mean(rows, metric):
    values = [float(row[metric]) for row in rows if row[metric]]
    return sum(values) / len(values) if values else None


def test_the_tables_are_there():
    assert [name for name, *_ in TABLES] == [
        "five-policies",
        "highmem-2005",
        *["sections-2005"] * 2,
    ]


@pytest.mark.parametrize(("name", "axis", "value", "table"), TABLES)
def test_a_table_says_what_the_golden_says(name, axis, value, table, update_golden):
    with (HERE / f"{name}.trials.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if not axis or row[axis] == value]
    head, rule, *lines = table.splitlines()
    policies = cells(head)[1:]
    assert policies == list(dict.fromkeys(row["policy"] for row in rows))
    told = [head, rule]
    for line in lines:
        metric, *_ = cells(line)
        found = [mean([r for r in rows if r["policy"] == p], metric) for p in policies]
        figures = " | ".join(shown(v, metric_columns()[metric]) for v in found)
        told.append(f"| `{metric}` | {figures} |")
    if update_golden:
        page = ROOT / "docs/history.md"
        page.write_text(page.read_text().replace(table, "\n".join([*told, ""])))
    else:
        assert lines == told[2:]


def test_the_counterfactual_is_what_the_command_prints():
    captures = [read_capture(ROOT / "tests/data/captures" / n) for n in ("frag", "frag_nogroup")]
    assert beside(captures[0], "none", captures[1]).to_text() in HISTORY
