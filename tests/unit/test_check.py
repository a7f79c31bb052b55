"""What a check finds: each thing that differs once, with its place and its direction."""

import shutil
from dataclasses import replace
from fractions import Fraction

import pytest
from baseline_desk import FAILING, baseline_of, edit, plus, recorded, rows_of, write_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trials import SMALL, small

from memsim.check import compare, read_baseline, record_of
from memsim.check.tolerance import Tolerance, merged, parse_rule, parse_rules, refuse_unknown
from memsim.errors import InputError
from memsim.execute import run

TABLES = ("trials", "high_order", "vmstat")


def found(base, now, *rules):
    return compare(read_baseline(base), now, parse_rules(rules, "test")).findings


def test_a_run_is_as_its_baseline(base, now):
    outcome = compare(read_baseline(base), now)
    assert outcome.findings == () and outcome.notes == ()
    assert outcome.trials == 4
    trials, high_order, vmstat = (rows_of(base / f"{name}.csv") for name in TABLES)
    metrics = len(trials[0]) - 2
    attempts = len({tuple(row[:4] + row[5:7]) for row in high_order[1:]})
    served_and_counts = len(high_order[0]) - 6
    assert outcome.figures == 4 * metrics + attempts * served_and_counts + len(vmstat) - 1
    assert outcome.summary() == (
        f"small: 4 trials, {outcome.figures:,} figures compared: as in the baseline"
    )


def test_a_run_may_be_the_baseline(now):
    assert compare(read_baseline(now.folder), now).findings == ()


def other_number(text):
    if not text:
        return "7"
    return f"1{text}" if "." in text else f"{text}1"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_cell_is_one_finding(kept, now, tmp_path_factory, data):
    base = shutil.copytree(kept, tmp_path_factory.mktemp("edited") / "small")
    name = data.draw(st.sampled_from(TABLES))
    path = base / f"{name}.csv"
    rows = rows_of(path)
    keys = {"policy", "seed", "phase", "time_ns", "order", "gfp", "counter"}
    keys |= {"zone"} if name == "vmstat" else set()
    line = data.draw(st.integers(2, len(rows)))
    column = data.draw(st.sampled_from([head for head in rows[0] if head not in keys]))
    text = column in ("status", "error", "zone")
    old = edit(path, line, column, (lambda cell: cell + "x") if text else other_number)
    (finding,) = found(base, now)
    assert finding.path == path
    assert finding.figure.removeprefix("high_order:").removeprefix("vmstat:") in (
        column, *rows[line - 1],
    )  # fmt: skip
    if name != "high_order":
        assert finding.line == line
        assert finding.new == old


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_the_order_of_rows_is_no_finding(kept, now, tmp_path_factory, random):
    base = shutil.copytree(kept, tmp_path_factory.mktemp("permuted") / "small")
    for name in TABLES:
        head, *rows = rows_of(base / f"{name}.csv")
        random.shuffle(rows)
        write_rows(base / f"{name}.csv", [head, *rows])
    assert found(base, now) == ()


@pytest.mark.parametrize(
    ("column", "amount", "kind"),
    [
        pytest.param("allocation.succeeded", 1, "worse", id="higher was better, is less"),
        pytest.param("allocation.succeeded", -1, "better", id="higher is better, is more"),
        pytest.param("pageblocks.mixed", 1, "better", id="lower is better, is less"),
        pytest.param("pageblocks.mixed", -1, "worse", id="lower was better, is more"),
        pytest.param("allocation.attempts", 1, "changed", id="neither"),
    ],
)
def test_the_direction_is_that_of_the_column(base, now, column, amount, kind):
    old = int(edit(base / "trials.csv", 3, column, plus(amount)))
    (finding,) = found(base, now)
    assert finding.kind == kind
    assert str(finding).startswith(
        f"{base}/trials.csv:3: {kind}: {column} of none, seed 2: {old + amount} -> {old} ("
        f"{-amount:+}, "
    )
    assert str(finding).endswith("tolerance exact)")
    assert finding.fails(strict=False) == (kind == "worse")
    assert finding.fails(strict=True)


def test_the_worst_comes_first(base, now):
    edit(base / "trials.csv", 2, "allocation.attempts", plus(100_000))
    edit(base / "trials.csv", 2, "allocation.pages", plus(1))
    edit(base / "trials.csv", 3, "allocation.succeeded", plus(1))
    edit(base / "trials.csv", 4, "allocation.succeeded", plus(100))
    edit(base / "trials.csv", 5, "allocation.succeeded", plus(-1))
    places = [(finding.kind, finding.line) for finding in found(base, now)]
    assert places == [
        ("worse", 4), ("worse", 3), ("changed", 2), ("changed", 2), ("better", 5),
    ]  # fmt: skip
    assert found(base, now)[2].figure == "allocation.attempts"


def test_a_row_is_named_by_its_keys(base, now):
    path = base / "high_order.csv"
    line = next(n for n, row in enumerate(rows_of(path), 1) if row[5] == "9")
    edit(path, line, "succeeded", plus(1))
    (finding,) = found(base, now)
    assert (finding.kind, finding.figure) == ("worse", "high_order:succeeded")
    assert "succeeded of none, seed 1, probe every 50ms, 50ms, order 9, GFP_NOWAIT: " in str(
        finding
    )
    edit(path, line, "succeeded", plus(-1))
    edit(base / "vmstat.csv", 2, "value", plus(1))
    (finding,) = found(base, now)
    assert finding.message.startswith("vmstat:numa_hit of none, seed 1: ")


def test_a_figure_that_is_gone_is_worse_where_it_has_a_direction(now, base):
    edit(base / "trials.csv", 2, "high_order.success_ratio_order_10", "0.5")
    edit(base / "trials.csv", 2, "high_order.attempts_order_10", "")
    first, second = found(base, now)
    assert "success_ratio_order_10 of none, seed 1: 0.5 -> blank" in first.message
    assert first.kind == "worse"
    assert (second.kind, second.old) == ("changed", "")


def test_attempts_served_by_another_zone_are_a_change_and_no_more(base, now):
    path = base / "high_order.csv"
    edit(path, 2, "zone", "node7 Normal")
    (finding,) = found(base, now)
    assert (finding.kind, finding.figure) == ("changed", "high_order:zone")
    assert '"node7 Normal x8" -> "node0 ' in finding.message


def test_attempts_that_succeed_now_are_better_though_their_row_is_gone(base, now):
    """Failed attempts stand in a row without zone, which vanishes when all are served."""
    path = base / "high_order.csv"
    head, first, *rows = rows_of(path)
    cell = dict(zip(head, first, strict=True))
    assert (cell["attempted"], cell["succeeded"]) == ("8", "8")
    served = {**cell, "attempted": "6", "succeeded": "6"}
    failed = {**cell, "zone": "", "attempted": "2", "succeeded": "0", "why_not_no_memory": "2"}
    write_rows(path, [head, list(failed.values()), list(served.values()), *rows])
    kinds = {finding.figure: finding.kind for finding in found(base, now)}
    assert kinds == {"high_order:succeeded": "better", "high_order:why_not_no_memory": "better"}


def without_rows(record, table, gone):
    rows = {k: row for k, row in record.tables[table].rows.items() if not gone(row.cells)}
    changed = replace(record.tables[table], rows=rows)
    return replace(record, tables={**record.tables, table: changed})


def test_a_trial_that_is_gone_is_one_finding_and_worse(base, now):
    for table in TABLES:
        now = without_rows(now, table, lambda c: (c["policy"], c["seed"]) == ("none", "2"))
    (finding,) = found(base, now)
    assert str(finding) == (
        f"{base}/trials.csv:3: missing row: none, seed 2: the trial is not there now"
    )
    assert finding.fails(strict=False)


def key_of(cells):
    return cells["counter"], cells["zone"], cells["seed"]


def test_a_row_that_is_gone_is_worse(base, now):
    less = without_rows(now, "vmstat", lambda c: key_of(c) == ("numa_hit", "", "2"))
    one, other = found(base, less)
    assert {one.kind, other.kind} == {"missing row"}
    assert one.message == "none, seed 2: the row numa_hit is not there now"
    assert other.line > one.line > 1


def test_new_rows_pass(base, now, results):
    more = recorded(results, seeds="1..3")
    scenario, *extra = found(base, more)
    assert scenario.message == "this is not the scenario of the baseline: seeds changed"
    assert [f.message for f in extra] == [
        "none, seed 3: the trial is not in the baseline",
        "mobility, seed 3: the trial is not in the baseline",
    ]
    assert {f.kind for f in extra} == {"extra row"}
    assert not any(f.fails(strict=False) for f in (scenario, *extra))


def test_another_axis_leaves_nothing_to_compare(results, now):
    axes = "axes:\n  workloads.kern.rate: [100/s, 200/s]\n"
    swept = recorded(results, SMALL + axes)
    outcome = compare(now, swept)
    assert outcome.figures == 0
    assert outcome.findings[0].message.endswith("the baseline: axes is new")
    assert [f.kind for f in outcome.findings[1:]] == ["missing row"] * 4 + ["extra row"] * 8
    last = "mobility, workloads.kern.rate = 200/s, seed 2: the trial is not in the baseline"
    assert outcome.findings[-1].message == last
    back = compare(swept, now)
    assert [f.kind for f in back.findings[1:]] == ["missing row"] * 8 + ["extra row"] * 4
    assert back.findings[-1].message == "mobility, seed 2: the trial is not in the baseline"


def without_column(record, column):
    table = record.tables["trials"]
    columns = {name: c for name, c in table.columns.items() if name != column}
    declared = {name: c for name, c in record.columns.items() if name != column}
    tables = {**record.tables, "trials": replace(table, columns=columns)}
    return replace(record, tables=tables, columns=declared)


def test_a_column_that_is_gone_is_worse_and_a_new_one_passes(base, now):
    less = without_column(now, "fallback.events")
    (finding,) = found(base, less)
    assert str(finding) == (
        f"{base}/trials.csv:1: missing column: fallback.events is not there now"
    )
    assert finding.fails(strict=False)
    (finding,) = compare(less, now).findings
    assert (finding.kind, finding.fails(strict=False)) == ("new column", False)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"better": "higher"}, "better lower -> higher"),
        ({"unit": "pages"}, "unit events -> pages"),
        ({"dtype": "float64"}, "dtype int64 -> float64"),
        ({"tolerance": 0.5}, "tolerance 0.0 -> 0.5"),
    ],
)
def test_a_column_declared_in_another_way_is_a_finding(base, now, change, text):
    column = replace(now.columns["fallback.events"], **change)
    other = replace(now, columns={**now.columns, "fallback.events": column})
    edit(base / "trials.csv", 2, "fallback.events", plus(-1))
    worse, declaration = found(base, other)
    assert worse.kind == "worse", "the baseline's direction and tolerance are judged by"
    assert declaration.message == f"fallback.events is declared in another way: {text}"


def test_a_changed_scenario_says_which_parts(base, results):
    other = recorded(
        results,
        SMALL.replace("events:", "  more: {kind: page_cache, size: 1MiB}\nevents:"),
        sets=["machine.nodes.0.memory=128MiB", "workloads.kern.rate=100/s"],
    )
    first, *_ = found(base, other)
    assert first.kind == "scenario"
    assert str(first) == (
        f"{base}/scenario.json: scenario: this is not the scenario of the baseline: "
        "machine changed, workload kern changed, workload more is new"
    )


def test_another_engine_is_a_note_where_something_was_found(base, now):
    other = replace(now, engine={**now.engine, "none": "0" * 64})
    assert compare(read_baseline(base), other).notes == ()
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(1))
    (note,) = compare(read_baseline(base), other).notes
    assert note.startswith("what simulates none has changed since the baseline")


def test_another_numpy_is_always_a_note(base, now):
    outcome = compare(read_baseline(base), replace(now, numpy="1.0"))
    assert outcome.findings == ()
    assert outcome.notes[0].endswith("this is 1.0: figures may differ")


def test_a_trial_that_fails_now_is_worse_and_one_that_recovers_is_better(tmp_path):
    done = record_of(run(small(FAILING, seeds="1"), out=tmp_path))
    assert compare(done, done).findings == ()
    table = done.tables["trials"]
    key = next(k for k, row in table.rows.items() if row.cells["status"] == "failed")
    good = {**table.rows[key].cells, "status": "ok", "error": ""}
    rows = {**table.rows, key: table.rows[key]._replace(cells=good)}
    fine = replace(done, tables={**done.tables, "trials": replace(table, rows=rows)})
    (finding,) = compare(fine, done).findings
    assert finding.kind == "failed" and finding.fails(strict=False)
    where = "none, workloads.kern.rate = 30000000000/s, seed 1"
    assert finding.message.startswith(f"{where}: the trial fails now: ")
    (finding,) = compare(done, fine).findings
    assert finding.kind == "better"
    assert finding.message.startswith(f"{where}: the trial no longer fails: ")


@pytest.mark.parametrize(
    ("rule", "amount", "passes"),
    [
        pytest.param("allocation.pages = 50%", 1, True, id="relative, inside"),
        pytest.param("allocation.* = 50 %", -1, True, id="wildcard"),
        pytest.param("allocation.pages = 0.0001%", -1, False, id="relative, outside"),
        pytest.param("allocation.pages=1 abs", -1, True, id="absolute, at its limit"),
        pytest.param("allocation.pages = 0.99 abs", -1, False, id="absolute, outside"),
        pytest.param("fallback.* = 90%", -1, False, id="of another figure"),
        pytest.param("* = exact", -1, False, id="exact"),
    ],
)
def test_a_tolerance_lets_small_changes_pass(base, now, rule, amount, passes):
    edit(base / "trials.csv", 2, "allocation.pages", plus(amount))
    assert (found(base, now, rule) == ()) == passes


def test_of_two_tolerances_the_last_holds(base, now):
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(1))
    assert found(base, now, "* = 50%", "pageblocks.mixed = exact") != ()
    assert found(base, now, "* = exact", "pageblocks.mixed = 50%") == ()


def test_a_declared_tolerance_is_relative_and_yields_to_a_rule(base, now):
    edit(base / "trials.csv", 2, "allocation.succeeded", plus(1))
    record = read_baseline(base)
    column = replace(record.columns["allocation.succeeded"], tolerance=0.01)
    table = record.tables["trials"]
    columns = {**table.columns, column.name: column}
    tables = {**record.tables, "trials": replace(table, columns=columns)}
    tolerant = replace(record, tables=tables)
    assert compare(tolerant, now).findings == ()
    assert compare(tolerant, now, parse_rules(["* = exact"], "")).findings != ()


def test_tolerances_are_exact_at_their_limits():
    seven = parse_rule("x = 7%").tolerance
    assert seven.allows(Fraction(100), Fraction(107))
    assert not seven.allows(Fraction(100), Fraction(107) + Fraction(1, 10**15))
    assert not seven.allows(Fraction(0), Fraction(1, 10**15))
    assert seven.allows(Fraction(-100), Fraction(-107))


def seeds_with(base, changes):
    """Change the figure of none in each of its seeds."""
    for line, change in enumerate(changes, 2):
        edit(base / "trials.csv", line, "allocation.slowpath", str(change))


@pytest.fixture(scope="module")
def ten(results):
    return recorded(results, seeds="1..10", policies=["none"])


def test_the_interval_passes_chance_and_finds_a_shift(tmp_path, ten):
    base = baseline_of(ten, tmp_path / "small")
    today = [int(row[9]) for row in rows_of(base / "trials.csv")[1:]]
    assert rows_of(base / "trials.csv")[0][9] == "allocation.slowpath"
    rule = "allocation.slowpath = interval"
    seeds_with(base, [n + (3 if i % 2 else -3) + 100 for i, n in enumerate(today)])
    (finding,) = found(base, ten, rule)
    assert finding.kind == "better"
    assert ": allocation.slowpath of none, 10 seeds: mean " in str(finding)
    assert "95 % interval of the difference -10" in str(finding)
    seeds_with(base, [n + (3 if i % 2 else -3) for i, n in enumerate(today)])
    assert found(base, ten, rule) == ()
    assert len(found(base, ten)) == 10


def test_the_interval_needs_two_seeds(tmp_path, results):
    one = recorded(results, seeds="1")
    base = baseline_of(one, tmp_path / "small")
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(-1))
    (finding,) = found(base, one, "pageblocks.mixed = interval")
    assert str(finding).endswith("tolerance interval needs 2 seeds: exact)")


@pytest.mark.parametrize(
    "text",
    ["", "=", "fallback.events", "= 5%", "a = 5", "a = -5%", "a = 5% abs", "a = 1e9%", "a = nan%",
     "a = exactly", "a b = 5%", "a = 5%; b = 5%", "__import__('os') = 5%", "a = 5%\n\x1b[31m"],
)  # fmt: skip
def test_what_is_no_tolerance_is_refused_with_examples(text):
    with pytest.raises(InputError, match="expected something like fallback") as caught:
        parse_rules([text], "--tolerance")
    assert "\x1b" not in str(caught.value)


def test_a_tolerance_for_nothing_is_refused_with_a_hint(now):
    with pytest.raises(InputError, match=r'did you mean "fallback\.events"'):
        refuse_unknown([parse_rule("fallbck.events = 5%")], now.figures, "--tolerance")
    with pytest.raises(InputError, match="memsim list metrics"):
        refuse_unknown([parse_rule("zzzzzz.* = 5%")], now.figures, "--tolerance")
    refuse_unknown([parse_rule("vmstat:numa_* = 5%")], now.figures, "--tolerance")


def test_new_tolerances_take_the_place_of_those_with_the_same_pattern():
    texts = merged(["a = 5%", "b  =  exact"], ["a=1 abs", "c = interval"])
    assert texts == ["a=1 abs", "b = exact", "c = interval"]


def test_a_tolerance_is_shown_as_it_was_meant():
    shown = [str(parse_rule(f"x = {t}").tolerance) for t in ("5%", "0.01 abs", "interval")]
    assert shown == ["5 %", "0.01", "interval"]
    assert str(Tolerance()) == "exact"
