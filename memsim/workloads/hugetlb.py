"""A program whose memory is huge pages of the pool (hugetlbfs), as databases have it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from memsim.errors import TrialError
from memsim.mm import OP_TOUCH, PAGE_SIZE, PAGEBLOCK_ORDER, Use, gfp_from_text
from memsim.schema import AllocBatch, HugeMapping, Request, Stream
from memsim.units import Bytes, Duration, NodeSet, Rate
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._mempolicy import Mempolicy
from memsim.workloads._places import Places, places
from memsim.workloads._timeline import SECOND, check_handles, events, in_order, spaced, windows

HUGE_PAGE = PAGE_SIZE << PAGEBLOCK_ORDER
ACCESS = gfp_from_text("GFP_HIGHUSER_MOVABLE")


class Workload(WorkloadModel):
    """Map huge pages of the machine's pool, touch all of them once, then access them at a rate.

    Stands for the shared memory of a database. The mapping reserves its pages at once and fails
    where the pool (``vm.nr_hugepages``) has too few left: the program ends then.
    """

    size: Bytes = Field(256 << 20, description="What it maps, in huge pages of 2 MiB.")
    start: Duration = Field(0, description="When it maps them.")
    grow: Duration = Field(SECOND, description="Time in which it touches them, at an even rate.")
    exit: Duration | None = Field(
        None, description="When it gives them back; without it, it keeps them to the end."
    )
    touch: Rate = Field(10_000, description="Accesses per second from when it has grown.")
    mem: Mempolicy = Field(
        Mempolicy(),
        description="Memory policy: bind, preferred or interleave; without one, memory is local.",
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _whole_and_in_time(self) -> Workload:
        if self.size == 0 or self.size % HUGE_PAGE:
            raise ValueError("expected a size in huge pages of 2MiB")
        if self.exit is not None and self.exit < self.start + self.grow:
            raise ValueError("expected an exit after it has grown")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        where = places(ctx, self.nodes)
        pages = check_handles(ctx.name, self.size // HUGE_PAGE)
        nodes = self._nodes(where)
        if unknown := [node for node in nodes if node not in ctx.pages]:
            raise TrialError(f"workload {ctx.name}: node {unknown[0]} has no memory")
        never = ctx.duration_ns + 1
        return Stream(
            (Request(ACCESS, Use.KERNEL),),
            pages,
            in_order(self._accesses(pages, where, ctx), ctx.duration_ns),
            huge=HugeMapping(
                start_ns=self.start,
                grow_ns=self.grow,
                exit_ns=never if self.exit is None else self.exit,
                handles=np.arange(pages, dtype=np.int32),
                preferred=nodes,
                nodes=self.mem.bind,
            ),
        )

    @property
    def locked_bytes(self) -> int:
        """All of it: nothing of it is ever reclaimed."""
        return self.size

    def _nodes(self, where: Places) -> tuple[int, ...]:
        if self.mem.preferred is not None:
            return (self.mem.preferred,)
        return self.mem.bind or self.mem.interleave or where.nodes

    def _accesses(
        self, pages: int, where: Places, ctx: Context
    ) -> Iterator[tuple[int, AllocBatch]]:
        """Access pages at random from when the program has grown until it exits."""
        begin = self.start + self.grow
        end = ctx.duration_ns if self.exit is None else min(self.exit, ctx.duration_ns)
        span = max(end - begin, 0)
        count = self.touch * span // SECOND
        for first, stop in windows(count):
            index = np.arange(first, stop)
            time = spaced(index, count, begin, span, ctx.rng)
            handle: NDArray[np.int64] = ctx.rng.integers(pages, size=len(index))
            cpu = where.cpu[where.draw(ctx.rng, len(index))]
            yield (
                begin + stop * span // count,
                events(time, OP_TOUCH | PAGEBLOCK_ORDER, 0, cpu, handle),
            )
