"""Files from outside: while they are in use, and what watching their code does."""

import sys
import threading
import time

import numpy as np
import pytest
from executor_runs import map_trials
from plugin_files import POLICY, WORKLOAD, changed
from trials import small

from memsim import plugins
from memsim.execute import How
from memsim.execute.watch import Unwatched
from memsim.memory import Memory
from memsim.mm import Status, Use, gfp_from_text
from memsim.plugins._watch import PluginFault, PluginTimeout, watching
from memsim.policies import LINUX_6_1, policy_tables
from memsim.schema import Request
from memsim.simulate import simulate


@pytest.fixture
def files(tmp_path):
    """A policy and a workload of one's own."""
    paths = []
    for name, text in (("mine", POLICY), ("work", WORKLOAD)):
        (tmp_path / f"{name}.py").write_text(text)
        paths.append(str(tmp_path / f"{name}.py"))
    return paths


def mine(**options):
    return small(sets=["policies.mobility.placement=mine"], **options)


def names(scenario):
    return [trial.name for trial in scenario.trials()]


def test_files_are_offered_while_they_are_in_use(files):
    with plugins.outside(files) as (policy, _):
        assert sys.modules[policy.module.__name__] is policy.module
        assert "mine" in plugins.offered("policies") and "work" in plugins.offered("workloads")
        assert plugins.find("policies", "mine") is policy.module
        assert plugins.is_outside("policies", "mine")
        assert not plugins.is_outside("policies", "none")
    assert "mine" not in plugins.offered("policies")
    assert not [name for name in sys.modules if name.startswith("memsim_plugin_")]
    with pytest.raises(plugins.PluginError, match='there is no policy "mine"'):
        plugins.find("policies", "mine")


def test_a_bad_file_leaves_none_in_use(files, tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    with pytest.raises(PluginFault), plugins.outside([*files, str(tmp_path / "bad.py")]):
        raise AssertionError
    assert plugins.loaded() == () and "mine" not in plugins.offered("policies")


def test_trials_are_named_by_the_files_in_use_alone(files, tmp_path):
    own = names(small())
    with plugins.outside(files):
        assert names(small()) == own
        with_policy = names(mine())
    assert with_policy[:2] == own[:2] and not set(with_policy[2:]) & set(own)
    (tmp_path / "mine.py").write_text(changed(POLICY, "share: int = 3", "share: int = 4"))
    with plugins.outside(files):
        edited = names(mine())
    assert edited[:2] == own[:2] and not set(edited[2:]) & set(with_policy)
    (tmp_path / "work.py").write_text(WORKLOAD + "\n")
    with plugins.outside(files):
        assert names(mine()) == edited


def test_threads_and_one_after_another_agree(files):
    with plugins.outside(files):
        trials = [*mine().trials()]
        serial, threads = (
            [done.result for done in map_trials(trials, how, Unwatched())]
            for how in (How(), How("threads", 4))
        )
        assert threads == serial


def test_a_policy_under_which_an_invariant_breaks_is_named(files, monkeypatch):
    def broken(memory):
        raise AssertionError("pages were lost")

    monkeypatch.setattr(Memory, "check", broken)
    with plugins.outside(files):
        (*_, trial) = mine().trials()
        result = simulate(trial, check=True)
    assert result.status == "failed"
    assert result.error == f"{files[0]}:11: breaks an invariant: pages were lost"
    with pytest.raises(AssertionError):
        simulate(next(iter(small().trials())), check=True)


def test_only_what_a_plugin_prints_is_refused(capsys):
    go, done = threading.Event(), threading.Event()

    def other():
        go.wait(10)
        print("of another thread")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    real = sys.stdout
    with pytest.raises(PluginFault, match=r"mine\.py:3: it prints"), watching("mine.py", 3, "it"):
        go.set()
        assert done.wait(10)
        print("for debugging", file=sys.stderr)
        print("of the plug-in")
    thread.join()
    assert sys.stdout is real
    assert capsys.readouterr() == ("of another thread\n", "for debugging\n")


def test_what_ends_in_time_is_left_alone(monkeypatch):
    monkeypatch.setenv("MEMSIM_PLUGIN_SECONDS", "0.2")
    for _ in range(100):
        with watching("mine.py", 1, "it"):
            pass
    time.sleep(0.3)
    assert sum(range(10**6)) == 499999500000


def test_code_that_swallows_the_interruption_is_late_all_the_same(monkeypatch):
    monkeypatch.setenv("MEMSIM_PLUGIN_SECONDS", "0.1")
    with pytest.raises(PluginTimeout), watching("mine.py", 1, "it"):
        try:
            while True:
                len([])
        except BaseException:
            pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, plugins.PluginError("memsim's own")])
def test_what_is_not_the_plugins_fault_passes(error):
    with pytest.raises((KeyboardInterrupt, plugins.PluginError)), watching("mine.py", 1, "it"):
        raise error


@pytest.mark.parametrize(("fallback", "status"), [((), Status.NOPAGE), (((1,),), Status.OK)])
def test_a_type_of_6_1_falls_back_as_far_as_its_row_goes(fallback, status):
    from workload_runs import small_memory

    memory = small_memory(nodes=1)
    types = np.array([0, 1, 2] * len(Use), np.int32)
    memory.set_policy(policy_tables(types, fallback=fallback))
    memory.add_requests([Request(gfp_from_text("none"), Use.KERNEL)])
    memory.add_handles(1)
    arrays = (np.array([0], dtype) for dtype in (np.uint8, np.uint16, np.uint16, np.int32))
    assert LINUX_6_1.mechanism == memory.setup.mechanism
    assert memory.run(*arrays).status.tolist() == [status]
