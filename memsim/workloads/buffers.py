"""Metadata of file systems, read through the block device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from memsim.mm import GFP_COMPOSITES, OP_COLD, OP_FREE, PAGE_SIZE, Gfp, Use
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import ByteRate, Bytes, Duration, Lifetime, NodeSet
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, draw_lifetimes, places
from memsim.workloads._timeline import (
    SECOND,
    check_handles,
    events,
    in_order,
    joined,
    spaced,
    windows,
)


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
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        size = self.size // PAGE_SIZE
        span = max(ctx.duration_ns - self.grow, 0)
        passing = self.churn * span // (PAGE_SIZE * SECOND)
        handles = check_handles(ctx.name, size + passing)
        where = places(ctx, self.nodes)
        requests = tuple(Request(_READ, Use.BUFFERS, preferred=n, lru=True) for n in where.nodes)
        parts = chain(self._kept(size, where, ctx), self._passing(size, passing, where, ctx))
        return Stream(requests, handles, in_order(parts, ctx.duration_ns))

    def _kept(self, size: int, where: Places, ctx: Context) -> Iterator[tuple[int, AllocBatch]]:
        for first, stop in windows(size):
            pages = np.arange(first, stop)
            time = spaced(pages, size, 0, self.grow, ctx.rng)
            yield stop * self.grow // size, _reads(time, pages, where, ctx)

    def _passing(
        self, size: int, count: int, where: Places, ctx: Context
    ) -> Iterator[tuple[int, AllocBatch]]:
        span = ctx.duration_ns - self.grow
        for first, stop in windows(count, events_each=2):
            pages = np.arange(first, stop)
            born = spaced(pages, count, self.grow, span, ctx.rng)
            dies = born + draw_lifetimes(self.lifetime, len(pages), ctx.duration_ns, ctx.rng)
            dropping = where.cpu[where.draw(ctx.rng, len(pages))]
            reads = _reads(born, size + pages, where, ctx)
            gone = events(dies, OP_FREE | OP_COLD, 0, dropping, size + pages)
            yield self.grow + stop * span // count, joined([reads, gone])


def _reads(
    time: NDArray[np.int64], pages: NDArray[np.int64], where: Places, ctx: Context
) -> AllocBatch:
    place = where.draw(ctx.rng, len(time))
    return events(time, 0, where.node[place], where.cpu[place], pages)


_READ = GFP_COMPOSITES["GFP_NOFS"] | Gfp.MOVABLE | Gfp.EASYRCLM
