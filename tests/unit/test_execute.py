"""Trials one by one or several at a time: the same bytes, and nothing is lost."""

import pytest
from trials import small

from memsim.errors import InputError
from memsim.execute import map_trials, run
from memsim.results.store import TrialStore, run_folder

TABLES = ("trials.csv", "high_order.csv", "vmstat.csv", "timeline.parquet", "scenario.yaml")


def contents(folder):
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_serial_and_threads_give_the_same_bytes(tmp_path):
    serial = run(small(), out=tmp_path / "a")
    threads = run(small(), out=tmp_path / "b", jobs=3)
    assert contents(serial.folder) == contents(threads.folder)
    stored = {p.name: p.read_bytes() for p in (serial.folder / "trials").iterdir()}
    assert stored == {p.name: p.read_bytes() for p in (threads.folder / "trials").iterdir()}
    assert len(stored) == 4


def test_answers_come_in_trial_order():
    trials = list(small().trials())
    done = []
    results = map_trials(trials, "threads", 4, lambda trial, result: done.append(trial.name))
    assert results == map_trials(trials)
    assert sorted(done) == sorted(trial.name for trial in trials)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path, jobs):
    scenario = small()

    def interrupt(trial, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(scenario, out=tmp_path, jobs=jobs, on_done=interrupt)
    folder = run_folder(tmp_path, scenario)
    kept = list((folder / "trials").iterdir())
    assert len(kept) == 1
    assert not (folder / "manifest.json").exists()
    again = []
    resumed = run(scenario, out=tmp_path, on_done=lambda trial, result: again.append(trial))
    assert len(again) == 3
    assert contents(resumed.folder) == contents(run(scenario, out=tmp_path / "whole").folder)


def test_a_finished_run_is_not_repeated_nor_written_again(tmp_path):
    before = run(small(), out=tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")}
    done = []
    run(small(), out=tmp_path, on_done=lambda trial, result: done.append(trial))
    assert done == []
    assert {p: p.stat().st_mtime_ns for p in before.folder.rglob("*")} == stamps


def test_force_simulates_again_and_replaces(tmp_path):
    folder = run(small(), out=tmp_path).folder
    expected = contents(folder)
    (folder / "trials.csv").write_text("spoilt")
    with pytest.raises(InputError, match="--force"):
        run(small(), out=tmp_path)
    assert (folder / "trials.csv").read_text() == "spoilt"
    run(small(), out=tmp_path, force=True)
    assert contents(folder) == expected


def test_check_simulates_again_and_writes_nothing(tmp_path):
    folder = run(small(), out=tmp_path).folder
    before = contents(folder)
    done = []
    run(small(), out=tmp_path, check=True, on_done=lambda trial, result: done.append(trial))
    assert len(done) == 4
    assert contents(folder) == before


def test_a_damaged_trial_file_is_simulated_again(tmp_path):
    scenario = small(seeds="1", policies=("none",))
    run(scenario, out=tmp_path)
    folder = run_folder(tmp_path, scenario)
    (trial,) = scenario.trials()
    store = TrialStore(folder)
    kept = store.get(trial)
    (path,) = store.folder.iterdir()
    path.write_text(path.read_text()[:100])
    assert store.get(trial) is None
    run(scenario, out=tmp_path, force=True)
    assert store.get(trial) == kept


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
