"""Dask clusters, begun here or given by address; workers that die, schedulers that are gone."""

import re
import shlex
import sys
import time
from contextlib import closing

import distributed
import psutil
import pytest
from executor_runs import Listener, executing, map_trials, striking, tables
from plugin_files import METRIC
from trials import SCENARIOS, small

from memsim import plugins
from memsim.cli.run import command
from memsim.errors import InputError, TrialError
from memsim.execute import How, carry_out_all, dask_cluster, run
from memsim.execute.watch import Unwatched

QUIET = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 60}


@pytest.fixture(scope="module")
def scheduler():
    """The address of a cluster of two worker processes that others have begun."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as cluster:
        yield cluster.scheduler_address


def dask(scheduler, **options):
    return How("dask", scheduler=scheduler, **options)


def test_a_scheduler_given_by_address_gives_the_same_bytes(tmp_path, scheduler):
    listener = Listener()
    done = run(small(), out=tmp_path / "a", how=dask(scheduler), watcher=listener)
    assert tables(done.folder) == tables(run(small(), out=tmp_path / "b").folder)
    assert len({worker for _, worker in listener.begun}) == 2


def test_plugins_from_outside_go_with_the_trials(tmp_path, scheduler):
    path = tmp_path / "mine.py"
    path.write_text(METRIC)
    with plugins.outside([str(path)]):
        trials = list(small().trials())
        serial = map_trials(trials, How(), Unwatched())
        path.unlink()
        found = map_trials(trials, dask(scheduler), Unwatched())
    assert [done.result for done in found] == [done.result for done in serial]
    again = map_trials(small().trials(), dask(scheduler), Unwatched())
    assert [done.result.status for done in again] == ["ok"] * 4


def test_a_trial_whose_worker_is_killed_runs_again(tmp_path, scheduler):
    listener = Listener()
    mark = tmp_path / "killed"
    with striking(tmp_path, "", mark, seeds="1..2") as scenario:
        done = run(scenario, out=tmp_path / "a", how=dask(scheduler), watcher=listener)
        assert mark.exists()
        assert sorted(listener.ended) == sorted(trial.name for trial in scenario.trials())
        assert tables(done.folder) == tables(run(scenario, out=tmp_path / "b").folder)


def test_a_trial_that_kills_its_worker_fails_and_the_others_go_on(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(dask_cluster, "MAX_LOSSES", 2)
    with striking(tmp_path, "", "always") as scenario:
        good, bad = map_trials(scenario.trials(), dask(scheduler), Unwatched())
    assert good.result.status == "ok"
    assert bad.result.error == "its worker ended 2 times"


def test_a_trial_that_nobody_wants_any_more_stops(scheduler):
    short = next(small().trials())
    long = next(small().at({"duration": "100000s"}).trials())
    with distributed.Client(scheduler) as client:
        client.wait_for_workers(2, timeout=60)
    with closing(carry_out_all(iter([short, long]), dask(scheduler), Unwatched())) as going:
        assert next(going).result.status == "ok"
    with distributed.Client(scheduler) as client:
        due = time.monotonic() + 30
        while any(client.run(executing).values()) and time.monotonic() < due:
            time.sleep(0.1)
        assert list(client.run(executing).values()) == [0, 0]


def test_a_cluster_begun_here_listens_on_loopback_only_and_leaves_nothing_behind():
    me = psutil.Process()
    before = set(me.children(recursive=True))
    drawn = []
    trials = (drawn.append(trial) or trial for trial in small(seeds="1..4").trials())
    with closing(carry_out_all(trials, How("dask", 2), Unwatched())) as going:
        next(going)
        workers = {
            child
            for child in set(me.children(recursive=True)) - before
            if any(one.status == psutil.CONN_LISTEN for one in child.net_connections())
        }
        listening = {
            connection.laddr.ip
            for process in (me, *workers)
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
    assert 2 <= len(drawn) <= 4
    assert len(workers) == 2
    assert listening == {"127.0.0.1"}
    assert [worker for worker in workers if worker.is_running()] == []


def test_workers_without_memory_for_a_trial_are_not_used(scheduler, monkeypatch):
    monkeypatch.setattr(dask_cluster, "WORKER_SECONDS", 0.1)
    with pytest.raises(InputError, match="no worker has 1048576 MiB, which one trial needs"):
        map_trials(small().trials(), dask(scheduler, trial_bytes=1 << 40), Unwatched())


def test_workers_have_as_many_trials_as_their_memory_holds():
    slots = dask_cluster._Cluster._slots
    cluster = type("", (), {"_how": How("dask", trial_bytes=1 << 30)})
    found = [
        slots(cluster, {"nthreads": 4, "memory_limit": limit})
        for limit in (0, None, 1 << 20, 1 << 31, 1 << 40)
    ]
    assert found == [4, 4, 0, 2, 4]


def test_a_scheduler_without_workers_is_refused(monkeypatch):
    monkeypatch.setattr(dask_cluster, "WORKER_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, **QUIET) as cluster,
        pytest.raises(InputError, match="the scheduler has no workers\n  hint: start workers"),
    ):
        map_trials(small().trials(), dask(cluster.scheduler_address), Unwatched())


def test_a_scheduler_that_is_lost_ends_the_run(monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 2)
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, **QUIET)
    going = carry_out_all(
        small(seeds="1..50").trials(), dask(cluster.scheduler_address), Unwatched()
    )
    next(going)
    cluster.close()
    with pytest.raises(TrialError, match="connection to the scheduler is lost"):
        list(going)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost", "is no address"),
        ("tcp://localhost", "is no address"),
        ("http://localhost:8786", "is no address"),
        ("tcp://localhost:port", "is no address"),
        ("tcp://me@localhost:8786", "is no address"),
        ("tcp://localhost:8786/x", "is no address"),
        ("tcp://[::1:8786", "is no address"),
        ("tcp://192.0.2.1:8786", "anybody in between .*\n  hint: use tls://.*--insecure"),
        ("tcp://localhost.example:8786", "anybody in between"),
        ("tls://192.0.2.1:8786", "TLS is not configured\n"),
        ("tcp://127.0.0.1:1", "no scheduler answers"),
        ("tcp://[::1]:1", "no scheduler answers"),
    ],
)
def test_a_scheduler_that_cannot_be_had_is_one_line(monkeypatch, address, message):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=message) as refusal:
        map_trials(small().trials(), dask(address), Unwatched())
    (problem,) = refusal.value.problems
    assert "\n" not in problem.message + problem.hint


def test_insecure_lets_another_computer_be_spoken_to(monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match="no scheduler answers"):
        map_trials(small().trials(), dask("tcp://192.0.2.1:1", insecure=True), Unwatched())


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "memsim.execute.dask_cluster")
    with pytest.raises(InputError, match=r"not installed\n  hint: pip install 'memsim\[dask\]'"):
        map_trials(small().trials(), How("dask"), Unwatched())


def test_the_commands_of_the_document_are_understood():
    text = (SCENARIOS.parent / "docs/cluster.md").read_text()
    found = re.findall(r"^memsim run (.*)$", text, re.MULTILINE)
    assert len(found) > 5
    for line in found:
        with command.make_context("run", shlex.split(line)) as context:
            assert context.params["executor"] == "dask"
