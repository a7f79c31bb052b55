"""Capture folders and their states: what is read, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from trace_samples import LOCKED, STATE, TRACE

from memsim.errors import InputError
from memsim.mm import Migratetype, ZoneType
from memsim.traces import TraceEvent, read_trace
from memsim.traces.capture import (
    PAGEBLOCK_HOLE,
    PAGEBLOCK_OTHER_ZONE,
    read_capture,
    read_state,
)

CAPTURES = Path(__file__).parents[1] / "data/captures"


@pytest.fixture
def state(tmp_path):
    """Read a state given as text."""

    def reader(text):
        path = tmp_path / "state.txt"
        path.write_text(text)
        return read_state(path)

    return reader


def test_a_state(state):
    found = state(STATE)
    assert (found.time_ns, found.time_end_ns) == (1000000, 1000500)
    assert found.migrate_types == 5
    assert found.nr_pcp_lists == 14
    assert found.pageblock_order == 9
    assert found.group_by_mobility_disabled is False
    (zone,) = found.zones
    assert (zone.node, zone.zone_type) == (0, ZoneType.DMA32)
    assert (zone.start_pfn, zone.spanned, zone.present, zone.managed) == (0x1000, 4096, 3584, 3000)
    assert (zone.wmark_min, zone.wmark_low, zone.wmark_high) == (10, 20, 30)
    assert (zone.watermark_boost, zone.nr_reserved_highatomic) == (0, 0)
    assert (zone.nr_isolate_pageblock, zone.nr_free_pages) == (1, 524)
    assert zone.lowmem_reserve == (0, 0, 7, 7, 7)


def test_lists_keep_their_order(state):
    (zone,) = state(STATE).zones
    assert {key: pfns.tolist() for key, pfns in zone.free.items()} == {
        (0, Migratetype.UNMOVABLE): [0x1003, 0x1001],
        (1, Migratetype.MOVABLE): [0x1010],
        (3, Migratetype.ISOLATE): [0x1808],
        (9, Migratetype.MOVABLE): [0x1200],
    }
    (pcp,) = zone.pcp
    assert (pcp.cpu, pcp.count, pcp.high, pcp.batch, pcp.free_factor) == (0, 515, 30, 7, 2)
    assert {index: pfns.tolist() for index, pfns in pcp.lists.items()} == {
        1: [0x1015, 0x1014, 0x1013],
        13: [0x1400],
    }
    assert {pfns.dtype for pfns in (*zone.free.values(), *pcp.lists.values())} == {
        np.dtype(np.int32)
    }


def test_pageblocks_with_and_without_cma(state):
    holes = [PAGEBLOCK_HOLE, PAGEBLOCK_OTHER_ZONE, PAGEBLOCK_OTHER_ZONE]
    (zone,) = state(STATE).zones
    assert zone.pageblocks.tolist() == [0, 1, 2, 3, Migratetype.ISOLATE, *holes]
    (zone,) = state(STATE.replace("MIGRATE_TYPES 5", "MIGRATE_TYPES 6")).zones
    assert zone.pageblocks.tolist() == [0, 1, 2, 3, Migratetype.CMA, *holes]
    assert (3, Migratetype.CMA) in zone.free


def test_empty_lists_and_blank_lines(state):
    text = STATE.replace("FREE o 9", "\nFREE o 2 m 2 : \nFREE o 9")
    assert state(text).zones[0].free.keys() == state(STATE).zones[0].free.keys()


def test_the_counter_may_lag_by_one_cpus_delta(state):
    assert state(STATE.replace("free 524", "free 649")).zones[0].nr_free_pages == 649
    with pytest.raises(InputError, match="free is 650, but the free lists hold 524 pages"):
        state(STATE.replace("free 524", "free 650"))


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        pytest.param("TIME 1000000\n", "", "", "has no TIME line", id="no TIME"),
        pytest.param("TIME_END 1000500\n", "", "", "has no TIME_END line", id="no end"),
        pytest.param("END 1000500", "END 5", "", "TIME_END is before TIME", id="backwards"),
        pytest.param("TIME 1000000", "TIME x", "1:6", "a decimal number", id="bad number"),
        pytest.param("TIME 1000000", "TIME 1000000 7", "1:14", "goes on", id="goes on"),
        pytest.param("TIME_END", "TIME 3\nTIME_END", "13:1", "a second TIME", id="second"),
        pytest.param("PB node", "PC node", "4:1", 'found "PC"', id="unknown word"),
        pytest.param("DMA32 start 1000 sp", "DMA start 1000 sp", "2:24", "DMA32", id="name"),
        pytest.param("min 10", "max 10", "2:80", 'expected "min"', id="other key"),
        pytest.param("present 3584 managed 3000 min", "present 4097 managed 3000 min", "2:1",
                     "managed <= present <= spanned", id="present"),
        pytest.param("pageblock_order 9", "pageblock_order 10", "3:46", "reads 9", id="order"),
        pytest.param("MIGRATE_TYPES 5", "MIGRATE_TYPES 7", "3:75", "5 or 6", id="types"),
        pytest.param("01234.xx", "01234.x", "4:44", "found 7 pageblocks", id="few pageblocks"),
        pytest.param("01234.xx", "01235.xx", "4:44", '"5" is no pageblock type', id="type 5"),
        pytest.param("PB node 0", "PB node 1", "4:16", "no such ZONE", id="no zone"),
        pytest.param("FREE o 0 m 0", "FREE o 11 m 0", "6:8", "below 11", id="order 11"),
        pytest.param("FREE o 0 m 0", "FREE o 0 m 5", "6:12", '"5" is no migratetype', id="list 5"),
        pytest.param("FREE o 1 m 1", "FREE o 0 m 0", "7:1", "a second list", id="list twice"),
        pytest.param("1003 1001", "1003 fff", "6:21", "not in its zone", id="outside"),
        pytest.param("1003 1001", "1003 1g01", "6:21", '"1g01"', id="not hex"),
        pytest.param("1003 1001", "1003 1003", "6:21", "overlaps", id="twice"),
        pytest.param("m 1 : 1010", "m 1 : 1011", "7:16", "not aligned", id="not aligned"),
        pytest.param("m 4 : 1808", "m 4 : 1c08", "8:16", "in a hole or", id="other zone"),
        pytest.param("m 4 : 1808", "m 4 : 1208", "8:16", "overlaps", id="overlap"),
        pytest.param("idx 1 : 1015", "idx 1 : 1010", "11:14", "overlaps", id="pcp and free"),
        pytest.param("count 515", "count 516", "10:11", "the lists hold 515", id="count"),
        pytest.param("PCPL idx 13", "PCPL idx 14", "12:10", "below 14", id="list 14"),
        pytest.param("PCPL idx 13", "PCPL idx 1", "12:10", "a second list 1", id="pcp list twice"),
        pytest.param("PCP cpu 0 count 515 high 30 batch 7 free_factor 2\n", "", "10:1",
                     "PCPL before the PCP line", id="no pcp"),
        pytest.param("PB node 0", "PB node 31", "4:9", "below 31", id="node 31"),
        pytest.param("managed 3000\nFREE", "managed 3001\nFREE", "5:1", "another span", id="span"),
        pytest.param("free_factor 2", "free_factor", "10:48", "the line ends", id="line ends"),
    ],
)  # fmt: skip
def test_malformed_states(state, old, new, place, message):
    assert old in STATE
    with pytest.raises(InputError) as caught:
        state(STATE.replace(old, new, 1))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert ":".join(str(n) for n in (problem.line, problem.column) if n) == place


@pytest.mark.parametrize("missing", ["group_by", "PB", "PCP", "ZONE"])
def test_missing_lines(state, missing):
    text = "".join(line for line in STATE.splitlines(True) if not line.startswith(missing))
    with pytest.raises(InputError):
        state(text)


@pytest.mark.parametrize(
    "data", [b"", b"\n", gzip.compress(STATE.encode())[:-9], b"\xff\xfe" * 9, b"\0" * 99]
)
def test_states_that_are_none(tmp_path, data):
    path = tmp_path / "state.txt.gz"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_state(path)
    assert len(caught.value.problems) == 1


@pytest.fixture
def folder(tmp_path):
    """A capture folder of text files, with start and end."""
    for which in ("start", "end"):
        (tmp_path / which).mkdir()
        (tmp_path / which / "state.txt").write_text(STATE)
    (tmp_path / "trace.txt.gz").write_bytes(gzip.compress(TRACE.encode()))
    return tmp_path


def test_a_capture(folder):
    capture = read_capture(folder)
    assert capture.name == folder.name
    assert capture.start.time_ns == capture.end.time_ns == 1000000
    assert capture.source == ""
    assert capture.trace.accounting == read_trace(folder).accounting


def test_a_capture_without_end_and_with_source(folder):
    (folder / "end/state.txt").unlink()
    (folder / "SOURCE").write_bytes(b"who\x1b[31m\nwhere\n")
    capture = read_capture(folder)
    assert capture.end is None
    assert capture.source == "who\\x1b[31m\nwhere"


def test_type_4_is_isolate_where_there_is_no_cma(folder):
    (folder / "trace.txt.gz").write_text(LOCKED.replace("migratetype=0", "migratetype=4") + "\n")
    assert read_trace(folder / "trace.txt.gz").migratetype.tolist() == [Migratetype.CMA]
    assert read_capture(folder).trace.migratetype.tolist() == [Migratetype.ISOLATE]


@pytest.mark.parametrize(
    ("gone", "message"),
    [("start/state.txt", "no start/state.txt"), ("trace.txt.gz", "it has no trace")],
)
def test_folders_that_are_no_capture(folder, gone, message):
    (folder / gone).unlink()
    with pytest.raises(InputError) as caught:
        read_capture(folder)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert "start/state.txt" in problem.hint


def test_no_folder(folder):
    with pytest.raises(InputError, match="no such capture folder"):
        read_capture(folder / "nowhere")
    with pytest.raises(InputError, match="is no folder"):
        read_capture(folder / "trace.txt.gz")


def test_a_state_is_no_trace(folder):
    with pytest.raises(InputError, match="give the capture's folder"):
        read_trace(folder / "start/state.txt")


@pytest.mark.parametrize(
    ("name", "until", "allocations", "blocks", "drains", "fallbacks"),
    [
        ("mixed", "", 180774, 20871, 14691, 1),
        ("orders", "LAB_SNAP_END_BEGIN", 60624, 39645, 39927, 4),
        ("full", "LAB_SNAP_END_BEGIN", 158205, 112918, 106946, 14),
    ],
)
def test_the_committed_captures_are_whole(name, until, allocations, blocks, drains, fallbacks):
    """The counts that the recorders reported with the captures."""
    capture = read_capture(CAPTURES / name)
    trace = capture.trace
    last = capture.end.time_ns
    if until:
        last = trace.time[trace.marker == trace.marker_texts.index(until)][0]
    inside = (trace.time >= capture.start.time_ns) & (trace.time <= last)
    got = np.bincount(trace.event[inside], minlength=len(TraceEvent))
    assert got[TraceEvent.MM_PAGE_ALLOC] == allocations
    assert got[TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED] == blocks
    assert got[TraceEvent.MM_PAGE_PCPU_DRAIN] == drains
    assert got[TraceEvent.MM_PAGE_ALLOC_EXTFRAG] == fallbacks
    assert trace.accounting.unknown == trace.accounting.lost_events == 0


def test_the_switched_off_grouping_is_seen():
    capture = read_capture(CAPTURES / "frag_nogroup")
    assert not capture.start.group_by_mobility_disabled
    assert capture.end.group_by_mobility_disabled


def test_two_nodes():
    capture = read_capture(CAPTURES / "hotremove")
    assert [(z.node, z.zone_type.name) for z in capture.start.zones] == [
        (0, "DMA"), (0, "DMA32"), (0, "NORMAL"), (1, "NORMAL"),
    ]  # fmt: skip
    assert capture.trace.marker_texts[2:5] == ("LAB_OFFLINE 37", "LAB_OFFLINE 38", "LAB_OFFLINE 39")


def test_events_before_the_first_snapshot_are_cut_from_the_sample():
    capture = read_capture(CAPTURES / "orders")
    events = capture.trace.event != TraceEvent.MARKER
    assert capture.trace.time[events].min() >= capture.start.time_ns
