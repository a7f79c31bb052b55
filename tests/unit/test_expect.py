"""The grammar of ``expect:`` and its verdicts."""

from fractions import Fraction

import pytest

from memsim.scenario.expect import Verdict, judge, parse_expectation


def test_every_part_is_read():
    found = parse_expectation("hotplug.removed_bytes >= 4GiB in 95% of seeds for zone-4g")
    assert (found.metric, found.op, found.value) == ("hotplug.removed_bytes", ">=", 4 << 30)
    assert (found.unit, found.share, found.policy) == ("bytes", Fraction(95, 100), "zone-4g")


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("a.b<1", 1, ""),
        ("a.b == -2.5", Fraction(-5, 2), ""),
        ("a.b != 60%", Fraction(3, 5), "%"),
        ("a.b > 10ms", 10_000_000, "ns"),
    ],
)
def test_values(text, value, unit):
    found = parse_expectation(text)
    assert (found.value, found.unit, found.share, found.policy) == (value, unit, 1, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'expected something like "fallback.events <= 100 in 95% of seeds for mobility", '
         'found ""'),
        ("a.b", 'expected something like "fallback.events <= 100 in 95% of seeds for mobility", '
         'found "a.b"'),
        ("a.b <= x", 'expected a number such as 100, 4GiB, 10ms or 60%, found "x"'),
        ("a.b <= 1 in 101% of seeds", "expected a share from 0% to 100% of seeds, found 101%"),
    ],
)  # fmt: skip
def test_refused(text, message):
    with pytest.raises(ValueError) as refusal:
        parse_expectation(text)
    assert str(refusal.value) == message


def rows(policy, *values):
    return [{"policy": policy, "a.b": value} for value in values]


@pytest.mark.parametrize(
    ("text", "table", "met", "group", "held", "trials"),
    [
        pytest.param("a.b <= 2", rows("x", 1, 2), True, ("x",), 2, 2, id="all hold"),
        pytest.param("a.b < 2", rows("x", 1, 2), False, ("x",), 1, 2, id="one does not"),
        pytest.param("a.b < 2 in 50% of seeds", rows("x", 1, 2), True, ("x",), 1, 2, id="half"),
        pytest.param("a.b < 2", rows("x", 1) + rows("y", 3), False, ("y",), 0, 1, id="worst"),
        pytest.param(
            "a.b < 2 for x", rows("x", 1) + rows("y", 3), True, ("x",), 1, 1, id="one policy"
        ),
        pytest.param("a.b != 2", rows("x", None), False, ("x",), 0, 1, id="failed trial"),
        pytest.param("a.b != 2", rows("x", float("nan")), False, ("x",), 0, 1, id="blank"),
        pytest.param("a.b != 2", [], False, (), 0, 0, id="no trial"),
    ],
)
def test_verdicts(text, table, met, group, held, trials):
    expectation = parse_expectation(text)
    assert judge(expectation, table) == Verdict(expectation, met, group, held, trials)


def test_axes_part_the_rows():
    table = [{"policy": "x", "size": s, "a.b": v} for s, v in [(1, 0), (1, 0), (2, 0), (2, 9)]]
    verdict = judge(parse_expectation("a.b < 5 in 75% of seeds"), table, ("policy", "size"))
    assert (verdict.met, verdict.group, verdict.held) == (False, ("x", "2"), 1)
