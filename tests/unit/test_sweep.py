"""Sweeps: an axis over every policy, and trials that are small to send and cheap to name."""

import pickle

import pytest
from trials import SMALL, small

import memsim
from memsim.errors import InputError

EVERY = SMALL + "axes:\n  policies.*.cmdline: [movablecore=0, movablecore=16M]\n"


def test_the_shipped_sweep_has_a_point_for_each_size_under_each_policy():
    scenario = memsim.load("sweep-movable")
    (sizes,) = scenario.axes.values()
    assert scenario.trial_count == len(scenario.policies) * len(sizes) * len(scenario.seeds) >= 500
    trials = list(scenario.trials())
    assert {(trial.policy, trial.spec.cmdline) for trial in trials} == {
        (policy, size) for policy in scenario.policies for size in sizes
    }
    assert len({trial.name for trial in trials}) == len(trials)


def test_an_axis_over_every_policy_sets_all_of_them():
    trials = list(small(EVERY, seeds="1").trials())
    assert [(t.policy, dict(t.point)["policies.*.cmdline"]) for t in trials] == [
        ("none", "movablecore=0"), ("none", "movablecore=16M"),
        ("mobility", "movablecore=0"), ("mobility", "movablecore=16M"),
    ]  # fmt: skip
    assert {s.cmdline for s in trials[1].scenario.policies.values()} == {"movablecore=16M"}
    assert trials[3].spec.kernel.movablecore.bytes == 16 << 20


def test_an_axis_over_every_policy_stays_with_those_that_are_kept():
    kept = small(EVERY, policies=["mobility"])
    assert kept.trial_count == 4
    assert list(kept.axes) == ["policies.*.cmdline"]


def test_an_axis_over_every_workload():
    text = SMALL.replace("kern: ", "kern2: {kind: slab}\n  kern: ").replace("  app:", "  #")
    scenario = small(text + "axes: {workloads.*.rate: [100/s, 200/s]}\n")
    last = list(scenario.trials())[-1].scenario
    assert [spec.params["rate"] for spec in last.workloads.values()] == ["200/s", "200/s"]


def test_a_value_can_be_set_for_every_policy():
    scenario = small(sets=["policies.*.cmdline=movablecore=16M"])
    assert {spec.cmdline for spec in scenario.policies.values()} == {"movablecore=16M"}


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("policies.*.cmdline: [movablecore=0, movablecor=16M]",
         "small.yaml:16:44: kernel command line: expected kernelcore=SIZE, movablecore=SIZE, "
         "movable_node or transparent_hugepage=always|madvise|never, found \"movablecor=16M\""),
        ("policies.*.boost: [true, 3]",
         "small.yaml:16:33: boost: expected true or false, found 3"),
        ("workloads.*.rate: [1/s]",
         'small.yaml:16:27: unknown key "rate"\n  hint: known: anon, arguments, count, exit, grow, '
         "lifetime, locked, mem, mlocked, nodes, oom_score_adj, pinned, shared, spread, start, "
         "thp, touch"),
        ("machine.vm.*: [0]",
         'small.yaml:16:23: unknown key "*"\n  hint: known: compact_unevictable_allowed, '
         "compaction_proactiveness, demotion_enabled, extfrag_threshold, lowmem_reserve_ratio, "
         "min_free_kbytes, nr_hugepages, numa_balancing, numa_balancing_scan_period, "
         "numa_balancing_scan_size, percpu_pagelist_high_fraction, swappiness, thp, "
         "vfs_cache_pressure, watermark_boost_factor, watermark_scale_factor"),
        ("machine.nodes.*.cpus: [0]",
         'small.yaml:16:8: machine.nodes has 1 items, no item "*"'),
        ("policies.*.boost: [true], policies.none.boost: [false]",
         'small.yaml:16:34: "policies.none.boost" overwrites the axis "policies.*.boost"'),
        ("machine.vm.thp: [never], machine.vm: [{swappiness: 1}]",
         'small.yaml:16:33: "machine.vm" overwrites the axis "machine.vm.thp"'),
    ],
)  # fmt: skip
def test_what_cannot_be_on_an_axis_is_said_once_with_its_place(axes, said):
    with pytest.raises(InputError) as caught:
        small(SMALL + f"axes: {{{axes}}}\n")
    assert str(caught.value) == said


def test_no_workload_is_not_every_workload():
    text = SMALL[: SMALL.index("workloads:")] + "axes: {workloads.*.rate: [1/s]}\n"
    with pytest.raises(InputError, match=r'there is no workload "\*"'):
        small(text)


def test_a_part_of_what_another_axis_sets_can_be_an_axis_after_it():
    scenario = small(
        SMALL + "axes: {machine.vm: [{thp: never}, {thp: always}], machine.vm.swappiness: [1, 2]}\n"
    )
    last = list(scenario.trials())[-1].scenario
    assert (last.machine.vm.thp, last.machine.vm.swappiness) == ("always", 2)


@pytest.mark.parametrize("name", ["sweep-movable", "five-policies", "replay-kernel", "tiny"])
def test_trials_are_small_to_send_however_many_there_are(name):
    few, many = (memsim.load(name, seeds=seeds) for seeds in ("1..2", "1..2000"))
    trial, other = next(few.trials()), next(many.trials())
    assert trial.name == other.name
    sent = pickle.dumps(other)
    assert len(sent) < 8192
    assert len(sent) == len(pickle.dumps(trial))
    again = pickle.loads(sent)
    assert (again, again.name) == (trial, trial.name)


def test_parts_say_what_tells_trials_apart():
    trials = {(t.policy, t.spec.cmdline, t.seed): t.parts for t in small(EVERY).trials()}

    def differ(a, b):
        return {part for part in trials[a] if trials[a][part] != trials[b][part]}

    first = ("none", "movablecore=0", 1)
    assert differ(first, ("none", "movablecore=0", 2)) == {"seed"}
    assert differ(first, ("none", "movablecore=16M", 1)) == {"policy", "axis point"}
    assert differ(first, ("mobility", "movablecore=0", 1)) == {"policy", "engine"}


def test_a_changed_scenario_forgets_what_was_cached_of_the_old_one():
    whole = small()
    assert hash(whole) != hash(whole.with_seeds((1,)))
    assert list(whole.policy_parts) == ["none", "mobility"]
    assert list(whole.only(("none",)).policy_parts) == ["none"]
