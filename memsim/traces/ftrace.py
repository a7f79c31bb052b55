"""Text of tracefs: ``trace``, ``trace_pipe`` or merged per-CPU files of kmem events."""

from __future__ import annotations

import re
from pathlib import Path

from memsim.traces import TraceTable
from memsim.traces._files import read_head, refuse
from memsim.traces._kmem_text import TIME, TextFormat, read_text

TASK = rb" {0,40}.{1,80}?-\d{1,10} +(?:\([ \d-]{1,12}\) +)?\[(\d{1,4})\] +(?:\([ \d-]{1,12}\) +)?"
FORM = TextFormat(prefix=TASK + rb"(?:\S{4,5} +)?" + TIME + rb": ")
_LINE = re.compile(rb"^" + FORM.prefix + rb"\w+: ", re.MULTILINE)
_TICKS = re.compile(rb"^" + TASK + rb"(?:\S{4,5} +)?\d+: \w+: ", re.MULTILINE)
_LATENCY = re.compile(
    rb"^# \w+ latency trace v|^ {0,40}.{1,80}?-\d+ +\d+[^\s\d]\S{3,4} +\d+us\W", re.MULTILINE
)
_RAW = re.compile(rb"^\d+ \d+ \d+ type: \d+", re.MULTILINE)


def sniff(head: bytes) -> bool:
    """Recognise the header of tracefs or its lines, also in the shapes that are refused."""
    if b"\0" in head or head.startswith(b"cpus="):
        return False
    if head.startswith(b"# tracer:"):
        return True
    return any(shape.search(head) for shape in (_LINE, _TICKS, _LATENCY, _RAW))


def read(path: Path) -> TraceTable:
    """Read a trace in the default format (spec trace-formats 1 and 2), gzip and zstd too.

    Flag column of four or five characters or none, TGID column, option ``fields``, decimal and
    hexadecimal page frames, old names of events, and the numbering of migratetypes before 4.4.
    Raises InputError for options ``latency-format`` and ``raw``, and for clocks without a unit.
    """
    head = read_head(path)
    if not head:
        raise refuse(path, "the file is empty, a trace was expected")
    if _LATENCY.search(head):
        raise refuse(
            path,
            "trace option latency-format is not supported",
            hint="record again after: echo nolatency-format > trace_options",
        )
    if _RAW.search(head) and not _LINE.search(head):
        raise refuse(
            path,
            "trace option raw cannot be read without the kernel's format files",
            hint="record again after: echo noraw > trace_options",
        )
    if _TICKS.search(head) and not _LINE.search(head):
        raise refuse(
            path,
            "the time stamps have no unit (trace_clock counter or x86-tsc)",
            hint="record again after: echo local > trace_clock",
        )
    return read_text(path, FORM)
