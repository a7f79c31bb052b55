"""Processes that are killed, and the trials that they had."""

import subprocess
import sys

import psutil
import pytest
from executor_runs import Listener, striking, tables
from trials import small

from memsim.errors import TrialError
from memsim.execute import How, map_trials, processes, run
from memsim.execute.watch import Unwatched


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


RUNNER = """
import sys
from memsim.execute import How, carry_out_all
from memsim.execute.watch import Unwatched
from memsim.load import find_scenario, load_scenario

if __name__ == "__main__":
    trials = load_scenario(find_scenario("tiny"), seeds="1..5000").trials()
    for done in carry_out_all(trials, How(sys.argv[1], 2), Unwatched()):
        print("going", flush=True)
"""


@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_nothing_outlives_a_runner_that_is_killed(tmp_path, executor):
    (tmp_path / "runner.py").write_text(RUNNER)
    command = [sys.executable, str(tmp_path / "runner.py"), executor]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as runner:
        assert runner.stdout.readline() == b"going\n"
        children = psutil.Process(runner.pid).children(recursive=True)
        runner.kill()
    assert len(children) >= 2
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
