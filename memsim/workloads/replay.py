"""Ask again for what a recorded trace asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memsim.mm import OP_FREE, Gfp, Use, gfp_from_text
from memsim.schema import AllocBatch, Request
from memsim.traces import TraceEvent, TraceTable

ALLOC, FREE, FREE_BATCHED = (
    int(TraceEvent.MM_PAGE_ALLOC),
    int(TraceEvent.MM_PAGE_FREE),
    int(TraceEvent.MM_PAGE_FREE_BATCHED),
)


@dataclass(frozen=True)
class TraceRequests:
    """The requests of a trace without their outcome.

    Allocation k of the trace is handle k. The handles after those belong to frees of pages that
    no line of the trace had allocated: pages held since before the trace, or taken by a
    bulk allocation, which prints nothing.
    """

    batch: AllocBatch
    row: NDArray[np.int64]
    """(n,) row of the trace at which each event takes effect."""
    requests: tuple[Request, ...]
    allocations: int
    unknown: NDArray[np.int64]
    """pfn of handle ``allocations + k``, freed without an allocation."""
    first_seen: NDArray[np.bool_]
    """The free of ``unknown[k]`` is the first that the trace says of that pfn."""

    @property
    def handles(self) -> int:
        """How many handles the batch uses."""
        return self.allocations + len(self.unknown)

    def allocs(self, where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return which events are allocations (of those that ``where`` marks)."""
        is_alloc = self.batch.op < OP_FREE
        return np.flatnonzero(is_alloc if where is None else is_alloc & where)

    def first(self, events: int) -> TraceRequests:
        """Return the first events alone."""
        batch = AllocBatch(*(column[:events] for column in self.batch))
        return replace(self, batch=batch, row=self.row[:events])


def trace_requests(trace: TraceTable, nodes: NDArray[np.int8] | None = None) -> TraceRequests:
    """Turn a trace into requests and frees by handle.

    A batched free takes effect at its mm_page_free_batched line, where the page reaches the
    per-CPU list. ``nodes`` is the preferred node of each row of the trace (None: the CPU's).
    """
    allocs = np.flatnonzero(trace.event == ALLOC)
    handle_of = np.full(len(trace), -1, np.int64)
    handle_of[allocs] = np.arange(len(allocs))
    frees, freed_handle, unknown, first_seen = _match_frees(trace, handle_of, len(allocs))
    row = np.concatenate([allocs, frees])
    order = np.argsort(row, kind="stable")
    row = row[order]
    handle = np.concatenate([handle_of[allocs], freed_handle])[order]
    is_free = (np.arange(len(row)) >= len(allocs))[order]
    requests, request = _classes(trace, row, is_free, nodes)
    op = trace.order[row].astype(np.uint8) | np.where(is_free, OP_FREE, 0).astype(np.uint8)
    batch = AllocBatch(trace.time[row], op, request, trace.cpu[row], handle.astype(np.int32))
    return TraceRequests(batch, row, requests, len(allocs), unknown, first_seen)


def _match_frees(
    trace: TraceTable, handle_of: NDArray[np.int64], first_before: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the row and handle of every free; pfn and novelty of those without an allocation.

    Lines of one pfn are looked at in order: a free belongs to the allocation line before it; a
    batched line moves the free line before it to its own time.
    """
    lines = np.flatnonzero((trace.event <= FREE_BATCHED) & (trace.pfn >= 0))
    lines = lines[np.lexsort((lines, trace.pfn[lines]))]
    pfn, event = trace.pfn[lines], trace.event[lines]
    same = np.concatenate([pfn[1:] == pfn[:-1], [False]])
    moved = np.concatenate(
        [same[:-1] & (event[:-1] == FREE) & (event[1:] == FREE_BATCHED), [False]]
    )
    free = (event == FREE) | (event == FREE_BATCHED)
    second = np.concatenate([[False], moved[:-1]])
    previous = np.where(second, np.arange(len(lines)) - 2, np.arange(len(lines)) - 1)
    takes_effect = np.flatnonzero(free & ~moved)
    previous = previous[takes_effect]
    seen_before = (previous >= 0) & (pfn[previous] == pfn[takes_effect])
    known = seen_before & (event[previous] == ALLOC)
    handle = np.where(known, handle_of[lines[previous]], -1)
    unknown = np.flatnonzero(~known)
    handle[unknown] = first_before + np.arange(len(unknown))
    novel = ~seen_before[unknown]
    return lines[takes_effect], handle, pfn[takes_effect[unknown]], novel


def _classes(
    trace: TraceTable,
    row: NDArray[np.int64],
    is_free: NDArray[np.bool_],
    nodes: NDArray[np.int8] | None,
) -> tuple[tuple[Request, ...], NDArray[np.uint16]]:
    """Group the allocations by gfp flags and preferred node."""
    gfp = trace.gfp[row].astype(np.int64)
    node = np.full(len(row), -1, np.int64) if nodes is None else nodes[row].astype(np.int64)
    key = np.where(is_free, -1, (gfp << 16) + node + 1)
    kinds, request = np.unique(key, return_inverse=True)
    requests = tuple(
        request_of(trace.gfp_texts[k >> 16], (k & 0xFFFF) - 1) if k >= 0 else _ANY for k in kinds
    )
    return requests, request.astype(np.uint16)


def request_of(text: str, node: int = -1) -> Request:
    """Read a traced request; movable compound pages are those of user space, on LRU lists."""
    gfp = gfp_from_text(text)
    lru = bool(gfp & Gfp.MOVABLE and gfp & Gfp.COMP)
    use = Use.ANON if lru else Use.KERNEL
    return Request(gfp, use, preferred=None if node < 0 else node, lru=lru)


_ANY = Request(Gfp.NONE, Use.KERNEL)
