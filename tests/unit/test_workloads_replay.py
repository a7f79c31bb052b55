"""A replay asks again for what a capture recorded."""

import numpy as np
import pytest
from workload_runs import SECOND, carry_out, plan

from memsim.errors import InputError
from memsim.memory.restore import restore
from memsim.mm import OP_FREE, Status
from memsim.plugins import find
from memsim.policies import LINUX_6_1
from memsim.traces import TraceEvent
from memsim.traces.capture import read_capture

ALL = 10**13
LINE = (
    "  sh-1  [{cpu:03d}] .....  {time}: {event}: page=0000000000000001 pfn={pfn:#x} order=0{rest}"
)


@pytest.fixture(scope="module")
def captures(request):
    return request.config.rootpath / "tests/data/captures"


@pytest.fixture
def text_trace(tmp_path):
    def write(*rows):
        lines = [
            LINE.format(
                cpu=cpu,
                time=time,
                event=f"mm_page_{what}",
                pfn=pfn,
                rest=" migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP"
                if what == "alloc"
                else "",
            )
            for cpu, time, what, pfn in rows
        ]
        (tmp_path / "trace.txt").write_text("# tracer: nop\n" + "\n".join(lines) + "\n")
        return {"kind": "replay", "knobs": {"trace": "trace.txt"}, "directory": tmp_path}

    return write


def test_all_recorded_requests_are_made_in_order(captures):
    capture = read_capture(captures / "orders")
    stream, events = plan("replay", {"trace": "orders"}, directory=captures, duration=ALL)
    recorded = capture.trace.event == TraceEvent.MM_PAGE_ALLOC
    again = events.op < OP_FREE
    assert again.sum() == recorded.sum()
    np.testing.assert_array_equal(events.op[again], capture.trace.order[recorded])
    assert events.time[0] == 0
    assert events.time[-1] <= capture.trace.time[-1] - capture.trace.time[0]
    assert any("open loop" in note and str(recorded.sum()) in note for note in stream.notes)


def test_pages_from_before_are_freed_where_the_start_state_holds_them(captures):
    capture = read_capture(captures / "orders")
    stream, events = plan("replay", {"trace": "orders"}, directory=captures, duration=ALL)
    memory = restore(capture.start, find("policies", "mobility").Policy().tables(LINUX_6_1))
    first = memory.add_handles(stream.handles)
    assert first == 0
    held = memory.hold(stream.handles - stream.before.handles, stream.before)
    assert 0 < held <= (stream.before.pfn >= 0).sum() <= stream.before.handles
    memory.add_requests(stream.requests)
    outcome = memory.run(events.op, events.request, events.cpu, events.handle)
    stray = events.handle >= stream.handles - stream.before.handles
    assert (outcome.status[stray] == Status.FREED).sum() == held
    assert (outcome.status[events.op < OP_FREE] == Status.OK).mean() > 0.99


def test_lines_become_requests_and_frees_by_handle(text_trace):
    stream, events = plan(
        **text_trace(
            (0, "1.000000", "alloc", 0x1000),
            (1, "1.000010", "free", 0x2000),
            (0, "1.500000", "free", 0x1000),
            (0, "1.600000", "free", 0x1000),
        )
    )
    assert events.time.tolist() == [0, 10_000, 500_000_000, 600_000_000]
    assert events.op.tolist() == [0, OP_FREE, OP_FREE, OP_FREE]
    assert events.handle.tolist() == [0, 2, 0, 1]
    assert stream.before.pfn.tolist() == [-1, 0x2000]
    assert "2 of 3 frees" in stream.notes[1]


def test_from_and_until_cut_a_piece_out(text_trace):
    trace = text_trace(
        (0, "1.000000", "alloc", 0x1000),
        (0, "2.000000", "alloc", 0x2000),
        (0, "2.500000", "free", 0x1000),
        (0, "3.000000", "free", 0x2000),
    )
    trace["knobs"] |= {"from": "1s", "until": "2s"}
    stream, events = plan(**trace)
    assert events.time.tolist() == [0, 500_000_000]
    assert events.op.tolist() == [0, OP_FREE]
    assert stream.before.pfn.tolist() == [0x1000]


def test_what_lies_after_the_end_is_dropped_and_told(text_trace):
    trace = text_trace((0, "1.000000", "alloc", 0x1000), (0, "9.000000", "free", 0x1000))
    stream, events = plan(**trace, duration=2 * SECOND)
    assert events.op.tolist() == [0]
    assert "1 events lie after the end" in stream.notes[-1]


def test_cpus_that_the_machine_lacks_are_stood_in_for(text_trace):
    trace = text_trace((0, "1.000000", "alloc", 0x1000), (7, "1.100000", "alloc", 0x1001))
    stream, events = plan(**trace, cpus={0: (0,), 1: (2,)})
    assert events.cpu.tolist() == [0, 2]
    assert "1 events are of CPUs that the machine lacks" in stream.notes[-1]


def test_a_trace_without_requests_is_refused(text_trace):
    trace = text_trace((0, "1.000000", "alloc", 0x1000))
    trace["knobs"] |= {"from": "5s"}
    with pytest.raises(InputError, match="no mm_page_alloc"):
        plan(**trace)


def test_what_is_no_trace_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("hello\n")
    with pytest.raises(InputError, match=r"x\.txt"):
        plan("replay", {"trace": "x.txt"}, directory=tmp_path)


def test_a_replay_under_another_policy_still_runs(captures):
    capture = read_capture(captures / "frag")
    stream, events = plan("replay", {"trace": "frag"}, directory=captures, duration=5 * SECOND)
    memory = restore(capture.start, find("policies", "none").Policy().tables(LINUX_6_1))
    status = carry_out(memory, stream, [events])
    assert len(status) == len(events.op) > 1000
    assert (status == Status.OK).sum() > 0.9 * (events.op < OP_FREE).sum()
