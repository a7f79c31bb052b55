"""Hold what a workload from outside plans against what a trial can carry out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import GeneratorType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim import plugins
from memsim.mm import ALLOC_FLAGS, FREE_FLAGS, NR_ORDERS, OP_FREE, Gfp, Use
from memsim.schema import AllocBatch, HeldBlocks, Request, Stream
from memsim.workloads import Context

DTYPES = (np.int64, np.uint8, np.uint16, np.uint16, np.int32)
MAX_IDLE = 10_000
"""Batches that may end at one and the same instant: a stream of nothing else never ends."""
METHOD = "Workload.stream"


def stream_of(kind: str, workload: Any, ctx: Context) -> Stream:
    """Let a workload of a kind plan its stream; one from outside is watched and checked.

    Raises plugins.PluginFault, also while the batches are read.
    """
    with plugins.watch("workloads", kind, METHOD):
        planned: Stream = workload.stream(ctx)
    if not plugins.is_outside("workloads", kind):
        return planned
    fault = _stream_fault(planned)
    if fault:
        raise plugins.fault("workloads", kind, METHOD, f"stream(): {fault}")
    return replace(planned, batches=_batches(kind, planned, ctx))


def _stream_fault(stream: Any) -> str:
    if not isinstance(stream, Stream):
        return f"expected a Stream, found {type(stream).__name__}"
    if not isinstance(stream.requests, tuple):
        return f"requests: expected a tuple of Request, found {type(stream.requests).__name__}"
    for request in stream.requests:
        if not isinstance(request, Request):
            return f"requests: expected Request, found {type(request).__name__}"
        if not (isinstance(request.gfp, Gfp) and isinstance(request.use, Use)):
            return f"a request has gfp {request.gfp!r} and use {request.use!r}: expected Gfp, Use"
        nodes = (
            *(request.nodes or ()),
            *([] if request.preferred is None else [request.preferred]),
        )
        if not all(isinstance(node, int) for node in nodes):
            return f"a request has nodes {nodes!r}, expected whole numbers"
    if not isinstance(stream.handles, int) or stream.handles < 0:
        return f"handles: expected a whole number from 0, found {stream.handles!r}"
    if not isinstance(stream.batches, Iterable):
        return f"batches: expected AllocBatch one by one, found {type(stream.batches).__name__}"
    if not all(isinstance(note, str) for note in stream.notes):
        return "notes: expected sentences"
    return _held_fault(stream.before, stream.handles)


def _held_fault(before: Any, handles: int) -> str:
    if before is None:
        return ""
    if not isinstance(before, HeldBlocks):
        return f"before: expected HeldBlocks, found {type(before).__name__}"
    for array in before:
        if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.ndim != 1:
            return "before: expected two arrays of int64"
    if len(before.pfn) != len(before.order) or len(before.pfn) > handles:
        return "before: expected a pfn and an order for each of the last handles"
    pfns = before.pfn[before.pfn >= 0]
    if len(np.unique(pfns)) < len(pfns):
        return "before: a pfn appears twice"
    return ""


def _batches(kind: str, stream: Stream, ctx: Context) -> Iterator[AllocBatch]:
    with plugins.watch("workloads", kind, METHOD):
        batches = iter(stream.batches)
    try:
        yield from _sound_batches(kind, batches, stream, ctx)
    finally:
        # Not left to Python, which would run what a generator does last at some later time.
        with plugins.watch("workloads", kind, METHOD):
            if isinstance(batches, GeneratorType):
                batches.close()


def _sound_batches(
    kind: str, batches: Iterator[AllocBatch], stream: Stream, ctx: Context
) -> Iterator[AllocBatch]:
    last = idle = 0
    while True:
        with plugins.watch("workloads", kind, METHOD):
            batch = next(batches, None)
        if batch is None:
            return
        line = _line_of(batches)
        fault = _batch_fault(batch, stream, ctx, last)
        idle = 0 if fault or (len(batch.time) and int(batch.time[-1]) > last) else idle + 1
        if idle > MAX_IDLE:
            fault = f"time does not go on in {MAX_IDLE} batches"
        if fault:
            raise plugins.fault("workloads", kind, METHOD, f"stream(): {fault}", line)
        if len(batch.time):
            last = int(batch.time[-1])
            yield batch


def _line_of(batches: object) -> int:
    """Say at which line a generator stands that waits at a ``yield`` of its own."""
    frame = batches.gi_frame if isinstance(batches, GeneratorType) else None
    return frame.f_lineno if frame is not None else 0


def _batch_fault(batch: Any, stream: Stream, ctx: Context, last: int) -> str:
    if not isinstance(batch, AllocBatch):
        return f"expected an AllocBatch, found {type(batch).__name__}"
    for field, array, dtype in zip(AllocBatch._fields, batch, DTYPES, strict=True):
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != dtype:
            found = getattr(array, "dtype", type(array).__name__)
            shape = getattr(array, "shape", "")
            return f"{field}: expected an array (n,) of {np.dtype(dtype)}, found {found} {shape}"
    lengths = [len(array) for array in batch]
    if len(set(lengths)) > 1:
        found = ", ".join(f"{f} {n}" for f, n in zip(AllocBatch._fields, lengths, strict=True))
        return f"the arrays of a batch are not of one length: {found}"
    return _event_fault(batch, stream, ctx, last) if lengths[0] else ""


def _event_fault(batch: AllocBatch, stream: Stream, ctx: Context, last: int) -> str:
    time, op, request, cpu, handle = batch
    if int(time[0]) < last or np.any(np.diff(time) < 0):
        return "the events are not sorted by time"
    if int(time[-1]) >= ctx.duration_ns:
        return f"an event at {time[-1]} ns, the trial ends at {ctx.duration_ns} ns"
    allocates = op < OP_FREE
    order = op & ~np.where(allocates, np.uint8(ALLOC_FLAGS), np.uint8(FREE_FLAGS))
    cpus = [cpu for cpus in ctx.cpus.values() for cpu in cpus]
    wrong: dict[str, tuple[NDArray[np.bool_], NDArray[Any]]] = {
        f"op: expected an order up to {NR_ORDERS - 1}": (order >= NR_ORDERS, op),
        f"request: there are {len(stream.requests)}": (
            allocates & (request >= len(stream.requests)), request,
        ),
        f"handle: there are {stream.handles}": ((handle < 0) | (handle >= stream.handles), handle),
        "cpu: there is no such CPU": (~np.isin(cpu, cpus), cpu),
    }  # fmt: skip
    for message, (which, values) in wrong.items():
        if which.any():
            return f"{message}, found {values[np.argmax(which)]}"
    return ""
