"""What must hold of a Memory after every event (spec 11.9), found out the slow way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.placement import OPT_RESERVE_TYPE
from memsim.memory.lru_invariants import lru_violations
from memsim.memory.setup import NO_ZONE, pcp_order
from memsim.memory.swap_invariants import swap_violations
from memsim.mm import (
    MAX_ORDER_NR_PAGES,
    MAX_PAGE_ORDER,
    MIGRATE_PCPTYPES,
    MIGRATE_TYPES,
    NR_ORDERS,
    NR_PCP_LISTS,
    Migratetype,
)

if TYPE_CHECKING:
    from memsim.memory import Memory


class Accounts(NamedTuple):
    """Pages that are accounted for; their sum never changes."""

    free: int
    pcp: int
    allocated: int
    offline: int


class Blocks(NamedTuple):
    """Blocks of pages, one entry each."""

    pfn: NDArray[np.int64]
    order: NDArray[np.int64]
    migratetype: NDArray[np.int64]


def listed_blocks(memory: Memory, zone: int) -> Blocks:
    """Return all blocks on a zone's free lists, with the type of the list."""
    parts = []
    for order in range(NR_ORDERS):
        for kind in range(MIGRATE_TYPES):
            pfns = memory.free_list(zone, order, kind).astype(np.int64)
            parts.append((pfns, np.full(len(pfns), order), np.full(len(pfns), kind)))
    return Blocks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def pcp_blocks(memory: Memory, zone: int) -> Blocks:
    """Return all blocks on a zone's per-CPU lists, with the type they are returned to."""
    parts = []
    for cpu in range(len(memory.setup.cpu_node)):
        for pindex in range(NR_PCP_LISTS):
            order = pcp_order(memory.setup.mechanism, pindex)
            pfns = memory.pcp_list(zone, cpu, pindex).astype(np.int64)
            kinds = memory.mem.state[pfns] >> L.TYPE_SHIFT & 0x7
            parts.append((pfns, np.full(len(pfns), order), kinds.astype(np.int64)))
    return Blocks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def allocated_blocks(memory: Memory) -> Blocks:
    """Return all allocated blocks, with the type they were taken from."""
    state = memory.mem.state[: memory.nr_pages]
    pfns = np.flatnonzero(state & L.PAGE_ALLOCATED)
    order = (state[pfns] & L.ORDER_MASK) >> L.ORDER_SHIFT
    kind = (state[pfns] & L.TYPE_MASK) >> L.TYPE_SHIFT
    return Blocks(pfns, order.astype(np.int64), kind.astype(np.int64))


def violations(memory: Memory) -> tuple[list[str], Accounts]:
    """Return a sentence for everything that does not hold, and the page accounts."""
    zones = range(len(memory.setup.zones))
    free = [listed_blocks(memory, z) for z in zones]
    cached = [pcp_blocks(memory, z) for z in zones]
    held = allocated_blocks(memory)
    found = [f"zone {z}: {text}" for z in zones for text in _zone(memory, z, free[z], cached[z])]
    everything = [held, *free, *cached]
    found += _marks(memory, free, cached)
    found += _disjoint(everything)
    found += _handles(memory)
    found += lru_violations(memory)
    found += swap_violations(memory)
    offline = sum(end - start for start, end, _ in memory.setup.offline)
    found += _offline(memory)
    return found, Accounts(sum(map(_pages, free)), sum(map(_pages, cached)), _pages(held), offline)


def _pages(blocks: Blocks) -> int:
    return int((1 << blocks.order).sum())


def _zone(memory: Memory, z: int, free: Blocks, cached: Blocks) -> Iterator[str]:
    zone = memory.setup.zones[z]
    isolated = free.migratetype == Migratetype.ISOLATE
    counted = int((1 << free.order[~isolated]).sum())
    if counted != memory.nr_free_pages(z):
        yield f"nr_free_pages is {memory.nr_free_pages(z)}, the lists hold {counted}"
    cma = int((1 << free.order[free.migratetype == Migratetype.CMA]).sum())
    if cma != memory.nr_free_cma(z) and memory.setup.mechanism == "linux-6.1":
        yield f"nr_free_cma is {memory.nr_free_cma(z)}, the lists hold {cma}"
    for order in range(NR_ORDERS):
        listed = int(np.count_nonzero(free.order == order))
        if memory.zone_field(z, L.Z_NR_FREE + order) != listed:
            yield f"nr_free of order {order} is not the {listed} blocks on the lists"
    for blocks in (free, cached):
        if np.any(blocks.pfn & ((1 << blocks.order) - 1)):
            yield "a block is not aligned to its size"
        ends = blocks.pfn + (1 << blocks.order)
        if np.any(blocks.pfn < zone.start_pfn) or np.any(ends > zone.end_pfn):
            yield "a block lies outside of its zone"
    cpus = range(len(memory.setup.cpu_node))
    count = sum(memory.pcp_field(z, cpu, L.P_COUNT) for cpu in cpus)
    if count != _pages(cached):
        yield f"per-CPU counts say {count} pages, the lists hold {_pages(cached)}"
    yield from _reserve(memory, z)
    yield from _isolated(memory, z)
    yield from _unmerged(memory, free)


def _reserve(memory: Memory, z: int) -> Iterator[str]:
    """A policy's own reserve is the pageblocks of its type."""
    reserve, unit = memory.tables.options[OPT_RESERVE_TYPE], memory.setup.pageblock_order
    if reserve >= 0:
        pieces = memory.setup.zones[z].pieces
        types = [memory.mem.pageblocks[s >> unit : -(-e >> unit)] for s, e in pieces]
        pages = sum(int(np.count_nonzero(part == reserve)) for part in types) << unit
        counted = memory.zone_field(z, L.Z_NR_RESERVED_HIGHATOMIC)
        if counted != pages:
            yield f"the reserve is said to be {counted} pages, its pageblocks have {pages}"


def _unmerged(memory: Memory, free: Blocks) -> Iterator[str]:
    """No two free buddies stand side by side, unless their pageblocks keep them apart."""
    order_of = dict(zip(free.pfn.tolist(), free.order.tolist(), strict=True))
    for pfn, order in order_of.items():
        buddy = pfn ^ (1 << order)
        if order == memory.setup.max_page_order or order_of.get(buddy) != order or buddy < pfn:
            continue
        unit = memory.setup.pageblock_order
        types = memory.mem.pageblocks[[pfn >> unit, buddy >> unit]]
        if order < unit or max(types) < MIGRATE_PCPTYPES:
            yield f"free buddies {pfn:#x} and {buddy:#x} of order {order} did not merge"


def _isolated(memory: Memory, z: int) -> Iterator[str]:
    """A zone counts its isolated pageblocks."""
    unit = memory.setup.pageblock_order
    pieces = memory.setup.zones[z].pieces
    types = [memory.mem.pageblocks[s >> unit : -(-e >> unit)] for s, e in pieces]
    blocks = sum(int(np.count_nonzero(part == Migratetype.ISOLATE)) for part in types)
    counted = memory.zone_field(z, L.Z_NR_ISOLATE_PAGEBLOCK)
    if counted != blocks and memory.setup.mechanism == "linux-6.1":
        yield f"{counted} pageblocks are said to be isolated, {blocks} are"


def _offline(memory: Memory) -> Iterator[str]:
    """Memory that is offline is no zone's, and its pages are nobody's."""
    for start, end, _ in memory.setup.offline:
        if np.any(memory.mem.state[start:end]):
            yield f"a page between {start:#x} and {end:#x} is in use, though offline"
        zones = memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER]
        if np.any(zones != NO_ZONE):
            yield f"memory between {start:#x} and {end:#x} is some zone's, though offline"


def _marks(memory: Memory, free: list[Blocks], cached: list[Blocks]) -> Iterator[str]:
    """Every mark belongs to a listed block, and every listed block has its mark."""
    state = memory.mem.state
    listed = Blocks(*(np.concatenate(column) for column in zip(*free, strict=True)))
    top = memory.nr_pages + listed.pfn // MAX_ORDER_NR_PAGES
    slot = np.where(listed.order >= MAX_PAGE_ORDER, top, listed.pfn)
    if np.any(state[slot] != (listed.order + 1 | listed.migratetype << L.TYPE_SHIFT)):
        yield "a block on a free list has another mark than its list"
    if np.count_nonzero(state & L.FREE_ORDER_MASK) != len(listed.pfn):
        yield "a page is marked as a free block that no list holds"
    on_pcp = sum(len(blocks.pfn) for blocks in cached)
    if np.count_nonzero(state & L.PAGE_PCP) != on_pcp:
        yield "a page is marked as on a per-CPU list that no list holds"


def _disjoint(groups: list[Blocks]) -> Iterator[str]:
    pfn = np.concatenate([blocks.pfn for blocks in groups])
    end = pfn + (1 << np.concatenate([blocks.order for blocks in groups]))
    by_pfn = np.argsort(pfn, kind="stable")
    overlap = np.flatnonzero(end[by_pfn][:-1] > pfn[by_pfn][1:])
    if len(overlap):
        yield f"blocks overlap at {pfn[by_pfn][1:][overlap[0]]:#x}"


def _handles(memory: Memory) -> Iterator[str]:
    """Each page that a handle holds is allocated and knows its handle."""
    handles = np.flatnonzero(memory.page_table > 0)
    pfns = memory.page_table[handles] - 1
    if np.any(memory.mem.state[pfns] & L.PAGE_ALLOCATED == 0):
        yield "a handle holds a page that is not allocated"
    if np.any(memory.mem.rmap[pfns] != handles):
        yield "a held page does not know its handle"
