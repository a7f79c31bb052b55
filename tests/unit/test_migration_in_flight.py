"""A process of a scenario that touches its pages while a kernel of 2005 moves them."""

import pytest
from trials import small

from memsim.simulate import simulate

TEXT = """
memsim: 1
name: in-flight
duration: 60ms
seeds: 1
policies: {none: {placement: none}}
machine:
  profile: linux-2.6.14
  nodes:
    - {id: 0, cpus: 0-1, memory: 64MiB}
    - {id: 1, cpus: 2-3, memory: 64MiB}
  swap: {size: 64MiB}
workloads:
  app: {kind: process, anon: 256KiB, grow: 10ms, nodes: [1], touch: {rate: 1000000/s}}
events:
  - {at: 40ms, do: migrate_pages, workload: app, from: [1], to: [0], mode: direct, code: CODE}
"""


def moved(code, **how):
    (trial,) = small(TEXT.replace("CODE", code)).trials()
    result = simulate(trial, **how)
    (row,) = result.migrations
    return row, result


@pytest.mark.parametrize("code", ["v1", "linux-2.6.16"])
def test_accesses_to_pages_in_flight_wait_and_are_counted(code):
    row, _ = moved(code, check=True)
    assert (row.moved_direct, row.result) == (64, 0)
    # Each page of 64 is in flight for at most 2.8 us, and is touched every 64 us.
    assert 0 < row.faults_waited <= 64
    assert 0 < row.fault_wait_model_ns <= 2_800 * row.faults_waited


def test_looking_ahead_for_accesses_does_not_make_results_depend_on_batches():
    (first, whole), (second, small_steps) = (moved("v1", batch_size=n) for n in (50_000, 7))
    assert first == second
    assert whole == small_steps
