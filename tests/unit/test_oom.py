"""The OOM killer: whom it kills, what that leaves, and what a trial says of it."""

import numpy as np
import pytest
from pressure import PressedMachine
from trials import SMALL, small

from memsim.errors import InputError
from memsim.memory.killing import holding
from memsim.memory.setup import Pressure
from memsim.simulate import planned_streams, simulate

TWO = SMALL.replace(
    "  app:  {kind: process, anon: 2MiB, grow: 60ms}",
    "  big:   {kind: memory_hog, anon: 56MiB, grow: 60ms, oom_score_adj: ADJ}\n"
    "  small: {kind: memory_hog, anon: 8MiB, grow: 20ms}",
)


def trial(text):
    return next(iter(small(text).trials()))


def of(adj, **changes):
    text = TWO.replace("ADJ", str(adj))
    for old, new in changes.items():
        text = text.replace(f"{old}: true", new)
    return trial(text)


def counters(result):
    return {name: value for zone, name, value in result.counters if not zone}


def test_the_largest_workload_is_killed_and_others_go_on():
    result = simulate(of(0), check=True)
    assert [kill.victim for kill in result.oom] == ["big"]
    (kill,) = result.oom
    assert kill.why == "no_memory" and kill.pages_freed > 8 << 8 and kill.swap_freed == 0
    assert counters(result)["oom_kill"] == result.metrics["reclaim.oom_kills"] == 1
    assert result.notes == ("big was killed for want of memory (oom.csv)",)


def test_the_score_can_be_adjusted():
    result = simulate(of(-999), check=True)
    assert next(kill.victim for kill in result.oom) == "small"


def test_a_huge_page_in_swap_counts_with_all_its_slots():
    machine = PressedMachine(1024, pressure=Pressure(swap_slots=600))
    cached, huge, other = machine.fill(3)
    memory = machine.memory
    memory.mem.swap_map[[5, *range(20, 532), 540]] = [cached + 1, *[huge + 1] * 512, other + 1]
    memory.page_table[huge] = -21
    assert holding(memory, cached, other) == (1, 512)


def test_with_nobody_to_kill_requests_fail_and_the_trial_ends():
    nobody = TWO.replace("oom_score_adj: ADJ", "killable: false").replace(
        "grow: 20ms", "grow: 20ms, oom_score_adj: -1000"
    )
    result = simulate(trial(nobody), check=True)
    assert (result.status, result.oom) == ("ok", ())
    assert result.metrics["allocation.nopage"] > 100


def test_a_killed_workload_asks_for_nothing_more():
    result = simulate(of(0), check=True)
    (kill,) = result.oom
    assert kill.victim == "big"
    _, streams = planned_streams(of(0))
    times = [np.concatenate([batch.time for batch in stream.batches]) for stream in streams]
    left_out = np.count_nonzero(times[0] >= kill.time_ns)
    assert result.events == sum(map(len, times)) - left_out
    assert 0 < left_out < len(times[0])


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_kills_do_not_depend_on_the_size_of_batches(batch_size):
    whole = simulate(of(-999), samples=0)
    parts = simulate(of(-999), batch_size=batch_size, samples=0)
    assert parts == whole and len(whole.oom) == 2


def test_locked_memory_must_fit():
    locked = SMALL.replace("{kind: process, anon: 2MiB, grow: 60ms}",
                           "{kind: memory_hog, anon: 65MiB, mlocked: true}")  # fmt: skip
    with pytest.raises(InputError, match="65MiB of locked memory do not fit in the machine"):
        small(locked)


@pytest.mark.parametrize("size", ["0B", "4095B", "5TiB"])
def test_swap_has_a_size_that_can_be(size):
    swap = SMALL.replace("memory: 64MiB}]", f"memory: 64MiB}}]\n  swap: {{size: {size}}}")
    with pytest.raises(InputError, match="swap: expected from 4KiB to 4TiB"):
        small(swap)
