"""Memory blocks that were taken offline while a trace was recorded, taken offline in its replay.

What the kernel prints meanwhile is not asked for again: the pages that it moved, and those it moved
them to, are predicted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.fidelity.freerun import FreeRun
from memsim.kernels import trace_log
from memsim.memory.hotplug import TARGET_GFP, Offlining, block_range
from memsim.mm import Gfp, gfp_from_text
from memsim.traces import TraceEvent, TraceTable

MARKER = re.compile(r"LAB_OFFLINE (\d+)")


class RecordedOffline(NamedTuple):
    """One block taken offline; rows of a trace without what the kernel did for it."""

    block: int
    isolated: int
    """The row before which its pageblocks were isolated."""
    moved: int
    """The row before which its pages were moved and it went."""
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    """Page frames, in the order of moving."""
    calls: int
    """How often pages were given to migrate_pages."""


class MovedPages(NamedTuple):
    """How the pages that were moved compare with the prediction."""

    seen: int
    predicted: int
    equal: int


def offline_rows(trace: TraceTable) -> tuple[tuple[int, int], ...]:
    """Return the markers of a trace: row, and number of the block."""
    found = []
    for marker, text in enumerate(trace.marker_texts):
        said = MARKER.match(text)
        if said is not None:
            rows = np.flatnonzero((trace.event == TraceEvent.MARKER) & (trace.marker == marker))
            found += [(int(row), int(said[1])) for row in rows]
    return tuple(sorted(found))


def take_out(trace: TraceTable) -> tuple[TraceTable, tuple[RecordedOffline, ...]]:
    """Take out of a trace what the kernel did to empty blocks; return the rest, and what that was.

    A page that was moved has the name of its first page frame from then on.
    """
    marks = offline_rows(trace)
    ends = [row for row, _ in marks[1:]] + [len(trace)]
    gfps = [gfp_from_text(text) & ~Gfp.COMP for text in trace.gfp_texts]
    is_target = np.array([gfp == TARGET_GFP for gfp in gfps] or [False])[trace.gfp]
    is_target &= (trace.event == TraceEvent.MM_PAGE_ALLOC) & (trace.gfp >= 0) & (trace.pfn >= 0)
    calls = trace.event == TraceEvent.MM_MIGRATE_PAGES
    pfn = trace.pfn.copy()
    keep = ~calls
    parts = []
    for (start, block), end in zip(marks, ends, strict=True):
        rows = np.arange(start, end)
        targets = rows[is_target[start:end]]
        frees = _freed_for(trace, block, targets, end)
        keep[targets] = keep[frees] = False
        moved = trace.pfn[frees] != trace.pfn[targets]
        _rename(trace, pfn, targets[moved], frees[moved])
        first = int(targets[0]) if len(targets) else end
        drains = rows[trace.event[start:end] == TraceEvent.MM_PAGE_PCPU_DRAIN]
        drains = drains[drains < first]
        parts.append(
            RecordedOffline(
                block=block,
                isolated=int(drains[0]) if len(drains) else first,
                moved=first,
                sources=trace.pfn[frees[moved]],
                targets=trace.pfn[targets[moved]],
                calls=int(np.count_nonzero(calls[start:end])),
            )
        )
    before = np.cumsum(keep) - keep
    places = np.append(before, np.count_nonzero(keep))
    offlines = tuple(
        part._replace(isolated=int(places[part.isolated]), moved=int(places[part.moved]))
        for part in parts
    )
    return replace(trace, pfn=pfn).select(keep), offlines


def _freed_for(
    trace: TraceTable, block: int, targets: NDArray[np.int64], end: int
) -> NDArray[np.int64]:
    """Return the row of the free that follows each target: of the page moved there, or its own."""
    first, pages = block_range(block)
    start = int(targets[0]) if len(targets) else end
    rows = start + np.flatnonzero(trace.event[start:end] == TraceEvent.MM_PAGE_FREE)
    found = []
    at = 0
    for target in targets.tolist():
        at = max(at, int(np.searchsorted(rows, target)))
        while at < len(rows):
            pfn = int(trace.pfn[rows[at]])
            at += 1
            if first <= pfn < first + pages or pfn == trace.pfn[target]:
                found.append(int(rows[at - 1]))
                break
    # A trace that ends amid a move has no free for its last target.
    found += targets[len(found) :].tolist()
    return np.array(found, np.int64)


def _rename(
    trace: TraceTable,
    pfn: NDArray[np.int64],
    targets: NDArray[np.int64],
    sources: NDArray[np.int64],
) -> None:
    """Let the next free of a page that was moved name the frame that it was moved from."""
    frees = np.flatnonzero(
        (trace.event == TraceEvent.MM_PAGE_FREE) | (trace.event == TraceEvent.MM_PAGE_FREE_BATCHED)
    )
    if not len(targets):
        return
    name = dict(zip(trace.pfn[targets].tolist(), trace.pfn[sources].tolist(), strict=True))
    for row in frees[frees > targets[0]].tolist():
        if pfn[row] in name:
            pfn[row] = name[int(pfn[row])]


def replay_offlines(
    run: FreeRun, rows: NDArray[np.int64], offlines: Sequence[RecordedOffline]
) -> MovedPages:
    """Carry out all requests (at ``rows`` of the trace), and the offlines where they came."""
    pairs = []
    for offline in offlines:
        run.until(int(np.searchsorted(rows, offline.isolated)))
        attempt = Offlining(run.memory, *block_range(offline.block))
        run.memory.mem.log_cursor[trace_log.LOG_EVENT] = 0
        outcome = attempt.step()
        run.keep_log()
        run.until(int(np.searchsorted(rows, offline.moved)))
        attempt.memory = run.memory
        run.memory.mem.log_cursor[trace_log.LOG_EVENT] = 0
        for _ in range(offline.calls + 1):
            if outcome is None:
                outcome = attempt.step()
        if outcome is None:
            attempt.stops_at = attempt.now
            attempt.step()
        log = run.keep_log()
        mine = log[(log[:, 1] == trace_log.LOG_MIGRATE_PAGE) & (log[:, 5] == 0)]
        pairs.append(mine[:, 2:4])
    run.until(len(rows))
    moved = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)
    seen = np.concatenate([np.stack([o.sources, o.targets], axis=1) for o in offlines])
    n = min(len(moved), len(seen))
    equal = int(np.count_nonzero((moved[:n] == seen[:n]).all(axis=1)))
    return MovedPages(len(seen), len(moved), equal)
