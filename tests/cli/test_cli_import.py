"""``memsim import``: what it writes, what it says, what it refuses."""

import gzip

import pytest
from click.testing import CliRunner
from trace_samples import ALL_LINES, FREE, MARKER, STATE, TRACE

from memsim.cli import main
from memsim.cli.import_ import command
from memsim.errors import InputError
from memsim.traces import TraceEvent, read_trace
from memsim.traces.capture import read_capture

START, LATER = "TIME 1243537140000", "TIME_END 1244000005000"


def invoke(*args):
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.txt.gz"
    path.write_bytes(gzip.compress(TRACE.encode()))
    return path


@pytest.fixture
def capture(tmp_path):
    """A capture whose snapshots leave out the first two events and the last."""
    folder = tmp_path / "small"
    early, late = STATE, STATE
    early = early.replace("TIME 1000000", START).replace(
        "TIME_END 1000500", "TIME_END 1243537141000"
    )
    late = late.replace("TIME 1000000", "TIME 1244000004500").replace("TIME_END 1000500", LATER)
    for which, text in (("start", early), ("end", late)):
        (folder / which).mkdir(parents=True)
        (folder / which / "state.txt").write_text(text)
    (folder / "trace.txt").write_text(TRACE)
    return folder


def test_a_trace(tmp_path, trace):
    out = tmp_path / "out.parquet"
    result = invoke(trace, "--out", out)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "parsed                                 10",
        "skipped: header                         5",
        "unknown                                 0",
        "lines in all                           15",
        "events lost by the recorder             0",
        str(out),
    ]
    assert read_trace(out).accounting == read_trace(trace).accounting


def test_unknown_lines_are_shown(tmp_path, trace):
    trace.write_text(TRACE + "what \x1b[31mis this\n")
    output = invoke(trace, "--out", tmp_path / "out.parquet").output
    assert "unknown line 16: what \\x1b[31mis this" in output


def test_the_default_place(tmp_path, trace, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    assert invoke(trace).output.endswith("\ntrace.parquet\n")
    assert len(read_trace(tmp_path / "cwd/trace.parquet")) == len(ALL_LINES)


def test_a_capture(tmp_path, capture):
    out = tmp_path / "out"
    invoke(capture, "--out", out, "--note", "A small one")
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert files == [
        "SOURCE",
        "compaction.parquet",
        "end/state.txt.gz",
        "start/state.txt.gz",
        "trace.parquet",
    ]
    imported = read_capture(out)
    assert imported.source.splitlines()[0] == "A small one"
    assert imported.source.splitlines()[-1] == "complete from start to end state"
    assert gzip.decompress((out / "end/state.txt.gz").read_bytes()) == (
        (capture / "end/state.txt").read_bytes()
    )
    kept = read_capture(capture).trace.event.tolist()[2:-1]
    assert imported.trace.event.tolist() == kept
    assert imported.trace.accounting.skipped["outside of the snapshots"] == 3


def test_an_imported_capture_can_be_imported(tmp_path, capture):
    invoke(capture, "--out", tmp_path / "one")
    invoke(tmp_path / "one", "--out", tmp_path / "two")
    for name in ("trace.parquet", "compaction.parquet", "start/state.txt.gz", "end/state.txt.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("until", ["LAB_OFFLINE 37", "1244.000003"])
def test_a_cut_capture_has_no_end(tmp_path, capture, until):
    out = tmp_path / "out"
    invoke(capture, "--out", out, "--until", until)
    imported = read_capture(out)
    assert imported.end is None
    assert imported.trace.event[-1] == TraceEvent.MARKER
    assert f"cut at {until}" in imported.source
    assert "no end state: nothing to compare the end of a replay with" in imported.source


def test_the_first_of_several_cuts_counts(tmp_path, trace):
    out = tmp_path / "out.parquet"
    invoke(trace, "--out", out, "--until", "LAB_OFFLINE 37", "--until", "1243.54")
    assert len(read_trace(out)) == 3


def test_requests_only(tmp_path, trace):
    out = tmp_path / "out.parquet"
    invoke(trace, "--out", out, "--requests-only")
    imported = read_trace(out)
    assert sorted(set(imported.event.tolist())) == [
        TraceEvent.MM_PAGE_ALLOC,
        TraceEvent.MM_PAGE_FREE,
        TraceEvent.MM_PAGE_FREE_BATCHED,
        TraceEvent.MARKER,
    ]
    assert imported.accounting.skipped == {"header": 5, "no request": 5}


def test_nothing_is_overwritten_without_force(tmp_path, trace, capture):
    out = tmp_path / "out"
    invoke(capture, "--out", out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for source in (capture, trace):
        with pytest.raises(InputError, match="exists already"):
            invoke(source, "--out", out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_force_leaves_no_stale_end(tmp_path, capture):
    out = tmp_path / "out"
    invoke(capture, "--out", out)
    invoke(capture, "--out", out, "--until", "LAB_OFFLINE 37", "--force")
    assert not (out / "end/state.txt.gz").exists()
    assert read_capture(out).end is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--until", "LAB_OFLINE 37"], 'did you mean "LAB_OFFLINE 37"'),
        (["--until", "nan"], "neither a marker"),
        (["--until", "-1"], "neither a marker"),
        (["--until", "1"], "nothing is left"),
    ],
)
def test_bad_cuts_write_nothing(tmp_path, trace, args, message):
    with pytest.raises(InputError, match=message):
        invoke(trace, "--out", tmp_path / "out.parquet", *args)
    assert [p.name for p in tmp_path.iterdir()] == ["trace.txt.gz"]


def test_bad_captures_write_nothing(tmp_path, capture):
    (capture / "end/state.txt").write_text("TIME 7\n")
    with pytest.raises(InputError):
        invoke(capture, "--out", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


def test_a_folder_that_does_not_exist(tmp_path, trace):
    with pytest.raises(InputError, match="there is no folder"):
        invoke(trace, "--out", tmp_path / "a/b")
    with pytest.raises(InputError, match="no such file"):
        invoke(tmp_path / "nowhere", "--out", tmp_path / "out.parquet")


def test_notes_need_a_capture(tmp_path, trace):
    result = invoke(trace, "--out", tmp_path / "out.parquet", "--note", "x")
    assert result.exit_code == 2
    assert "--note" in result.output


def test_repeated_markers_cut_at_the_first(tmp_path):
    path = tmp_path / "trace.txt"
    again = MARKER.replace("1244.000003", "1244.000009")
    path.write_text("\n".join([FREE, MARKER, FREE.replace("1243", "1245"), again, ""]))
    invoke(path, "--out", tmp_path / "out.parquet", "--until", "LAB_OFFLINE 37")
    assert len(read_trace(tmp_path / "out.parquet")) == 2


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, trace):
    trace.write_bytes(trace.read_bytes()[:-9])
    result = CliRunner().invoke(main, ["import", str(trace), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "truncated gzip" in result.stderr
    assert not (tmp_path / "out").exists()
