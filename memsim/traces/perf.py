"""Text that ``perf script`` prints of a perf.data with kmem events."""

from __future__ import annotations

import re
from pathlib import Path

from memsim.traces import TraceTable
from memsim.traces._kmem_text import TIME, TextFormat, read_text

FORM = TextFormat(
    prefix=rb" {0,40}(?:\S.{0,40}? +)?\d{1,10}(?:/\d{1,10})? +\[(\d{1,4})\] +(?:\S{4,5} +)?"
    + TIME
    + rb": +(?:[a-z_]{1,20}:)?",
    rules=(("call chain", re.compile(rb"[0-9a-f]{6,16} \S.* \(.*\)")),),
)
_LINE = re.compile(rb"^" + FORM.prefix + rb"\w+: ", re.MULTILINE)


def sniff(head: bytes) -> bool:
    """Recognise lines that have a blank before the process and not a dash."""
    return b"\0" not in head and bool(_LINE.search(head))


def read(path: Path) -> TraceTable:
    """Read perf's text (also with ``-F +pid,+tid``, ``--ns`` and call chains; trace-formats 1)."""
    return read_text(path, FORM)
