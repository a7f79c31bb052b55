"""Pages of files: read in, kept for a while, replaced by others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from memsim.mm import GFP_COMPOSITES, OP_COLD, OP_FREE, PAGE_SIZE, Gfp
from memsim.schema import AllocBatch, Stream
from memsim.units import ByteRate, Bytes, Duration, NodeSet
from memsim.workloads import Context
from memsim.workloads._file_pages import FilePages
from memsim.workloads._places import Places, places
from memsim.workloads._timeline import (
    FREEING_NS,
    SECOND,
    check_handles,
    events,
    in_order,
    instants,
    joined,
    spaced,
    taken,
    windows,
)

SWAP_CLUSTER_MAX = 32
"""Pages that reclaim gives back at a time (include/linux/swap.h, 6.1)."""


class Workload(FilePages):
    """Fill a page cache, then read new pages into it in place of others.

    Stands for programs that read and write more file data than the cache holds. Old pages go in
    groups of 32 just before new ones come, as reclaim gives them back: cold, on a CPU of its own.
    """

    size: Bytes = Field(256 << 20, description="What the cache holds once it is full.")
    grow: Duration = Field(SECOND, description="Time in which the cache fills.")
    churn: ByteRate = Field(
        16 << 20, description="What is read anew per second once the cache is full."
    )
    replace: Literal["fifo", "random"] = Field(
        "fifo", description="Which pages go: the oldest, or any."
    )
    drop: Duration | None = Field(
        None,
        description="When the files are deleted: all pages go, and no more are read. "
        "Without it, they stay to the end.",
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _drop_after_grow(self) -> Workload:
        if self.drop is not None and self.drop < self.grow:
            raise ValueError("expected the drop after the cache has filled")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        size = check_handles(ctx.name, self.size // PAGE_SIZE)
        where = places(ctx, self.nodes)
        gfps = (_READ, _READ | Gfp.WRITE)
        return Stream(
            tuple(self.request(gfp, n) for gfp in gfps for n in where.nodes),
            size,
            in_order(self._parts(ctx, size, where), ctx.duration_ns),
            traits=self.traits(size, ctx.rng),
            pins=self.pins(size, self.grow, ctx.rng),
        )

    @property
    def locked_bytes(self) -> int:
        """All that it takes, if it is in ramfs."""
        return self.size if self.filesystem == "ramfs" else 0

    def _parts(self, ctx: Context, size: int, where: Places) -> Iterator[tuple[int, AllocBatch]]:
        for first, stop in windows(size):
            pages = np.arange(first, stop)
            time = spaced(pages, size, 0, self.grow, ctx.rng)
            yield stop * self.grow // size, self._reads(time, pages, where, ctx.rng)
        end = ctx.duration_ns if self.drop is None else min(self.drop, ctx.duration_ns)
        span = end - self.grow
        count = max(self.churn * span // (PAGE_SIZE * SECOND), 0) if size else 0
        for first, stop in windows(count, events_each=2):
            pages = np.arange(first, stop)
            leader = pages - (pages - first) % min(SWAP_CLUSTER_MAX, size)
            slots = self._victims(pages - leader, pages, size, ctx.rng)
            cpu = where.cpu[where.draw(ctx.rng, len(pages))][leader - first]
            gone_at = self.grow + instants(leader, count, span)
            gone = events(gone_at, OP_FREE | OP_COLD, 0, cpu, slots)
            time = spaced(pages, count, self.grow, span, ctx.rng)
            both = joined([gone, self._reads(time, slots, where, ctx.rng)])
            group_by_group = np.argsort(np.concatenate([leader * 2, leader * 2 + 1]), kind="stable")
            until = self.grow + stop * span // count
            yield until, taken(both, group_by_group)
        if self.drop is not None:
            yield from self._dropped(self.drop, size, where, ctx.rng)

    def _dropped(
        self, drop: int, size: int, where: Places, rng: np.random.Generator
    ) -> Iterator[tuple[int, AllocBatch]]:
        cpu = where.cpu[where.draw(rng, 1)]
        for first, stop in windows(size):
            slots = np.arange(first, stop)
            time = drop + slots * FREEING_NS
            yield drop + stop * FREEING_NS, events(time, OP_FREE | OP_COLD, 0, cpu, slots)

    def _victims(
        self,
        stratum: NDArray[np.int64],
        pages: NDArray[np.int64],
        size: int,
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Choose the slot of each new page; those of one group differ."""
        if self.replace == "fifo":
            return pages % size
        strata = min(SWAP_CLUSTER_MAX, size)
        lowest, above = stratum * size // strata, (stratum + 1) * size // strata
        return rng.integers(lowest, above)

    def _reads(
        self,
        time: NDArray[np.int64],
        slots: NDArray[np.int64],
        where: Places,
        rng: np.random.Generator,
    ) -> AllocBatch:
        place = where.draw(rng, len(time))
        written = rng.random(len(time)) < self.dirty
        request = written * len(where.nodes) + where.node[place]
        return events(time, 0, request, where.cpu[place], slots)


_READ = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP
