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


def blocks(name, policies, seeds):
    """Blocks by policy, seed, phase and zone of a published table."""
    scenario = load_scenario(
        HISTORY / f"{name}.yaml", policies=policies, seeds=",".join(map(str, seeds))
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


@pytest.fixture(scope="module")
def january_2006():
    return blocks("t3", ("none", "v22", "zone"), SEEDS)


@pytest.fixture(scope="module")
def may_2007():
    found = blocks("t5", ("none", "mobility"), SEEDS[:1])
    return [
        {phase: zones.total() for phase, zones in found[policy, SEEDS[0]].items()}
        for policy in ("none", "mobility")
    ]


def test_history_1_6_grouping_wins_under_load_and_at_rest(may_2007):
    none, mobility = may_2007
    assert mobility["load"] > 3 * none["load"]
    assert mobility["rest"] > 2 * none["rest"]
    assert mobility["rest"] >= mobility["load"] - 0.05 * 499
    assert 100 * none["load"] < 15 * 499


@pytest.mark.xfail(strict=True, reason="docs/history.md: unmovable pages lie in too many blocks")
def test_history_1_6_rest_helps_nothing_threefold(may_2007):
    none, _ = may_2007
    assert none["rest"] >= 3 * none["load"]


@pytest.mark.xfail(strict=True, reason="docs/history.md: too much of memory is scattered")
def test_history_1_6_grouping_gets_most_blocks_under_load(may_2007):
    _, mobility = may_2007
    assert 100 * mobility["load"] > 60 * 499


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
