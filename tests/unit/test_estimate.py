"""What trials will need, and how many run at a time."""

import os
import subprocess
import sys

import pytest
from trials import SCENARIOS, SMALL, small

from memsim.errors import InputError, TrialError
from memsim.execute import How, cost, estimate, plan
from memsim.execute.cost import trial_costs
from memsim.execute.history import History
from memsim.execute.runner import run
from memsim.load import load_scenario
from memsim.plugins import PluginTimeout
from memsim.results.answer import size_text
from memsim.results.store import Kept, TrialStore
from memsim.simulate import TrialResult

MIB = 1 << 20
PEAK = """
import sys
from memsim.load import find_scenario, load_scenario
from memsim.simulate import simulate

def peak():
    # ru_maxrss begins with that of the process before exec, which may be larger.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

simulate(next(load_scenario(find_scenario("tiny")).trials()))
trial = next(load_scenario(find_scenario(sys.argv[1])).trials())
before = peak()
assert simulate(trial).status == "ok"
print(peak() - before)
"""
BIG = """
memsim: 1
name: big
duration: 1s
policies: {mobility: {placement: mobility}}
machine: {nodes: [{id: 0, cpus: 0-3, memory: 4TiB}]}
workloads: {app: {kind: process, anon: 64MiB}}
"""


@pytest.fixture
def computer(monkeypatch):
    """Sets the memory and the cores that there seem to be."""

    def there_are(memory, cores=8):
        monkeypatch.setattr(estimate, "available_bytes", lambda: memory)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))

    return there_are


def planned(root, **options):
    return plan(small(**options), TrialStore(root))


def memory_for(planned, trials, processes=1):
    each = max(c.bytes for c in trial_costs([one.trial for one in planned]).values())
    return trials * each + processes * estimate.PROCESS_BYTES


@pytest.mark.parametrize("name", ["first-look", "five-policies"])
def test_the_memory_is_an_upper_bound_and_not_far_away(name):
    command = [sys.executable, "-c", PEAK, name]
    took = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    trial = next(load_scenario(SCENARIOS / f"{name}.yaml").trials())
    assert took <= trial_costs([trial])[trial.name].bytes <= 3 * took


def test_small_trials_are_counted():
    trial = next(small().trials())
    found = trial_costs([trial])[trial.name]
    done = cost.planned_streams(trial)[1]
    assert found.events == sum(len(batch.time) for stream in done for batch in stream.batches)
    assert found.bytes < 16 * MIB


def test_a_large_machine_that_is_hardly_used_needs_little():
    (trial,) = small(BIG).trials()
    assert trial_costs([trial])[trial.name].bytes < 128 * MIB
    (full,) = small(BIG.replace("64MiB", "3TiB")).trials()
    assert trial_costs([full])[full.name].bytes > 8 << 30


def test_long_streams_are_extrapolated():
    text = SMALL.replace("5000/s", "40000000/s")
    trial = next(small(text).trials())
    (found,) = trial_costs([trial], events=True).values()
    assert 4_000_000 < found.events < 9_000_000


def test_policies_and_seeds_share_a_plan(monkeypatch):
    calls = []
    whole = cost.planned_streams
    monkeypatch.setattr(cost, "planned_streams", lambda t: calls.append(t) or whole(t))
    trials = list(small().trials())
    assert set(trial_costs(trials)) == {trial.name for trial in trials}
    assert calls == trials[:1]


@pytest.mark.parametrize("error", [TrialError("no"), InputError([]), MemoryError(), KeyError("a")])
def test_trials_that_cannot_be_planned_are_left_out(monkeypatch, error):
    def broken(trial):
        raise error

    monkeypatch.setattr(cost, "planned_streams", broken)
    assert trial_costs(small().trials()) == {}


def test_a_plugin_that_hangs_is_waited_for_once(monkeypatch):
    def hangs(trial):
        raise PluginTimeout([])

    monkeypatch.setattr(cost, "planned_streams", hangs)
    with pytest.raises(PluginTimeout):
        trial_costs(small().trials())


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (3, 3), (16, 4)])
def test_jobs_are_cores_but_not_more_than_trials(tmp_path, computer, cores, jobs):
    computer(1 << 40, cores)
    how, note = estimate.fitted(planned(tmp_path), How("threads"), jobs=None)
    assert (how.executor, how.jobs, note) == ("threads", jobs, "")
    assert how.trial_bytes > 0


@pytest.mark.parametrize(("executor", "processes"), [("threads", 1), ("processes", 2), ("dask", 2)])
def test_jobs_are_bounded_by_memory(tmp_path, computer, executor, processes):
    wanted = planned(tmp_path)
    computer(memory_for(wanted, 3, processes + (processes > 1)) - 1)
    how, note = estimate.fitted(wanted, How(executor), jobs=None)
    assert (how.jobs, note) == (2, "")
    assert estimate.needed_bytes(how) == memory_for(wanted, 2, processes)
    how, note = estimate.fitted(wanted, How(executor), jobs=4)
    assert how.jobs == 2
    assert note.startswith("2 trials at a time, not 4: one needs about ")


def test_a_trial_that_does_not_fit_is_refused_unless_forced(tmp_path, computer):
    computer(100 * MIB)
    with pytest.raises(InputError) as refusal:
        estimate.fitted(planned(tmp_path), How("threads"), jobs=None)
    (problem,) = refusal.value.problems
    assert "100.0 MiB are available" in problem.message
    assert "--force" in problem.hint
    how, note = estimate.fitted(planned(tmp_path), How("threads"), jobs=None, force=True)
    assert (how.jobs, note) == (1, "")
    how, note = estimate.fitted(planned(tmp_path), How("threads"), jobs=3, force=True)
    assert (how.jobs, note) == (3, "")


def test_nothing_is_refused_if_nothing_runs_here(tmp_path, computer):
    computer(0)
    how, _ = estimate.fitted([], How("threads"), jobs=None)
    assert how.jobs == 1
    scheduler = How("dask", scheduler="tcp://127.0.0.1:1")
    how, note = estimate.fitted(planned(tmp_path), scheduler, jobs=7)
    assert (how.jobs, note) == (7, "")
    assert how.trial_bytes > 0


def test_serial_is_one_at_a_time(tmp_path, computer):
    computer(1 << 40)
    assert estimate.fitted(planned(tmp_path), How("serial"), jobs=5)[0].jobs == 1


def test_the_available_memory_is_that_of_this_computer():
    assert 0 < estimate.available_bytes() < 1 << 50


def group(folder, prefix, limit, used, stat="anon 3"):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current")
    names = names if prefix == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, text in zip((*names, "memory.stat"), (limit, used, stat), strict=True):
        (folder / name).write_text(f"{text}\n")


@pytest.mark.parametrize(
    ("version", "lines", "own"),
    [
        pytest.param(2, "0::/box/inner\n", "box/inner", id="v2"),
        pytest.param(1, "9:cpu:/\n4:memory:/box/inner\n0::/\n", "memory/box/inner", id="v1"),
        pytest.param(1, "4:hugetlb,memory:/box/inner\n", "memory/box/inner", id="v1 joined"),
    ],
)
def test_limits_of_control_groups_count(tmp_path, monkeypatch, version, lines, own):
    (tmp_path / "own").write_text(lines)
    inner = tmp_path / "groups" / own
    group(inner, version, 5000, 1000, "anon 3\ninactive_file 700")
    group(inner.parent, version, 4000, 1000)
    group(inner.parents[1], version, "max", 10)
    rooms = estimate._rooms_of_groups(tmp_path / "groups", tmp_path / "own")
    assert sorted(rooms) == [3000, 4700]
    monkeypatch.setattr(estimate, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(estimate, "OWN_GROUPS", tmp_path / "own")
    assert estimate.available_bytes() == 3000


def test_control_groups_that_cannot_be_read_have_no_say(tmp_path):
    assert list(estimate._rooms_of_groups(tmp_path, tmp_path / "own")) == []
    (tmp_path / "own").write_text("0::/box\n")
    group(tmp_path / "box", 2, "many", "few")
    assert list(estimate._rooms_of_groups(tmp_path, tmp_path / "own")) == []


def test_time_is_that_of_kept_trials_with_the_policy_and_point(tmp_path, computer):
    computer(1 << 40, 2)
    store = TrialStore(tmp_path)
    seconds = {("none", 1): 10.0, ("none", 2): 30.0, ("mobility", 1): 50.0}
    for trial in small().trials():
        if (trial.policy, trial.seed) in seconds:
            result = TrialResult("ok")
            store.put(trial, Kept(result, seconds[trial.policy, trial.seed]))
    found = forecast_of(small(seeds="1..3"), tmp_path)
    assert (found.run, found.kept, found.failed, found.jobs) == (3, 3, 0, 2)
    assert found.seconds == (20 + 50 + 50) / 2
    assert found.source == "from 3 kept trials"


def test_time_is_that_of_trials_of_earlier_runs(tmp_path, computer):
    computer(1 << 40, 2)
    run(small(), out=tmp_path)
    found = forecast_of(small(seeds="3"), tmp_path)
    assert (found.run, found.source) == (2, "from 4 kept trials")
    assert found.seconds > 0


def test_time_is_guessed_from_events(tmp_path, computer):
    computer(1 << 40, 2)
    found = forecast_of(small(), tmp_path)
    (events,) = {c.events for c in trial_costs(small().trials(), events=True).values()}
    assert found.source == "guessed"
    assert found.seconds == pytest.approx(4 * events / estimate.EVENTS_PER_SECOND / 2)
    trial = next(small().trials())
    TrialStore(tmp_path).put(trial, Kept(TrialResult("ok"), 10.0))
    mixed = forecast_of(small(), tmp_path)
    assert mixed.source == "from 1 kept trials, guessed for 2 of 3"
    TrialStore(tmp_path).put(trial, Kept(TrialResult("failed", "x"), 10.0))
    again = forecast_of(small(), tmp_path)
    assert (again.failed, again.source) == (1, "guessed")


def test_nothing_to_run_takes_nothing(tmp_path, computer):
    computer(1 << 40)
    run(small(), out=tmp_path)
    found = forecast_of(small(), tmp_path)
    assert (found.run, found.kept, found.seconds, found.total_bytes) == (0, 4, 0, 0)


def forecast_of(scenario, root):
    store = TrialStore(root)
    plans = plan(scenario, store)
    how, _ = estimate.fitted(plans, How("threads"), jobs=None)
    return estimate.forecast(plans, how, store, History(root / scenario.name))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (300 * MIB, "300.0 MiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_sizes_are_written_shortly(count, text):
    assert size_text(count) == text
