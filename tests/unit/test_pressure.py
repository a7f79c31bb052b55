"""Trials under pressure: what comes out depends on the scenario alone, and every step is sound."""

import numpy as np
import pytest
from pressure import PressedMachine
from trials import small

from memsim.mm import Use, gfp_from_text
from memsim.schema import Request
from memsim.simulate import simulate

PRESSED = """
memsim: 1
name: pressed
duration: 400ms
policies:
  none:     {placement: none}
  mobility: {placement: mobility}
machine:
  nodes: [{id: 0, cpus: 0-1, memory: 128MiB}]
  swap: {size: SWAP}
workloads:
  hog:   {kind: memory_hog, anon: 80MiB, grow: 150ms, touch: 20000/s}
  files: {kind: page_cache, size: 32MiB, grow: 200ms, churn: 40MiB/s, dirty: 20%}
  kern:  {kind: slab, rate: 8000/s, reclaimable: 50%, lifetime: {exponential: {mean: 200ms}}}
events:
  - {every: 50ms, do: probe, orders: [3, 9], attempts: 12, gfp: GFP_KERNEL}
  - {at: 300ms, do: compact_memory}
"""
OLD = (
    PRESSED.replace("mobility: {placement: mobility}", "light: {placement: light}\n"
                    "  full: {placement: full}\n  flag: {placement: light, variant: page_flag}")
    .replace("machine:", "machine:\n  profile: linux-2.6.14")
    .replace("  - {at: 300ms, do: compact_memory}\n", "")
    .replace("anon: 80MiB", "anon: 112MiB")
)  # fmt: skip


def trials(swap="64MiB", text=PRESSED):
    return {trial.policy: trial for trial in small(text.replace("SWAP", swap)).trials()}


@pytest.fixture(scope="module")
def reference():
    return {name: simulate(trial, check=True, samples=0) for name, trial in trials().items()}


def counters(result):
    return {name: value for zone, name, value in result.counters if not zone}


@pytest.mark.parametrize("policy", ["none", "mobility"])
def test_memory_is_reclaimed_swapped_and_compacted(reference, policy):
    counts = counters(reference[policy])
    assert reference[policy].status == "ok"
    met = ("pgsteal_kswapd", "pgsteal_anon", "pgsteal_file", "pswpout", "pswpin", "pgmajfault",
           "slab_pages_freed", "pgmigrate_success", "compact_stall", "stall_model_ns")  # fmt: skip
    assert [name for name in met if not counts[name]] == []
    assert counts["compact_stall"] == counts["compact_success"] + counts["compact_fail"]


@pytest.mark.parametrize("batch_size", [7, 1000])
@pytest.mark.parametrize("policy", ["none", "mobility"])
def test_batches_of_any_size_give_the_same(reference, policy, batch_size):
    assert simulate(trials()[policy], batch_size=batch_size, samples=0) == reference[policy]


@pytest.mark.parametrize("samples", [1, 100])
def test_looking_changes_nothing(reference, samples):
    looked_at = simulate(trials()["mobility"], samples=samples)
    assert len(looked_at.timeline) == 2 * (samples + 1)
    assert looked_at.metrics == reference["mobility"].metrics
    assert looked_at.counters == reference["mobility"].counters


@pytest.mark.parametrize("policy", ["none", "light", "full", "flag"])
def test_kernels_of_2005_reclaim_and_swap_under_every_policy(policy):
    trial = trials(text=OLD)[policy]
    result = simulate(trial, check=True, samples=0)
    counts = counters(result)
    met = ("pgsteal_kswapd", "pgsteal_direct", "pswpout", "pswpin", "stall_model_ns")
    assert [name for name in met if not counts[name]] == []
    assert simulate(trial, batch_size=7, samples=0) == result


@pytest.mark.parametrize("policy", ["none", "mobility"])
def test_a_full_swap_device_ends_in_a_kill_that_is_recorded(policy):
    result = simulate(trials(swap="1MiB")[policy], check=True, samples=0)
    (kill,) = result.oom
    assert kill.victim == "hog" and kill.swap_freed <= 256
    assert counters(result)["oom_kill"] == 1
    assert counters(result)["pswpout"] >= 256


@pytest.mark.parametrize("batch_size", [1, 50])
def test_pages_dirtied_together_remember_each_its_own_time(batch_size):
    machine = PressedMachine(2048, pcp_high=320, pcp_batch=63)
    gfp = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_WRITE")
    request = machine.memory.add_requests([Request(gfp, Use.PAGE_CACHE, lru=True)])
    machine.memory.mem.log_cursor[:] = 0
    time = np.arange(50, dtype=np.int64) * 1000
    for first in range(0, 50, batch_size):
        part = slice(first, first + batch_size)
        row = np.full(50, request, np.uint16)[part]
        handle = np.arange(50, dtype=np.int32)[part]
        cpu = np.zeros(len(row), np.uint16)
        machine.memory.run(np.zeros(len(row), np.uint8), row, cpu, handle, time[part])
    assert machine.memory.mem.dirtied[1:100:2].tolist() == time.tolist()
