"""Ask again for what a recorded trace asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from memsim.errors import InputError, Problem
from memsim.mm import OP_FREE, Gfp, Use, gfp_from_text
from memsim.schema import AllocBatch, HeldBlocks, Request, Stream
from memsim.traces import TraceEvent, TraceTable, read_trace
from memsim.units import Duration, InputPath
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._timeline import in_order

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
    unknown_order: NDArray[np.int64]
    first_seen: NDArray[np.bool_]
    """The free of ``unknown[k]`` is the first that the trace says of that pfn."""

    @property
    def before(self) -> HeldBlocks:
        """Return what the handles of ``unknown`` hold at the start, if it is allocated then."""
        return HeldBlocks(np.where(self.first_seen, self.unknown, -1), self.unknown_order)

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
        batch = AllocBatch._make(column[:events] for column in self.batch)
        return replace(self, batch=batch, row=self.row[:events])


def trace_requests(trace: TraceTable, nodes: NDArray[np.int8] | None = None) -> TraceRequests:
    """Turn a trace into requests and frees by handle.

    A batched free takes effect at its mm_page_free_batched line, where the page reaches the
    per-CPU list. ``nodes`` is the preferred node of each row of the trace (None: the CPU's).
    """
    allocs = np.flatnonzero(trace.event == ALLOC)
    handle_of = np.full(len(trace), -1, np.int64)
    handle_of[allocs] = np.arange(len(allocs))
    frees, freed_handle, unknown, novel = _match_frees(trace, handle_of, len(allocs))
    row = np.concatenate([allocs, frees])
    order = np.argsort(row, kind="stable")
    row = row[order]
    handle = np.concatenate([handle_of[allocs], freed_handle])[order]
    is_free = (np.arange(len(row)) >= len(allocs))[order]
    requests, request = _classes(trace, row, is_free, nodes)
    op = trace.order[row].astype(np.uint8) | np.where(is_free, OP_FREE, 0).astype(np.uint8)
    batch = AllocBatch(trace.time[row], op, request, trace.cpu[row], handle.astype(np.int32))
    orders = trace.order[unknown].astype(np.int64)
    return TraceRequests(batch, row, requests, len(allocs), trace.pfn[unknown], orders, novel)


def _match_frees(
    trace: TraceTable, handle_of: NDArray[np.int64], first_before: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return row and handle of every free; of those without an allocation, row and novelty.

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
    return lines[takes_effect], handle, lines[takes_effect[unknown]], novel


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


class Workload(WorkloadModel):
    """Make the requests that a trace or capture recorded, at their times, whatever becomes of them.

    Times count from the first request, or in a trace that memsim wrote from its trial's beginning.
    Recorded page frames only say which allocation a free belongs to. Frees of pages from before
    the trace free what the machine's start state holds there, if it comes from the same capture.
    """

    trace: InputPath = Field(description="Trace file or capture folder.")
    from_: Duration = Field(
        0,
        alias="from",
        description="Leave out what was recorded earlier than this after the first event.",
    )
    until: Duration | None = Field(None, description="Leave out what was recorded from here on.")

    @model_validator(mode="after")
    def _until_after_from(self) -> Workload:
        if self.until is not None and self.until <= self.from_:
            raise ValueError('expected "until" after "from"')
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial; raises InputError for what is no trace, or has none."""
        path = Path(ctx.directory, self.trace)
        trace = self._part(read_trace(path))
        known = _requests_of(path, trace)
        begin = trace.begins_ns
        time = known.batch.time - (int(known.batch.time[0]) if begin is None else begin)
        kept = int(np.searchsorted(time, ctx.duration_ns))
        cpu, moved = _existing_cpus(known.batch.cpu, ctx)
        part = known.batch._replace(time=time, cpu=cpu)
        notes = _open_loop(ctx.name, trace, known, kept)
        if moved:
            notes.append(
                f"{ctx.name}: {moved} events are of CPUs that the machine lacks; others do"
            )
        batches = in_order([(ctx.duration_ns, part)], ctx.duration_ns)
        return Stream(known.requests, known.handles, batches, known.before, notes=tuple(notes))

    def _part(self, trace: TraceTable) -> TraceTable:
        if not self.from_ and self.until is None:
            return trace
        time = trace.time - trace.time[:1]
        span = [self.from_] if self.until is None else [self.from_, self.until]
        cut = slice(*np.searchsorted(time, span), *([None] * (2 - len(span))))
        arrays: dict[str, Any] = {
            k: v[cut] for k, v in vars(trace).items() if isinstance(v, np.ndarray)
        }
        return replace(trace, **arrays)


def _requests_of(path: Path, trace: TraceTable) -> TraceRequests:
    try:
        known = trace_requests(trace)
    except KeyError as error:
        raise InputError([Problem(str(path), 0, 0, f"unknown gfp flag {error}")]) from error
    if not len(known.batch.time):
        message = "no mm_page_alloc and no mm_page_free to replay"
        raise InputError([Problem(str(path), 0, 0, message, "record the kmem events")])
    return known


def _existing_cpus(cpu: NDArray[np.uint16], ctx: Context) -> tuple[NDArray[np.uint16], int]:
    """Move events of CPUs that the machine lacks to others; count them."""
    there = np.array(sorted(c for cpus in ctx.cpus.values() for c in cpus), np.uint16)
    lacking = ~np.isin(cpu, there)
    return np.where(lacking, there[cpu % len(there)], cpu), int(lacking.sum())


def _open_loop(name: str, trace: TraceTable, known: TraceRequests, kept: int) -> list[str]:
    """Say what this replay is and what it leaves out."""
    batch = known.batch
    is_free = batch.op >= OP_FREE
    frees = int(is_free.sum())
    stray = int((is_free & (batch.handle >= known.allocations)).sum())
    moves = int((trace.event >= TraceEvent.MM_COMPACTION_BEGIN).sum())
    notes = [
        f"{name}: {known.allocations} recorded allocations are made again at their times, "
        "whatever becomes of them (open loop)",
        f"{name}: {stray} of {frees} frees are of pages that no recorded line had allocated; "
        "they free what the start state holds there, if anything",
        f"{name}: recorded compaction, migration and reclaim are dropped ({moves} lines)",
    ]
    if kept < len(batch.op):
        notes.append(f"{name}: {len(batch.op) - kept} events lie after the end and are dropped")
    return notes
