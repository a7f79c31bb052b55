"""memsim against a real kernel: every page frame of every capture.

The committed captures are complete (see their SOURCE); ``make truth CAPTURES=DIR`` judges the
captures of another folder instead.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memsim.fidelity import judge
from memsim.traces import TraceEvent
from memsim.traces.capture import CompactionEvent, find_state, find_trace, read_capture

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
FOLDER = Path(os.environ.get("MEMSIM_CAPTURES", COMMITTED))
CAPTURES = sorted(p for p in FOLDER.iterdir() if find_state(p, "start") and find_trace(p))

# What each capture must at least compare: allocations, blocks leaving the buddy lists, drains,
# fall-backs, and whether it is followed to its end state.
LEAST = {
    "mixed": (180_774, 20_871, 14_691, 1, True),
    "orders": (60_624, 39_645, 39_927, 4, True),
    "full": (158_205, 112_918, 106_946, 14, True),
    "frag": (69_479, 69_484, 33_388, 18, False),
    "frag_nogroup": (69_428, 69_416, 33_340, 67, False),
    "hotremove": (4_789, 46_593, 127, 0, True),
}
# What must be followed of compaction: its events, pages moved away, and drains.
FOLLOWED = {"frag": (225, 273, 33_469), "frag_nogroup": (543, 572, 33_677)}
LEAST_OF = (
    "mm_page_alloc", "mm_page_alloc_zone_locked", "mm_page_pcpu_drain", "mm_page_alloc_extfrag",
)  # fmt: skip
END_STATE = {"end_free_lists", "end_pcp_lists", "end_free_factor", "end_pageblock_types"}


@pytest.mark.parametrize(
    "folder", [p for p in CAPTURES if p.name not in FOLLOWED], ids=lambda p: p.name
)
def test_capture_is_predicted_to_the_last_page_frame(folder):
    report = judge(read_capture(folder))
    assert report.first_divergence is None, report.to_text()
    assert report.exact, report.to_text()
    least = LEAST.get(folder.name)
    if least is None:
        return
    by_name = {q.name: q for q in report.quantities}
    seen = [q.seen for q in report.quantities[:4]]
    assert all(s >= n for s, n in zip(seen, least[:4], strict=True)), seen
    assert set(by_name) >= END_STATE if least[4] else not set(by_name) & END_STATE
    assert report.inferred_pages == (32 if folder.name == "hotremove" else 0)
    if folder.name == "hotremove":
        assert by_name["pages migrated"].equal == 46_582


@pytest.fixture(scope="module")
def fragmented():
    return read_capture(COMMITTED / "frag_nogroup")


def quantities(report):
    return {q.name: q for q in report.quantities}


@pytest.mark.parametrize("name", sorted(FOLLOWED))
def test_compaction_is_predicted_event_by_event(name):
    """kcompactd's runs and those of requests, up to what no line of the trace tells.

    In frag that is whether kswapd is amid a run or asleep; in frag_nogroup which of the kernel's
    pages belong together.
    """
    report = judge(read_capture(FOLDER / name))
    found = quantities(report)
    events, moved, drains = FOLLOWED[name]
    for quantity, least in zip(LEAST_OF, LEAST[name][:4], strict=True):
        q = found[quantity]
        assert q.seen >= least, report.to_text()
        if quantity != "mm_page_pcpu_drain":
            assert q.equal == q.seen == q.predicted, report.to_text()
    assert found["mm_page_pcpu_drain"].equal >= drains
    run = found["compaction events"]
    assert run.equal >= events
    assert run.seen - run.equal <= 1
    assert found["pages migrated"].equal == found["pages migrated"].seen >= moved
    assert report.inferred_pages == 0
    assert not set(found) & END_STATE
    assert report.stopped_at.startswith(("compaction event", "an allocation"))
    assert not report.exact


def planted(capture, event, change):
    """Return the capture with a change in the third compaction event of a kind."""
    table = capture.compaction
    row = int(np.flatnonzero(table.event == event)[2])
    return row, replace(capture, compaction=change(table, row))


def test_a_changed_range_is_found(fragmented):
    def change(table, row):
        fields = table.fields.copy()
        fields[row, 1] += 1
        return table._replace(fields=fields)

    row, wrong = planted(fragmented, CompactionEvent.ISOLATE_MIGRATEPAGES, change)
    report = judge(wrong)
    assert report.first_divergence.quantity == "compaction event"
    assert report.first_divergence.time_ns == fragmented.compaction.time[row]
    assert "isolate_migratepages" in report.first_divergence.seen
    assert any(line.startswith(">") for line in report.first_divergence.context)
    assert quantities(report)["compaction events"].equal < FOLLOWED["frag_nogroup"][0]


def test_a_lost_event_is_found(fragmented):
    def change(table, row):
        return type(table)._make(np.delete(column, row, axis=0) for column in table)

    row, wrong = planted(fragmented, CompactionEvent.ISOLATE_FREEPAGES, change)
    report = judge(wrong)
    lost = fragmented.compaction.fields[row]
    assert report.first_divergence.quantity == "compaction event"
    assert f"{lost[0]:#x}" in report.first_divergence.predicted


def test_a_free_page_that_no_run_moved_is_no_migration(fragmented):
    """Without the frees of what was moved the pages stand there, but are not counted as equal."""
    trace, table = fragmented.trace, fragmented.compaction
    begins, ends = (table.time[table.event == e] for e in (0, 1))
    within = np.zeros(len(trace), bool)
    for begin, end in zip(begins, ends, strict=False):
        within |= (trace.time >= begin) & (trace.time <= end)
    lost = within & (trace.event == TraceEvent.MM_PAGE_FREE)
    assert lost.any()
    report = judge(replace(fragmented, trace=trace.select(~lost)))
    assert quantities(report)["pages migrated"].equal == 0
    assert not report.exact


@pytest.fixture(scope="module")
def orders():
    return read_capture(COMMITTED / "orders")


@pytest.mark.parametrize(
    ("event", "quantity"),
    [
        (TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED, "mm_page_alloc_zone_locked"),
        (TraceEvent.MM_PAGE_PCPU_DRAIN, "mm_page_pcpu_drain"),
        (TraceEvent.MM_PAGE_ALLOC_EXTFRAG, "mm_page_alloc_extfrag"),
    ],
)
def test_one_wrong_line_is_found(orders, event, quantity):
    trace = orders.trace
    inside = (trace.time >= orders.start.time_ns) & (trace.event == event)
    row = int(np.flatnonzero(inside)[3])
    pfn = trace.pfn.copy()
    pfn[row] += 1
    report = judge(replace(orders, trace=replace(trace, pfn=pfn)))
    assert not report.exact
    assert report.first_divergence.quantity == quantity
    assert report.first_divergence.index == 3
    assert report.first_divergence.time_ns == trace.time[row]
    assert any(line.startswith(">") for line in report.first_divergence.context)


def test_an_allocation_elsewhere_is_found(orders):
    trace = orders.trace
    allocs = (trace.time >= orders.start.time_ns) & (trace.event == TraceEvent.MM_PAGE_ALLOC)
    # The last allocation is not freed within the trace, so that only its own line is wrong.
    row = int(np.flatnonzero(allocs & (trace.time <= orders.end.time_ns))[-1])
    pfn = trace.pfn.copy()
    pfn[row] = 0x117FFF
    report = judge(replace(orders, trace=replace(trace, pfn=pfn)))
    allocations = report.quantities[0]
    assert allocations.seen - allocations.equal == 1
    assert report.first_divergence.predicted == f"pfn={trace.pfn[row]:#x}"


def test_outcomes_are_no_input(orders):
    trace = orders.trace
    outcome = np.isin(
        trace.event,
        [
            TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED,
            TraceEvent.MM_PAGE_PCPU_DRAIN,
            TraceEvent.MM_PAGE_ALLOC_EXTFRAG,
        ],
    )
    report = judge(replace(orders, trace=trace.select(~outcome)))
    whole = judge(orders)
    assert [q.predicted for q in report.quantities] == [q.predicted for q in whole.quantities]
    assert report.quantities[0].equal == whole.quantities[0].equal
