"""Damaged traces, states and Parquet files: an answer or an InputError, never anything else."""

import gzip

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trace_samples import ALLOC, FREE, STATE, TRACE

from memsim.errors import InputError
from memsim.traces import read_trace
from memsim.traces.capture import read_capture, read_state
from memsim.traces.parquet import write_parquet

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "delete", "insert", "repeat", "cut"]),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\n", b" ", b"0x", b"9" * 20, b"-1"]),
    ),
    min_size=1,
    max_size=6,
)


def damaged(data, edits):
    """Apply edits to bytes."""
    for kind, where, new in edits:
        at = where % (len(data) + 1)
        match kind:
            case "replace":
                data = data[:at] + new + data[at + len(new) :]
            case "delete":
                data = data[:at] + data[at + len(new) :]
            case "insert":
                data = data[:at] + new + data[at:]
            case "repeat":
                data = data[:at] + data[max(0, at - 40) :]
            case "cut":
                data = data[:at]
    return data


def attempt(read, path, data):
    """Read damaged data; return what was read, or None after a well-formed refusal."""
    path.write_bytes(data)
    try:
        return read(path)
    except InputError as error:
        assert error.problems
        for problem in error.problems:
            assert "\n" not in problem.message
            assert problem.message.isprintable()
        return None


def check(trace):
    account = trace.accounting
    assert account.parsed + sum(account.skipped.values()) + account.unknown == account.total
    assert len(trace) == account.parsed
    assert (trace.time[1:] >= trace.time[:-1]).all()
    assert trace.pfn.min() >= -1
    assert trace.gfp.max() < len(trace.gfp_texts)
    assert trace.marker.max() < len(trace.marker_texts)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def parquet(place):
    (place / "trace.txt").write_text(TRACE)
    write_parquet(read_trace(place / "trace.txt"), place / "good.parquet")
    return (place / "good.parquet").read_bytes()


@FUZZ
@given(EDITS)
@example([("cut", 0, b"x")])
@example([("insert", 0, b"\n" * 8)])
@example([("replace", 330, b"\0")])
def test_traces(place, edits):
    trace = attempt(read_trace, place / "damaged.txt", damaged(TRACE.encode(), edits))
    if trace is not None:
        check(trace)


@FUZZ
@given(EDITS)
def test_packed_traces(place, edits):
    packed = gzip.compress(TRACE.encode(), mtime=0)
    trace = attempt(read_trace, place / "damaged.gz", damaged(packed, edits))
    if trace is not None:
        check(trace)


@FUZZ
@given(EDITS)
@example([("replace", 0, b"TIME\x1f99")])
@example([("cut", 500, b"x")])
def test_states(place, edits):
    state = attempt(read_state, place / "damaged.state", damaged(STATE.encode(), edits))
    if state is not None:
        assert state.time_ns <= state.time_end_ns
        for zone in state.zones:
            for (order, _), pfns in zone.free.items():
                assert (pfns % (1 << order) == 0).all()
                assert (pfns >= zone.start_pfn).all()


@pytest.mark.parametrize("name", [b"time_step", b"gfp", b"schema"])
def test_parquet_names_that_are_not_utf8(place, parquet, name):
    """Found by test_parquet: pyarrow lets UnicodeDecodeError escape."""
    assert name in parquet
    data = parquet.replace(name, b"\x80" + name[1:])
    assert attempt(read_trace, place / "damaged.parquet", data) is None


@FUZZ
@given(EDITS)
def test_parquet(place, parquet, edits):
    trace = attempt(read_trace, place / "damaged.parquet", damaged(parquet, edits))
    if trace is not None:
        check(trace)


@FUZZ
@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), max_size=40))
@example("-5")
@example("x-1 [000] .....  1.000000: mm_page_free: ")
@example("a\r")
def test_names_of_tasks(place, comm):
    line = FREE.replace("<idle>", comm)
    trace = attempt(read_trace, place / "comm.txt", f"{ALLOC}\n{line}\n".encode())
    assert trace is not None
    check(trace)
    assert trace.accounting.total == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"TIME 1\n" * 50])
def test_folders_with_damaged_files(tmp_path, content):
    (tmp_path / "start").mkdir()
    for name in ("start/state.txt", "trace.txt"):
        (tmp_path / name).write_bytes(content)
    assert attempt(read_capture, tmp_path / "SOURCE", content) is None
