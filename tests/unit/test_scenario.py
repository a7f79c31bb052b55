"""Scenarios are values; trials are named by all that decides their outcome."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import fake_plugins

import memsim
from memsim import plugins
from memsim.load import load_text
from memsim.plugins._contract import contract_breach
from memsim.rules.vocabulary import scenario_schema
from memsim.scenario import content
from memsim.scenario.event import Event
from memsim.scenario.machine import Machine
from memsim.scenario.paths import resolve, with_value

TEXT = """\
memsim: 1
name: base
duration: 60s
seeds: 1..3
policies:
  a: {placement: plain, boost: false}
  b: {placement: plain, cmdline: kernelcore=4G}
machine:
  nodes: [{id: 0, cpus: 0-7, memory: 8GiB}, {id: 1, memory: 8GiB, dimms: [{size: 1GiB}]}]
workloads:
  db: {kind: app, anon: 3GiB}
axes:
  policies.b.cmdline: [kernelcore=2G, kernelcore=4G]
  machine.vm.swappiness: [10, 60]
expect: ["fallback.events <= 100", "fallback.events <= 1 for b"]
"""


def load(old="", new=""):
    with fake_plugins():
        return load_text(TEXT.replace(old, new), "x.yaml", ".")


def test_trials_are_policies_by_points_by_seeds():
    scenario = load()
    trials = list(scenario.trials())
    assert len(trials) == scenario.trial_count == 24
    assert [(t.policy, t.seed) for t in trials[:4]] == [("a", 1), ("a", 2), ("a", 3), ("a", 1)]
    last = trials[-1]
    assert last.point == (("policies.b.cmdline", "kernelcore=4G"), ("machine.vm.swappiness", "60"))
    assert last.spec.kernel.kernelcore.bytes == 4 << 30
    assert trials[12].spec.kernel.kernelcore.bytes == 2 << 30
    assert trials[12].scenario.machine.vm.swappiness == 10
    assert trials[0].spec.options == {"boost": False}
    assert trials[0].profile == "linux-6.1"


def test_trials_are_values():
    trials = list(load().trials())
    again = pickle.loads(pickle.dumps(trials[5]))
    assert again == trials[5]
    assert hash(again) == hash(trials[5])
    assert again.name == trials[5].name
    assert len({trial.name for trial in trials}) == len(trials)
    assert len(pickle.dumps(trials[5])) < 8000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("seeds: 1..3", "seeds: 1..9", id="more seeds"),
        pytest.param("60s", "1min", id="another way to write it"),
        pytest.param("name: base", "name: other", id="another name"),
        pytest.param("kernelcore=4G}", "kernelcore=3G}", id="another policy"),
        pytest.param("<= 100", "<= 200", id="another expectation"),
    ],
)
def test_names_stay(old, new):
    assert TEXT.count(old)
    assert next(load(old, new).trials()).name == next(load().trials()).name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("anon: 3GiB", "anon: 2GiB", id="workload"),
        pytest.param("boost: false", "boost: true", id="policy"),
        pytest.param("size: 1GiB", "size: 2GiB", id="machine"),
        pytest.param("60s", "61s", id="duration"),
        pytest.param("expect:", "events: [{at: 1s, do: probe, orders: 3}]\nexpect:", id="event"),
    ],
)
def test_names_change(old, new):
    assert TEXT.count(old)
    assert next(load(old, new).trials()).name != next(load().trials()).name
    assert load(old, new).content_hash != load().content_hash


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("kernels/buddy.py", True),
        ("mm.py", True),
        ("policies/mobility.py", True),
        ("policies/none.py", False),
        ("cli/validate.py", False),
        ("results/tables.py", False),
    ],
)
def test_names_change_with_the_engine(tmp_path, monkeypatch, file, matters):
    copy = tmp_path / "memsim"
    source = Path(memsim.__file__).parent
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "scenarios"))
    monkeypatch.setattr(content, "__file__", str(copy / "scenario" / "content.py"))
    digest = content.sources_digest.__wrapped__
    before = digest("mobility", ())
    with (copy / file).open("a") as out:
        out.write("# changed\n")
    assert (digest("mobility", ()) != before) is matters


def test_the_engine_is_what_simulate_imports():
    code = (
        "import sys, memsim.simulate\n"
        "print(*sorted({m.split('.')[1] for m in sys.modules if m.startswith('memsim.')}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(out.stdout.split()) == content.ENGINE


def test_only_keeps_what_concerns_the_policies():
    kept = load().only(("a",))
    assert list(kept.policies) == ["a"]
    assert list(kept.axes) == ["machine.vm.swappiness"]
    assert kept.expect == ("fallback.events <= 100",)


def test_machine_fills_in_what_is_not_written():
    machine = load().machine
    assert machine.distance_matrix == ((10, 20), (20, 10))
    assert machine.total == 17 << 30
    assert machine.memory_block_size == 128 << 20
    big = Machine(nodes=[{"id": 0, "cpus": "0", "memory": "64GiB"}])
    assert big.memory_block_size == 2 << 30


@pytest.mark.parametrize(
    ("event", "times"),
    [
        ({"at": "5s"}, [5]),
        ({"at": 0}, [0]),
        ({"every": "4s"}, [4, 8, 12]),
        ({"every": "4s", "until": "8s"}, [4, 8]),
        ({"every": "20s"}, []),
    ],
)
def test_event_times(event, times):
    found = Event(do="probe", orders=[9], **event).times(12 * 10**9)
    assert [t // 10**9 for t in found] == times


def test_paths():
    data = {"a": {"b": [1, {"c": 2}]}}
    assert resolve(data, "a.b.1.c") == (("a", "b", 1, "c"),)
    assert resolve(data, "x.y") == (("x", "y"),)
    assert with_value(data, ("a", "b", 1, "c"), 3) == {"a": {"b": [1, {"c": 3}]}}
    assert with_value(data, ("x", "y"), 3) == {**data, "x": {"y": 3}}
    assert data == {"a": {"b": [1, {"c": 2}]}}


def test_schema_has_the_knobs_of_every_kind():
    with fake_plugins():
        schema = scenario_schema()
    kinds = {v["properties"]["kind"]["const"]: v for v in schema["$defs"]["WorkloadSpec"]["oneOf"]}
    assert set(kinds) == {"app", "recorded"}
    assert kinds["app"]["properties"]["anon"]["examples"] == ["8GiB"]
    lifetime = kinds["app"]["properties"]["lifetime"]["$ref"].rpartition("/")[2]
    assert "lognormal" in schema["$defs"][lifetime]["properties"]
    assert "default" not in schema["$defs"]["Costs"]["properties"]["page_copy"]


class Broken:
    """A plug-in that keeps no contract."""


@pytest.mark.parametrize(
    ("folder", "breach"),
    [
        ("workloads", "does not define a class Workload that is a pydantic model"),
        ("policies", "does not define a class Policy that is a pydantic model"),
        ("metrics", "does not define COLUMNS, a tuple of Column"),
        ("traces", "does not define sniff()"),
    ],
)
def test_contracts_are_held(folder, breach):
    assert contract_breach(folder, Broken).message == breach


def test_unknown_plugin_is_told_with_a_suggestion():
    with fake_plugins(), pytest.raises(plugins.PluginError) as error:
        plugins.find("policies", "plian")
    assert str(error.value) == 'there is no policy "plian"\n  hint: did you mean "plain"?'


def test_folders_offer_their_files():
    assert {"mobility", "none"} <= set(plugins.offered("policies"))
    assert not [name for name in plugins.offered("traces") if name.startswith("_")]
