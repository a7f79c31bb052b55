"""Pages that keep memory from going, and why."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import memory_hotplug as kernels
from memsim.kernels.migrate_pages import NOT_TRIED
from memsim.memory import Memory
from memsim.mm import Unmovable


class Reason(StrEnum):
    """Why memory did not go, or why a page keeps its block from going."""

    NONE = ""
    SLAB = "slab"
    """Reclaimable slab."""
    KERNEL = "kernel page"
    """Any other page of the kernel: slab, page table, stack, pipe."""
    RESERVED = "reserved"
    CMA = "cma"
    ISOLATED = "isolated already"
    LRU_BATCH = "in a batch"
    TAKEN = "taken off its list"
    COMPOUND = "large page across the edge"
    PINNED = "pinned"
    WRITEBACK = "under writeback"
    BUFFERS = "buffers in use"
    NO_MIGRATE_OP = "no migrate operation"
    LOCKED = "locked"
    STAYED = "not moved"
    MLOCKED = "locked by mlock"
    """The kernels of 2005 do not move such pages."""
    NO_SWAP = "no room in swap"
    """In those kernels an anonymous page needs some to be moved."""
    NO_MEMORY = "no memory elsewhere"
    NO_HUGE_PAGE = "no huge page elsewhere"
    """Neither in the pool nor to be had."""
    HUGETLB_RESERVED = "huge pages reserved"
    """Somebody has mapped what the pool has left, and not used it yet."""
    UNALIGNED = "unaligned"
    HOLE = "hole"
    STRADDLES_ZONES = "straddles zones"
    OFFLINE = "offline already"
    ONLINE = "online already"


OF_PAGE = {
    Unmovable.ISOLATED: Reason.ISOLATED,
    Unmovable.CMA: Reason.CMA,
    Unmovable.RESERVED: Reason.RESERVED,
    Unmovable.SLAB: Reason.SLAB,
    Unmovable.KERNEL: Reason.KERNEL,
    Unmovable.LRU_BATCH: Reason.LRU_BATCH,
    Unmovable.TAKEN: Reason.TAKEN,
    Unmovable.COMPOUND: Reason.COMPOUND,
}


@dataclass(frozen=True)
class Obstacle:
    """A page that by itself keeps its block from going."""

    pfn: int
    reason: Reason
    handle: int
    """Whose page it is, -1 for one of before the start."""
    pages: int = 1
    """Of the block that it heads, or of the 4 MiB that are reserved as a whole."""


def obstacle_at(memory: Memory, pfn: int, reason: Reason, pages: int = 1) -> Obstacle:
    """Name a page, and whose it is."""
    handle = int(memory.mem.rmap[pfn])
    held = int(memory.mem.page_table[handle]) == pfn + 1
    return Obstacle(pfn, reason, handle if held else -1, pages)


def unmovable_pages(memory: Memory, zone: int, start: int, end: int) -> tuple[Obstacle, ...]:
    """Find the pages of [start, end) that cannot be isolated, ascending; of blocks the first."""
    pfns = np.zeros(end - start, np.int32)
    pages = np.zeros(end - start, np.int32)
    why = np.zeros(end - start, np.uint8)
    n = kernels.find_obstacles(memory.mem, zone, start, end, pfns, pages, why)
    return tuple(
        obstacle_at(memory, pfn, OF_PAGE[Unmovable(code)], size)
        for pfn, size, code in zip(
            pfns[:n].tolist(), pages[:n].tolist(), why[:n].tolist(), strict=True
        )
    )


def pinned_pages(memory: Memory, start: int, end: int) -> tuple[Obstacle, ...]:
    """Find the users' pages of [start, end) that cannot go because something holds them."""
    state = memory.mem.state[start:end]
    held = (state & L.PAGE_PINNED != 0) & (state & (L.PAGE_LRU | L.PAGE_LRU_PENDING) != 0)
    pfns = start + np.flatnonzero(held & (state & L.PAGE_ALLOCATED != 0))
    return tuple(obstacle_at(memory, pfn, why_left(memory, pfn)) for pfn in pfns.tolist())


def left_behind(
    memory: Memory, pages: NDArray[np.int32], codes: NDArray[np.int8]
) -> tuple[Obstacle, ...]:
    """Name the pages that could not be moved (see ``migrate_pages``) though there was memory.

    What its process has freed since is none of them.
    """
    tried = (codes != 0) & (codes != NOT_TRIED) & (codes != -errno.ENOMEM)
    tried &= memory.mem.state[pages] & L.PAGE_ALLOCATED != 0
    return tuple(obstacle_at(memory, int(pfn), why_left(memory, int(pfn))) for pfn in pages[tried])


def lacking(memory: Memory, pages: NDArray[np.int32]) -> Reason:
    """Say what there was too little of to move these pages to."""
    traits = memory.mem.traits[memory.mem.rmap[pages]]
    return Reason.NO_HUGE_PAGE if np.any(traits & L.TRAIT_HUGETLB) else Reason.NO_MEMORY


def why_left(memory: Memory, pfn: int) -> Reason:
    """Say what keeps a page of a user where it is."""
    state = int(memory.mem.state[pfn])
    traits = int(memory.mem.traits[memory.mem.rmap[pfn]])
    for holds, reason in (
        (state & L.PAGE_PINNED and memory.mem.swap_slot[pfn] >= 0, Reason.PINNED),
        (state & L.PAGE_PINNED or traits & L.TRAIT_BUFFERS_IN_USE, Reason.BUFFERS),
        (state & L.PAGE_WRITEBACK, Reason.WRITEBACK),
        (traits & (L.TRAIT_NO_MIGRATE_OP | L.TRAIT_RAMFS), Reason.NO_MIGRATE_OP),
        (traits & L.TRAIT_LOCKED, Reason.LOCKED),
    ):
        if holds:
            return reason
    return Reason.STAYED
