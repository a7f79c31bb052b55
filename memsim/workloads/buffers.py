"""Metadata of file systems, read through the block device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from memsim.kernels.layout import TRAIT_BUFFERS_IN_USE
from memsim.mm import GFP_COMPOSITES, OP_COLD, OP_FREE, PAGE_SIZE, Gfp, Use
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import ByteRate, Bytes, Duration, Lifetime, NodeSet, Share
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, draw_lifetimes, places
from memsim.workloads._timeline import (
    FREEING_NS,
    SECOND,
    check_handles,
    events,
    in_order,
    joined,
    spaced,
    windows,
)
from memsim.workloads._traits import page_traits


class Workload(WorkloadModel):
    """Read metadata of file systems; keep the part in use, and drop the rest after a while.

    Stands for the page cache of block devices: superblock, bitmaps, inode tables and directory
    blocks. The kernel reads it through pointers of its own, so it must be directly mapped
    memory; it can be given back and migrated all the same. What is dropped is freed as reclaim
    does it, as cold pages.
    """

    size: Bytes = Field(
        32 << 20, description="What stays once it is read: bitmaps, tables and directories in use."
    )
    grow: Duration = Field(SECOND, description="Time in which that is read.")
    churn: ByteRate = Field(4 << 20, description="What is read besides, per second, from then on.")
    lifetime: Lifetime = Field(
        Lifetime.model_validate({"exponential": {"mean": "2s"}}),
        description="Time after which a page of the churn is dropped.",
    )
    drop: Duration | None = Field(
        None,
        description="When the file system is unmounted: all pages go, and no more are read. "
        "Without it, they stay to the end.",
    )
    in_use: Share = Field(
        0.0,
        description="Share of the pages whose buffers the file system holds (superblock, bitmaps): "
        "they cannot move.",
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _drop_after_grow(self) -> Workload:
        if self.drop is not None and self.drop < self.grow:
            raise ValueError("expected the drop after what stays has been read")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        size = self.size // PAGE_SIZE
        span = max(self._end(ctx) - self.grow, 0)
        passing = self.churn * span // (PAGE_SIZE * SECOND)
        handles = check_handles(ctx.name, size + passing)
        where = places(ctx, self.nodes)
        requests = tuple(Request(_READ, Use.BUFFERS, preferred=n, lru=True) for n in where.nodes)
        parts = [self._kept(size, where, ctx), self._passing(size, passing, where, ctx)]
        if self.drop is not None:
            parts.append(self._dropped(self.drop, size, where, ctx))
        traits = page_traits(handles, {TRAIT_BUFFERS_IN_USE: self.in_use}, ctx.rng)
        batches = in_order(chain(*parts), ctx.duration_ns)
        return Stream(requests, handles, batches, traits=traits)

    def _end(self, ctx: Context) -> int:
        return ctx.duration_ns if self.drop is None else min(self.drop, ctx.duration_ns)

    def _kept(self, size: int, where: Places, ctx: Context) -> Iterator[tuple[int, AllocBatch]]:
        for first, stop in windows(size):
            pages = np.arange(first, stop)
            time = spaced(pages, size, 0, self.grow, ctx.rng)
            yield stop * self.grow // size, _reads(time, pages, where, ctx)

    def _passing(
        self, size: int, count: int, where: Places, ctx: Context
    ) -> Iterator[tuple[int, AllocBatch]]:
        span = self._end(ctx) - self.grow
        for first, stop in windows(count, events_each=2):
            pages = np.arange(first, stop)
            born = spaced(pages, count, self.grow, span, ctx.rng)
            dies = born + draw_lifetimes(self.lifetime, len(pages), ctx.duration_ns, ctx.rng)
            if self.drop is not None:
                dies = np.minimum(dies, self.drop)
            dropping = where.cpu[where.draw(ctx.rng, len(pages))]
            reads = _reads(born, size + pages, where, ctx)
            gone = events(dies, OP_FREE | OP_COLD, 0, dropping, size + pages)
            yield self.grow + stop * span // count, joined([reads, gone])

    def _dropped(
        self, drop: int, size: int, where: Places, ctx: Context
    ) -> Iterator[tuple[int, AllocBatch]]:
        cpu = where.cpu[where.draw(ctx.rng, 1)]
        for first, stop in windows(size):
            pages = np.arange(first, stop)
            time = drop + pages * FREEING_NS
            yield drop + stop * FREEING_NS, events(time, OP_FREE | OP_COLD, 0, cpu, pages)


def _reads(
    time: NDArray[np.int64], pages: NDArray[np.int64], where: Places, ctx: Context
) -> AllocBatch:
    place = where.draw(ctx.rng, len(time))
    return events(time, 0, where.node[place], where.cpu[place], pages)


_READ = GFP_COMPOSITES["GFP_NOFS"] | Gfp.MOVABLE | Gfp.EASYRCLM
