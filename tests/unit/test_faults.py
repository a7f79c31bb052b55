"""A few hundred migrations and removals in whose middle something goes wrong (``make soak``)."""

import pytest

from bench.faults import ACTIONS, FAULTS, carry_out

CASES = 200
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_pages_are_conserved_whatever_goes_wrong(part):
    cases = [carry_out(seed) for seed in range(part, CASES, PARTS)]
    assert {case.action for case in cases} == set(ACTIONS)
    assert {case.fault for case in cases} == set(FAULTS)
    assert len({case.result for case in cases}) > 2
