"""Zones and zonelists of the kernels of 2005.

Source: arch/{i386,x86_64,powerpc} memory set-up, build_zonelists and find_next_best_node of
mm/page_alloc.c (Linux 2.6.14); spec linux-2.6.14 1.1, 1.3 and 8. ZONE_EASYRCLM: linux-mm 10.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from memsim.mm import MAX_DMA32_PFN, MAX_DMA_PFN, MAX_PFN, ZoneType2005
from memsim.mm_init.memblock import Range, align_up, intersect, machine_error, size
from memsim.mm_init.zonelists import Zonelists
from memsim.profiles import Arch, Profile

MAX_LOW_PFN = 229376
"""i386: what the kernel maps directly, 1 GiB less 128 MiB for vmalloc."""
STRUCT_PAGE_BYTES: dict[Arch, int] = {"x86-64": 56, "i386": 32, "ppc64": 56}
_MAX_NUMNODES = 64


@dataclass(frozen=True)
class Zone:
    """One populated zone."""

    nid: int
    zone_type: ZoneType2005
    start_pfn: int
    end_pfn: int
    present: int
    """What watermarks, reserves and per-CPU lists are computed from."""
    ranges: tuple[Range, ...] = field(repr=False)
    """Its RAM, what boot reserves included."""


def zone_limits(arch: Arch, profile: Profile) -> list[tuple[ZoneType2005, Range]]:
    """Give the pfn range of each zone type of an architecture, lowest first."""
    if arch == "ppc64":
        return [(ZoneType2005.DMA, (0, MAX_PFN))]
    borders = [(ZoneType2005.DMA, 0), (ZoneType2005.NORMAL, MAX_DMA_PFN)]
    if arch == "i386":
        borders.append((ZoneType2005.HIGHMEM, MAX_LOW_PFN))
    elif profile.dma32:
        borders[1:] = [(ZoneType2005.DMA32, MAX_DMA_PFN), (ZoneType2005.NORMAL, MAX_DMA32_PFN)]
    ends = [*(start for _, start in borders[1:]), MAX_PFN]
    return [(kind, (start, end)) for (kind, start), end in zip(borders, ends, strict=True)]


def easyrclm_starts(
    ram: Sequence[Sequence[Range]], kernelcore: int, unit: int, lowest: int
) -> list[int | None]:
    """Say where each node's EASYRCLM zone begins, None where it has none.

    The first node that can hold ``kernelcore`` pages gets the kernel core; all else is EASYRCLM,
    from a multiple of ``unit`` pages on and never below ``lowest``, the end of ISA DMA. As in 6.1
    a kernel core of nothing or of all memory asks for no such zone. Raises InputError if no node
    can hold the kernel core.
    """
    sizes = [size(ranges) for ranges in ram]
    if not 0 < kernelcore < sum(sizes):
        return [None] * len(ram)
    holder = next((nid for nid, pages in enumerate(sizes) if pages >= kernelcore), None)
    if holder is None:
        raise machine_error(
            f"no node can hold the kernel core of {kernelcore} pages",
            f"the largest node has {max(sizes)} pages: kernelcore must be at most that",
        )
    starts: list[int | None] = []
    for nid, ranges in enumerate(ram):
        cut = _after(ranges, kernelcore) if nid == holder else ranges[0][0]
        cut = max(align_up(cut, unit), lowest)
        starts.append(cut if cut < ranges[-1][1] else None)
    return starts


def _after(ranges: Sequence[Range], pages: int) -> int:
    """Give the pfn behind the first ``pages`` pages."""
    for start, end in ranges:
        if pages <= end - start:
            return start + pages
        pages -= end - start
    return ranges[-1][1]


def node_zones(
    nid: int, ram: Sequence[Range], arch: Arch, profile: Profile, easy: int | None
) -> Iterator[Zone]:
    """Cut a node's memory into zones; ``easy`` is where its EASYRCLM zone begins."""
    first, last = ram[0][0], ram[-1][1]
    top = last if easy is None else easy
    spans = [(kind, max(start, first), min(end, top)) for kind, (start, end) in
             zone_limits(arch, profile)]  # fmt: skip
    for kind, start, end in [*spans, (ZoneType2005.EASYRCLM, max(top, first), last)]:
        mine = tuple(intersect(ram, start, end))
        if mine:
            yield Zone(nid, kind, start, end, _present((start, end), mine, arch, profile), mine)


def _present(span: Range, ram: Sequence[Range], arch: Arch, profile: Profile) -> int:
    """Count the pages that the architecture reports: i386 and x86-64 before DMA32 know no holes.

    x86-64 with DMA32 takes off holes and the zone's share of the memory map (size_zones).
    """
    spanned = span[1] - span[0]
    if arch == "ppc64":
        return size(ram)
    if arch == "i386" or not profile.dma32:
        return spanned
    return size(ram) - spanned * STRUCT_PAGE_BYTES[arch] // 4096


def find_next_best_node(
    local: int,
    used: Sequence[int],
    distances: Sequence[Sequence[int]],
    has_cpus: Sequence[bool],
    node_load: Sequence[int],
) -> int:
    """Choose the node after those already used; ties go to the next node above the local one."""
    nodes = len(has_cpus)

    def cost(node: int) -> int:
        return (distances[local][node] + has_cpus[node]) * nodes * _MAX_NUMNODES + node_load[node]

    upward = [(local + step) % nodes for step in range(nodes)]
    return min((node for node in upward if node not in used), key=cost)


def build_node_orders(
    distances: Sequence[Sequence[int]], has_cpus: Sequence[bool]
) -> tuple[tuple[int, ...], ...]:
    """Give for each node all nodes in the order of their use (spec 1.3, NUMA build)."""
    nodes = len(has_cpus)
    node_load = [0] * nodes
    orders = []
    for local in range(nodes):
        order = [local]
        for load in range(nodes - 1, 0, -1):
            node = find_next_best_node(local, order, distances, has_cpus, node_load)
            if distances[local][node] != distances[local][order[-1]]:
                node_load[node] += load
            order.append(node)
        orders.append(tuple(order))
    return tuple(orders)


def build_zonelists(
    zones: Sequence[Zone], distances: Sequence[Sequence[int]], has_cpus: Sequence[bool]
) -> tuple[Zonelists, ...]:
    """Build each node's lists: node by node, each node's zones from the highest to the lowest."""
    own: list[list[int]] = [[] for _ in has_cpus]
    for index in sorted(range(len(zones)), key=lambda i: zones[i].zone_type, reverse=True):
        own[zones[index].nid].append(index)
    return tuple(
        Zonelists(tuple(index for node in order for index in own[node]), tuple(own[order[0]]))
        for order in build_node_orders(distances, has_cpus)
    )
