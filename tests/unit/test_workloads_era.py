"""What the loads of 2005 and those that use up memory plan."""

import numpy as np
import pytest
from workload_runs import SECOND, plan, uses

from memsim.mm import ALLOC_FLAGS, OP_COLD, OP_FALLBACK, OP_FREE, OP_TOUCH, OP_WRITE
from memsim.plugins import model_of

TREES = {
    "trees": 3,
    "jobs": 2,
    "unpack": "2s",
    "sources": "4MiB",
    "headers": "1MiB",
    "objects": "1MiB",
    "files": 240,
    "units": 16,
    "anon": "2MiB",
    "reads": "64KiB",
    "compile": "400ms",
    "stop": "7s",
    "delete": "8s",
}


def during(events, begin, end):
    rows = (events.time >= begin * SECOND) & (events.time < end * SECOND)
    return type(events)(*(column[rows] for column in events))


def test_kernel_build_copies_its_trees_first():
    stream, events = plan("kernel_build", TREES)
    first = during(events, 0, 2)
    assert (first.op & ~np.uint8(OP_TOUCH | OP_WRITE) == 0).all()
    found = uses(stream, first)
    assert found["PAGE_CACHE", 0] == 3 * 1024
    assert found["DENTRY", 0] == found["BUFFERS", 0] == 3 * 240
    slabs = int(0.03 * 3 * 1024)
    assert found["INODE", 0] + found["SLAB", 0] == 3 * 240 + slabs
    assert 0 < found["SLAB", 0] < slabs // 5
    names = [r for r, q in enumerate(stream.requests) if q.use.name == "DENTRY"]
    pages = np.unique(first.handle[np.isin(first.request, names)])
    assert len(pages) == 3 * 240 // 30


def test_kernel_build_keeps_trees_times_jobs_compilers():
    stream, events = plan("kernel_build", TREES)
    stacks = (events.op == 1) & np.isin(
        events.request, [r for r, q in enumerate(stream.requests) if q.use.name == "SLAB"]
    )
    begun = {
        int(h): int(t) for h, t in zip(events.handle[stacks], events.time[stacks], strict=True)
    }
    ended = np.flatnonzero(events.op == (OP_FREE | 1))
    ends = {
        h: t
        for h, t in zip(events.handle[ended].tolist(), events.time[ended].tolist(), strict=True)
    }
    for instant in (3, 4.5, 6):
        running = [h for h, t in begun.items() if t <= instant * SECOND < ends[h]]
        assert len(running) == 6
    assert max(ends[h] for h in begun) == 7 * SECOND


def test_kernel_build_leaves_some_slabs_and_its_metadata_behind():
    stream, events = plan("kernel_build", {**TREES, "kept": "25%"})
    gone = during(events, 8, 10)
    assert (gone.op == OP_FREE | OP_COLD).all()
    kinds = {}
    for r, h in zip(events.request.tolist(), events.handle.tolist(), strict=True):
        kinds.setdefault(h, stream.requests[r].use.name)
    freed = [kinds.get(h) for h in gone.handle.tolist()]
    assert "BUFFERS" not in freed
    assert "SLAB" not in freed
    assert freed.count("INODE") - 3 * 30 == pytest.approx(0.75 * 92, abs=15)


def test_kernel_build_reads_headers_more_often_than_anything():
    stream, events = plan("kernel_build", TREES)
    files = [
        r for r, q in enumerate(stream.requests) if q.use.name == "PAGE_CACHE" and not q.mapped
    ]
    reads = np.flatnonzero((events.op == OP_TOUCH) & np.isin(events.request, files))
    reads = reads[events.time[reads] > 2 * SECOND]
    pages, times = np.unique(events.handle[reads], return_counts=True)
    assert times.max() > 8
    assert len(pages) < 3 * 1024


def test_kernel_build_comes_back_to_memory_that_it_has():
    stream, events = plan("kernel_build", TREES)
    anon = [r for r, q in enumerate(stream.requests) if q.use.name == "ANON"]
    mine = np.isin(events.request, anon)
    taken = {}
    for op, handle in zip(events.op[mine].tolist(), events.handle[mine].tolist(), strict=True):
        if op == 0:
            taken[handle] = 0
        elif op & OP_TOUCH and op < OP_FREE:
            taken[handle] += 1
    assert sum(taken.values()) > len(taken) / 2
    assert max(taken.values()) > 1


def test_updatedb_walks_again_when_it_is_through():
    stream, events = plan("updatedb", {"files": 1000, "rate": "500/s", "stop": "4s"})
    inodes = [r for r, q in enumerate(stream.requests) if q.use.name == "INODE"]
    mine = np.isin(events.request, inodes)
    assert mine.sum() == 2000
    assert len(np.unique(events.handle[mine])) == 125
    assert (events.op == OP_TOUCH).all()


def test_streaming_takes_steps_one_after_the_other():
    knobs = {"size": "4MiB", "rate": "4MiB/s", "start": "1s", "steps": ["write", "read", "delete"]}
    _, events = plan("streaming", knobs)
    for step, op in ((1, OP_TOUCH | OP_WRITE), (2, OP_TOUCH), (3, OP_FREE | OP_COLD)):
        part = during(events, step, step + 1)
        assert (part.op == op).all()
        assert part.handle.tolist() == list(range(1024))


def test_thp_faulter_asks_for_base_pages_at_the_same_instant():
    stream, events = plan("thp_faulter", {"rate": "2/s", "lifetime": {"constant": "1s"}})
    huge = np.flatnonzero(events.op == 9)
    assert len(huge) == 20
    for row in huge.tolist():
        base = slice(row + 1, row + 513)
        assert (events.op[base] == OP_FALLBACK).all()
        assert (events.time[base] == events.time[row]).all()
        assert len(set(events.handle[row : row + 513].tolist())) == 513
    assert stream.killable


def test_memory_hog_grows_then_touches_then_exits():
    knobs = {"anon": "4MiB", "grow": "2s", "touch": "1000/s", "write": "25%", "exit": "6s"}
    stream, events = plan("memory_hog", {**knobs, "mlocked": True, "oom_score_adj": 300})
    assert stream.killable and stream.oom_score_adj == 300
    assert all(request.mlocked for request in stream.requests)
    assert during(events, 0, 2).handle.tolist() == list(range(1024))
    used = during(events, 2, 6)
    assert len(used.op) == 4000
    assert 0.2 < ((used.op & ALLOC_FLAGS) == OP_TOUCH | OP_WRITE).mean() < 0.3
    assert sorted(during(events, 6, 10).handle.tolist()) == list(range(1024))


@pytest.mark.parametrize(
    ("kind", "knobs", "said"),
    [
        ("kernel_build", {"stop": 1}, "expected the stop after the trees have been copied"),
        ("kernel_build", {"delete": 1}, "expected to delete after a stop"),
        ("kernel_build", {"headers": 300 << 20}, "expected no more headers than sources"),
        ("updatedb", {"start": 5, "stop": 5}, "expected a stop after the start"),
        ("streaming", {"steps": ("delete", "read")}, "expected nothing after delete"),
        ("streaming", {"steps": ()}, "expected at least one of read, write, delete"),
        ("memory_hog", {"exit": 1}, "expected an exit after it has grown"),
    ],
)
def test_what_cannot_be_is_refused(kind, knobs, said):
    with pytest.raises(ValueError, match=said):
        model_of("workloads", kind)(**knobs)
