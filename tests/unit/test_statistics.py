"""Intervals, p-values and verdicts: against textbook numbers, and by what planted data show."""

import math

import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import Case, at_margin, binomial_interval, expected_power, tally

from memsim import statistics
from memsim.compare import rows
from memsim.statistics import Paired, holm, judge, paired, pairs_needed, quantile, step

SOME = 400
"""Comparisons of a small simulation; its seed is fixed, so its outcome is too."""
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)


def test_a_paired_t_test_as_in_a_textbook():
    # Student's own data: hours of sleep gained by ten patients under two drugs (Biometrika 1908).
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(first, second)
    assert found.mean == pytest.approx(1.58)
    assert found.deviation == pytest.approx(1.22999, abs=1e-5)
    # The grid of 0.1 adds 0.1^2 / 12 to the variance.
    error = math.sqrt((found.deviation**2 + 0.01 / 12) / 10)
    assert found.error == pytest.approx(error)
    assert found.p == pytest.approx(0.00283, abs=1e-5)
    assert found.half == pytest.approx(2.262157 * error, abs=1e-5)
    assert found.effect == pytest.approx(1.28456, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "alpha", "wanted"), [(2, 0.05, 12.7062), (5, 0.05, 2.7764), (30, 0.01, 2.7564)]
)
def test_quantiles_are_those_of_printed_tables(n, alpha, wanted):
    assert quantile(n, alpha) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 1, 1, 0], 1),
        ([1000, 1010, 1020, 1600], 2),
        ([0, 359], 1),
        ([512, 0, 1536], 512),
        ([0.015, 0.02, 0.085, 0.5], 0.005),
        ([0.1, 0.4, 0.7000000000000001], 0.3),
        ([7, 7, 7], 0),
    ],
)
def test_a_grid_is_found(values, wanted):
    assert step([*map(float, values)]) == pytest.approx(wanted)


def test_values_without_a_grid_have_a_step_that_makes_no_difference():
    assert step([math.sqrt(k) for k in (2, 3, 5, 7)]) < 1e-4


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_equal_differences_of_one_step_are_as_improbable_as_coins(n):
    found = paired([0] * n, [1] * n)
    assert found.p == pytest.approx(2 / 4**n, rel=0.65)
    assert found.deviation == 0 and found.effect is None


def test_one_more_in_each_of_three_seeds_is_no_certainty():
    assert 0.02 < paired([4, 9, 6], [5, 10, 7]).p < 0.05
    assert paired([4, 9, 6], [504, 509, 506]).p < 1e-5


def test_one_pair_says_nothing_of_chance():
    found = paired([1], [100])
    assert (found.mean, found.half, found.p, found.effect) == (99, None, None, None)
    assert judge(found, 0, None, "higher") == "too few seeds"
    assert pairs_needed(found, 0) is None


def test_pairs_that_are_all_equal_are_the_same():
    found = paired([3, 5, 8], [3, 5, 8])
    assert (found.half, found.p) == (0, None)
    assert judge(found, 0, None, "higher") == "same"


def test_what_chance_does_not_reach_is_exact():
    found = paired([3, 3], [4, 4], exact=True)
    assert (found.half, found.p) == (0, None)
    assert judge(found, 0, None, "lower") == "worse"
    assert judge(found, 1, None, "lower") == "same"


@pytest.mark.parametrize(
    ("mean", "margin", "adjusted", "better", "verdict"),
    [
        (10, 1, 0.01, "higher", "better"),
        (10, 1, 0.01, "lower", "worse"),
        (-10, 1, 0.01, "lower", "better"),
        (10, 1, 0.01, "neither", "differs"),
        (10, 1, 0.05, "higher", "too few seeds"),
        (10, 20, 0.01, "higher", "same"),
    ],
)
def test_verdicts(mean, margin, adjusted, better, verdict):
    assert judge(Paired(5, mean, 2.0, 1.0, 0.001), margin, adjusted, better) == verdict


def test_holm_as_in_a_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_lies_between_no_correction_and_bonferroni(p_values):
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1, len(p_values) * p) + 1e-12


def test_values_whose_squares_are_out_of_range():
    for size in (1e-287, 1e200):
        found = paired([0.0, 0.0], [size, 3 * size])
        assert found.p == pytest.approx(paired([0.0, 0.0], [1.0, 3.0]).p, rel=0.05)
        assert found.deviation == pytest.approx(math.sqrt(2) * size)


@given(VALUES, st.data())
def test_nothing_is_infinite_or_not_a_number(before, data):
    after = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(before), max_size=len(before)))
    found = paired(before, after)
    numbers = [found.mean, found.deviation, found.error, found.half, found.p, found.effect]
    assert all(number is None or math.isfinite(number) for number in numbers)
    back = paired(after, before)
    assert (back.mean, back.p) == (-found.mean, found.p)


def test_as_many_pairs_as_are_needed_are_enough_and_one_less_is_not():
    found = Paired(5, 3.0, 6.0, 6.0 / math.sqrt(5), 0.3)
    n = pairs_needed(found, 0, unsettled=4)

    def p(count):
        error = 6.0 / math.sqrt(count)
        return 2 * float(statistics.stdtr(count - 1, -3.0 / error))

    assert p(n) < statistics.ALPHA / 4 <= p(n - 1)
    within = pairs_needed(Paired(5, 0.1, 1.0, 1 / math.sqrt(5), 0.8), 0.5)
    assert 0.1 + quantile(within) / math.sqrt(within) <= 0.5
    assert 0.1 + quantile(within - 1) / math.sqrt(within - 1) > 0.5
    assert pairs_needed(Paired(5, 0.0, 1.0, 1.0, 1.0), 0) is None


@pytest.mark.parametrize(
    "case",
    [
        Case("normal", 3),
        Case("normal", 10),
        Case("normal", 5, 20),
        Case("lognormal", 3, 10, 0.8),
        Case("Poisson(0.3)", 3),
        Case("512 Poisson(0.3)", 3, 10),
        Case("all or none", 5, 10),
        Case("4 of 5 are 0", 10),
    ],
    ids=str,
)
def test_planted_equalities_are_not_found_more_often_than_chance_allows(case):
    assert tally(case, SOME).false_findings <= binomial_interval(SOME, statistics.ALPHA)[1]


def test_findings_of_normal_values_are_not_too_rare_either():
    low, _ = binomial_interval(SOME, statistics.ALPHA)
    assert tally(Case("normal", 5), SOME).false_findings >= low


@pytest.mark.parametrize(("seeds", "size"), [(5, 1.0), (10, 1.0), (5, 2.0)])
def test_planted_differences_are_found_as_often_as_theory_says(seeds, size):
    result = tally(Case("normal", seeds, planted=size, planted_in=1), SOME)
    low, high = binomial_interval(SOME, expected_power(size, seeds))
    assert low <= result.found <= high
    assert result.wrong_sign <= 2


def test_planted_differences_among_equalities():
    result = tally(Case("normal", 10, 10, planted=2.0, planted_in=3), SOME)
    assert result.found > 0.9 * 3 * SOME
    assert result.false_findings <= binomial_interval(SOME, statistics.ALPHA)[1]


def test_a_difference_of_the_margin_is_seldom_called_none():
    same = tally(at_margin(5), SOME).same
    assert same <= binomial_interval(SOME, statistics.ALPHA / 2)[1]


def _unpaired(baseline, side, *, exact=False):
    n = len(side)
    spread = sum(statistics._deviation(values) ** 2 for values in (baseline, side))
    mean = (sum(side) - sum(baseline)) / n
    error = math.sqrt(spread / n)
    return Paired(n, mean, 1.0, error, 2 * float(statistics.stdtr(2 * n - 2, -abs(mean) / error)))


def _normal(baseline, side, *, exact=False):
    found = paired(baseline, side)
    p = math.erfc(abs(found.mean) / found.error / math.sqrt(2))
    return Paired(found.n, found.mean, found.deviation, found.error, p)


def test_the_simulation_notices_when_nothing_is_adjusted(monkeypatch):
    monkeypatch.setattr(rows, "holm", list)
    case = Case("normal", 5, 20)
    assert tally(case, SOME).false_findings > binomial_interval(SOME, statistics.ALPHA)[1]


def test_the_simulation_notices_a_normal_distribution_in_place_of_students(monkeypatch):
    monkeypatch.setattr(rows, "paired", _normal)
    case = Case("normal", 5)
    assert tally(case, SOME).false_findings > binomial_interval(SOME, statistics.ALPHA)[1]


def test_the_simulation_notices_when_pairs_are_torn(monkeypatch):
    monkeypatch.setattr(rows, "paired", _unpaired)
    assert tally(Case("normal", 5), SOME).false_findings < binomial_interval(SOME, 0.05)[0]
    case = Case("normal", 5, planted=2.0, planted_in=1)
    assert tally(case, SOME).found < binomial_interval(SOME, expected_power(2.0, 5))[0]


def test_the_simulation_notices_counts_taken_for_exact(monkeypatch):
    monkeypatch.setattr(statistics, "step", lambda values: 1e-9)
    monkeypatch.setitem(planted.KINDS, "coin", planted._binomial_ratio(0.5, 1))
    monkeypatch.setattr(planted, "SHARED", 0.0)
    case = Case("coin", 3, 20)
    assert tally(case, SOME).false_findings > binomial_interval(SOME, statistics.ALPHA)[1]


def test_coins_that_have_nothing_to_do_with_each_other_are_not_taken_for_findings(monkeypatch):
    monkeypatch.setattr(planted, "SHARED", 0.0)
    for metrics in (1, 20):
        result = tally(Case("all or none", 3, metrics), SOME)
        assert result.false_findings <= binomial_interval(SOME, statistics.ALPHA)[1]


def test_binomial_intervals_hold_what_they_say():
    low, high = binomial_interval(2000, 0.05)
    assert (low, high) == (81, 120)
    assert binomial_interval(100, 0.0) == (0, 0)
