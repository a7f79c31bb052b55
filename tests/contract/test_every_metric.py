"""What holds for every metric that the folder offers."""

import math

import pytest
from trial_records import OK, record

from memsim import plugins
from memsim.plugins import find, offered

RECORDS = {
    "empty": record(),
    "busy": record(
        free=({0: 5, 10: 3}, {3: 1}),
        probes=[(9, OK), (3, OK)],
        pageblocks={"MOVABLE": 2},
        hotpluggable=512,
        unmovable=3,
        alloc_success=10,
        alloc_nopage=2,
        numa_hit=10,
    ),
}


@pytest.mark.parametrize("name", offered("metrics"))
@pytest.mark.parametrize("case", RECORDS)
def test_a_metric_fills_its_columns(name, case):
    module = find("metrics", name)
    row = module.measure(RECORDS[case])
    assert list(row) == [column.name for column in module.COLUMNS]
    for column in module.COLUMNS:
        value = row[column.name]
        assert value is None or type(value) is (float if column.dtype == "float64" else int)
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize("name", offered("metrics"))
def test_a_metric_declares_its_columns_well(name):
    module = find("metrics", name)
    assert module.__doc__.partition("\n")[0].endswith(".")
    names = [column.name for column in module.COLUMNS]
    assert len(set(names)) == len(names)
    for column in module.COLUMNS:
        assert column.unit and column.doc
        assert column.name.replace("_", "").isalnum()
        assert column.dtype == "float64" or not column.name.endswith("_ratio")


def test_columns_are_named_by_their_file():
    columns = plugins.metric_columns()
    assert {"fallback.events", "high_order.success_ratio", "pageblocks.mixed"} <= set(columns)
    assert columns["fallback.events"].better == "lower"
