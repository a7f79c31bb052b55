"""The orders in which the published tests came out, on the tests' own load with few seeds.

`make history` has ten seeds, every policy and every table.
"""

from collections import Counter
from pathlib import Path

import pytest

from memsim.load import load_scenario
from memsim.simulate import simulate

HISTORY = Path(__file__).parents[2] / "scenarios/history"
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def january_2006():
    """Blocks by policy, seed, phase and zone of the table of January 2006."""
    scenario = load_scenario(
        HISTORY / "t3.yaml", policies=("none", "v22", "zone"), seeds=",".join(map(str, SEEDS))
    )
    found = {}
    for trial in scenario.trials():
        result = simulate(trial, samples=0)
        assert result.status == "ok", result.error
        phases = found.setdefault((trial.policy, trial.seed), {})
        for row in result.high_order:
            zone = row.zone.partition(" ")[2]
            phases.setdefault(row.phase, Counter())[zone] += row.succeeded
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_history_1_4_at_rest_lists_are_better_than_a_zone_and_a_zone_than_nothing(
    january_2006, seed
):
    none, v22, zone = (
        january_2006[policy, seed]["rest"].total() for policy in ("none", "v22", "zone")
    )
    assert v22 > zone > none
    assert v22 > 1.3 * none


@pytest.mark.parametrize("seed", SEEDS)
def test_history_1_4_only_lists_get_blocks_out_of_normal_at_rest(january_2006, seed):
    none, v22, zone = (
        january_2006[policy, seed]["rest"]["Normal"] for policy in ("none", "v22", "zone")
    )
    assert v22 > 3 * max(none, zone)


@pytest.mark.parametrize("seed", SEEDS)
def test_history_1_4_under_load_both_are_better_than_nothing(january_2006, seed):
    none, v22, zone = (
        january_2006[policy, seed]["load pass 1"].total() for policy in ("none", "v22", "zone")
    )
    assert min(v22, zone) > none


@pytest.mark.parametrize("seed", SEEDS)
def test_history_1_4_rest_is_better_than_load(january_2006, seed):
    for policy in ("none", "v22", "zone"):
        phases = january_2006[policy, seed]
        assert phases["rest"].total() > phases["load pass 1"].total()
