"""Anonymous memory of processes, and the page tables that map it."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field, model_validator

from memsim.kernels.layout import TRAIT_LOCKED, TRAIT_SHARED
from memsim.mm import PAGE_SIZE, Use
from memsim.schema import Stream
from memsim.units import Bytes, Duration, Lifetime, NodeSet, Share
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._mempolicy import Mempolicy
from memsim.workloads._pins import Pinned, pins, user_traits
from memsim.workloads._places import draw_lifetimes, places
from memsim.workloads._processes import Lives, Processes
from memsim.workloads._timeline import SECOND, check_handles, in_order
from memsim.workloads._touches import Touch, Touches


class Workload(WorkloadModel):
    """Touch anonymous memory page by page, page tables included, and free all of it at exit.

    Stands for databases, virtual machines, compilers: anything whose heap grows, stays and goes.
    With ``count`` and ``lifetime`` it is many short processes.
    """

    anon: Bytes = Field(
        256 << 20,
        description="Memory of each process; it is touched once, from low addresses to high ones.",
    )
    start: Duration = Field(0, description="When it starts.")
    grow: Duration = Field(
        SECOND,
        description="Time from its start in which a process touches its memory, at an even rate.",
    )
    exit: Duration | None = Field(
        None, description="When all processes that are left exit; without it they stay to the end."
    )
    count: int = Field(1, ge=1, le=100_000, description="Processes.")
    spread: Duration = Field(
        0, description="Processes start at random instants of this time after ``start``."
    )
    lifetime: Lifetime | None = Field(
        None, description="Time from its start to its exit, for each process."
    )
    arguments: int = Field(
        0,
        ge=0,
        le=32,
        description="Pages that exec takes for the arguments of each process, freed at its exit.",
    )
    thp: Share = Field(
        0.0, description="Share of the aligned 2 MiB ranges that are faulted in as one huge page."
    )
    touch: Touch | None = Field(
        None, description="How it comes back to its memory; without it, it does not."
    )
    pinned: Pinned | None = Field(
        None, description="Pages with references that keep them where they are (vfio, RDMA)."
    )
    mlocked: bool = Field(False, description="All its memory is locked (mlockall).")
    shared: Share = Field(0.0, description="Share of its pages that other processes map too.")
    locked: Share = Field(
        0.0, description="Share of its pages whose lock somebody holds when they are moved."
    )
    mem: Mempolicy = Field(
        Mempolicy(),
        description="Memory policy: bind, preferred or interleave; without one, memory is local.",
    )
    oom_score_adj: int = Field(
        0, ge=-1000, le=1000, description="How the OOM killer sees it: -1000 never, 1000 first."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _exit_after_start(self) -> Workload:
        if self.exit is not None and self.exit <= self.start:
            raise ValueError("expected an exit after the start")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        where = places(ctx, self.nodes)
        later = places(ctx, self.touch.move_to) if self.touch and self.touch.move_to else where
        nodes = tuple(dict.fromkeys((*where.nodes, *later.nodes)))
        plan = Processes(
            lives=self._lives(ctx),
            pages=self.anon // PAGE_SIZE,
            arguments=self.arguments,
            grow_ns=max(self.grow, 1),
            thp=self.thp,
            where=where,
            targets=self.mem.targets(nodes),
            rng=ctx.rng,
            end_ns=ctx.duration_ns,
        )
        handles = check_handles(ctx.name, plan.handles)
        requests = tuple(
            replace(request, mlocked=self.mlocked and request.use == Use.ANON)
            for request in self.mem.requests(nodes)
        )
        shares = {TRAIT_SHARED: self.shared, TRAIT_LOCKED: self.locked}
        touches = Touches(self.touch, plan, later, ctx.rng) if self.touch else None
        return Stream(
            requests,
            handles,
            in_order(plan.parts(touches), ctx.duration_ns),
            killable=True,
            oom_score_adj=self.oom_score_adj,
            traits=user_traits(shares, plan, ctx.rng) if any(shares.values()) else None,
            pins=pins(self.pinned, plan, ctx.rng) if self.pinned else (),
        )

    @property
    def locked_bytes(self) -> int:
        """All that it takes, if it locks it."""
        return self.anon * self.count if self.mlocked else 0

    def _lives(self, ctx: Context) -> Lives:
        end = ctx.duration_ns if self.exit is None else min(self.exit, ctx.duration_ns)
        never = ctx.duration_ns + 1
        born = self.start + (ctx.rng.random(self.count) * self.spread).astype("int64")
        born.sort()
        dies = born + never
        if self.lifetime is not None:
            dies = born + draw_lifetimes(self.lifetime, self.count, never, ctx.rng)
        if self.exit is not None:
            dies = dies.clip(max=self.exit)
        lives = born < end
        return Lives(born[lives], dies[lives])
