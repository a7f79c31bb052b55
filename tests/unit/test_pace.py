"""Workloads that wait for their requests fall behind; results do not depend on batches."""

import pytest

from memsim.load import load_text
from memsim.simulate import simulate

WAITING = """
memsim: 1
name: waiting
duration: 4s
seeds: 1
policies:
  none:  {{placement: none, profile: linux-2.6.14}}
  now:   {{placement: none}}
machine:
  nodes: [{{id: 0, cpus: 0-1, memory: 64MiB}}]
  swap: {{size: 64MiB, read: 100us, write: 100us}}
  costs: {{file_read: {read}, file_write: 20us, seek: {seek}}}
workloads:
  file:  {{kind: streaming, size: 80MiB, rate: 80MiB/s, steps: [write, read]}}
  build: {{kind: kernel_build, trees: 1, jobs: 2, unpack: 500ms, sources: 8MiB, headers: 1MiB,
          objects: 1MiB, files: 500, units: 40, anon: 1MiB, reads: 512KiB, program: 512KiB,
          compile: 20ms, stop: 3s, delete: 3s}}
events:
  - {{do: high_alloc, name: test, at: 1s, orders: [8], attempts: 8,
     gfp: GFP_HIGHUSER_MOVABLE}}
"""


def result(policy, read="100us", seek="1ms", **options):
    text = WAITING.format(read=read, seek=seek)
    trials = load_text(text, "waiting.yaml", ".").trials()
    trial = next(trial for trial in trials if trial.policy == policy)
    return simulate(trial, samples=0, **options)


def counter(found, name):
    return next(value for zone, called, value in found.counters if called == name and not zone)


@pytest.mark.parametrize("policy", ["none", "now"])
def test_batches_of_any_size_give_the_same(policy):
    whole = result(policy)
    assert whole.status == "ok" and counter(whole, "stall_model_ns") > 10**9
    assert result(policy, batch_size=97, check=True) == whole


def test_what_is_read_slowly_is_read_less_often():
    fast, slow = result("none"), result("none", read="2ms", seek="10ms")
    assert counter(slow, "pgpgin") < counter(fast, "pgpgin") / 4
    assert slow.events < fast.events


def test_a_disk_reads_no_more_than_it_can():
    # 4 s at 2 ms a page: 2000 pages of 4 KiB at most, and one that is still being waited for.
    assert 0 < counter(result("none", read="2ms", seek="0s"), "pgpgin") <= 4 * 2001
