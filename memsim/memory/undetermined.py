"""What a snapshot leaves open of its machine's memory, drawn instead of taken by convention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import boot as boot_kernels
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.before import pages_of_buffers, pages_on_their_way
from memsim.memory.restore import present_pageblocks
from memsim.memory.setup import ZoneSetup
from memsim.mm import LRU_BATCH, PAGEBLOCK_ORDER
from memsim.traces.capture import CaptureZone, Snapshot

BUFFERS_IN_USE = (0, 4)
BUFFERS_AT_HAND = (8, 16)
"""Between how many pages of each kind there are; 16 is the size of struct bh_lru."""


def draw_undetermined(memory: Memory, snapshot: Snapshot, chance: np.random.Generator) -> None:
    """Draw what no file tells of the memory that ``restore`` has built from a snapshot.

    That is: the order of pages on the LRU lists; which mapped ones were accessed lately; which
    pages still wait on a CPU to enter a list; whose buffers are in use; which pageblocks behind
    compaction's scanners are marked to be skipped; and which CPU holds back what of a zone's free
    count. What a file does tell stays.
    """
    _draw_lru_lists(memory, chance)
    if snapshot.pages is not None:
        _draw_waiting(memory, snapshot.pages, chance)
        _draw_buffers(memory, snapshot.pages, chance)
    for z, zone in enumerate(snapshot.state.zones):
        _draw_skip_bits(memory, zone, chance)
        _draw_holders(memory, z, chance)


def draw_pins(
    memory: Memory, zones: Sequence[ZoneSetup], pages: int, chance: np.random.Generator
) -> None:
    """Pin so many anonymous pages of zones: those marked as accessed, then others drawn by lot.

    Whoever pins a page marks it; nothing else of an idle machine's anonymous memory is marked.
    """
    state = memory.mem.state[: memory.nr_pages]
    user = L.PAGE_ALLOCATED | L.PAGE_LRU | L.PAGE_ANON | L.PAGE_MAPPED
    others = L.PAGE_UNEVICTABLE | L.PAGE_ACTIVE
    ranges = [piece for zone in zones for piece in zone.pieces]
    found = [s + np.flatnonzero(state[s:e] & (user | others) == user) for s, e in ranges]
    if not found:
        return
    drawn = chance.permutation(np.concatenate(found))
    marked = state[drawn] & L.PAGE_REFERENCED != 0
    state[np.concatenate([drawn[marked], drawn[~marked]])[:pages]] |= L.PAGE_PINNED


def _draw_lru_lists(memory: Memory, chance: np.random.Generator) -> None:
    state = memory.mem.state
    # The other pages of a huge page have the mark, too, but stand on no list.
    listed = L.PAGE_ALLOCATED | L.PAGE_LRU
    pages = np.flatnonzero(state & listed == listed).astype(np.int32)
    boot_kernels.remove_lru_pages(memory.mem, pages)
    mapped = pages[state[pages] & L.PAGE_MAPPED != 0]
    young = chance.random(len(mapped)) < chance.random()
    state[mapped[young]] |= L.PAGE_YOUNG
    boot_kernels.place_lru_pages(memory.mem, chance.permutation(pages))


def _draw_waiting(memory: Memory, flags: NDArray[np.uint64], chance: np.random.Generator) -> None:
    """Let some of the pages on their way to a list wait on CPUs; more than fit were isolated."""
    cpus = len(memory.setup.cpu_node)
    pages = np.flatnonzero(pages_on_their_way(flags[: memory.nr_pages])).astype(np.int32)
    pages = pages[memory.mem.state[pages] & L.PAGE_LRU != 0]
    if not 0 < len(pages) < cpus * LRU_BATCH:
        return
    room = chance.permutation(np.repeat(np.arange(cpus), LRU_BATCH - 1))[: len(pages)]
    waits = chance.random(len(room)) < 0.5
    boot_kernels.remove_lru_pages(memory.mem, pages[: len(room)][waits])
    for cpu, pfn in zip(room[waits].tolist(), pages[: len(room)][waits].tolist(), strict=True):
        row = cpu * L.LRU_FIELDS
        memory.mem.lru_batches[row] += 1
        memory.mem.lru_batches[row + int(memory.mem.lru_batches[row])] = pfn
        memory.mem.state[pfn] += L.PAGE_LRU_PENDING - L.PAGE_LRU


def _draw_buffers(memory: Memory, flags: NDArray[np.uint64], chance: np.random.Generator) -> None:
    state, why = memory.mem.state, memory.mem.swap_slot
    pages = chance.permutation(np.flatnonzero(pages_of_buffers(flags[: memory.nr_pages])))
    pages = pages[state[pages] & L.PAGE_LRU != 0]
    state[pages] &= ~L.PAGE_PINNED
    why[pages] = 0
    in_use = int(chance.integers(BUFFERS_IN_USE[0], BUFFERS_IN_USE[1] + 1))
    at_hand = int(chance.integers(BUFFERS_AT_HAND[0], BUFFERS_AT_HAND[1] + 1))
    state[pages[: in_use + at_hand]] |= L.PAGE_PINNED
    why[pages[:in_use]] = L.BUFFERS_IN_USE
    why[pages[in_use : in_use + at_hand]] = L.BUFFERS_AT_HAND


def _draw_skip_bits(memory: Memory, zone: CaptureZone, chance: np.random.Generator) -> None:
    """Mark some of the pageblocks that the scanners have passed; they do not say what they saw."""
    blocks = present_pageblocks(zone)
    seen = zone.compaction
    passed = blocks << PAGEBLOCK_ORDER < max(seen.migrate_pfns)
    if seen.free_pfn:
        passed |= blocks << PAGEBLOCK_ORDER > seen.free_pfn
    marked = passed & (chance.random(len(blocks)) < chance.random())
    memory.mem.pageblock_skip[blocks[marked]] |= 1


def _draw_holders(memory: Memory, z: int, chance: np.random.Generator) -> None:
    cpus = len(memory.setup.cpu_node)
    at = (z * cpus + np.arange(cpus)) * L.PCP_FIELDS + L.P_STAT_DIFF
    memory.mem.pcps[at] = memory.mem.pcps[chance.permutation(at)]
