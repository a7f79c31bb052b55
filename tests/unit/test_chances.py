"""Closed forms that were published or follow from what was, and chance itself."""

import numpy as np
import pytest

from memsim.chances import (
    expected_free_blocks,
    free_block_chance,
    removable_chance,
    whole_percent,
)

MIB, GIB = 256, 1 << 18
"""In pages."""


@pytest.mark.parametrize(
    ("total", "free", "printed"),
    [
        (GIB, 8 * MIB, ["1.000000", "0.000976", "0.000000", "0.000000"]),
        (128 * GIB, 8 * MIB, ["0.117506", "0.000000", "0.000000", "0.000000"]),
        (GIB, 128 * MIB, ["1.000000", "1.000000", "0.015504", "0.000000"]),
        (128 * GIB, 128 * MIB, ["1.000000", "0.000031", "0.000000", "0.000000"]),
    ],
)
def test_history_1_9_all_sixteen_values(total, free, printed):
    assert [f"{free_block_chance(total, free, order):.6f}" for order in (1, 2, 3, 4)] == printed


def test_a_chance_is_certain_or_none_at_the_ends():
    assert free_block_chance(1024, 1024, 3) == 1.0
    assert free_block_chance(1024, 0, 0) == 0.0
    assert free_block_chance(1024, 0, 3) == 0.0


@pytest.mark.parametrize(("free", "order"), [(2048, 1), (2048, 2), (6000, 3)])
def test_history_1_9_random_frees_come_out_as_expected(free, order):
    total, draws = 8192, 400
    rng = np.random.default_rng(9)
    whole = np.empty(draws)
    for i in range(draws):
        is_free = np.zeros(total, bool)
        is_free[rng.choice(total, free, replace=False)] = True
        whole[i] = is_free.reshape(-1, 1 << order).all(axis=1).sum()
    standard_error = whole.std(ddof=1) / np.sqrt(draws)
    assert abs(whole.mean() - expected_free_blocks(total, free, order)) < 4 * standard_error


def test_history_1_9_at_a_fixed_share_the_odds_do_not_worsen_with_size():
    chances = [free_block_chance(size * GIB, size * 32 * MIB, 5) for size in (1, 4, 16, 64)]
    assert chances == sorted(chances)


@pytest.mark.parametrize(
    ("pages", "chance"),
    [(4096, pytest.approx(0.017, abs=5e-4)), (32768, pytest.approx(5.8e-15, rel=0.05))],
)
def test_history_4_1_sections_without_an_unmovable_page(pages, chance):
    assert removable_chance(0.001, pages) == chance


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [(22, 160, 13), (98, 275, 35), (242, 275, 88), (33, 499, 6), (361, 499, 72), (0, 0, 0)],
)
def test_history_1_2_percentages_are_cut_off(part, whole, percent):
    assert whole_percent(part, whole) == percent
