"""Per-CPU page lists: LIFO towards allocators, FIFO towards the buddy lists.

Source: mm/page_alloc.c, Linux 6.1.192 (rmqueue_bulk). Lists are rings of pfns;
blocks on them look allocated to the buddy lists.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.buddy import (
    CMA,
    MOVABLE,
    mod_zone_free_cma,
    mod_zone_free_pages,
    take,
)
from memsim.kernels.fallback import cma_first, rmqueue_locked
from memsim.kernels.layout import (
    ORDER_SHIFT,
    P_BATCH,
    P_COUNT,
    P_FREE_FACTOR,
    P_LISTS,
    PAGE_PCP,
    PCP_FIELDS,
    TYPE_SHIFT,
    Z_VMSTAT,
    Mem,
    page_type,
    zone_add,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.trace_log import (
    keeps_log,
)
from memsim.kernels.vmstat import PCP_REFILLS
from memsim.mm import (
    MIGRATE_PCPTYPES,
    NR_LOWORDER_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
)

HEAD_AHEAD = 6
"""Blocks between asking for a block's cache lines and taking it off its list's head."""


@inline
def pcp_row(m: Mem, z: int, cpu: int) -> int:
    """Return where the per-CPU fields of a zone begin."""
    return (z * m.nr_cpus + cpu) * PCP_FIELDS


@inline
def order_to_pindex(migratetype: int, order: int) -> int:
    """Return the list of an order and type."""
    if order <= PAGE_ALLOC_COSTLY_ORDER:
        return MIGRATE_PCPTYPES * order + migratetype
    return NR_LOWORDER_PCP_LISTS + (1 if migratetype == MOVABLE else 0)


@inline
def freed_pindex(blocktype: int, order: int) -> int:
    """Return the list that blocks are freed to from pageblocks of a type."""
    return order_to_pindex(blocktype if blocktype < MIGRATE_PCPTYPES else MOVABLE, order)


@inline
def pindex_to_order(pindex: int) -> int:
    """Return the order of a list's blocks."""
    if pindex >= NR_LOWORDER_PCP_LISTS:
        return PAGEBLOCK_ORDER
    return pindex // MIGRATE_PCPTYPES


@inline
def pcp_list(row: int, pindex: int) -> int:
    """Return where the fields of a list begin: head, length, offset, capacity - 1."""
    return row + P_LISTS + 4 * pindex


@inline
def pcp_push_head(m: Mem, lst: int, pfn: int) -> None:
    """Put a block at the head, where it is taken from next."""
    head = (int(m.pcps[lst]) - 1) & int(m.pcps[lst + 3])
    m.rings[int(m.pcps[lst + 2]) + head] = pfn
    m.pcps[lst] = head
    m.pcps[lst + 1] += 1


@inline
def pcp_push_tail(m: Mem, lst: int, pfn: int) -> None:
    """Put a block at the tail."""
    at = (int(m.pcps[lst]) + int(m.pcps[lst + 1])) & int(m.pcps[lst + 3])
    m.rings[int(m.pcps[lst + 2]) + at] = pfn
    m.pcps[lst + 1] += 1


@inline
def pcp_pop_head(m: Mem, lst: int) -> int:
    """Take the most recently freed block."""
    head = int(m.pcps[lst])
    m.pcps[lst] = (head + 1) & int(m.pcps[lst + 3])
    m.pcps[lst + 1] -= 1
    return int(m.rings[int(m.pcps[lst + 2]) + head])


@inline
def pcp_pop_tail(m: Mem, lst: int) -> int:
    """Take the oldest block."""
    length = int(m.pcps[lst + 1]) - 1
    at = (int(m.pcps[lst]) + length) & int(m.pcps[lst + 3])
    m.pcps[lst + 1] = length
    return int(m.rings[int(m.pcps[lst + 2]) + at])


@inline
def pcp_tail(m: Mem, lst: int) -> int:
    """Return how far behind the first place of its ring the oldest block is, going round once."""
    return int(m.pcps[lst]) + int(m.pcps[lst + 1]) - 1


@inline
def pcp_peek(m: Mem, lst: int, k: int) -> int:
    """Return the block that is taken from the head after ``k`` others."""
    return int(m.rings[int(m.pcps[lst + 2]) + (int(m.pcps[lst]) + k & int(m.pcps[lst + 3]))])


@inline
def pcp_pop_range(m: Mem, lst: int, pages: int) -> int:
    """Take single pages that lie side by side, the first of them most recently freed."""
    head = int(m.pcps[lst])
    m.pcps[lst] = (head + pages) & int(m.pcps[lst + 3])
    m.pcps[lst + 1] -= pages
    return int(m.rings[int(m.pcps[lst + 2]) + head])


@inline
def pcp_push_range(m: Mem, lst: int, first: int, pages: int) -> None:
    """Put single pages that lie side by side at the head, one after the other."""
    head, offset, mask = int(m.pcps[lst]), int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    for i in range(pages):
        m.rings[offset + (head - 1 - i & mask)] = first + i
    m.pcps[lst] = (head - pages) & mask
    m.pcps[lst + 1] += pages


@inline
def pcp_push_each(m: Mem, lst: int, pages: NDArray[np.int32], i: int, n: int) -> None:
    """Put the ``n`` blocks from ``pages[i]`` on at the head, one after the other."""
    head, offset, mask = int(m.pcps[lst]), int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    for k in range(n):
        m.rings[offset + (head - 1 - k & mask)] = pages[i + k]
    m.pcps[lst] = (head - n) & mask
    m.pcps[lst + 1] += n


@inline
def refill_whole(m: Mem, z: int, order: int, migratetype: int, lst: int, wanted: int) -> int:
    """Put up to ``wanted`` blocks of the type's own lists on a per-CPU list; return how many."""
    mark = migratetype << TYPE_SHIFT | PAGE_PCP | order << ORDER_SHIFT
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    tail = int(m.pcps[lst]) + int(m.pcps[lst + 1])
    taken = 0
    while taken < wanted:
        first, blocks = take(m, z, order, migratetype, wanted - taken)
        if blocks == 0:
            break
        for i in range(blocks):
            pfn = first + (i << order)
            m.state[pfn] = mark
            m.rings[offset + (tail + taken + i & mask)] = pfn
        taken += blocks
    m.pcps[lst + 1] += taken
    return taken


@helper
def rmqueue_bulk(
    m: Mem,
    tables: PolicyTables,
    z: int,
    cpu: int,
    order: int,
    migratetype: int,
    alloc_flags: int,
) -> int:
    """Refill an empty list by a batch from the buddy lists; return the blocks taken."""
    row = pcp_row(m, z, cpu)
    batch = int(m.pcps[row + P_BATCH])
    wanted = max(batch >> order, 2) if batch > 1 else batch
    lst = pcp_list(row, order_to_pindex(migratetype, order))
    taken = 0
    whole = not keeps_log(m) and not cma_first(m, tables, z, migratetype, alloc_flags)
    while taken < wanted:
        if whole:
            taken += refill_whole(m, z, order, migratetype, lst, wanted - taken)
            if taken == wanted:
                break
        pfn = rmqueue_locked(m, tables, z, order, migratetype, alloc_flags)
        if pfn < 0:
            break
        if page_type(m, pfn) == CMA:
            mod_zone_free_cma(m, z, cpu, -(1 << order))
        m.state[pfn] |= PAGE_PCP | order << ORDER_SHIFT
        pcp_push_tail(m, lst, pfn)
        taken += 1
    mod_zone_free_pages(m, z, cpu, -(taken << order))
    m.pcps[row + P_COUNT] += taken << order
    zone_add(m, z, Z_VMSTAT + PCP_REFILLS, 1 if taken else 0)
    return taken


@inline
def prefetch_head(m: Mem, lst: int) -> None:
    """Ask for what handing out a block will touch that is soon to be the newest."""
    head = int(m.pcps[lst]) + HEAD_AHEAD
    pfn = int(m.rings[int(m.pcps[lst + 2]) + (head & int(m.pcps[lst + 3]))])
    prefetch(m.state, pfn)


@inline
def rmqueue_pcplist(
    m: Mem,
    tables: PolicyTables,
    z: int,
    cpu: int,
    order: int,
    migratetype: int,
    alloc_flags: int,
) -> int:
    """Take a block from a per-CPU list, refilling it if need be; -1 if the zone has none."""
    row = pcp_row(m, z, cpu)
    m.pcps[row + P_FREE_FACTOR] >>= 1
    lst = pcp_list(row, order_to_pindex(migratetype, order))
    if (
        int(m.pcps[lst + 1]) == 0
        and rmqueue_bulk(m, tables, z, cpu, order, migratetype, alloc_flags) == 0
    ):
        return -1
    m.pcps[row + P_COUNT] -= 1 << order
    prefetch_head(m, lst)
    return pcp_pop_head(m, lst)
