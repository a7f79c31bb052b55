"""A walk over all files of a disk: what updatedb does every night."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field, model_validator

from memsim.mm import OP_TOUCH
from memsim.schema import AllocBatch, Pace, Stream
from memsim.units import Duration, NodeSet, Rate
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._builds import DENTRIES_PER_PAGE, FILES_PER_BUFFER, INODES_PER_PAGE
from memsim.workloads._places import Places, places
from memsim.workloads._requests import Ask, asked, requests
from memsim.workloads._timeline import SECOND, check_handles, in_order, joined, spaced, windows

CACHES = (
    (Ask.BUFFER, FILES_PER_BUFFER),
    (Ask.INODE, INODES_PER_PAGE),
    (Ask.DENTRY, DENTRIES_PER_PAGE),
)


class Workload(WorkloadModel):
    """Look at every file of a disk in turn, over and over.

    Stands for updatedb, find and backups: nothing but metadata. Each file brings its inode and its
    name into the kernel's caches (reclaimable slabs), and blocks of directories and inode tables
    into the page cache of the block device. The caches keep them until reclaim takes them.
    """

    files: int = Field(300_000, ge=1, le=1 << 30, description="Files on the disk.")
    rate: Rate = Field(1000, description="Files per second.")
    start: Duration = Field(0, description="When it begins.")
    stop: Duration | None = Field(
        None, description="When it is killed; without it, it goes on to the end."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _stop_after_start(self) -> Workload:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("expected a stop after the start")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        handles = check_handles(ctx.name, sum(-(-self.files // each) for _, each in CACHES))
        where = places(ctx, self.nodes)
        return Stream(
            requests(where),
            handles,
            in_order(self._parts(where, ctx), ctx.duration_ns),
            pace=Pace(1, () if self.stop is None else (self.stop,)),
        )

    def _parts(self, where: Places, ctx: Context) -> Iterator[tuple[int, AllocBatch]]:
        end = ctx.duration_ns if self.stop is None else min(self.stop, ctx.duration_ns)
        span = max(end - self.start, 0)
        count = self.rate * span // SECOND
        place = int(where.draw(ctx.rng, 1)[0])
        for first, stop in windows(count, events_each=len(CACHES)):
            visit = np.arange(first, stop)
            time = spaced(visit, count, self.start, span, ctx.rng)
            number = visit % self.files
            cpu = np.full(len(visit), place)
            parts, base = [], 0
            for kind, each in CACHES:
                parts.append(asked(time, OP_TOUCH, kind, cpu, base + number // each, where))
                base += -(-self.files // each)
            yield self.start + stop * span // count, joined(parts)
