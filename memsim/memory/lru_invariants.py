"""What must hold of the LRU lists, and of what zones count of their pages, after every event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.mm import MAX_PAGE_ORDER

if TYPE_CHECKING:
    from memsim.memory import Memory

NO_LIST = -1


class Heads(NamedTuple):
    """Heads of allocated blocks, one entry each."""

    pfn: NDArray[np.int64]
    state: NDArray[np.int64]
    pages: NDArray[np.int64]
    zone: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> Heads:
        """Return some of them."""
        return Heads(*(column[mask] for column in self))


def allocated_heads(memory: Memory) -> Heads:
    """Return the heads of all allocated blocks."""
    every = memory.mem.state[: memory.nr_pages]
    pfn = np.flatnonzero(every & L.PAGE_ALLOCATED)
    state = every[pfn].astype(np.int64)
    pages = 1 << ((state & L.ORDER_MASK) >> L.ORDER_SHIFT)
    return Heads(pfn, state, pages, memory.mem.zone_of[pfn >> MAX_PAGE_ORDER].astype(np.int64))


def lru_violations(memory: Memory) -> Iterator[str]:
    """Yield a sentence for everything that does not hold of LRU lists and page states."""
    heads = allocated_heads(memory)
    yield from _lists(memory, heads)
    yield from _counters(memory, heads)
    if np.any(heads.state & L.PAGE_ISOLATED):
        yield "a page is isolated between events"


def kinds_of(memory: Memory, state: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say which list (layout.LRU_*) each state belongs on."""
    active = (state & L.PAGE_ACTIVE != 0).astype(np.int64)
    file = L.LRU_INACTIVE_FILE + active
    if memory.mem.lru_per_zone:
        kinds = file
    else:
        kinds = np.where(state & L.PAGE_ANON, L.LRU_INACTIVE_ANON + active, file)
        kinds = np.where(state & L.PAGE_UNEVICTABLE, L.LRU_UNEVICTABLE, kinds)
    return np.where(state & L.PAGE_SLAB, L.LRU_SLAB, kinds)


def _lists(memory: Memory, heads: Heads) -> Iterator[str]:
    """Lists are linked both ways and hold exactly the pages that say so."""
    zones = memory.setup.zones
    per_zone = memory.mem.lru_per_zone
    owner_of = np.array([z if per_zone else zone.node for z, zone in enumerate(zones)])
    listed = heads.where(heads.state & (L.PAGE_LRU | L.PAGE_SLAB) != 0)
    said = np.full(memory.nr_pages, NO_LIST)
    said[listed.pfn] = L.NR_LRU_LISTS * owner_of[listed.zone] + kinds_of(memory, listed.state)
    stands = np.full(memory.nr_pages, NO_LIST)
    count = 0
    for owner in sorted(set(owner_of.tolist())):
        for kind in range(L.NR_LRU_LISTS):
            entries = memory.lru_list(owner, kind).astype(np.int64)
            yield from _links(memory, owner, kind, entries)
            stands[entries] = L.NR_LRU_LISTS * owner + kind
            count += len(entries)
    if np.count_nonzero(stands != NO_LIST) != count:
        yield "a page is on the LRU lists more than once"
    strangers = np.flatnonzero(stands != said)
    if len(strangers):
        yield f"{strangers[0]:#x} stands on another LRU list than its state says"
    for z in range(len(zones)):
        yield from _lru_counts(memory, z, listed)


def _links(memory: Memory, owner: int, kind: int, entries: NDArray[np.int64]) -> Iterator[str]:
    head = memory.mem.lru_lists + L.NR_LRU_LISTS * owner + kind
    chain = np.concatenate([[head], entries, [head]])
    if np.any(memory.mem.prev[chain[1:]] != chain[:-1]):
        yield f"LRU list {kind} of {owner} is not the same backwards"


def _lru_counts(memory: Memory, z: int, listed: Heads) -> Iterator[str]:
    mine = listed.where(listed.zone == z)
    kinds = kinds_of(memory, mine.state)
    for kind in range(L.NR_LRU_LISTS):
        pages = int(mine.pages[kinds == kind].sum())
        counted = memory.zone_field(z, L.Z_LRU + kind)
        if counted != pages:
            yield f"zone {z} counts {counted} pages on LRU list {kind}, there are {pages}"


def _counters(memory: Memory, heads: Heads) -> Iterator[str]:
    """A zone's counters of pages are what the pages' states say."""
    dirty_file = (heads.state & L.PAGE_DIRTY != 0) & (heads.state & L.PAGE_ANON == 0)
    counters = (
        ("dirty", L.Z_NR_DIRTY, dirty_file),
        ("written", L.Z_NR_WRITEBACK, heads.state & L.PAGE_WRITEBACK != 0),
        ("mapped", L.Z_NR_MAPPED, heads.state & L.PAGE_MAPPED != 0),
    )
    for z in range(len(memory.setup.zones)):
        here = heads.zone == z
        for name, field, which in counters:
            pages = int(heads.pages[which & here].sum())
            counted = memory.zone_field(z, field)
            if counted != pages:
                yield f"zone {z} counts {counted} {name} pages, there are {pages}"
        isolated = [memory.zone_field(z, L.Z_NR_ISOLATED + i) for i in range(2)]
        if any(isolated):
            yield f"zone {z} counts {isolated} isolated pages between events"
