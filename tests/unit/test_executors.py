"""Each executor: the same results, the same plug-ins, and nothing left behind."""

import multiprocessing

import pytest
from executor_runs import Listener, map_trials, tables
from plugin_files import METRIC
from trials import SMALL, small

from memsim import plugins
from memsim.errors import InputError
from memsim.execute import EXECUTORS, How, carry_out_all, run, task, worker
from memsim.execute.task import Stopped
from memsim.execute.watch import Unwatched
from memsim.scenario.content import digest_path

SEVERAL = [name for name in EXECUTORS if name != "serial"]


@pytest.mark.parametrize("executor", SEVERAL)
def test_tables_have_the_same_bytes_as_one_by_one(tmp_path, executor):
    text = SMALL + "axes: {workloads.app.anon: [1MiB, 2MiB]}\n"
    serial = run(small(text), out=tmp_path / "serial")
    listener = Listener()
    several = run(small(text), out=tmp_path / "several", how=How(executor, 2), watcher=listener)
    assert tables(several.folder) == tables(serial.folder)
    names = sorted(trial.name for trial in small(text).trials())
    assert sorted(listener.ended) == names
    assert sorted(name for name, _ in listener.begun) == names
    assert len({worker for _, worker in listener.begun}) == 2
    if executor != "dask":  # whose words may come late
        assert listener.shares == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_plugins_from_outside_go_with_the_trials(tmp_path, monkeypatch, executor):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(METRIC)
    with plugins.outside(["mine.py"]):
        trials = list(small().trials())
        serial = map_trials(trials, How(), Unwatched())
        (tmp_path / "mine.py").unlink()
        several = map_trials(trials, How(executor, 2), Unwatched())
    assert [done.result for done in several] == [done.result for done in serial]
    assert all(done.result.metrics["mine.zones"] > 0 for done in several)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_trials_are_drawn_when_there_is_room(executor):
    drawn = []

    def trials():
        for trial in small(seeds="1..4").trials():
            drawn.append(trial)
            yield trial

    going = carry_out_all(trials(), How(executor, 2), Unwatched())
    next(going)
    going.close()
    assert 2 <= len(drawn) <= 4
    assert multiprocessing.active_children() == []


def test_without_trials_no_executor_starts_anything(monkeypatch):
    monkeypatch.setattr("subprocess.Popen.__init__", None)
    for executor in EXECUTORS:
        how = How(executor, 2, scheduler="tcp://192.0.2.1:1")
        assert map_trials([], how, Unwatched()) == []


# --- what a worker does -------------------------------------------------------------------


def one():
    return next(small().trials())


def answer(packed, tick=lambda share: None):
    return worker.unpack(one(), worker.work(packed, "w", tick))


def test_a_worker_gives_the_result_of_the_trial():
    (serial,) = map_trials([one()], How(), Unwatched())
    done = answer(worker.pack(one(), check=True))
    assert (done.result, done.worker, done.error) == (serial.result, "w", None)


def test_a_worker_that_would_simulate_something_else_refuses(monkeypatch):
    packed = worker.pack(one(), check=False)
    assert answer(packed).error is None
    monkeypatch.setattr("memsim.scenario.sources_digest", lambda placement, kinds: "others")
    done = answer(packed)
    assert isinstance(done.error, InputError)
    assert "worker w: has other sources of memsim or another numpy" in done.result.error
    done = answer(b"cno_such_module\nTrial\n.")
    assert "worker w: has other sources" in str(done.error)


def test_a_worker_refuses_input_files_that_are_not_those_of_the_run(tmp_path, monkeypatch):
    def done():
        return answer(worker.pack(trial, check=False))

    scenario = one().scenario
    path = tmp_path / "trace.txt"
    path.write_text("first")
    inputs = ((str(path), digest_path(path)),)
    given = scenario.model_copy(update={"inputs": inputs})
    trial = type(one())(given, "none", (), 1)
    assert done().result.status == "ok"
    monkeypatch.setattr(task, "simulate", None)
    path.write_text("other, and longer")
    assert "is not what the run began with, for worker w" in str(done().error)
    path.unlink()
    assert "No such file or directory) by worker w\n  hint: the folder must be shared" in str(
        done().error
    )


def test_paths_are_relative_to_where_the_runner_is(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "trace.txt").write_text("first")
    inputs = (("trace.txt", digest_path(here / "trace.txt")),)
    scenario = one().scenario.model_copy(update={"inputs": inputs, "directory": "."})
    trial = type(one())(scenario, "none", (), 1)
    monkeypatch.chdir(here)
    packed = worker.pack(trial, check=False)
    monkeypatch.chdir(there)
    assert answer(packed).error is None


def test_a_bug_comes_back_with_its_trace(monkeypatch):
    class Odd(Exception):
        """Cannot be read by another process."""

    def simulated(trial, **options):
        raise Odd("what is this")

    monkeypatch.setattr(worker, "simulated", simulated)
    done = answer(worker.pack(one(), check=False))
    assert done.result.error == "a bug of memsim (--fail-fast shows where): Odd: what is this"
    assert str(done.error) == "Odd: what is this"
    assert "in simulated" in done.error.__notes__[0]
    assert "policy none, seed 1" in done.error.__notes__[0]


def test_a_trial_that_is_told_to_stop_has_no_result():
    def tick(share):
        raise Stopped

    with pytest.raises(Stopped):
        worker.work(worker.pack(one(), check=False), "w", tick)


def test_one_set_of_plugins_follows_another(tmp_path):
    path = tmp_path / "mine.py"
    packed = []
    for column in ("zones", "areas"):
        path.write_text(METRIC.replace('"zones", "zones"', f'"{column}", "zones"').replace(
            '{"zones"', '{"' + column + '"'))  # fmt: skip
        with plugins.outside([str(path)]):
            packed.append(worker.pack(next(small().trials()), check=False))
    packed.append(worker.pack(one(), check=False))
    found = [{name for name in answer(p).result.metrics if name[:5] == "mine."} for p in packed]
    wanted = [{"mine.zones", "mine.free_ratio"}, {"mine.areas", "mine.free_ratio"}, set()]
    assert found == wanted
    assert plugins.loaded() == ()
