"""The kernel's own objects: dentries, inodes, buffers, network and file structures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from memsim.mm import GFP_COMPOSITES, OP_FREE, PAGE_ALLOC_COSTLY_ORDER, Gfp, Use
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import Duration, Lifetime, NodeSet, Rate, Share, format_share
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

ORDERS = PAGE_ALLOC_COSTLY_ORDER + 1
USES = (Use.SLAB, Use.INODE, Use.DENTRY)
"""Unmovable slabs, and in turn the two kinds of reclaimable ones."""


def _shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    if len(shares) > ORDERS:
        raise ValueError(f"expected at most {ORDERS} shares, found {len(shares)}")
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        found = format_share(round(sum(shares), 6))
        raise ValueError(f"expected shares that make 100% together, found {found}")
    return shares


class Workload(WorkloadModel):
    """Take slab pages at a steady rate and give each back when its lifetime ends.

    Stands for the objects that a kernel makes on behalf of its users: unmovable ones (files,
    sockets, buffers) and reclaimable ones (dentries, inodes). Requests carry the flags that SLUB
    uses: those of order 0 may reclaim, higher ones may not.
    """

    rate: Rate = Field(1000, description="Slabs per second.")
    start: Duration = Field(0, description="When the first is taken.")
    stop: Duration | None = Field(
        None, description="From when on no more are taken; without it they go on to the end."
    )
    reclaimable: Share = Field(
        0.4,
        description="Share of the slabs that could be reclaimed: inodes and dentries, half each.",
    )
    lifetime: Lifetime = Field(
        Lifetime.model_validate({"exponential": {"mean": "1s"}}),
        description="Time from taking a slab to giving it back.",
    )
    orders: Annotated[tuple[Share, ...], AfterValidator(_shares)] = Field(
        (0.5, 0.25, 0.15, 0.1), description="Share of the slabs that are of order 0, 1, 2 and 3."
    )
    nodes: NodeSet | None = Field(
        None,
        description="Nodes whose memory is asked for, from their CPUs; "
        "all nodes with CPUs unless given.",
    )

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        begin, end = self._time(ctx)
        count = check_handles(ctx.name, self.rate * (end - begin) // SECOND)
        where = places(ctx, self.nodes)
        kinds = [(order, use) for order in range(ORDERS) for use in USES]
        requests = tuple(_request(order, use, n) for order, use in kinds for n in where.nodes)
        parts = self._parts(ctx, count, where)
        return Stream(requests, count, in_order(parts, ctx.duration_ns))

    def _time(self, ctx: Context) -> tuple[int, int]:
        """Say between which instants slabs are taken."""
        end = ctx.duration_ns if self.stop is None else min(self.stop, ctx.duration_ns)
        return min(self.start, end), end

    def _parts(self, ctx: Context, count: int, where: Places) -> Iterator[tuple[int, AllocBatch]]:
        duration, rng = ctx.duration_ns, ctx.rng
        begin, end = self._time(ctx)
        weights = np.array(self.orders) / sum(self.orders)
        for first, stop in windows(count, events_each=2):
            slabs = np.arange(first, stop)
            born = spaced(slabs, count, begin, end - begin, rng)
            dies = born + draw_lifetimes(self.lifetime, len(slabs), duration, rng)
            order = rng.choice(len(self.orders), size=len(slabs), p=weights)
            reclaimable = rng.random(len(slabs)) < self.reclaimable
            kind = order * len(USES) + np.where(reclaimable, 1 + slabs % 2, 0)
            place = where.draw(rng, len(slabs))
            request = kind * len(where.nodes) + where.node[place]
            freeing = where.cpu[where.draw(rng, len(slabs))]
            yield (
                begin + stop * (end - begin) // count,
                joined(
                    [
                        events(born, order, request, where.cpu[place], slabs),
                        events(dies, order | OP_FREE, 0, freeing, slabs),
                    ]
                ),
            )


def _request(order: int, use: Use, node: int) -> Request:
    # Unlike Linux: a slab of a higher order that cannot be had is not asked for again with the
    # smallest order that its objects fit in (allocate_slab, mm/slub.c, 6.1).
    gfp = GFP_COMPOSITES["GFP_KERNEL"] | Gfp.NOWARN | Gfp.NORETRY
    if order:
        gfp = (gfp & ~Gfp.RECLAIM) | Gfp.NOMEMALLOC | Gfp.COMP
    if use != Use.SLAB:
        gfp |= Gfp.RECLAIMABLE
    return Request(gfp, use, preferred=node)
