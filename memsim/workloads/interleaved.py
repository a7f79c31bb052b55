"""Memory filled with movable and unmovable pages in turn, and half emptied again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field, model_validator

from memsim.mm import OP_FREE, PAGE_SIZE, Use, gfp_from_text
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import Bytes, Duration, NodeSet, Share
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import places
from memsim.workloads._timeline import SECOND, check_handles, events, in_order, spaced, windows

USER = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO")
MODULE = gfp_from_text("GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY")


class Workload(WorkloadModel):
    """Fill memory with user pages and a few kernel pages between them; free some at random.

    Stands for the fragmentation experiment of the captures ``frag`` and ``e4``: one program faults
    in anonymous pages and after every few of them has a kernel module take one; then it gives back
    each of its own pages with some probability, in the order of their addresses. What it keeps, it
    keeps to the end.
    """

    size: Bytes = Field(256 << 20, description="What is taken, kernel pages included.")
    movable: int = Field(8, ge=1, le=4096, description="User pages between two kernel pages.")
    grow: Duration = Field(3 * SECOND, description="Time in which all is taken.")
    free: Share = Field(0.5, description="Share of the user pages that are given back.")
    drop: Duration = Field(4 * SECOND, description="When giving back begins.")
    shrink: Duration = Field(SECOND // 2, description="Time in which that is done.")
    nodes: NodeSet | None = Field(
        None, description="Nodes whose CPUs it may run on; it runs on one. All unless given."
    )

    @model_validator(mode="after")
    def _drop_after_grow(self) -> Workload:
        if self.drop < self.grow:
            raise ValueError("expected the drop after all has been taken")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        count = check_handles(ctx.name, self.size // PAGE_SIZE)
        where = places(ctx, self.nodes)
        place = int(where.draw(ctx.rng, 1)[0])
        node = where.nodes[int(where.node[place])]
        requests = (
            Request(USER, Use.ANON, preferred=node, lru=True),
            Request(MODULE, Use.KERNEL, preferred=node),
        )
        parts = self._parts(ctx, count, int(where.cpu[place]))
        return Stream(requests, count, in_order(parts, ctx.duration_ns))

    def _parts(self, ctx: Context, count: int, cpu: int) -> Iterator[tuple[int, AllocBatch]]:
        for first, stop in windows(count):
            pages = np.arange(first, stop)
            time = spaced(pages, count, 0, self.grow, ctx.rng)
            unmovable = pages % (self.movable + 1) == self.movable
            yield stop * self.grow // count, events(time, 0, unmovable, cpu, pages)
        for first, stop in windows(count):
            pages = np.arange(first, stop)
            time = spaced(pages, count, self.drop, self.shrink, ctx.rng)
            goes = (pages % (self.movable + 1) < self.movable) & (
                ctx.rng.random(len(pages)) < self.free
            )
            until = self.drop + stop * self.shrink // count
            yield until, events(time[goes], OP_FREE, 0, cpu, pages[goes])
