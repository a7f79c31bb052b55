"""Trials one by one or several at a time: the same bytes, and nothing is lost."""

import shutil
from dataclasses import replace

import pytest
from executor_runs import map_trials
from trials import SCENARIOS, SMALL, small

from memsim.errors import InputError
from memsim.execute import How, plan, run, task
from memsim.execute.watch import Unwatched
from memsim.load import load_text
from memsim.results import begin
from memsim.results.store import TRIALS, UNFINISHED, TrialStore, run_folder
from memsim.scenario.content import digest_path
from memsim.simulate import TrialResult

TABLES = (
    "trials.csv",
    "high_order.csv",
    "vmstat.csv",
    "oom.csv",
    "timeline.parquet",
    "map.parquet",
    "scenario.yaml",
)


class Witness(Unwatched):
    """Remembers which trials have ended, and may raise when one does."""

    def __init__(self, error=None):
        self.ended = []
        self.error = error

    def ends(self, done):
        self.ended.append(done.trial)
        if self.error:
            raise self.error


def kept_files(root):
    return sorted(path for path in (root / TRIALS).rglob("*") if path.is_file())


def contents(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_serial_and_threads_give_the_same_bytes(tmp_path):
    serial = run(small(), out=tmp_path / "a")
    threads = run(small(), out=tmp_path / "b", how=How("threads", 3))
    assert contents(serial.folder) == contents(threads.folder)
    kept = {p.name for p in kept_files(tmp_path / "a")}
    assert kept == {p.name for p in kept_files(tmp_path / "b")}
    assert len(kept) == 4


def test_answers_come_in_trial_order():
    trials = list(small().trials())
    threads = map_trials(trials, How("threads", 4), Unwatched())
    assert [done.trial for done in threads] == trials
    serial = map_trials(trials, How(), Unwatched())
    assert [done.result for done in threads] == [done.result for done in serial]


@pytest.mark.parametrize("how", [How(), How("threads", 2)], ids=["serial", "threads"])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path, how):
    scenario = small()
    with pytest.raises(KeyboardInterrupt):
        run(scenario, out=tmp_path, how=how, watcher=Witness(KeyboardInterrupt()))
    folder = run_folder(tmp_path, scenario)
    assert len(kept_files(tmp_path)) == 1
    assert (folder / "unfinished.json").exists()
    assert not (folder / "manifest.json").exists()
    again = Witness()
    resumed = run(scenario, out=tmp_path, watcher=again)
    assert len(again.ended) == 3
    assert not (folder / "unfinished.json").exists()
    assert contents(resumed.folder) == contents(run(scenario, out=tmp_path / "whole").folder)


@pytest.mark.parametrize("how", [How(), How("threads", 1)], ids=["serial", "threads"])
def test_an_input_that_changes_meanwhile_gives_no_result_that_is_kept(tmp_path, how):
    machine = "machine:\n  nodes: [{id: 0, cpus: 0-1, memory: 64MiB}]\n"
    text = SMALL.replace(machine, "machine: {from: frag}\n")
    shutil.copytree(SCENARIOS / "data/frag", tmp_path / "frag")
    scenario = load_text(text, "small.yaml", str(tmp_path), policies=("none",), seeds="1..3")
    source = tmp_path / "frag/SOURCE"

    class Editor(Unwatched):
        def ends(self, done):
            source.write_text("another")

    done = run(scenario, out=tmp_path / "results", how=how, watcher=Editor())
    rows = done.trial_rows()
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert rows[1]["error"] == f"{tmp_path / 'frag'}: is not what the run began with"
    assert len(kept_files(tmp_path / "results")) == 1


def test_an_input_that_changes_during_a_trial_gives_no_result(tmp_path, monkeypatch):
    path = tmp_path / "trace.txt"
    path.write_text("first")
    scenario = small(policies=("none",), seeds="1")
    scenario = scenario.model_copy(update={"inputs": ((str(path), digest_path(path)),)})

    def simulate(trial, **options):
        path.write_text("other, and longer")
        return TrialResult("ok")

    monkeypatch.setattr(task, "simulate", simulate)
    with pytest.raises(InputError, match=r"trace.txt: is not what the run began with"):
        run(scenario, out=tmp_path / "results")
    assert kept_files(tmp_path / "results") == []


def test_trials_of_another_run_are_not_repeated(tmp_path):
    run(small(seeds="1..2"), out=tmp_path)
    more = Witness()
    done = run(small(seeds="1..3"), out=tmp_path, watcher=more)
    assert [trial.seed for trial in more.ended] == [3, 3]
    assert done.manifest["kept_trials"] == 4
    whole = run(small(seeds="1..3"), out=tmp_path / "whole")
    assert contents(done.folder) == contents(whole.folder)


def test_what_another_runner_has_finished_meanwhile_is_not_repeated(tmp_path, monkeypatch):
    planned = plan(small(), TrialStore(tmp_path))
    first = contents(run(small(), out=tmp_path).folder)
    carried_out = []
    monkeypatch.setattr(task, "simulate", lambda trial, **options: carried_out.append(trial))
    again = run(small(), out=tmp_path, planned=planned, force=True)
    assert contents(again.folder) == first
    assert carried_out == []


def test_a_finished_run_is_not_repeated_nor_written_again(tmp_path):
    before = run(small(), out=tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")}
    again = Witness()
    run(small(), out=tmp_path, watcher=again)
    assert again.ended == []
    assert {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")} == stamps


def test_force_writes_again_and_no_cache_simulates_again(tmp_path):
    folder = run(small(), out=tmp_path).folder
    expected = contents(folder)
    (folder / "trials.csv").write_text("spoilt")
    with pytest.raises(InputError, match="--force"):
        run(small(), out=tmp_path)
    assert (folder / "trials.csv").read_text() == "spoilt"
    again = Witness()
    run(small(), out=tmp_path, force=True, watcher=again)
    assert contents(folder) == expected
    assert again.ended == []
    run(small(), out=tmp_path, cache=False, watcher=again)
    assert len(again.ended) == 4
    assert contents(folder) == expected


def test_a_run_killed_while_it_wrote_is_written_again(tmp_path):
    folder = run(small(), out=tmp_path).folder
    expected = contents(folder)
    begin(folder, small())
    (folder / "trials.csv").write_text("of another version")
    again = Witness()
    run(small(), out=tmp_path, watcher=again)
    assert again.ended == []
    assert contents(folder) == expected
    assert not (folder / UNFINISHED).exists()


def test_tables_follow_when_another_run_has_mended_a_trial(tmp_path):
    scenario = small()
    folder = run(scenario, out=tmp_path / "whole").folder
    first = next(scenario.trials())
    store = TrialStore(tmp_path)
    kept = TrialStore(tmp_path / "whole").get(first)
    store.put(first, kept._replace(result=TrialResult("failed", "no")))
    failing = [one if one.trial != first else replace(one, kept=store.get(first))
               for one in plan(scenario, store)]  # fmt: skip
    broken = run(scenario, out=tmp_path, planned=failing)
    assert broken.failed == 1
    store.put(first, kept)
    again = Witness()
    mended = run(scenario, out=tmp_path, watcher=again)
    assert (mended.failed, again.ended) == (0, [])
    assert contents(mended.folder) == contents(folder)


def test_a_failure_replaces_a_failure_but_no_result(tmp_path, monkeypatch):
    scenario = small(seeds="1", policies=("none",))
    (trial,) = scenario.trials()
    store = TrialStore(tmp_path)
    for reason in ("one", "two"):
        monkeypatch.setattr(task, "simulate", lambda *a, r=reason, **k: TrialResult("failed", r))
        assert run(scenario, out=tmp_path).failed == 1
        assert store.get(trial).result.error == reason
    monkeypatch.undo()
    run(scenario, out=tmp_path)
    kept = store.get(trial)
    monkeypatch.setattr(task, "simulate", lambda *a, **k: TrialResult("failed", "three"))
    assert run(scenario, out=tmp_path, cache=False).failed == 1
    assert store.get(trial) == kept


def test_check_simulates_again_and_writes_nothing(tmp_path):
    folder = run(small(), out=tmp_path).folder
    before = contents(folder)
    again = Witness()
    run(small(), out=tmp_path, how=How(check=True), watcher=again)
    assert len(again.ended) == 4
    assert contents(folder) == before


@pytest.mark.parametrize("change", [lambda b: b[:100], lambda b: b.replace(b"1", b"2")])
def test_a_damaged_trial_file_is_simulated_again(tmp_path, change):
    scenario = small(seeds="1", policies=("none",))
    run(scenario, out=tmp_path)
    (trial,) = scenario.trials()
    store = TrialStore(tmp_path)
    kept = store.get(trial)
    (path,) = kept_files(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    assert store.get(trial) is None
    run(scenario, out=tmp_path)
    assert store.get(trial).result == kept.result


def test_input_that_is_no_good_leaves_nothing_behind(tmp_path):
    scenario = small()
    node = scenario.machine.nodes[0].model_copy(update={"memory": 32 << 20})
    machine = scenario.machine.model_copy(update={"nodes": (node,)})
    scenario = scenario.model_copy(update={"machine": machine})
    with pytest.raises(InputError, match="does not fit"):
        run(scenario, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        run(small(seeds="1"), out=tmp_path / "results")
