"""The machine of an experiment: nodes, memory modules, tunables, as a scenario describes them."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from memsim.errors import suggest
from memsim.mm import LOCAL_DISTANCE, PAGE_SIZE, REMOTE_DISTANCE, SECTION_PAGES
from memsim.profiles import PROFILES, Arch
from memsim.scenario.content import canonical_json
from memsim.units import Bytes, Duration, HintedError, InputPath, IntSet, describe

SECTION_BYTES: dict[Arch, int] = {
    "x86-64": SECTION_PAGES * PAGE_SIZE,
    "i386": 64 << 20,
    "ppc64": 16 << 20,
}
MAX_ORDERS: dict[Arch, tuple[int, ...]] = {"x86-64": (11,), "i386": (11,), "ppc64": (11, 12, 13)}
"""MAX_ORDER, the order that is just too large, in the kernels of an architecture."""


def _profile(text: str) -> str:
    if text not in PROFILES:
        raise HintedError(
            f"profile {describe(text)} is not in this version", suggest(text, PROFILES)
        )
    return text


Profile = Annotated[
    str, AfterValidator(_profile), WithJsonSchema({"type": "string", "enum": list(PROFILES)})
]


class Model(BaseModel):
    """Frozen, hashable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @cached_property
    def canonical(self) -> str:
        """The content as JSON with sorted keys, defaults written out."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def __hash__(self) -> int:
        return hash(self.canonical)


class Dimm(Model):
    """A memory module that can be unplugged."""

    size: Bytes
    """Whole memory blocks."""
    online: Literal["movable", "kernel", "auto"] = "auto"
    """The zone that its blocks are onlined to (spec 1.3)."""


class Node(Model):
    """A NUMA node: CPUs and memory that are near each other."""

    id: int = Field(ge=0)
    """From 0 on, without gaps."""
    cpus: IntSet = ()
    """Its CPUs by number; none: memory only."""
    memory: Bytes = 0
    """Memory that is there at boot."""
    hotpluggable: bool = False
    """Firmware marks it so; with ``movable_node`` it becomes ZONE_MOVABLE."""
    nr_hugepages: int | None = Field(None, ge=0, le=1 << 24)
    """Huge pages of 2 MiB in its pool; not set: its part of ``vm.nr_hugepages``."""
    dimms: tuple[Dimm, ...] = ()
    """Modules that are plugged in after boot."""

    @property
    def total(self) -> int:
        """Bytes of the node with all its DIMMs."""
        return self.memory + sum(dimm.size for dimm in self.dimms)


class Swap(Model):
    """A swap device."""

    size: Bytes
    """How much it holds."""
    read: Duration = 60_000
    """What reading a page takes."""
    write: Duration = 80_000
    """What writing a page takes."""


class Vm(Model):
    """Tunables below /proc/sys/vm, and the mode of transparent huge pages."""

    swappiness: int = Field(60, ge=0, le=200)
    """How readily anonymous pages are reclaimed beside those of files."""
    vfs_cache_pressure: int = Field(100, ge=0, le=10_000)
    """How readily slab is reclaimed, in percent."""
    compaction_proactiveness: int = Field(20, ge=0, le=100)
    """From 0, never, to 100."""
    extfrag_threshold: int = Field(500, ge=0, le=1000)
    """Below this fragmentation index a lack is one of memory, not of order."""
    compact_unevictable_allowed: bool = True
    """Compaction moves mlocked pages too."""
    min_free_kbytes: Annotated[int, Field(ge=0, le=1 << 32)] | Literal["auto"] = "auto"
    """From it the watermarks follow."""
    watermark_boost_factor: int = Field(15_000, ge=0, le=1 << 30)
    """In ten-thousandths of the high mark; 0: no boost."""
    watermark_scale_factor: int = Field(10, ge=1, le=3000)
    """Distance of the marks, in ten-thousandths of the memory."""
    lowmem_reserve_ratio: Annotated[tuple[int, ...], Field(min_length=2, max_length=4)] | None = (
        None
    )
    """An entry for each zone that has one above it; not set: the kernel's own."""
    percpu_pagelist_high_fraction: int = Field(0, ge=0, le=1 << 30)
    """Of a zone that a CPU may keep; 0: by the marks."""
    thp: Literal["always", "madvise", "never"] = "madvise"
    """Who gets transparent huge pages."""
    nr_hugepages: int = Field(0, ge=0, le=1 << 24)
    """Huge pages of 2 MiB that are kept for hugetlbfs, spread over the nodes, from boot on."""
    demotion_enabled: bool = False
    """Reclaim moves pages to slower memory first (/sys/kernel/mm/numa/demotion_enabled)."""
    numa_balancing: bool = False
    """Move pages after the CPUs that access them."""
    numa_balancing_scan_period: Annotated[Duration, Field(ge=1_000_000)] = 10**9
    """Between two looks at a process's memory (scan_period_min_ms)."""
    numa_balancing_scan_size: Annotated[Bytes, Field(ge=PAGE_SIZE)] = 256 << 20
    """What is looked at of each workload at a time (scan_size_mb)."""


class Costs(Model):
    """How long things take; never validated against hardware (spec history-2005 6)."""

    page_copy: Duration = 400
    """Copying a page that is migrated."""
    page_bookkeeping: Duration = 700
    """All else that migrating it takes."""
    scan: Duration = 50
    """Looking at one page: reclaim and compaction."""
    reclaim: Duration = 500
    """Unmapping and freeing one page."""
    file_read: Duration = 60_000
    """Reading a page of a file."""
    file_write: Duration = 80_000
    """Writing one."""
    seek: Duration = 0
    """Before a page is read that does not go on with one of the last sequences of reads."""
    access: Duration = 100
    """An access to memory of the CPU's own node; others cost more as distances say."""
    tlb_flush: Duration = 1000
    """For each page that 2005 migrates."""
    tlb_flush_per_cpu: Duration = 200
    """The same for each other CPU."""


class Machine(Model):
    """A NUMA machine, or a capture of a real one."""

    like: str | None = None
    """The machine file whose keys stand here too, where the scenario does not write its own."""
    profile: Profile = "linux-6.1"
    """The kernel."""
    arch: Arch = "x86-64"
    """Those but x86-64 go with the kernels of 2005 only."""
    max_order: int | None = None
    """The order that is just too large for a block; not set: the architecture's usual one."""
    nodes: tuple[Node, ...] = ()
    """Needed unless ``from`` is there."""
    block_size: Bytes | None = None
    """Of memory blocks; not set: as on bare metal."""
    max_ram_below_4g: Bytes | None = None
    """RAM beyond that lies above 4 GiB, as with QEMU's option of this name."""
    distances: tuple[tuple[int, ...], ...] | None = None
    """Between nodes, N x N; not set: 10 on the diagonal, 20 elsewhere."""
    swap: Swap | None = None
    """A swap device; not set: none."""
    vm: Vm = Vm()
    """Tunables."""
    cma: Bytes = 0
    """Size of a CMA area."""
    costs: Costs = Costs()
    """How long things take."""
    from_: InputPath | None = Field(None, alias="from")
    """A capture folder or snapshot whose state is the start."""

    @property
    def total(self) -> int:
        """Bytes of all nodes with all DIMMs."""
        return sum(node.total for node in self.nodes)

    @property
    def huge_pages(self) -> tuple[int, ...]:
        """Huge pages that each node is to keep in its pool."""
        others = [n.id for n in self.nodes if n.nr_hugepages is None and n.total]
        part, more = divmod(self.vm.nr_hugepages, max(len(others), 1))
        mine = {node: part + (i < more) for i, node in enumerate(others)}
        return tuple(
            mine.get(node.id, 0) if node.nr_hugepages is None else node.nr_hugepages
            for node in self.nodes
        )

    @property
    def memory_block_size(self) -> int:
        """Bytes of a memory block: as written, else as on bare metal (spec 1.2)."""
        if self.block_size is not None:
            return self.block_size
        large = self.arch == "x86-64" and self.total >= 64 << 30
        return 2 << 30 if large else SECTION_BYTES[self.arch]

    @property
    def max_page_order(self) -> int:
        """Order of the largest block."""
        return (self.max_order or MAX_ORDERS[self.arch][-1]) - 1

    @property
    def distance_matrix(self) -> tuple[tuple[int, ...], ...]:
        """Distances between nodes as written, else 10 on the diagonal and 20 elsewhere."""
        ids = range(len(self.nodes))
        return self.distances or tuple(
            tuple(LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in ids) for a in ids
        )
