"""``--until``: its grammar, when a bound holds, and how seeds are added."""

from contextlib import nullcontext

import pytest
from trials import small

from memsim import plugins
from memsim.compare.samples import Side
from memsim.compare.until import judge_until, parse_until, with_enough_seeds
from memsim.errors import InputError
from memsim.execute import How, run
from memsim.execute.watch import Unwatched
from memsim.results.store import TRIALS

COLUMNS = plugins.metric_columns()


class Rounds:
    """Counts rounds, and the trials that were carried out in each."""

    def __init__(self):
        self.ended = []

    def __call__(self):
        self.ended.append([])
        outer = self

        class Witness(Unwatched):
            def ends(self, done):
                outer.ended[-1].append(done.trial.seed)

        return nullcontext(Witness())


def until(text):
    return parse_until(text, COLUMNS)


def sides(metric, baseline, *others):
    made = []
    for number, values in enumerate([baseline, *others]):
        made.append(Side(f"s{number}"))
        for seed, value in enumerate(values):
            metrics = {} if value is None else {metric: value, "m.other": seed * 0.7}
            made[-1].add((), seed, metrics, None)
    return made


def judged(text, baseline, *others):
    bound = until(text)
    both = sides(bound.metric, baseline, *others)
    return judge_until(bound, both, both[0])


def test_a_bound_is_understood():
    found = until(" ci( high_order.success_ratio ) <1% ")
    assert (found.metric, found.bound, found.relative) == ("high_order.success_ratio", 0.01, False)
    found = until("ci(pageblocks.mixed) < 5%")
    assert (found.bound, found.relative) == (0.05, True)
    found = until("ci(pageblocks.mixed) < 2.5")
    assert (found.bound, found.relative) == (2.5, False)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "expected something like", ""),
        ("ci(pageblocks.mixed) > 1%", 'expected something like "ci(', ""),
        ("pageblocks.mixed < 1%", "expected something like", ""),
        ("ci(pageblocks.mixed) < 1% or so", "expected something like", ""),
        ("ci(__import__('os')) < 1%", "expected something like", ""),
        ("ci(pageblocks.mixed) < much", "expected a number", ""),
        ("ci(pageblocks.mixed) < 0%", "expected a bound above 0", ""),
        ("ci(pageblocks.mixed) < -1", "expected a bound above 0", ""),
        ("ci(pageblocks.mixd) < 1%", 'no metric "pageblocks.mixd"', '"pageblocks.mixed"?'),
        ("ci(pageblocks.mixed) < 4KiB", "is not in bytes", ""),
        ("ci(pageblocks.mixed) < 4ms", "is not in ns", ""),
    ],
)
def test_what_is_no_bound_is_refused_in_one_line(text, message, hint):
    with pytest.raises(InputError) as refused:
        until(text)
    (problem,) = refused.value.problems
    assert problem.path == "--until"
    assert message in problem.message and hint in problem.hint


def test_a_bound_holds_if_all_intervals_are_narrower():
    narrow, wide = [10.1, 20.2, 30.0, 40.1], [11.0, 25.0, 30.0, 44.0]
    assert judged("ci(pageblocks.mixed) < 1", [10, 20, 30, 40], narrow).holds
    reached = judged("ci(pageblocks.mixed) < 1", [10, 20, 30, 40], narrow, wide)
    assert not reached.holds
    assert reached.why_not.startswith("s2: ") and reached.why_not.endswith("not below 1")


def test_a_part_is_one_of_the_baselines_mean_or_a_point_of_a_percent():
    before, after = [100.0, 200.0, 300.0], [101.0, 202.0, 302.0]
    assert judged("ci(pageblocks.mixed) < 1%", before, after).holds
    assert not judged("ci(pageblocks.mixed) < 0.1%", before, after).holds
    ratio = "high_order.success_ratio"
    assert not judged(f"ci({ratio}) < 1%", [0.10, 0.12, 0.11], [0.12, 0.12, 0.12]).holds
    reached = judged(f"ci({ratio}) < 1%", [0.10, 0.12, 0.11], [0.13, 0.12, 0.14])
    assert reached.why_not.endswith(" % is not below 1 %")


def test_with_one_side_the_interval_is_that_of_the_mean():
    assert judged("ci(pageblocks.mixed) < 5", [10, 11, 12]).holds
    assert not judged("ci(pageblocks.mixed) < 1", [10, 11, 12]).holds


@pytest.mark.parametrize("bound", ["5", "5%"])
def test_blank_values_never_reach_a_bound(bound):
    reached = judged(f"ci(pageblocks.mixed) < {bound}", [1, 2, None], [None, None, 3])
    assert reached.blank and "fewer than two values" in reached.why_not
    reached = judged("ci(pageblocks.mixed) < 5", [1, 2, None], [None, 3, 3])
    assert not reached.blank and not reached.holds


def test_pairs_that_do_not_differ_reach_any_bound():
    assert judged("ci(pageblocks.mixed) < 1%", [0, 0, 0], [0, 0, 0]).holds


def enough(tmp_path, text, most, scenario=None, **options):
    rounds = Rounds()
    found, reached = with_enough_seeds(
        scenario or small(), until(text), most=most, out=tmp_path, how=How(), watched=rounds,
        **{"baseline": None, **options},
    )  # fmt: skip
    return found, reached, rounds.ended


@pytest.mark.parametrize(("baseline", "other"), [(None, "mobility"), ("mobility", "none")])
def test_a_bound_is_of_the_others_beside_the_baseline(tmp_path, baseline, other):
    _, reached, _ = enough(tmp_path, "ci(overhead.drained_blocks) < 0.0001", 2, baseline=baseline)
    assert reached.why_not.startswith(f"{other}: ")


def test_at_least_five_seeds_are_taken_and_no_more_than_needed(tmp_path):
    found, reached, rounds = enough(tmp_path, "ci(allocation.success_ratio) < 1%", 100)
    assert reached.holds
    assert found.seeds == (1, 2, 3, 4, 5)
    assert rounds == [[1, 2, 3, 4, 5] * 2]


def test_seeds_grow_by_half_and_follow_on_the_largest(tmp_path):
    scenario = small(seeds="7,3..4")
    found, reached, rounds = enough(tmp_path, "ci(overhead.drained_blocks) < 0.001", 10, scenario)
    assert not reached.holds and reached.why_not
    assert found.seeds == (7, 3, 4, 8, 9, 10, 11, 12, 13, 14)
    assert [sorted(set(seeds)) for seeds in rounds] == [
        [3, 4, 7, 8, 9], [10, 11, 12], [13, 14],
    ]  # fmt: skip


def test_rounds_leave_trials_but_no_runs(tmp_path):
    found, _, _ = enough(tmp_path, "ci(overhead.drained_blocks) < 0.001", 8)
    assert len([p for p in (tmp_path / TRIALS).rglob("*") if p.is_file()]) == 2 * 8
    assert [p for p in tmp_path.glob("small/*")] == []
    done = run(found, out=tmp_path)
    assert done.manifest["kept_trials"] == 16
    assert done.manifest["seeds"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_is_simulated_again_is_so_once(tmp_path):
    run(small(), out=tmp_path)
    rounds = enough(tmp_path, "ci(overhead.drained_blocks) < 0.001", 8, cache=False)[2]
    assert rounds == [[1, 2, 3, 4, 5] * 2, [6, 7, 8] * 2]


def test_a_scenario_with_more_seeds_than_the_limit_keeps_them(tmp_path):
    found, _, rounds = enough(
        tmp_path, "ci(overhead.drained_blocks) < 0.001", 3, small(seeds="1..6")
    )
    assert found.seeds == (1, 2, 3, 4, 5, 6)
    assert len(rounds) == 1


def test_trials_that_fail_end_the_search(tmp_path):
    scenario = small(sets=["workloads.kern.rate=30000000000/s"])
    found, reached, rounds = enough(tmp_path, "ci(overhead.drained_blocks) < 0.001", 50, scenario)
    assert len(rounds) == 1 and not reached.holds
    assert len(found.seeds) == 5


def test_one_policy_alone_may_be_asked_for(tmp_path):
    scenario = small(policies=("mobility",))
    found, reached, _ = enough(tmp_path, "ci(allocation.pages) < 50%", 100, scenario)
    assert reached.holds and len(found.seeds) == 5
