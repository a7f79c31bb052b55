"""A trial in the kernel's formats: what stands there is what the memory holds, and reads back."""

import re

import numpy as np
import pytest
from trials import small

from memsim.errors import InputError
from memsim.execute import run
from memsim.export import PROC_FORMATS, export, proc_text
from memsim.simulate import simulate
from memsim.simulate.retrace import at_instant
from memsim.traces import TraceEvent, read_trace

ROOMY = """
memsim: 1
name: roomy
duration: 100ms
seeds: [1]
policies: {{mobility: {{placement: mobility}}}}
machine:
  nodes: [{{id: 0, cpus: 0-1, memory: 64MiB}}]
workloads:
{workloads}
"""
WORKLOADS = """\
  app:  {kind: memory_hog, anon: 4MiB}
  kern: {kind: slab, rate: 5000/s, lifetime: {exponential: {mean: 20ms}}}
"""

SMALL_2005 = """
memsim: 1
name: old
duration: 100ms
seeds: [1]
policies: {none: {placement: none}}
machine:
  profile: linux-2.6.14
  nodes: [{id: 0, cpus: 0-1, memory: 64MiB}]
workloads:
  app: {kind: process, anon: 2MiB, grow: 60ms}
"""


def first_trial(scenario):
    return next(iter(scenario.trials()))


@pytest.fixture(scope="module")
def trial():
    return first_trial(small())


@pytest.fixture(scope="module")
def memory(trial):
    return at_instant(trial)


def test_buddyinfo_counts_all_free_pages(memory):
    for z, line in enumerate(proc_text(memory, "buddyinfo").splitlines()):
        counts = [int(word) for word in line.split()[4:]]
        assert len(counts) == 11
        assert sum(n << order for order, n in enumerate(counts)) == memory.nr_free_pages(z)


def test_pagetypeinfo_agrees_with_buddyinfo(memory):
    text = proc_text(memory, "pagetypeinfo")
    assert "Page block order: 9\nPages per block:  512\n\nFree pages count per migrate" in text
    rows = re.findall(r"^Node +(\d+), zone +(\w+), type +\w+((?: +\d+)+) $", text, re.MULTILINE)
    sums = {}
    for node, zone, counts in rows:
        sums.setdefault((node, zone), []).append([int(n) for n in counts.split()])
    buddy = [line.split() for line in proc_text(memory, "buddyinfo").splitlines()]
    assert [np.sum(sums[w[1].strip(","), w[3]], axis=0).tolist() for w in buddy] == [
        [int(n) for n in w[4:]] for w in buddy
    ]
    assert " CMA " not in text
    blocks = text.partition("Number of blocks type")[2].splitlines()[1:]
    pages = sum(int(n) for line in blocks for n in line.split()[4:]) << 9
    assert pages == sum(-(-z.end_pfn // 512) - z.start_pfn // 512 for z in memory.setup.zones) << 9


def test_vmstat_has_the_kernels_counters_only(memory):
    values = dict(line.split() for line in proc_text(memory, "vmstat").splitlines())
    assert int(values["nr_free_pages"]) == memory.vmstat()["nr_free_pages"]
    assert int(values["pgfree"]) == memory.vmstat()["pgfree"]
    assert not {"list_probes", "stall_model_ns", "alloc_success"} & values.keys()


def test_zoneinfo_has_every_zone_with_its_marks(memory):
    text = proc_text(memory, "zoneinfo")
    assert re.findall(r"^Node 0, zone +(\w+)$", text, re.MULTILINE) == [
        "DMA", "DMA32", "Normal", "Movable", "Device",
    ]  # fmt: skip
    free = [int(n) for n in re.findall(r"pages free +(\d+)", text)]
    zones = len(memory.setup.zones)
    assert free == [*map(memory.nr_free_pages, range(zones)), *[0] * (5 - zones)]
    low = int(re.findall(r"^ +low +(\d+)$", text, re.MULTILINE)[0])
    assert low == memory.setup.zones[0].watermark[1]


@pytest.mark.parametrize("form", PROC_FORMATS)
def test_an_earlier_instant_differs(trial, form):
    (early,), (late,) = export(trial, form, 10_000_000), export(trial, form)
    assert early != late


def test_every_line_of_a_trace_is_read_back(tmp_path, trial):
    path = tmp_path / "trace.txt"
    path.write_text("".join(export(trial, "ftrace")))
    trace = read_trace(path)
    assert trace.accounting.unknown == 0 and trace.accounting.lost_events == 0
    counters = {name: n for zone, name, n in simulate(trial).counters if not zone}
    got = trace.select((trace.event == TraceEvent.MM_PAGE_ALLOC) & (trace.pfn >= 0))
    assert len(got) == counters["alloc_success"]
    freed = trace.select(trace.event == TraceEvent.MM_PAGE_FREE)
    assert int((1 << freed.order.astype(np.int64)).sum()) == counters["pgfree"]


def test_a_trace_replayed_gives_the_same_tables_and_the_same_trace(tmp_path):
    scenario = small(ROOMY.format(workloads=WORKLOADS))
    text = "".join(export(first_trial(scenario), "ftrace"))
    (tmp_path / "trace.txt").write_text(text)
    replay = f"  all: {{kind: replay, trace: {tmp_path / 'trace.txt'}}}"
    again = small(ROOMY.format(workloads=replay))
    ours, theirs = run(scenario, out=tmp_path / "a"), run(again, out=tmp_path / "b")
    for table in ("vmstat", "timeline", "high_order", "oom"):
        assert getattr(ours, table).equals(getattr(theirs, table)), table
    tasks = re.compile(r"^ *\S+-\d+ ", re.MULTILINE)
    assert tasks.sub("", "".join(export(first_trial(again), "ftrace"))) == tasks.sub("", text)


def test_what_a_kernel_lacks_is_refused():
    trial = first_trial(small(SMALL_2005))
    with pytest.raises(InputError, match=r"linux-2\.6\.14 has no pagetypeinfo"):
        export(trial, "pagetypeinfo")
    assert "".join(export(trial, "buddyinfo")).startswith("Node 0, zone")
    with pytest.raises(InputError, match="the trial ends after 100ms"):
        export(first_trial(small()), "vmstat", 1 << 60)
