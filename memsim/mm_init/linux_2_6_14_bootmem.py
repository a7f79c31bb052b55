"""What boot keeps of memory in 2005, and in which order the rest comes to the buddy allocator.

Source: mm/bootmem.c, alloc_large_system_hash of mm/page_alloc.c, mem_init of the architectures
(Linux 2.6.14); spec linux-2.6.14 1.5 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from memsim.mm import MAX_DMA_PFN, PAGE_SIZE, ZoneType2005
from memsim.mm_init.linux_2_6_14_zones import MAX_LOW_PFN, STRUCT_PAGE_BYTES, Zone
from memsim.mm_init.memblock import Range, align_up, intersect, machine_error, size, subtract
from memsim.profiles import Arch

_MIB_PAGES = (1 << 20) // PAGE_SIZE
_BITS_PER_PAGE = 8 * PAGE_SIZE
_PAGES_PER_WAITQUEUE = 256
_WAITQUEUES = (4, 4096)
_WAITQUEUE_WORDS = 3


@dataclass(frozen=True)
class Keep:
    """What firmware and the booting kernel keep for themselves."""

    firmware: tuple[Range, ...]
    """Not free RAM, whatever the kernel does."""
    trampoline: bool
    """Other CPUs begin at pfn 1."""
    kernel: Range
    """Text, data and first page tables of the kernel image."""
    goal: int
    """Where boot allocations begin to look for room; below it they look last."""
    struct_page: int
    """Bytes per page of the memory map; 0: keep nothing."""
    word: int
    """Bits in a word of the boot bitmap, and bytes of a pointer times 8."""
    early: int = 14
    """Other tables on the first node. On the 1.5 GiB i386 of the stress tests all tables but the
    memory map are then the 213 pages of spec F12.19."""


_PC = ((0, 1), (159, 256))
KEEPS: dict[Arch, Keep] = {
    "i386": Keep(_PC, True, (256, 1280), MAX_DMA_PFN, STRUCT_PAGE_BYTES["i386"], 32),
    "x86-64": Keep(_PC, True, (256, 1280), MAX_DMA_PFN, STRUCT_PAGE_BYTES["x86-64"], 64),
    "ppc64": Keep((), False, (0, 1536), 0, STRUCT_PAGE_BYTES["ppc64"], 64),
}
"""i386 as published; the others are plain readings: an image of 4 or 6 MiB where the architecture
links it, then the same tables."""


class BootRange(NamedTuple):
    """A free range that boot hands to a zone's lists.

    ``word``: aligned words of so many pages go to the buddy lists as one block each, all other
    pages singly through the first CPU's hot list; 0: every page through that list.
    """

    zone: int
    start_pfn: int
    end_pfn: int
    word: int


@dataclass(frozen=True)
class Bootmem:
    """What boot took, ascending, and what it frees, in the order of freeing."""

    reserved: tuple[Range, ...]
    order: tuple[BootRange, ...]


def large_system_hash_pages(low_pages: int, scale: int, bucket_bytes: int) -> int:
    """Give the pages of a hash table: a bucket per 2^scale bytes of low memory, at least."""
    entries = -(-low_pages // _MIB_PAGES) * _MIB_PAGES >> (scale - 12)
    return -(-(1 << entries.bit_length()) * bucket_bytes // PAGE_SIZE)


def wait_table_bytes(present: int, pointer_bytes: int) -> int:
    """Give the size of a zone's table of wait queues for its pages' locks."""
    lowest, largest = _WAITQUEUES
    wanted = max(1, present // _PAGES_PER_WAITQUEUE)
    queues = min(max(1 << (wanted - 1).bit_length(), lowest), largest)
    return queues * _WAITQUEUE_WORDS * pointer_bytes


class _Node:
    """One node's boot allocator: the lowest place above a goal, else the lowest."""

    def __init__(self, ram: Sequence[Range], taken: Sequence[Range]) -> None:
        self.ram = ram
        self.taken = [cut for piece in taken for cut in intersect(ram, *piece)]
        self.bitmap: Range | None = None

    @property
    def free(self) -> list[Range]:
        return subtract(self.ram, sorted(self.taken))

    def take(self, pages: int, goal: int) -> Range:
        for lowest in (goal, 0):
            for start, end in self.free:
                first = max(start, lowest)
                if first + pages <= end:
                    self.taken.append((first, first + pages))
                    return self.taken[-1]
        raise machine_error(
            f"no room for {pages} pages that the kernel reserves at boot",
            "give the node more memory",
        )


def boot_bootmem(
    ram: Sequence[Sequence[Range]],
    zones: Sequence[Zone],
    keep: Keep,
    *,
    cpus: int,
    highmem: bool,
) -> Bootmem:
    """Reserve what boot keeps, and list what it frees in the order of freeing (spec 3.2).

    ``ram`` is by node. Low memory goes first, node by node, then the pages of each node's boot
    bitmap; memory beyond the direct map (``highmem``) comes last, page by page. A machine of
    several nodes boots with per-CPU lists that hold nothing (spec 4.2).
    """
    low_end = MAX_LOW_PFN if highmem else max(end for ranges in ram for _, end in ranges)
    low = [intersect(ranges, 0, low_end) for ranges in ram]
    nodes = _reserve(low, zones, keep, cpus) if keep.struct_page else [_Node(r, ()) for r in low]
    order: list[BootRange] = []
    for node in nodes:
        order += _in_zones(zones, node.free, keep.word)
        if node.bitmap is not None:
            order += _in_zones(zones, [node.bitmap], 0)
            node.taken.remove(node.bitmap)
    for ranges in ram:
        order += _in_zones(zones, subtract(ranges, [(0, low_end)]), 0)
    if len(ram) > 1:
        order = [part for piece in order for part in _without_lists(piece)]
    return Bootmem(tuple(sorted(piece for node in nodes for piece in node.taken)), tuple(order))


def _reserve(
    low: Sequence[Sequence[Range]], zones: Sequence[Zone], keep: Keep, cpus: int
) -> list[_Node]:
    """Take what each node and the whole machine needs.

    Unlike Linux: hash tables lie on the first node of 64-bit machines too, not in vmalloc space,
    and page tables of the direct map take no pages.
    """
    start, end = keep.kernel
    if size(intersect(low[0], start, end)) < end - start:
        raise machine_error(
            f"the kernel image does not fit into RAM: it needs pfn {start} to {end}",
            "give the first node at least 16 MiB",
        )
    fixed = [*keep.firmware, keep.kernel]
    if keep.trampoline and cpus > 1:
        fixed.append((1, 2))
    nodes = [_Node(ranges, fixed) for ranges in low]
    pointer = keep.word // 8
    for nid, node in enumerate(nodes):
        first, last = node.ram[0][0], node.ram[-1][1]
        goal = end if nid == 0 else first
        node.bitmap = node.take(-(-(last - first) // _BITS_PER_PAGE), goal)
        mine = [zone for zone in zones if zone.nid == nid]
        spanned = max(z.end_pfn for z in mine) - min(z.start_pfn for z in mine)
        node.take(-(-(spanned + 1) * keep.struct_page // PAGE_SIZE), keep.goal)
        tables = sum(wait_table_bytes(zone.present, pointer) for zone in mine)
        node.take(-(-tables // PAGE_SIZE), keep.goal)
    lowmem = sum(z.present for z in zones if z.zone_type < ZoneType2005.HIGHMEM)
    for scale in (13, 14):
        nodes[0].take(large_system_hash_pages(lowmem, scale, pointer), keep.goal)
    nodes[0].take(keep.early, keep.goal)
    return nodes


def _in_zones(zones: Sequence[Zone], ranges: Sequence[Range], word: int) -> Iterator[BootRange]:
    for start, end in ranges:
        for z, zone in enumerate(zones):
            for piece in intersect(zone.ranges, start, end):
                yield BootRange(z, *piece, word)


def _without_lists(piece: BootRange) -> Iterator[BootRange]:
    """Let single pages go to the buddy lists at once: as words of one page."""
    zone, start, end, word = piece
    first, last = (align_up(start, word), end // word * word) if word else (end, end)
    if first >= last:
        first = last = end
    for s, e, size_of_word in ((start, first, 1), (first, last, word), (last, end, 1)):
        if s < e:
            yield BootRange(zone, s, e, size_of_word)
