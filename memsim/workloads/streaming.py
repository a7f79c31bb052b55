"""Sequential input and output over one file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from memsim.mm import OP_COLD, OP_FREE, OP_TOUCH, OP_WRITE, PAGE_SIZE
from memsim.schema import AllocBatch, Pace, Stream
from memsim.units import ByteRate, Bytes, Duration, NodeSet
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, places
from memsim.workloads._requests import Ask, asked, requests
from memsim.workloads._timeline import (
    FREEING_NS,
    SECOND,
    check_handles,
    events,
    in_order,
    spaced,
    windows,
)

Step = Literal["read", "write", "delete"]


def _steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:
        raise ValueError("expected at least one of read, write, delete")
    if "delete" in steps[:-1]:
        raise ValueError("expected nothing after delete")
    return steps


class Workload(WorkloadModel):
    """Read or write a file from its beginning to its end; a page in memory is not read again.

    Stands for copies, backups, video, and the file of the size of memory that the stress test of
    2005 writes, reads and deletes to clear the page cache. Pages stay until reclaim takes them or
    the file is deleted.
    """

    size: Bytes = Field(1 << 30, description="Size of the file.")
    rate: ByteRate = Field(50 << 20, description="Bytes per second, reading and writing.")
    start: Duration = Field(0, description="When it begins.")
    steps: Annotated[tuple[Step, ...], AfterValidator(_steps)] = Field(
        ("write", "read"), description="What is done with the file, one after the other."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        pages = check_handles(ctx.name, max(self.size // PAGE_SIZE, 1))
        where = places(ctx, self.nodes)
        parts = self._parts(pages, where, ctx)
        return Stream(requests(where), pages, in_order(parts, ctx.duration_ns), pace=Pace(1))

    def _parts(self, pages: int, where: Places, ctx: Context) -> Iterator[tuple[int, AllocBatch]]:
        start = self.start
        place = int(where.draw(ctx.rng, 1)[0])
        for step in self.steps:
            span = pages * FREEING_NS
            if step != "delete":
                span = pages * PAGE_SIZE * SECOND // max(self.rate, 1)
            for first, stop in windows(pages):
                page = np.arange(first, stop)
                cpu = np.full(len(page), place)
                time = spaced(page, pages, start, span, ctx.rng)
                yield start + stop * span // pages, _step(step, time, page, cpu, where)
            start += span


def _step(
    step: Step,
    time: NDArray[np.int64],
    page: NDArray[np.int64],
    cpu: NDArray[np.int64],
    where: Places,
) -> AllocBatch:
    if step == "delete":
        return events(time, OP_FREE | OP_COLD, 0, where.cpu[cpu], page)
    if step == "write":
        return asked(time, OP_TOUCH | OP_WRITE, Ask.WRITE, cpu, page, where)
    return asked(time, OP_TOUCH, Ask.READ, cpu, page, where)
