"""Pairing, margins, choice of metrics and baselines, and runs that do not quite fit together."""

import hashlib
import json
import math
import shutil

import pytest
from trials import SMALL, small

from memsim.compare import compare
from memsim.compare.rows import rows_of
from memsim.compare.samples import Side
from memsim.errors import InputError
from memsim.execute import run
from memsim.results import Run, read_results
from memsim.schema import Column

MORE = {"m.x": Column("x", "1", "", "higher", dtype="float64")}
IDEAL = SMALL.replace(
    "policies:\n", "policies:\n  ideal: {placement: mobility, cmdline: movablecore=32M}\n"
)


def side(label, values, point=(), **other):
    """A side with values by seed; None is a blank, a text why the trial failed."""
    made = Side(label)
    for seed, value in values.items():
        error = value if isinstance(value, str) else None
        metrics = {} if value is None or error else {"m.x": value, "m.other": seed * 0.37}
        made.add(point, seed, {**metrics, **other}, error)
    return made


def only_row(before, after, margin=0.01, columns=MORE, *more):
    (row,) = rows_of([before, after, *more], before, columns, margin)
    return row


def by_seed(*values):
    return dict(enumerate(values, 1))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of two policies with five seeds."""
    return run(small(seeds="1..5"), out=tmp_path_factory.mktemp("results"))


@pytest.fixture
def copy(done, tmp_path):
    """A copy of that run whose manifest a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(done.folder, folder)

    def changed(change):
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return Run(folder)

    return changed


def test_trials_are_paired_by_seed_whatever_their_order():
    before = side("a", {1: 10.0, 2: 20.0, 3: 31.5})
    after = side("b", {3: 32.5, 1: 11.25, 2: 21.0})
    row = only_row(before, after)
    assert (row.n, row.lost) == (3, 0)
    assert row.difference == pytest.approx((1.25 + 1 + 1) / 3)
    assert row.deviation == pytest.approx(math.sqrt(3) / 12)
    assert row.effect == pytest.approx(row.difference / row.deviation)
    assert row.relative == pytest.approx(row.difference / 20.5)
    assert row.low < row.difference < row.high


def test_a_failed_or_blank_trial_costs_its_pair_and_is_counted():
    before = side("a", {1: 10.0, 2: "out of luck", 3: 30.5, 4: 8.0})
    after = side("b", {1: 11.0, 2: 21.0, 3: 33.0, 4: None})
    row = only_row(before, after)
    assert (row.n, row.lost) == (2, 2)
    assert (row.baseline_mean, row.mean) == (20.25, 22)
    assert before.failed == ["a, seed 2: out of luck"]


def test_a_metric_that_one_side_lacks_is_not_comparable():
    row = only_row(side("a", by_seed(None, None)), side("b", by_seed(1.0, 2.0)))
    assert (row.n, row.verdict, row.difference, row.p) == (0, "not comparable", None, None)
    both = [side(label, by_seed(None, None)) for label in "ab"]
    assert rows_of(both, both[0], MORE, 0.01) == ()


def test_one_pair_has_no_interval_and_no_verdict():
    row = only_row(side("a", by_seed(1.0)), side("b", by_seed(2.0)))
    assert (row.difference, row.half_width, row.low, row.high) == (1, None, None, None)
    assert (row.verdict, row.more_seeds) == ("too few seeds", None)


def test_the_margin_is_the_larger_of_the_columns_and_the_callers():
    before, after = by_seed(100.0, 110.0, 120.0), by_seed(102.0, 112.1, 122.2)
    tolerant = {"m.x": Column("x", "1", "", "higher", 0.05, "float64")}
    assert only_row(side("a", before), side("b", after), 0.05).verdict == "same"
    assert only_row(side("a", before), side("b", after), 0, tolerant).verdict == "same"
    assert only_row(side("a", before), side("b", after), 0.01).verdict == "better"


def test_p_values_are_adjusted_for_all_rows_that_are_tested():
    columns = {f"m.{i}": Column(f"m{i}", "1", "", "higher", dtype="float64") for i in range(4)}
    before, after = Side("a"), Side("b")
    for seed, noise in enumerate([0.1, 0.4, 0.2]):
        before.add((), seed, {"m.0": noise, "m.1": noise, "m.2": noise, "m.3": 1.0}, None)
        after.add(
            (), seed, {"m.0": 1.0, "m.1": noise + 3 + noise**2, "m.2": noise, "m.3": 1.0}, None
        )
    rows = {row.metric: row for row in rows_of([before, after], before, columns, 0)}
    alone = rows_of([before, after], before, {"m.0": columns["m.0"]}, 0)[0]
    assert rows["m.0"].p == pytest.approx(alone.p)
    assert rows["m.1"].p == pytest.approx(
        2 * rows_of([before, after], before, {"m.1": columns["m.1"]}, 0)[0].p
    )
    assert (rows["m.2"].verdict, rows["m.2"].p) == ("same", None)
    assert (rows["m.3"].verdict, rows["m.3"].p) == ("same", None)


def test_the_more_rows_are_open_the_more_seeds_it_takes():
    columns = {f"m.{i}": Column(f"m{i}", "1", "", "higher", dtype="float64") for i in range(8)}
    before, after = Side("a"), Side("b")
    for seed, noise in enumerate([0.1, 0.4, 0.9, 0.35]):
        before.add((), seed, dict.fromkeys(columns, noise), None)
        after.add((), seed, dict.fromkeys(columns, noise + (-1) ** seed + 0.3), None)
    (alone,) = rows_of([before, after], before, {"m.0": columns["m.0"]}, 0)
    together = rows_of([before, after], before, columns, 0)
    assert {row.verdict for row in (alone, *together)} == {"too few seeds"}
    assert {row.more_seeds for row in together} != {alone.more_seeds}
    assert min(row.more_seeds for row in together) > alone.more_seeds


def test_where_no_metric_depends_on_the_seed_differences_are_exact():
    def constant(label, value):
        made = Side(label)
        for seed in (1, 2):
            made.add((), seed, {"m.x": value, "m.other": 3.0}, None)
        return made

    row = only_row(constant("a", 5.0), constant("b", 4.0))
    assert (row.verdict, row.exact, row.p, row.half_width) == ("worse", True, None, 0)
    varied = constant("b", 4.0)
    varied.trials[()][2] = {"m.x": 4.0, "m.other": 3.5}
    row = only_row(constant("a", 5.0), varied)
    assert (row.verdict, row.exact) == ("too few seeds", False)
    assert row.more_seeds >= 1


def test_regret_is_the_distance_from_ideal_in_the_good_direction():
    a, b = side("a", by_seed(5.0, 6.5)), side("b", by_seed(7.0, 8.0))
    best = side("ideal", by_seed(9.0, 10.5))
    for better, sign in (("higher", 1), ("lower", -1)):
        columns = {"m.x": Column("x", "1", "", better, dtype="float64")}
        rows = {row.side: row for row in rows_of([a, b, best], a, columns, 0)}
        assert rows["b"].regret == sign * 2.25
        assert rows["ideal"].regret == 0
    neither = {"m.x": Column("x", "1", "", dtype="float64")}
    assert {row.regret for row in rows_of([a, b, best], a, neither, 0)} == {None}
    assert only_row(a, b).regret is None


def test_regret_is_over_the_seeds_of_the_pairs():
    a, b = side("a", by_seed(5.0, 6.5)), side("b", by_seed(7.0, 8.0))
    columns = {"m.x": MORE["m.x"]}
    longer = side("ideal", by_seed(9.0, 10.5, 99.0))
    rows = {row.side: row for row in rows_of([a, b, longer], a, columns, 0)}
    assert rows["b"].regret == 2.25
    shorter = side("ideal", by_seed(9.0))
    rows = {row.side: row for row in rows_of([a, b, shorter], a, columns, 0)}
    assert rows["b"].regret is None


def test_a_scenario_with_a_policy_ideal_has_regrets(tmp_path):
    found = compare(run(small(IDEAL, seeds="1..3"), out=tmp_path), baseline="none")
    (row,) = [r for r in found.rows if (r.metric, r.side) == ("pageblocks.mixed", "mobility")]
    (best,) = [r for r in found.rows if (r.metric, r.side) == ("pageblocks.mixed", "ideal")]
    assert row.regret == row.mean - best.mean
    assert "regret" in found.table.columns


def test_the_first_policy_is_the_baseline_and_seeds_make_pairs(done):
    found = compare(done)
    assert (found.sides, found.baseline, found.seeds) == (
        ("none", "mobility"), "none", (1, 2, 3, 4, 5),
    )  # fmt: skip
    trials = done.trials.set_index(["policy", "seed"])["pageblocks.mixed"]
    (row,) = [row for row in found.rows if row.metric == "pageblocks.mixed"]
    differences = trials["mobility"] - trials["none"]
    assert row.n == 5
    assert row.difference == differences.mean()
    assert row.deviation == pytest.approx(differences.std())
    assert row.baseline_mean == trials["none"].mean()
    back = compare(done, baseline="mobility", metrics=["pageblocks.mixed"])
    assert back.rows[0].difference == -row.difference
    assert {row.side for row in back.rows} == {"none"}


def test_the_table_is_a_data_frame_of_all_rows(done):
    found = compare(done)
    assert list(found.table.columns[:6]) == ["metric", "unit", "better", "side", "pairs",
                                             "baseline_mean"]  # fmt: skip
    assert len(found.table) == len(found.rows)
    assert found.tested == found.table["p_adjusted"].notna().sum()


def test_metrics_are_those_of_an_answer_unless_chosen(done):
    from memsim.results.answer import answer

    assert [row.metric for row in compare(done).rows] == [r.metric for r in answer(done).rows]
    chosen = compare(done, metrics=["pageblocks.*mixed*", "allocation.attempts"])
    assert [row.metric for row in chosen.rows] == [
        "allocation.attempts", "pageblocks.mixed", "pageblocks.mixed_areas",
    ]  # fmt: skip
    assert chosen.rows[0].verdict == "same"


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"metrics": ["pageblocks.mixd"]}, 'no metric "pageblocks.mixd"', "pageblocks.mixed"),
        ({"metrics": ["pageblocks.[m]ixed"]}, "there is no metric", ""),
        ({"metrics": ["nothing*"]}, "there is no metric", "memsim list metrics"),
        ({"baseline": "non"}, 'there is no policy "non"', 'did you mean "none"?'),
        ({"policies": ["nine", "mobility"]}, 'there is no policy "nine"', "none"),
        ({"policies": ["none"]}, "there is one policy", "several"),
    ],
)
def test_names_that_do_not_exist_are_refused(done, options, message, hint):
    with pytest.raises(InputError) as refused:
        compare(done, **options)
    (problem,) = refused.value.problems
    assert message in problem.message and hint in problem.hint


def test_axis_points_are_places_of_their_own(tmp_path):
    text = SMALL + "axes:\n  workloads.app.anon: [1MiB, 4MiB]\n"
    found = compare(run(small(text, seeds="1..2"), out=tmp_path), metrics=["numa.hit"])
    assert [(row.point, row.n) for row in found.rows] == [
        ((("workloads.app.anon", "1MiB"),), 2),
        ((("workloads.app.anon", "4MiB"),), 2),
    ]
    assert found.axes == ("workloads.app.anon",)
    assert list(found.table["workloads.app.anon"]) == ["1MiB", "4MiB"]


def test_runs_are_paired_by_policy_and_seed(done, tmp_path):
    slow = run(small(sets=["workloads.kern.rate=9000/s"], seeds="3..6"), out=tmp_path)
    found = compare(done, slow, metrics=["allocation.attempts"])
    assert found.sides == (done.folder.name, slow.folder.name)
    pairs = [(dict(row.point)["policy"], row.n) for row in found.rows]
    assert pairs == [("none", 3), ("mobility", 3)]
    assert found.seeds == (3, 4, 5)
    mine, theirs = slow.folder.name, done.folder.name
    assert found.notes == (
        f"{mine} and {theirs} are of different scenarios: workloads differ",
        f"{mine} and {theirs} have different seeds (3-6 and 1-5): compared are 3-5",
    )
    assert compare(done, slow, baseline=str(slow.folder)).baseline == mine


def test_runs_of_one_policy_each_are_compared_with_each_other(tmp_path):
    runs = [run(small(policies=(name,)), out=tmp_path) for name in ("none", "mobility")]
    found = compare(*runs, metrics=["pageblocks.mixed"])
    together = compare(run(small(), out=tmp_path), metrics=["pageblocks.mixed"])
    assert found.rows[0].difference == together.rows[0].difference
    assert found.axes == () and found.notes == ()


def test_runs_whose_folders_have_one_name_are_told_apart(done, tmp_path):
    shutil.copytree(done.folder, tmp_path / done.folder.name)
    other = read_results(tmp_path / done.folder.name)
    found = compare(done, other)
    assert len(set(found.sides)) == 2
    assert all(label.endswith(f"/{done.folder.name}") for label in found.sides)
    assert {row.verdict for row in found.rows} == {"same"}


def test_runs_without_a_common_trial_are_refused(done, tmp_path):
    seeds = run(small(seeds="11..12"), out=tmp_path)
    axes = run(small(SMALL + "axes: {workloads.app.anon: [1MiB, 4MiB]}\n"), out=tmp_path)
    none = run(small(policies=("none",)), out=tmp_path)
    for runs, message in (
        ((done, seeds), "seeds 1-5 there, 11-12 here"),
        ((done, axes), "axes policy there, policy, workloads.app.anon here"),
        ((done, done), "the same run is given twice"),
    ):
        with pytest.raises(InputError, match=message):
            compare(*runs)
    with pytest.raises(InputError, match="no policy in common"):
        compare(done, none, policies=["mobility"])


def test_other_versions_are_said(done, copy):
    def older(manifest):
        manifest["memsim"] = "0.0.9"
        manifest["libraries"]["numpy"] = "1.99"

    other = copy(older)
    (note,) = compare(done, other).notes
    assert "memsim" in note and "0.0.9" in note and "numpy" in note and "1.99" in note


def test_other_sources_are_said(done, copy):
    def edited(manifest):
        for trial in manifest["trials"]:
            trial["parts"]["engine"] = "0" * 16

    (note,) = compare(done, copy(edited)).notes
    assert "different engines: sources" in note


def test_columns_that_mean_something_else_are_refused(done, copy):
    other = copy(lambda m: m["columns"]["pageblocks.mixed"].update(unit="pages"))
    with pytest.raises(InputError, match=r"pageblocks\.mixed is declared differently"):
        compare(done, other)


def test_a_column_that_only_one_run_has_is_said_and_left_out(done, copy):
    def mingled(text):
        return text.replace("pageblocks.mixed", "pageblocks.mingled")

    table = mingled((done.folder / "trials.csv").read_text())

    def renamed(manifest):
        columns = manifest["columns"].items()
        manifest["columns"] = {mingled(name): column for name, column in columns}
        manifest["files"]["trials.csv"] = hashlib.sha256(table.encode()).hexdigest()

    other = copy(renamed)
    (other.folder / "trials.csv").write_text(table)
    found = compare(done, other)
    assert "pageblocks.mixed" not in {row.metric for row in found.rows}
    assert any("only one of" in note and "pageblocks.mixed" in note for note in found.notes)


def test_failed_trials_are_said_and_their_pairs_left_out(tmp_path):
    # Two billion slabs are more than a trial can hold; one is fine.
    axes = "axes:\n  workloads.kern.rate: [100/s, 30000000000/s]\n"
    found = compare(run(small(SMALL + axes), out=tmp_path))
    assert found.notes == (
        "2 of 4 trials of none failed; their pairs are left out",
        "2 of 4 trials of mobility failed; their pairs are left out",
    )
    assert {dict(row.point)["workloads.kern.rate"] for row in found.rows} == {"100/s"}
