"""Per-CPU page lists: LIFO towards allocators, FIFO towards the buddy lists.

Source: mm/page_alloc.c, Linux 6.1.192 (rmqueue_bulk, free_unref_page_commit, nr_pcp_free,
free_pcppages_bulk). Lists are rings of pfns; blocks on them look allocated to the buddy lists.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.buddy import (
    CMA,
    MOVABLE,
    free_one_page,
    free_range,
    is_capturing,
    mod_zone_free_cma,
    mod_zone_free_pages,
    prefetch_block,
    prefetch_merge,
    take,
)
from memsim.kernels.fallback import cma_first, rmqueue_locked
from memsim.kernels.layout import (
    ORDER_SHIFT,
    P_BATCH,
    P_COUNT,
    P_FREE_FACTOR,
    P_HIGH,
    P_LISTS,
    PAGE_PCP,
    PCP_FIELDS,
    TYPE_SHIFT,
    Z_NR_ISOLATE_PAGEBLOCK,
    Z_RECLAIM_ACTIVE,
    Z_VMSTAT,
    Mem,
    page_type,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.trace_log import (
    LOG_PCPU_DRAIN,
    keeps_log,
    log_event,
)
from memsim.kernels.vmstat import PCP_DRAINED_BLOCKS, PCP_REFILLS
from memsim.mm import (
    MIGRATE_PCPTYPES,
    NR_LOWORDER_PCP_LISTS,
    NR_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
    PCP_BATCH_SCALE_MAX,
)

DRAIN_CHUNK = 32
"""drain_pages returns a list in chunks of this many batches."""
HEAD_AHEAD = 6
TAIL_AHEAD = 12
"""Blocks between asking for a block's cache lines and taking it off its list's head or tail."""


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


@inline
def range_at_tail(m: Mem, lst: int, limit: int) -> int:
    """Count the single pages at the tail that lie side by side, the oldest lowest, all alike."""
    length = min(int(m.pcps[lst + 1]), limit)
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    tail = int(m.pcps[lst]) + int(m.pcps[lst + 1]) - 1
    first = int(m.rings[offset + (tail & mask)])
    state = int(m.state[first])
    pages = 1
    while (
        pages < length
        and int(m.rings[offset + (tail - pages & mask)]) == first + pages
        and int(m.state[first + pages]) == state
    ):
        pages += 1
    return pages


@inline
def drain_range(m: Mem, z: int, row: int, cpu: int, lst: int, pages: int) -> None:
    """Return the range of single pages at the tail of a list to the buddy lists."""
    first = pcp_pop_tail(m, lst)
    m.pcps[lst + 1] -= pages - 1
    m.pcps[row + P_COUNT] -= pages
    migratetype = page_type(m, first)
    for pfn in range(first, first + pages):
        m.state[pfn] = 0
    free_range(m, z, cpu, first, first + pages, migratetype)
    zone_add(m, z, Z_VMSTAT + PCP_DRAINED_BLOCKS, pages)


@inline
def prefetch_tail(m: Mem, lst: int, order: int) -> None:
    """Ask for what returning a block will touch that is soon to be the oldest."""
    tail = int(m.pcps[lst]) + int(m.pcps[lst + 1]) - 1
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    prefetch_block(m, int(m.rings[offset + (tail - 2 * TAIL_AHEAD & mask)]), order)
    prefetch_merge(m, int(m.rings[offset + (tail - TAIL_AHEAD & mask)]), order)


@helper
def free_pcppages_bulk(m: Mem, z: int, row: int, cpu: int, count: int, pindex: int) -> None:
    """Return pages to the buddy lists: list after list from ``pindex`` on, oldest block first.

    ``row`` is that of the lists' owner, ``cpu`` the one that does the work and books the pages.
    """
    count = min(count, int(m.pcps[row + P_COUNT]))
    isolated = zone_get(m, z, Z_NR_ISOLATE_PAGEBLOCK) != 0
    ranges = not isolated and not keeps_log(m) and not is_capturing(m)
    while count > 0:
        lst = pcp_list(row, pindex)
        order = pindex_to_order(pindex)
        while count > 0 and int(m.pcps[lst + 1]) > 0:
            if ranges and order == 0:
                pages = range_at_tail(m, lst, count)
                if pages > 1:
                    drain_range(m, z, row, cpu, lst, pages)
                    count -= pages
                    continue
            prefetch_tail(m, lst, order)
            pfn = pcp_pop_tail(m, lst)
            migratetype = pageblock_type(m, pfn) if isolated else page_type(m, pfn)
            m.state[pfn] = 0
            m.pcps[row + P_COUNT] -= 1 << order
            count -= 1 << order
            log_event(m, LOG_PCPU_DRAIN, pfn, order, migratetype)
            free_one_page(m, z, cpu, pfn, order, migratetype, False)
            zone_add(m, z, Z_VMSTAT + PCP_DRAINED_BLOCKS, 1)
        pindex = pindex + 1 if pindex + 1 < NR_PCP_LISTS else 0


@inline
def nr_pcp_high(m: Mem, z: int, row: int) -> int:
    """Say how many pages a CPU may keep of a zone: few while kswapd balances it (spec 4.4)."""
    high = int(m.pcps[row + P_HIGH])
    if zone_get(m, z, Z_RECLAIM_ACTIVE):
        return min(int(m.pcps[row + P_BATCH]) << 2, high)
    return high


@inline
def nr_pcp_free(m: Mem, row: int, high: int, free_high: bool) -> int:
    """Say how many pages a full list gives back; successive calls give back more."""
    if free_high:
        return int(m.pcps[row + P_COUNT])
    batch = int(m.pcps[row + P_BATCH])
    if high < batch:
        return 1
    most = high - batch
    factor = int(m.pcps[row + P_FREE_FACTOR])
    pages = batch << factor
    if pages < most and factor < PCP_BATCH_SCALE_MAX:
        m.pcps[row + P_FREE_FACTOR] = factor + 1
    return min(max(pages, batch), most)


@inline
def free_unref_page_commit(m: Mem, z: int, cpu: int, pfn: int, order: int, blocktype: int) -> None:
    """Put a freed block on a per-CPU list; drain the list if it is full (spec 4.4)."""
    row = pcp_row(m, z, cpu)
    pindex = freed_pindex(blocktype, order)
    m.state[pfn] = blocktype << TYPE_SHIFT | PAGE_PCP | order << ORDER_SHIFT
    pcp_push_head(m, pcp_list(row, pindex), pfn)
    count = int(m.pcps[row + P_COUNT]) + (1 << order)
    m.pcps[row + P_COUNT] = count
    free_high = (
        int(m.pcps[row + P_FREE_FACTOR]) > 0 and order >= 1 and order <= PAGE_ALLOC_COSTLY_ORDER
    )
    high = 0 if free_high else nr_pcp_high(m, z, row)
    if count >= high:
        free_pcppages_bulk(m, z, row, cpu, nr_pcp_free(m, row, high, free_high), pindex)


@helper
def drain_pages_zone(m: Mem, z: int, owner: int, cpu: int) -> None:
    """Return all of a CPU's pages of a zone, in chunks of 32 batches (spec 4.5)."""
    row = pcp_row(m, z, owner)
    chunk = int(m.pcps[row + P_BATCH]) * DRAIN_CHUNK
    while int(m.pcps[row + P_COUNT]) > 0:
        free_pcppages_bulk(m, z, row, cpu, chunk, 0)
