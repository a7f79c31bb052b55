"""Builds of the Linux kernel: compilers that come and go over the page cache of many files."""

from __future__ import annotations

from pydantic import Field, model_validator

from memsim.mm import PAGE_SIZE
from memsim.schema import Pace, Stream
from memsim.units import Bytes, Duration, NodeSet, Share
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._builds import Builds, Slabs, Tree, When, successive
from memsim.workloads._mempolicy import Mempolicy
from memsim.workloads._places import Places, places
from memsim.workloads._processes import Processes
from memsim.workloads._requests import requests
from memsim.workloads._timeline import SECOND, check_handles, in_order

PROCESS_SLABS = 4
"""What the kernel keeps of a process besides its stack and page tables: task, files, some 40 areas
of its address space, their anonymous and file mappings."""


class Workload(WorkloadModel):
    """Copy trees of kernel sources, build them all at once with make -j, delete them.

    Stands for the load of the high-order stress test of 2005. Compilers come and go, read headers
    and sources, and write objects; the kernel caches pages, inodes and dentries, and takes slabs
    that it cannot give back. A page that reclaim took is read again when it is needed.
    """

    trees: int = Field(7, ge=1, le=64, description="Copies of the sources, all built at once.")
    jobs: int = Field(2, ge=1, le=64, description="Compilers of each build at a time: make -j.")
    start: Duration = Field(0, description="When copying begins.")
    unpack: Duration = Field(30 * SECOND, description="Time in which all trees are copied.")
    stop: Duration | None = Field(
        None, description="When the builds are killed; without it they go on to the end."
    )
    delete: Duration | None = Field(
        None, description="When the trees are deleted; without it they stay to the end."
    )
    sources: Bytes = Field(200 << 20, description="Sources of a tree.")
    headers: Bytes = Field(8 << 20, description="The part of them that is headers in use.")
    objects: Bytes = Field(60 << 20, description="Objects of a tree.")
    files: int = Field(17_000, ge=1, le=1_000_000, description="Files of a tree.")
    units: int = Field(1_400, ge=1, le=100_000, description="Compilations in a build.")
    compile: Duration = Field(2 * SECOND, ge=1, description="CPU time of a compilation.")
    anon: Bytes = Field(8 << 20, description="Memory of a compiler; those that end early use less.")
    reads: Bytes = Field(2 << 20, description="What a compiler reads of the headers.")
    program: Bytes = Field(4 << 20, description="Text of the compiler and its libraries.")
    slabs: Share = Field(
        0.03, description="Slabs for what the page cache keeps of files, per page of sources."
    )
    kept: Share = Field(
        0.05, description="Share of these that cannot be reclaimed, and outlives the trees."
    )
    nodes: NodeSet | None = Field(
        None, description="Nodes that it runs on; all nodes with CPUs unless given."
    )

    @model_validator(mode="after")
    def _in_turn(self) -> Workload:
        if self.stop is not None and self.stop < self.start + self.unpack:
            raise ValueError("expected the stop after the trees have been copied")
        if self.delete is not None and (self.stop is None or self.delete < self.stop):
            raise ValueError("expected to delete after a stop")
        if self.headers > self.sources:
            raise ValueError("expected no more headers than sources")
        return self

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        where = places(ctx, self.nodes)
        builds = self._builds(where, ctx)
        handles = check_handles(ctx.name, builds.handles)
        return Stream(
            requests(where),
            handles,
            in_order(builds.parts(), ctx.duration_ns),
            pace=Pace(self.trees * self.jobs, () if self.stop is None else (self.stop,)),
        )

    def _builds(self, where: Places, ctx: Context) -> Builds:
        tree = Tree(
            sources=max(self.sources // PAGE_SIZE, 1),
            objects=self.objects // PAGE_SIZE,
            headers=self.headers // PAGE_SIZE,
            files=self.files,
            units=self.units,
        )
        begin = self.start + self.unpack
        end = ctx.duration_ns if self.stop is None else min(self.stop, ctx.duration_ns)
        slots = self.trees * self.jobs
        mean = self.compile * max(slots, len(where.cpu)) // len(where.cpu)
        lives, slot = successive(slots, mean, begin, end, ctx.rng)
        pages = self.anon // PAGE_SIZE
        processes = Processes(
            lives=lives,
            pages=pages,
            arguments=1,
            grow_ns=max(mean, 1),
            thp=0.0,
            where=where,
            targets=Mempolicy().targets(where.nodes),
            rng=ctx.rng,
            end_ns=ctx.duration_ns,
        )
        return Builds(
            trees=self.trees,
            tree=tree,
            when=When(self.start, begin, end, self.delete),
            slabs=Slabs(
                int(self.slabs * tree.sources * self.trees),
                self.kept,
                PROCESS_SLABS,
            ),
            reads=self.reads // PAGE_SIZE,
            program=self.program // PAGE_SIZE,
            processes=processes,
            trees_of=slot // self.jobs,
            where=where,
            rng=ctx.rng,
        )
