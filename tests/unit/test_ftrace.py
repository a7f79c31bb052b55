"""The text of tracefs in all its shapes (spec trace-formats 1, 2 and 6)."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from trace_samples import (
    ALL_LINES,
    ALLOC,
    BATCHED,
    COMPACTION,
    DEFAULT_LINES,
    FAILED,
    FREE,
    HEADER,
    LOCKED,
    MARKER,
    TRACE,
    USER,
)

from memsim.errors import InputError
from memsim.mm import Migratetype
from memsim.traces import DTYPES, TraceEvent, read_trace

SECOND = 10**9


@pytest.fixture
def read(tmp_path):
    """Read a trace given as lines, and insist that every line is accounted for."""

    def reader(*lines, end="\n"):
        path = tmp_path / "trace"
        path.write_bytes(end.join([*lines, ""]).encode())
        return checked(read_trace(path))

    return reader


def checked(trace):
    account = trace.accounting
    assert account.parsed + sum(account.skipped.values()) + account.unknown == account.total
    assert account.parsed == len(trace)
    for name, dtype in DTYPES.items():
        assert getattr(trace, name).dtype == dtype
        assert len(getattr(trace, name)) == len(trace)
    return trace


def row(trace, i=0):
    """One row, without the columns that do not apply."""
    values = {name: int(getattr(trace, name)[i]) for name in DTYPES}
    return {name: value for name, value in values.items() if value != -1}


def as_5_10(line):
    """The same line as 5.10 prints it: pfn decimal, four flags."""
    head, _, rest = line.partition("pfn=0x")
    pfn, _, tail = rest.partition(" ")
    start, flags, end = head.partition("] ")
    return f"{start}{flags}{end[:4]}{end[5:]}pfn={int(pfn, 16)} {tail}"


@pytest.mark.parametrize("change", [str, as_5_10], ids=["6.18", "5.10"])
def test_the_default_lines(read, change):
    trace = read(*[change(line) for line in DEFAULT_LINES])
    assert trace.event.tolist() == [
        TraceEvent.MM_PAGE_ALLOC,
        TraceEvent.MM_PAGE_FREE,
        TraceEvent.MM_PAGE_FREE_BATCHED,
        TraceEvent.MM_PAGE_ALLOC_ZONE_LOCKED,
    ]
    assert trace.pfn.tolist() == [0x155938, 0x13D43A, 0x20243B, 0x114FC5]
    assert trace.cpu.tolist() == [0, 1, 0, 1]
    assert trace.order.tolist() == [1, 0, 0, 0]
    assert trace.migratetype.tolist() == [2, -1, -1, 0]
    assert trace.percpu_refill.tolist() == [-1, -1, -1, 1]
    assert trace.gfp.tolist() == [0, -1, -1, -1]
    assert trace.time.tolist() == [
        1243533773000, 1243534669000, 1243537140000, 1243550431000,
    ]  # fmt: skip
    assert trace.gfp_texts == (ALLOC.partition("gfp_flags=")[2],)


def test_the_other_events(read):
    trace = read(*ALL_LINES)
    assert row(trace, 5) == {
        "time": 1244000002000,
        "event": TraceEvent.MM_PAGE_ALLOC_EXTFRAG,
        "cpu": 0,
        "pfn": 0x109000,
        "order": 0,
        "migratetype": Migratetype.UNMOVABLE,
        "fallback_order": 10,
        "fallback_migratetype": Migratetype.MOVABLE,
        "change_ownership": 1,
    }
    assert row(trace, 4)["migratetype"] == Migratetype.MOVABLE
    assert trace.marker_texts == ("LAB_OFFLINE 37",)
    assert row(trace, 6) == {
        "time": 1244000003000, "event": TraceEvent.MARKER, "cpu": 0, "marker": 0,
    }  # fmt: skip
    assert trace.event[7:9].tolist() == [
        TraceEvent.MM_COMPACTION_BEGIN,
        TraceEvent.MM_MIGRATE_PAGES,
    ]


@pytest.mark.parametrize(
    "comm",
    ["kworker/u8:1-ev", "Web Content", "a-b-c", "<...>", "<idle>", "x-1 [000] y", "-5", "a: b"],
)
def test_names_of_tasks(read, comm):
    trace = read(FREE.replace("<idle>", comm))
    assert row(trace)["pfn"] == 0x13D43A
    assert row(trace)["cpu"] == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("   [000] ..... ", "   (-------) [000] ..... ", id="tgid unknown"),
        pytest.param("   [000] ..... ", "   (  19920) [000] ..... ", id="tgid"),
        pytest.param("   [000] ..... ", "   [000] (19920) ..... ", id="tgid of 4.13-rc"),
        pytest.param("[000] ..... ", "[000]  ", id="noirq-info"),
        pytest.param("[000] ..... ", "[000] .... ", id="four flags"),
        pytest.param("[000] ..... ", "[000] .N... ", id="need-resched"),
        pytest.param("[000] ..... ", "[000] dNs3. ", id="letters"),
        pytest.param("page=000000003dd06da5", "page=ffffea0005564e00", id="nohash-ptr"),
        pytest.param("page=000000003dd06da5", "page=(____ptrval____)", id="early boot"),
        pytest.param("page=000000003dd06da5", "page=0x155938", id="page is the pfn"),
        pytest.param("pfn=0x155938", "pfn=1399096", id="decimal"),
        pytest.param("pfn=0x155938", "pfn=0x000155938", id="leading zeros"),
        pytest.param("1243.533773", "1243.533773000", id="nanoseconds"),
    ],
)
def test_shapes_of_a_line(read, old, new):
    assert old in ALLOC
    trace = read(ALLOC.replace(old, new), FREE)
    assert row(trace) == row(read(ALLOC, FREE))
    assert trace.accounting.unknown == 0


def test_option_fields(read):
    line = ALLOC.partition("page=")[0] + (
        "pfn=0x155938 (1399096) order=0x1 (1) gfp_flags=0xd20d0 (860368) migratetype=0x2 (2)"
    )
    trace = read(line)
    assert row(trace) == row(read(ALLOC))
    assert trace.gfp_texts == ("0xd20d0",)


def test_old_names_of_events(read):
    trace = read(
        FREE.replace("mm_page_free", "mm_page_free_direct"),
        BATCHED.replace("mm_page_free_batched", "mm_pagevec_free") + " cold=0",
    )
    assert trace.event.tolist() == [TraceEvent.MM_PAGE_FREE, TraceEvent.MM_PAGE_FREE_BATCHED]


@pytest.mark.parametrize(
    "null", ["(null)", "          (null)", "0000000000000000", "NULL", "(nil)", "0x0"]
)
def test_failed_allocations(read, null):
    line = FAILED.replace("0000000000000000", null)
    assert trace_pfn(read(line)) == -1


def test_failed_allocation_with_option_fields(read):
    line = ALLOC.partition("page=")[0]
    line += "pfn=0xffffffffffffffff (-1) order=0x1 (1) gfp_flags=0xd20d0 (1) migratetype=0x2 (2)"
    assert trace_pfn(read(line)) == -1


def test_frame_zero_with_a_page_is_a_page(read):
    assert trace_pfn(read(FAILED.replace("0000000000000000", "ffffea0000000000"))) == 0


def trace_pfn(trace):
    return int(trace.pfn[0])


def test_lost_events_are_counted(read):
    trace = read(ALLOC, "CPU:1 [LOST 37 EVENTS]", FREE, "CPU:0 [LOST 5 EVENTS]")
    assert trace.accounting.lost_events == 42
    assert trace.accounting.skipped == {"lost events": 2}


def test_events_lost_by_the_ring_buffer_are_counted(read):
    header = HEADER.replace("4/4 ", "4/1004 ").splitlines()
    assert read(*header, *DEFAULT_LINES).accounting.lost_events == 1000
    assert read(*HEADER.splitlines(), *DEFAULT_LINES).accounting.lost_events == 0


@pytest.mark.parametrize("cut", [15, 40, 60, 70, 90])
def test_truncated_last_line(read, cut):
    trace = read(f"{FREE}\n{ALLOC[:cut]}", end="")
    assert len(trace) == 1
    assert trace.accounting.skipped == {"truncated last line": 1}


def test_truncated_gfp_flags(read):
    assert len(read(f"{FREE}\n{ALLOC[:-3]}", end="")) == 1


def test_a_whole_last_line_without_newline(read):
    assert len(read(f"{FREE}\n{ALLOC}", end="")) == 2


def test_dos_line_ends(read):
    trace = read(*HEADER.splitlines(), *ALL_LINES, "", end="\r\n")
    assert len(trace) == len(ALL_LINES)
    assert trace.accounting.skipped == {"header": 5, "blank": 1}
    assert trace.marker_texts == ("LAB_OFFLINE 37",)
    assert trace.gfp_texts[0].endswith("__GFP_NOMEMALLOC")


def test_per_cpu_files_one_after_the_other(read):
    first = [FREE.replace("1243.534669", f"1243.50000{i}") for i in (1, 3, 3, 5)]
    second = [FREE.replace("1243.534669", f"1243.50000{i}") for i in (2, 3, 4)]
    lines = [
        line.replace("pfn=0x13d43a", f"pfn={i + 1:#x}") for i, line in enumerate(first + second)
    ]
    assert read(*lines).pfn.tolist() == [1, 5, 2, 3, 6, 7, 4]


def user_page(number):
    head = ALLOC.partition("migratetype=")[0]
    return f"{head}migratetype={number} gfp_flags={USER}"


def test_numbers_of_migratetypes_before_4_4(read):
    trace = read(user_page(2), ALLOC.replace("migratetype=2", "migratetype=1"), LOCKED)
    assert trace.migratetype.tolist() == [
        Migratetype.MOVABLE,
        Migratetype.RECLAIMABLE,
        Migratetype.UNMOVABLE,
    ]


def test_numbers_of_migratetypes_since_4_4(read):
    trace = read(user_page(1), ALLOC, LOCKED)
    assert trace.migratetype.tolist() == [
        Migratetype.MOVABLE,
        Migratetype.RECLAIMABLE,
        Migratetype.UNMOVABLE,
    ]


def test_grouping_switched_off_says_nothing_about_numbers(read):
    assert read(user_page(0), ALLOC).migratetype.tolist() == [0, Migratetype.RECLAIMABLE]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(FREE.replace("order=0", ""), id="no order"),
        pytest.param(FREE.replace("order=0", "order=x"), id="bad order"),
        pytest.param(FREE.replace("pfn=0x13d43a", "pfn=13d43a"), id="bad pfn"),
        pytest.param(LOCKED.replace("migratetype=0", "migratetype=6"), id="bad type"),
        pytest.param(ALLOC.partition(" gfp_flags")[0], id="no gfp"),
        pytest.param(FREE.replace("mm_page_free", "sched_switch"), id="other event"),
        pytest.param(FREE.replace("1243.534669", "99999999999.534669"), id="bad time"),
        pytest.param("\x1b[31mred", id="noise"),
    ],
)
def test_unknown_lines_are_counted_and_shown(read, line):
    trace = read(ALLOC, line, BATCHED)
    assert len(trace) == 2
    assert trace.accounting.unknown == 1
    assert trace.accounting.unknown_examples[0].startswith("2: ")
    assert trace.accounting.unknown_examples[0].isprintable()


def test_fields_of_another_event_are_not_taken(read):
    assert row(read(FREE + " migratetype=1")) == row(read(FREE))


def test_what_memsim_cannot_hold_is_skipped_by_rule(read):
    trace = read(FREE, FREE.replace("order=0", "order=11"), FREE.replace("13d43a", "80000000"))
    assert trace.accounting.skipped == {"order above 10": 1, "page frame above 8 TiB": 1}


def test_known_events_without_use_are_skipped_by_name(read):
    trace = read(FREE, COMPACTION.replace("_begin", "_end"), COMPACTION.replace("_begin", "_end"))
    assert trace.accounting.skipped == {"mm_compaction_end": 2}


def test_many_chunks_give_the_same_as_one(read, monkeypatch):
    lines = [*HEADER.splitlines(), *(ALL_LINES * 7), MARKER.replace("37", "38")]
    whole = read(*lines)
    monkeypatch.setattr("memsim.traces._files.CHUNK_BYTES", 100)
    pieces = read(*lines)
    assert pieces.accounting == whole.accounting
    assert pieces.marker_texts == whole.marker_texts == ("LAB_OFFLINE 37", "LAB_OFFLINE 38")
    for name in DTYPES:
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(gzip.compress, id="gzip"),
        pytest.param(lambda data: pa.compress(data, "zstd", asbytes=True), id="zstd"),
    ],
)
def test_compressed(tmp_path, pack):
    path = tmp_path / "trace"
    path.write_bytes(pack(TRACE.encode()))
    assert len(checked(read_trace(path))) == len(ALL_LINES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(gzip.compress(b""), "empty", id="empty gzip"),
        pytest.param(b"hello\n", "no trace that memsim knows", id="text"),
        pytest.param(bytes(range(256)) * 9, "no trace that memsim knows", id="binary"),
        pytest.param(gzip.compress(TRACE.encode())[:-9], "truncated gzip", id="gzip cut"),
        pytest.param(b"\x1f\x8b" + b"x" * 50, "gzip", id="not gzip"),
        pytest.param(HEADER.encode(), "no event that memsim reads in 5 lines", id="no events"),
        pytest.param(b"# tracer: nop\n" + b"x" * (3 << 20), "longer than 1 MiB", id="one line"),
        pytest.param(
            b"# tracer: nop\n#\n# nop latency trace v1.1.5 on 6.1.0\n",
            "latency-format",
            id="latency",
        ),
        pytest.param(
            b"    bash-2010    0d..2.  123us : mm_page_free: pfn=0x1 order=0\n",
            "latency-format",
            id="latency line",
        ),
        pytest.param(b"19920 0 1243533773154 type: 653\n", "option raw", id="raw"),
        pytest.param(
            FREE.replace("1243.534669", "9351360").encode() + b"\n", "no unit", id="counter clock"
        ),
    ],
)
def test_what_is_refused_is_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "trace.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.path == str(path)
    assert "\n" not in problem.message


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_trace(tmp_path / "nowhere")
