"""Text that ``trace-cmd report`` prints of a trace.dat."""

from __future__ import annotations

import re
from pathlib import Path

from memsim.traces import TraceTable
from memsim.traces._kmem_text import TIME, TextFormat, read_text

FORM = TextFormat(
    prefix=rb" {0,40}.{1,80}?-\d{1,10} +\[?(\d{1,4})(?:\] +|(?=[^\s\d\]]))(?:\S{4,5} +)?"
    + TIME
    + rb": +",
    rules=(
        ("cpus", re.compile(rb"cpus=\d+")),
        ("buffer name", re.compile(rb"Buffer: .*")),
    ),
)
_FIRST_LINE = re.compile(rb"cpus=\d+\r?\n")


def sniff(head: bytes) -> bool:
    """Recognise the first line that trace-cmd prints."""
    return bool(_FIRST_LINE.match(head))


def read(path: Path) -> TraceTable:
    """Read a report (trace-cmd 3.1, also with ``-t``, ``-l``, ``-R``; spec trace-formats 1)."""
    return read_text(path, FORM)
