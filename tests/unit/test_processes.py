"""Processes that are killed, and the trials that they had."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from executor_runs import Listener, map_trials, striking, tables
from trials import small

from memsim.errors import TrialError
from memsim.execute import How, processes, run
from memsim.execute.watch import Unwatched
from memsim.results.store import TRIALS


def test_a_trial_whose_process_is_killed_runs_again(tmp_path):
    listener = Listener()
    mark = tmp_path / "killed"
    with striking(tmp_path, "", mark, seeds="1..2") as scenario:
        done = run(scenario, out=tmp_path / "a", how=How("processes", 2), watcher=listener)
        assert mark.exists()
        assert sorted(listener.ended) == sorted(trial.name for trial in scenario.trials())
        assert tables(done.folder) == tables(run(scenario, out=tmp_path / "b").folder)


def test_a_trial_that_kills_its_process_fails_and_the_others_go_on(tmp_path):
    with striking(tmp_path, "", "always") as scenario:
        good, bad = map_trials(scenario.trials(), How("processes", 1), Unwatched())
        assert good.result == map_trials([good.trial], How(), Unwatched())[0].result
    assert bad.result.status == "failed"
    assert bad.result.error == "its process ended: SIGKILL: killed, or out of memory"


def test_processes_that_end_before_they_begin_end_the_run(monkeypatch):
    monkeypatch.setattr(processes, "_serve", print)
    with pytest.raises(TrialError, match="end before they begin"):
        map_trials(small().trials(), How("processes", 1), Unwatched())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_nothing_outlives_a_runner(tmp_path, executor, number):
    memsim = str(Path(sys.executable).with_name("memsim"))
    options = ["--seeds", "1..1000", "--jobs", "2", "--executor", executor]
    with (tmp_path / "err").open("w+") as err, subprocess.Popen(
        [memsim, "run", "tiny", *options], cwd=tmp_path, stderr=err, start_new_session=True
    ) as runner:  # fmt: skip
        store = tmp_path / "results" / TRIALS
        while runner.poll() is None and not store.exists():
            time.sleep(0.05)
        children = psutil.Process(runner.pid).children(recursive=True)
        if number == signal.SIGINT:
            os.killpg(runner.pid, number)
        else:
            runner.send_signal(number)
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    if number == signal.SIGINT:
        assert runner.returncode == 130
        first, command = (tmp_path / "err").read_text().splitlines()
        assert first.startswith("interrupted: ")
        assert command == "  " + shlex.join(["memsim", "run", "tiny", *options])
