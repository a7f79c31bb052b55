"""A process that takes much memory and keeps using it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field, model_validator

from memsim.mm import GFP_COMPOSITES, OP_FREE, OP_TOUCH, OP_WRITE, PAGE_SIZE, Gfp, Use
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import Bytes, Duration, NodeSet, Rate, Share
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, places
from memsim.workloads._timeline import (
    FREEING_NS,
    SECOND,
    check_handles,
    events,
    in_order,
    spaced,
    windows,
)


class Workload(WorkloadModel):
    """Fill memory with anonymous pages, then use them at random; the OOM killer may end it.

    Stands for a leak, a virtual machine or a batch job that is too large for the machine: with a
    swap device it swaps, without one it drives the machine into OOM.
    """

    anon: Bytes = Field(1 << 30, description="Memory that it takes.")
    start: Duration = Field(0, description="When it starts.")
    grow: Duration = Field(10 * SECOND, description="Time in which it takes it.")
    exit: Duration | None = Field(
        None, description="When it exits; without it, it stays to the end."
    )
    touch: Rate = Field(0, description="Accesses per second to pages at random, once it is full.")
    write: Share = Field(0.5, description="Share of the accesses that write.")
    mlocked: bool = Field(False, description="It locks its memory: no page of it is reclaimed.")
    killable: bool = Field(True, description="The OOM killer may choose it.")
    oom_score_adj: int = Field(
        0, ge=-1000, le=1000, description="How the OOM killer sees it: -1000 never, 1000 first."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _exit_after_growth(self) -> Workload:
        if self.exit is not None and self.exit < self.start + self.grow:
            raise ValueError("expected an exit after it has grown")
        return self

    @property
    def locked_bytes(self) -> int:
        """All that it takes, if it locks it."""
        return self.anon if self.mlocked else 0

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        pages = check_handles(ctx.name, max(self.anon // PAGE_SIZE, 1))
        where = places(ctx, self.nodes)
        requests = tuple(
            Request(_PAGE, Use.ANON, preferred=node, lru=True, mlocked=self.mlocked)
            for node in where.nodes
        )
        return Stream(
            requests,
            pages,
            in_order(self._parts(pages, where, ctx), ctx.duration_ns),
            killable=self.killable,
            oom_score_adj=self.oom_score_adj,
        )

    def _parts(self, pages: int, where: Places, ctx: Context) -> Iterator[tuple[int, AllocBatch]]:
        for first, stop in windows(pages):
            page = np.arange(first, stop)
            time = spaced(page, pages, self.start, self.grow, ctx.rng)
            place = where.draw(ctx.rng, len(page))
            until = self.start + stop * self.grow // pages
            op = OP_TOUCH | OP_WRITE
            yield until, events(time, op, where.node[place], where.cpu[place], page)
        full = self.start + self.grow
        end = ctx.duration_ns if self.exit is None else min(self.exit, ctx.duration_ns)
        span = max(end - full, 0)
        count = self.touch * span // SECOND
        for first, stop in windows(count):
            time = spaced(np.arange(first, stop), count, full, span, ctx.rng)
            place = where.draw(ctx.rng, stop - first)
            written = ctx.rng.random(stop - first) < self.write
            access = np.where(written, OP_TOUCH | OP_WRITE, OP_TOUCH)
            page = ctx.rng.integers(pages, size=stop - first)
            until = full + stop * span // count
            yield until, events(time, access, where.node[place], where.cpu[place], page)
        if self.exit is not None:
            for first, stop in windows(pages):
                page = np.arange(first, stop)
                time = self.exit + page * FREEING_NS
                cpu = where.cpu[:1].repeat(stop - first)
                yield self.exit + stop * FREEING_NS, events(time, OP_FREE, 0, cpu, page)


_PAGE = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP | Gfp.ZERO
