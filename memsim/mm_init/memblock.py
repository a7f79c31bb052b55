"""Physical memory before the allocator exists: where RAM lies, and what boot takes from it.

All ranges are half-open pairs of pfns. Source: mm/memblock.c, arch/x86/mm/init_64.c (Linux
6.1.192); spec linux-mm 1.2 and 2.5; page counts calibrated on captures of QEMU guests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from memsim.errors import InputError, Problem
from memsim.mm import MAX_DMA32_PFN, PAGE_SHIFT, PAGEBLOCK_NR_PAGES, SECTION_PAGES

Range = tuple[int, int]
OnlineType = Literal["movable", "kernel", "auto"]

_GIB_PAGES = 1 << (30 - PAGE_SHIFT)
PCI_HOLE_START = 3 * _GIB_PAGES
_MAX_BLOCK_PAGES = 2 * _GIB_PAGES
_MEMMAP_PAGES_PER_SECTION = SECTION_PAGES // 64


@dataclass(frozen=True)
class DimmSpec:
    """A memory module plugged in after boot; ``online`` says into which zone."""

    start_pfn: int
    end_pfn: int
    online: OnlineType


@dataclass(frozen=True)
class NodeSpec:
    """A NUMA node: its CPUs, its boot memory (none, one range or several) and its DIMMs."""

    nid: int
    cpus: tuple[int, ...] = ()
    ram: tuple[Range, ...] = ()
    hotpluggable: bool = False
    dimms: tuple[DimmSpec, ...] = ()


@dataclass(frozen=True)
class NodeRequest:
    """A node before it has addresses: pages of boot memory, and (pages, online type) of DIMMs."""

    pages: int
    cpus: tuple[int, ...] = ()
    hotpluggable: bool = False
    dimms: tuple[tuple[int, OnlineType], ...] = ()


@dataclass(frozen=True)
class BootReservations:
    """What firmware and the booting kernel keep for themselves, in pages.

    The defaults are those of the captured guests (QEMU pc, Debian 6.1.192-cloud), where they give
    the zones' managed pages exactly. ``BARE`` keeps nothing, for models of a bare zone.
    """

    firmware: tuple[Range, ...] = ((0, 1), (159, 256))
    """Not RAM: the frame at 0, the legacy hole below 1 MiB."""
    acpi_tables: int = 41
    """Not RAM: the top of RAM below 4 GiB."""
    low: tuple[Range, ...] = (
        (1, 159),
        (0x1000, 0x1E02),
        (0x2000, 0x2827),
        (0x2A00, 0x301A),
        (0x32B0, 0x3603),
        (0x3800, 0x3811),
    )
    """Reserved RAM below 1 MiB, and kernel image with page tables from 16 MiB on."""
    freed_late: int = 2542
    """Pages near ``low`` that come free only after the watermarks are computed (initrd, init)."""
    swiotlb: int = 16384
    """Bounce buffers below 4 GiB, only on machines with RAM above."""
    initrd: int = 404
    """Gap between the bounce buffers and the top of low RAM: the initrd, free after boot."""
    memmap: bool = True
    """64 bytes per page of each section, from the node's own end."""
    per_node: int = 47
    """At the very end of each node: pglist_data and usemaps."""
    early: int = 2503
    """At the end of the highest node besides: page tables of the direct map, log buffer."""
    per_cpu: int = 61
    """First pages of a 2 MiB unit of each CPU, below its node's memory map."""


QEMU_PC = BootReservations()
BARE = BootReservations((), 0, (), 0, 0, 0, memmap=False, per_node=0, early=0, per_cpu=0)


@dataclass
class BootMemory:
    """RAM, what is reserved of it and what is left, by node (ranges ascending)."""

    ram: list[list[Range]]
    free: list[list[Range]]
    reserved: list[Range]
    hotplug: list[bool]
    """Nodes that ``movable_node`` makes Movable: hot-pluggable, and not the kernel image's."""


def machine_error(message: str, hint: str = "") -> InputError:
    """Make the error for a machine that could not boot."""
    return InputError([Problem("machine", 0, 0, message, hint)])


def intersect(ranges: Iterable[Range], start: int, end: int) -> list[Range]:
    """Clip ranges to [start, end)."""
    clipped = ((max(s, start), min(e, end)) for s, e in ranges)
    return [(s, e) for s, e in clipped if s < e]


def subtract(ranges: Iterable[Range], holes: Iterable[Range]) -> list[Range]:
    """Give what is left of the ranges outside the holes."""
    left = list(ranges)
    for start, end in holes:
        left = [
            piece
            for s, e in left
            for piece in ((s, min(e, start)), (max(s, end), e))
            if piece[0] < piece[1]
        ]
    return left


def joined(ranges: Iterable[Range]) -> list[Range]:
    """Join ascending ranges that touch or overlap."""
    found: list[Range] = []
    for start, end in ranges:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def size(ranges: Iterable[Range]) -> int:
    """Count the pages of disjoint ranges."""
    return sum(e - s for s, e in ranges)


def align_up(value: int, to: int) -> int:
    """Round up to a multiple."""
    return -(-value // to) * to


def memory_block_size(end_of_ram: int, *, guest: bool = False) -> int:
    """Give the pages of one memory block (probe_memory_block_size, x86-64, 6.1)."""
    if end_of_ram < 64 * _GIB_PAGES:
        return SECTION_PAGES
    block = _MAX_BLOCK_PAGES
    while guest and block > SECTION_PAGES and end_of_ram % block:
        block //= 2
    return block


def place_nodes(
    requests: Sequence[NodeRequest],
    *,
    max_low_pfn: int | None = None,
    block_pages: int | None = None,
) -> tuple[NodeSpec, ...]:
    """Give nodes their addresses: boot memory from pfn 0 up in node order, then the DIMMs.

    RAM from ``max_low_pfn`` on (QEMU's max-ram-below-4g) is moved up to 4 GiB; without it,
    machines of more than 3 GiB have a PCI hole from 3 GiB to 4 GiB and smaller ones none. DIMMs
    begin at the first GiB boundary above RAM and above 4 GiB, each at a memory block.
    """
    total = sum(request.pages for request in requests)
    low_end = min(PCI_HOLE_START if max_low_pfn is None else max_low_pfn, MAX_DMA32_PFN)
    hole = MAX_DMA32_PFN - low_end if total > low_end else 0
    rams: list[tuple[Range, ...]] = []
    cursor = 0
    for request in requests:
        start, end = cursor, cursor + request.pages
        low, high = (start, min(end, low_end)), (max(start, low_end) + hole, end + hole)
        pieces = [low, high] if hole else [(start, end)]
        rams.append(tuple((s, e) for s, e in pieces if s < e))
        cursor = end
    end_of_ram = total + hole
    block = block_pages or memory_block_size(end_of_ram)
    plug = align_up(max(end_of_ram, MAX_DMA32_PFN), max(_GIB_PAGES, block))
    nodes = []
    for nid, (request, ram) in enumerate(zip(requests, rams, strict=True)):
        dimms = []
        for pages, online in request.dimms:
            dimms.append(DimmSpec(plug, plug + pages, online))
            plug = align_up(plug + pages, block)
        nodes.append(NodeSpec(nid, request.cpus, ram, request.hotpluggable, tuple(dimms)))
    return tuple(nodes)


def boot_ram(nodes: Sequence[NodeSpec], keep: BootReservations) -> list[list[Range]]:
    """Give each node's usable RAM: all but what firmware hides."""
    low_ends = [e for node in nodes for _, e in node.ram if e <= MAX_DMA32_PFN]
    top = max(low_ends, default=0)
    holes = [*keep.firmware, (top - keep.acpi_tables, top)]
    return [subtract(node.ram, holes) for node in nodes]


class _TopDown:
    """Boot-time allocator: the highest place of a node in which a request fits."""

    def __init__(self, ram: list[list[Range]], taken: list[Range]) -> None:
        self.free = [subtract(ranges, taken) for ranges in ram]
        self.taken = taken

    def take(self, nid: int, pages: int, align: int = 1, keep: int | None = None) -> None:
        """Reserve ``keep`` of ``pages`` on the node, or on the highest other one with room."""
        others = sorted(range(len(self.free)), key=self._end, reverse=True)
        for node in [nid, *others]:
            for s, e in reversed(self.free[node]):
                start = (e - pages) // align * align
                if start >= s:
                    used = (start, start + (pages if keep is None else keep))
                    self.taken.append(used)
                    self.free[node] = subtract(self.free[node], [used])
                    return
        raise machine_error(
            f"no room for {pages} pages that the kernel reserves at boot",
            "give the nodes more memory: a booting kernel needs about 64 MiB",
        )

    def _end(self, node: int) -> int:
        return self.free[node][-1][1] if self.free[node] else 0


def _low_reservations(ram: list[list[Range]], keep: BootReservations) -> list[Range]:
    everything = [piece for ranges in ram for piece in ranges]
    taken = list(keep.low)
    if any(size(intersect(everything, s, e)) < e - s for s, e in taken):
        needed = max(e for _, e in taken)
        raise machine_error(
            f"the kernel image does not fit into RAM: it needs pfn 0 to {needed}",
            "give the first node at least 64 MiB below 4 GiB",
        )
    low = intersect(everything, 0, MAX_DMA32_PFN)
    if keep.swiotlb and low and size(low) < size(everything):
        end = max(low)[1] - keep.initrd
        start = end - keep.swiotlb
        if any(s <= start and end <= e for s, e in subtract(low, taken)):
            taken.append((start, end))
    return taken


def boot_memory(
    nodes: Sequence[NodeSpec], keep: BootReservations, *, movable_node: bool
) -> BootMemory:
    """Reserve what boot needs and say what is left (spec 2.5.6).

    With ``movable_node`` nothing is taken from hot-pluggable nodes; their memory maps lie on the
    highest other node (memblock skips hot-pluggable regions, should_skip_region, 6.1).

    Unlike Linux: the hash tables of one-node machines and the memory maps of DIMMs take no pages;
    pages freed late in boot stand where they would had they been free from the start; the first
    slab pages of each node, which are allocations, are missing.
    """
    ram = boot_ram(nodes, keep)
    if not any(ram):
        raise machine_error("firmware leaves no boot memory to the kernel")
    first = min((n for n, ranges in enumerate(ram) if ranges), key=lambda n: ram[n])
    hotplug = [node.hotpluggable and node.nid != first for node in nodes]
    usable = [
        [] if movable_node and skip else ranges for skip, ranges in zip(hotplug, ram, strict=True)
    ]
    top_down = _TopDown(usable, _low_reservations(ram, keep))
    highest = max((n for n, ranges in enumerate(usable) if ranges), key=lambda n: usable[n][-1])
    sections: set[int] = set()
    for nid, ranges in enumerate(ram):
        mine = {i for s, e in ranges for i in range(s // SECTION_PAGES, -(-e // SECTION_PAGES))}
        if not mine:
            continue
        node_pages = keep.per_node + (keep.early if nid == highest else 0)
        if node_pages:
            top_down.take(nid, node_pages)
        if keep.memmap:
            pages = len(mine - sections) * _MEMMAP_PAGES_PER_SECTION
            top_down.take(nid, pages, PAGEBLOCK_NR_PAGES)
        sections |= mine
    for node in nodes if keep.per_cpu else ():
        for _ in node.cpus:
            top_down.take(node.nid, PAGEBLOCK_NR_PAGES, PAGEBLOCK_NR_PAGES, keep.per_cpu)
    reserved = sorted(top_down.taken)
    return BootMemory(ram, [subtract(ranges, reserved) for ranges in ram], reserved, hotplug)
