"""Which trials run, and the reason that a user reads."""

import json
import os

import pytest
from trials import SMALL, small

from memsim.execute import plan, run
from memsim.execute.history import History
from memsim.results.store import Kept, TrialStore, run_folder
from memsim.scenario import content
from memsim.simulate import TrialResult


def plan_of(scenario, root, **options):
    history = History(root / scenario.name)
    return plan(scenario, TrialStore(root), history=history, **options)


def reasons(scenario, root, **options):
    return {one.why for one in plan_of(scenario, root, **options)}


@pytest.fixture
def done(tmp_path):
    """The folder of results of a run, and the run."""
    return tmp_path, run(small(), out=tmp_path)


def test_without_any_result_all_run(tmp_path):
    planned = plan_of(small(), tmp_path)
    assert [one.trial for one in planned] == list(small().trials())
    assert {one.why for one in planned} == {"runs: no result is kept"}
    assert list(tmp_path.iterdir()) == []


def test_kept_trials_say_where_they_are(done):
    root, _ = done
    for one in plan_of(small(), root):
        assert one.kept is not None
        assert one.why == f"is kept: {TrialStore(root).path(one.trial.name)}"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param({"cache": False}, "runs: --no-cache", id="no cache"),
        pytest.param({"check": True}, "runs: --check", id="check"),
        pytest.param({"check": True, "cache": False}, "runs: --check", id="both"),
    ],
)
def test_options_that_run_all_are_the_reason(done, options, why):
    root, _ = done
    planned = plan_of(small(), root, **options)
    assert {(one.kept, one.why) for one in planned} == {(None, why)}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        pytest.param("64MiB", "68MiB", "machine", id="machine"),
        pytest.param("5000/s", "4000/s", "workloads", id="workloads"),
        pytest.param("attempts: 8", "attempts: 9", "events", id="events"),
        pytest.param("100ms", "101ms", "duration", id="duration"),
    ],
)
def test_what_has_changed_is_named(done, old, new, what):
    root, earlier = done
    (why,) = reasons(small(SMALL.replace(old, new)), root)
    assert why == f"runs: {what} changed since {earlier.folder}"


def test_a_changed_policy_is_named_and_the_other_is_kept(done):
    root, earlier = done
    none, mobility = "{placement: none}", "{placement: none, cmdline: movablecore=8M}"
    first, *_, last = plan_of(small(SMALL.replace(none, mobility, 1)), root)
    assert first.why == f"runs: policy none changed since {earlier.folder}"
    assert last.kept is not None


def test_several_changes_are_all_named(done):
    root, earlier = done
    text = SMALL.replace("64MiB", "68MiB").replace("100ms", "101ms")
    assert reasons(small(text), root) == {
        f"runs: machine and duration changed since {earlier.folder}"
    }


def test_a_changed_engine_is_named(done, monkeypatch):
    root, earlier = done
    monkeypatch.setattr(content, "ENGINE", content.ENGINE[:-1])
    content.sources_digest.cache_clear()
    try:
        assert reasons(small(), root) == {f"runs: engine changed since {earlier.folder}"}
    finally:
        content.sources_digest.cache_clear()


def test_another_numpy_is_another_engine(done, monkeypatch):
    root, earlier = done
    monkeypatch.setattr(content, "version", lambda name: "1.0.9")
    content.sources_digest.cache_clear()
    try:
        assert reasons(small(), root) == {f"runs: engine changed since {earlier.folder}"}
    finally:
        content.sources_digest.cache_clear()


def test_the_newest_run_is_compared_with(done):
    root, earlier = done
    newer = run(small(SMALL.replace("64MiB", "68MiB")), out=root)
    os.utime(earlier.folder / "manifest.json", ns=(1, 1))
    (why,) = reasons(small(SMALL.replace("64MiB", "72MiB")), root)
    assert why == f"runs: machine changed since {newer.folder}"


def test_seeds_that_were_not_there_have_no_result(done):
    root, _ = done
    planned = plan_of(small(seeds="2..3"), root)
    assert [one.kept is None for one in planned] == [False, True] * 2
    assert planned[1].why == "runs: no result is kept"


def test_a_result_that_was_removed_is_missed(done):
    root, earlier = done
    trial = next(small().trials())
    TrialStore(root).path(trial.name).unlink()
    why = f"runs: the result that {earlier.folder} was made of is no longer kept"
    assert plan_of(small(), root)[0].why == why


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text[:40], id="cut"),
        pytest.param(
            lambda text: text.replace(b'"schema_version":', b'"schema_version":9'), id="v"
        ),
        pytest.param(lambda text: b"", id="empty"),
    ],
)
def test_a_damaged_record_is_named(done, change):
    root, _ = done
    trial = next(small().trials())
    path = TrialStore(root).path(trial.name)
    path.write_bytes(change(path.read_bytes()))
    assert plan_of(small(), root)[0].why == f"runs: {path} is damaged, or of another version"


def test_a_failed_trial_runs_again_and_says_what_went_wrong(tmp_path):
    trial = next(small().trials())
    TrialStore(tmp_path).put(trial, Kept(TrialResult("failed", "no memory"), 1.0))
    first, *others = plan_of(small(), tmp_path)
    assert first.why == "runs: it failed last time: no memory"
    assert first.kept is None and first.failed
    assert not any(one.failed for one in others)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="list"),
        pytest.param('{"schema_version": 2}', id="no trials"),
        pytest.param('{"schema_version": 1, "trials": []}', id="old"),
        pytest.param('{"schema_version": 2, "trials": [[]]}', id="rows"),
        pytest.param('{"schema_version": 2, "trials": 3}', id="number"),
    ],
)
def test_manifests_that_are_no_good_are_passed_over(tmp_path, text):
    folder = run_folder(tmp_path, small())
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    assert reasons(small(), tmp_path) == {"runs: no result is kept"}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"name": "../../../../etc/passwd"}, id="name"),
        pytest.param({"name": 7}, id="name is a number"),
        pytest.param({"point": {"a": ["b"]}}, id="point"),
        pytest.param({"point": 7}, id="point is a number"),
        pytest.param({"parts": None}, id="parts"),
        pytest.param({"seed": "one"}, id="seed"),
    ],
)
def test_rows_of_manifests_that_are_no_good_are_passed_over(done, row):
    root, earlier = done
    path = earlier.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["trials"][0] |= row
    path.write_text(json.dumps(manifest))
    assert reasons(small(SMALL.replace("64MiB", "68MiB")), root) == {"runs: no result is kept"}
    assert list(History(root / "small").beside(next(small().trials()))) == []
