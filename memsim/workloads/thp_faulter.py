"""Processes whose memory is faulted in as transparent huge pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from memsim.mm import (
    GFP_COMPOSITES,
    OP_FALLBACK,
    OP_FREE,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Gfp,
    Use,
    gfp_from_text,
)
from memsim.scenario.event import GfpText
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import Bytes, Duration, Lifetime, NodeSet, Rate
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, draw_lifetimes, places
from memsim.workloads._timeline import SECOND, check_handles, events, in_order, joined, spaced

HANDLES = PAGEBLOCK_NR_PAGES + 1
"""Of a range of 2 MiB: the base pages, then the huge page."""
AT_ONCE = 1 << 9
"""Ranges that are planned at a time."""


class Workload(WorkloadModel):
    """Fault in 2 MiB at a time as a huge page, or as base pages where there is none to be had.

    Stands for the heaps of databases and virtual machines with transparent huge pages. Each range
    has a lifetime of its own, as an allocator's arenas do.
    """

    rate: Rate = Field(50, description="Ranges of 2 MiB that are touched per second.")
    start: Duration = Field(0, description="When it starts.")
    lifetime: Lifetime = Field(
        Lifetime.model_validate({"exponential": {"mean": "2s"}}),
        description="Time from touching a range to giving it back.",
    )
    most: Bytes = Field(1 << 40, description="No more ranges than this are touched in all.")
    gfp: GfpText = Field(
        "GFP_TRANSHUGE",
        description="Flags of a huge page: with GFP_TRANSHUGE a fault reclaims and compacts "
        "(madvised memory), with GFP_TRANSHUGE_LIGHT it does not.",
    )
    oom_score_adj: int = Field(
        0, ge=-1000, le=1000, description="How the OOM killer sees it: -1000 never, 1000 first."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        span = max(ctx.duration_ns - self.start, 0)
        wanted = min(self.rate * span // SECOND, self.most // (PAGEBLOCK_NR_PAGES * PAGE_SIZE))
        handles = check_handles(ctx.name, wanted * HANDLES)
        where = places(ctx, self.nodes)
        kinds = (gfp_from_text(self.gfp) | Gfp.MOVABLE, _BASE)
        return Stream(
            tuple(Request(g, Use.ANON, preferred=n, lru=True) for g in kinds for n in where.nodes),
            handles,
            in_order(self._parts(wanted, span, where, ctx), ctx.duration_ns),
            killable=True,
            oom_score_adj=self.oom_score_adj,
        )

    def _parts(
        self, count: int, span: int, where: Places, ctx: Context
    ) -> Iterator[tuple[int, AllocBatch]]:
        for first in range(0, count, AT_ONCE):
            area = np.arange(first, min(first + AT_ONCE, count))
            born = spaced(area, count, self.start, span, ctx.rng)
            dies = born + draw_lifetimes(self.lifetime, len(area), ctx.duration_ns, ctx.rng)
            place = where.draw(ctx.rng, len(area))
            until = self.start + (first + len(area)) * span // count
            yield (
                until,
                joined([_faults(born, area, place, where), _frees(dies, area, where.cpu[place])]),
            )


def _faults(
    born: NDArray[np.int64], area: NDArray[np.int64], place: NDArray[np.int64], where: Places
) -> AllocBatch:
    """Ask for the huge page, and at the same instant for base pages in its place."""
    number = np.tile(np.arange(-1, PAGEBLOCK_NR_PAGES), len(area))
    op = np.where(number < 0, PAGEBLOCK_ORDER, OP_FALLBACK)
    place = np.repeat(place, HANDLES)
    request = (number >= 0) * len(where.nodes) + where.node[place]
    handle = np.repeat(area * HANDLES, HANDLES) + number % HANDLES
    return events(np.repeat(born, HANDLES), op, request, where.cpu[place], handle)


def _frees(dies: NDArray[np.int64], area: NDArray[np.int64], cpu: NDArray[np.uint16]) -> AllocBatch:
    """Give back the huge page, or the base pages that stand in its place."""
    number = np.tile(np.arange(-1, PAGEBLOCK_NR_PAGES), len(area))
    op = np.where(number < 0, PAGEBLOCK_ORDER, 0) | OP_FREE
    handle = np.repeat(area * HANDLES, HANDLES) + number % HANDLES
    return events(np.repeat(dies, HANDLES), op, 0, np.repeat(cpu, HANDLES), handle)


_BASE = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP | Gfp.ZERO
