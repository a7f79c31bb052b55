"""The requests of one capture under another policy, beside what a kernel did under it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from memsim.cli import main
from memsim.errors import InputError
from memsim.fidelity.beside import beside
from memsim.fidelity.window import replay
from memsim.kernels import trace_log
from memsim.memory.restore import restore
from memsim.policies import LINUX_6_1, mobility, none
from memsim.traces.capture import read_capture

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
OFF = 8348
"""The event of frag_nogroup before which grouping by mobility was switched off."""


@pytest.fixture(scope="module")
def captures():
    return {name: read_capture(COMMITTED / name) for name in ("frag", "frag_nogroup")}


@pytest.fixture(scope="module")
def runs(captures):
    found = beside(captures["frag"], "none", captures["frag_nogroup"])
    assert found.exact
    return {(r.who, r.requests, r.start, r.policy): r for r in found.runs}


def test_the_kernels_own_counts(runs):
    kernels = [r for r in runs.values() if r.who == "kernel"]
    assert [(r.requests, r.policy, r.allocations, r.fallbacks) for r in kernels] == [
        ("frag", "mobility", 69_447, 7),
        ("frag_nogroup", f"mobility, none from event {OFF:,}", 69_164, 65),
    ]


def test_what_was_recorded_is_counted_as_the_kernels_count_it(runs):
    kernels = {key[1:]: r for key, r in runs.items() if key[0] == "kernel"}
    for key, kernel in kernels.items():
        memsim = runs["memsim", *key]
        assert memsim == kernel.__class__(**{**vars(kernel), "who": "memsim"})


@pytest.mark.parametrize("start", ["frag", "frag_nogroup"])
@pytest.mark.parametrize("off", [0, OFF])
def test_a_counterfactual_is_a_plain_replay_under_other_tables(captures, runs, start, off):
    requests = replay(captures["frag"], follow=False).requests
    memory = restore(captures[start].start, mobility.Policy().tables(LINUX_6_1))
    memory.add_requests(requests.requests)
    memory.add_handles(requests.handles)
    memory.hold(requests.allocations, requests.before)
    memory.keep_log(1 << 20)
    batch, logged, done = requests.batch, [], 0
    for stop, policy in [(off, mobility), (len(batch.op), none)]:
        memory.set_policy(policy.Policy().tables(LINUX_6_1))
        while done < stop:
            columns = (batch.op, batch.request, batch.cpu, batch.handle)
            done += len(memory.run(*(column[done:stop] for column in columns)).pfn)
            logged.append(memory.take_log())
    log = np.concatenate(logged)
    policy = f"mobility, none from event {off:,}" if off else "none"
    run = runs["memsim", "frag", start, policy]
    assert run.fallbacks == (log[:, 1] == trace_log.LOG_EXTFRAG).sum() > 0
    assert run.not_held == memory.vmstat()["frees_not_held"]
    assert (run.allocations, run.failed) == (69_447, 0)


def test_switched_off_when_the_other_kernel_did_it_falls_back_as_often_as_that(runs):
    policy = f"mobility, none from event {OFF:,}"
    other = runs["kernel", "frag_nogroup", "frag_nogroup", policy]
    for start in ("frag", "frag_nogroup"):
        assert runs["memsim", "frag", start, policy].fallbacks == other.fallbacks


def test_one_command_says_it():
    arguments = ["fidelity", str(COMMITTED / "frag"), "--policy", "none"]
    result = CliRunner().invoke(main, [*arguments, "--beside", str(COMMITTED / "frag_nogroup")])
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines[1:9]] == ["kernel", *["memsim"] * 5, "kernel", "memsim"]
    assert "frag_nogroup: grouping was switched off before event 8,348" in result.stdout


def test_without_another_capture_it_asks_from_the_first_event_only(captures):
    found = beside(captures["frag_nogroup"], "mobility", None)
    assert [(r.who, r.policy) for r in found.runs[2:]] == [("memsim", "mobility")]
    assert found.runs[2].fallbacks == 7


def test_policies_of_other_kernels_are_refused(captures):
    with pytest.raises(InputError, match='no policy "light" of linux-6'):
        beside(captures["frag"], "light", None)
    result = CliRunner().invoke(main, ["fidelity", "x", "--beside", "y"])
    assert result.exit_code == 2 and "--beside needs --policy" in result.stderr
