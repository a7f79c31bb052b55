"""Hold what a trace format from outside reads against what a trace is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from memsim import plugins
from memsim.mm import MAX_PAGE_ORDER, gfp_from_text
from memsim.traces import DTYPES, Accounting, TraceEvent, TraceTable


def sniffed(name: str, head: bytes) -> bool:
    """Ask a format whether a file's first bytes look like its own."""
    with plugins.watch("traces", name, "sniff"):
        found = plugins.find("traces", name).sniff(head)
    if not isinstance(found, bool):
        message = f"sniff(): expected True or False, found {type(found).__name__}"
        raise plugins.fault("traces", name, "sniff", message)
    return found


def table_of(name: str, path: Path) -> TraceTable:
    """Read a file with a format; raises plugins.PluginFault for what is no sound table."""
    with plugins.watch("traces", name, "read"):
        table: TraceTable = plugins.find("traces", name).read(path)
    fault = table_fault(table) if plugins.is_outside("traces", name) else ""
    if fault:
        raise plugins.fault("traces", name, "read", f"read(): {fault}")
    return table


def table_fault(table: Any) -> str:
    """Say what is wrong with a table, empty if nothing is."""
    if not isinstance(table, TraceTable):
        return f"expected a TraceTable, found {type(table).__name__}"
    for column, dtype in DTYPES.items():
        array = getattr(table, column)
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
            found = getattr(array, "dtype", type(array).__name__)
            return f"{column}: expected an array (n,) of {np.dtype(dtype)}, found {found}"
        if len(array) != len(table.time):
            return f"{column} has {len(array)} rows, time has {len(table.time)}"
    if np.any(np.diff(table.time) < 0):
        return "the rows are not sorted by time"
    limits = {"event": len(TraceEvent), "gfp": len(table.gfp_texts),
              "marker": len(table.marker_texts)}  # fmt: skip
    for column, limit in limits.items():
        most = int(getattr(table, column).astype(np.int64).max(initial=-1))
        if most >= limit:
            return f"{column}: expected less than {limit}, found {most}"
    fault = _event_fault(table)
    if fault:
        return fault
    if not isinstance(table.accounting, Accounting):
        return f"accounting: expected Accounting, found {type(table.accounting).__name__}"
    return ""


def _event_fault(table: TraceTable) -> str:
    """Say what of the allocations and frees could not be replayed."""
    pages = table.event <= TraceEvent.MM_PAGE_FREE_BATCHED
    wrong = pages & ((table.order < 0) | (table.order > MAX_PAGE_ORDER))
    if wrong.any():
        found = table.order[np.argmax(wrong)]
        return f"order: expected 0 to {MAX_PAGE_ORDER} of allocations and frees, found {found}"
    if np.any((table.event == TraceEvent.MM_PAGE_ALLOC) & (table.gfp < 0)):
        return "gfp: an allocation has none"
    for text in table.gfp_texts:
        try:
            gfp_from_text(text)
        except KeyError as unknown:
            return f"gfp_texts: there is no gfp flag {unknown}"
    return ""
