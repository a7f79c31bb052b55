"""What perf script and trace-cmd report print (spec trace-formats 1 and 6)."""

import pytest
from trace_samples import ALLOC

from memsim.traces import TraceEvent, read_trace

BODY = "page=0x13c3fc pfn=0x13c3fc order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO"
PERF = "         python3 20028 [001]  1244.144917: kmem:mm_page_alloc: " + BODY
TRACE_CMD = "            bash-20188 [001]  1292.584354: mm_page_alloc:        " + BODY


def read(tmp_path, *lines):
    path = tmp_path / "trace"
    path.write_text("\n".join([*lines, ""]))
    trace = read_trace(path)
    account = trace.accounting
    assert account.parsed + sum(account.skipped.values()) + account.unknown == account.total
    return trace


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(PERF, id="default"),
        pytest.param(PERF.replace("20028", "20028/20028"), id="pid/tid"),
        pytest.param(PERF.replace("1244.144917", "1244.144917000"), id="ns"),
        pytest.param(PERF.replace("python3", "Web Content"), id="blank in comm"),
        pytest.param(PERF.replace("python3", "kworker/u8:1-ev"), id="dash in comm"),
        pytest.param(PERF.replace("         python3 ", " "), id="no comm"),
        pytest.param(PERF.replace("kmem:", ""), id="no subsystem"),
    ],
)
def test_perf(tmp_path, line):
    trace = read(tmp_path, line)
    assert trace.time.tolist() == [1244144917000]
    assert trace.cpu.tolist() == [1]
    assert trace.pfn.tolist() == [0x13C3FC]
    assert trace.gfp_texts == ("GFP_KERNEL_ACCOUNT|__GFP_ZERO",)


def test_perf_with_call_chains(tmp_path):
    chain = "\tffffffff812d5a3b __alloc_pages+0x1db ([kernel.kallsyms])"
    user = "            7f0a1b2c3d4e [unknown] (/usr/lib/x86_64-linux-gnu/libc.so.6)"
    trace = read(tmp_path, "# ========", PERF, chain, chain, user, "", PERF, chain, "")
    assert len(trace) == 2
    assert trace.accounting.skipped == {"blank": 2, "call chain": 4, "header": 1}
    assert trace.accounting.unknown == 0


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(TRACE_CMD, id="default"),
        pytest.param("memsim_fmt: " + TRACE_CMD, id="instance"),
        pytest.param(TRACE_CMD.replace("1292.584354", "1292.584354000"), id="-t"),
        pytest.param(TRACE_CMD.replace("[001]  ", "[001] ..s1.  "), id="flags"),
        pytest.param(TRACE_CMD.replace(" [001]  ", "   1.....  "), id="-l"),
    ],
)
def test_trace_cmd(tmp_path, line):
    trace = read(tmp_path, "cpus=2", "Buffer: memsim_fmt", line)
    assert trace.time.tolist() == [1292584354000]
    assert trace.cpu.tolist() == [1]
    assert trace.pfn.tolist() == [0x13C3FC]
    assert trace.accounting.skipped == {"buffer name": 1, "cpus": 1}


def test_trace_cmd_raw_fields(tmp_path):
    raw = "pfn=0x108f37 order=0 gfp_flags=0x440dc0 migratetype=0"
    trace = read(tmp_path, "cpus=2", TRACE_CMD.replace(BODY, raw))
    assert trace.event.tolist() == [TraceEvent.MM_PAGE_ALLOC]
    assert trace.pfn.tolist() == [0x108F37]
    assert trace.gfp_texts == ("0x440dc0",)


def test_trace_cmd_markers(tmp_path):
    line = "  bash-20188 [001]  1292.584354: print:                tracing_mark_write: hello"
    assert read(tmp_path, "cpus=2", line).marker_texts == ("hello",)


def test_the_tools_agree_with_tracefs(tmp_path):
    """In perf and trace-cmd output, page= is the pfn: it must not matter."""
    body = ALLOC.partition("mm_page_alloc: ")[2]
    by_perf = read(tmp_path, PERF.replace(BODY, body))
    by_trace_cmd = read(tmp_path, "cpus=1", TRACE_CMD.replace(BODY, body))
    by_tracefs = read(tmp_path, ALLOC)
    for name in ("pfn", "order", "migratetype", "gfp", "event"):
        values = [getattr(t, name).tolist() for t in (by_perf, by_trace_cmd, by_tracefs)]
        assert values[0] == values[1] == values[2]
