"""The kernel's indices: facts of the specification and published definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_records import blocks, record

from memsim.metrics.fragmentation import (
    COLUMNS,
    extfrag_for_order,
    fragmentation_index,
    measure,
    paper_index,
    suitable_blocks,
    unusable_index,
    zone_rows,
)
from memsim.mm import NR_ORDERS


@pytest.mark.parametrize(
    ("free", "order", "index", "paper", "unusable", "extfrag"),
    [
        ({0: 1024}, 4, 937, 0.9375, 1000, 100),
        ({0: 512}, 9, 997, 0.998, 1000, 100),
        ({0: 1}, 9, -1, 0.998, 1000, 100),
        ({0: 4, 1: 2, 2: 1}, 3, 643, 0.7857, 1000, 100),
        ({3: 2, 0: 8}, 3, -1000, 0.70, 333, 33),
        ({5: 100}, 10, 959, 0.96875, 1000, 100),
        ({}, 0, 0, None, 1000, 0),
        ({}, 9, 0, None, 1000, 0),
    ],
)
def test_history_1_0_index_vectors(free, order, index, paper, unusable, extfrag):
    assert fragmentation_index(blocks(free), order) == index
    assert paper_index(blocks(free), order) == (paper and pytest.approx(paper, abs=6e-5))
    assert unusable_index(blocks(free), order) == unusable
    assert extfrag_for_order(blocks(free), order) == extfrag


def test_history_1_0_pages_that_a_test_has_taken_count_as_free_in_vmregress():
    assert unusable_index(blocks({0: 512}), 9, taken=1536) == 250
    assert unusable_index(blocks({}), 9, taken=512) == 0


@pytest.mark.parametrize(
    ("free", "order", "index"),
    [
        ({0: 100}, 4, 928),
        ({0: 4}, 4, 688),
        ({0: 512}, 9, 997),
        ({4: 8}, 9, 844),
        ({8: 2}, 9, 0),
        ({8: 1}, 9, -500),
        ({0: 100, 9: 1}, 9, -1000),
        ({10: 1}, 9, -1000),
    ],
)
def test_F6_1_fragmentation_index(free, order, index):
    assert fragmentation_index(blocks(free), order) == index


def test_F6_2_unusable_index_and_extfrag():
    assert unusable_index(blocks({0: 68, 4: 2}), 4) == 680
    assert extfrag_for_order(blocks({9: 2, 0: 1024}), 9) == 50


@given(
    st.lists(st.integers(0, 1 << 20), min_size=NR_ORDERS, max_size=NR_ORDERS),
    st.integers(0, NR_ORDERS - 1),
)
def test_indices_stay_in_their_ranges(counts, order):
    free = np.array(counts, np.int64)
    assert -1000 <= fragmentation_index(free, order) <= 1000
    assert 0 <= unusable_index(free, order) <= 1000
    assert 0 <= extfrag_for_order(free, order) <= 100
    assert suitable_blocks(free, order) << order <= (free << np.arange(NR_ORDERS)).sum()


def test_columns_add_all_zones_and_types():
    row = measure(record(free=({0: 3, 9: 1}, {0: 1, 10: 2}), empty_areas=5))
    assert row["empty_areas"] == 5
    assert row["free_blocks_order_0"] == 4
    assert row["free_blocks_order_10"] == 2
    assert row["free_blocks_order_9_up"] == 1 + 2 * 2
    assert row["free_pages"] == 4 + 512 + 2048
    assert row["fragmentation_index"] == -1000
    assert row["unusable_index"] == 4 * 1000 // (4 + 512 + 2048)


def test_orders_that_no_block_can_have_are_blank():
    free = ({0: 3, 10: 2, 12: 1},)
    small, large = measure(record(free=free)), measure(record(free=free, max_page_order=12))
    assert (small["free_blocks_order_10"], small["free_blocks_order_11"]) == (2, None)
    assert small["free_blocks_order_12"] is None
    assert (large["free_blocks_order_11"], large["free_blocks_order_12"]) == (0, 1)
    assert (large["free_blocks_order_9_up"], large["free_blocks_order_10_up"]) == (12, 6)


def test_columns_on_a_full_machine():
    row = measure(record(free=({},)))
    assert (row["fragmentation_index"], row["unusable_index"], row["extfrag"]) == (0, 1000, 0)


def test_zone_rows_judge_each_zone_alone():
    rows = zone_rows(record(free=({0: 1024}, {10: 1})))
    assert len(rows) == 2 * 11
    assert len(zone_rows(record(max_page_order=12))) == NR_ORDERS
    alone = {(r["node"], r["order"]): r for r in rows}
    assert alone[0, 4]["fragmentation_index"] == 937
    assert alone[1, 4]["fragmentation_index"] == -1000
    assert (alone[0, 0]["free_blocks"], alone[1, 10]["free_blocks"]) == (1024, 1)


def test_more_large_blocks_are_better_and_less_waste_is():
    better = {column.name: column.better for column in COLUMNS}
    assert better["free_blocks_order_9_up"] == "higher"
    assert (better["unusable_index"], better["extfrag"]) == ("lower", "lower")
