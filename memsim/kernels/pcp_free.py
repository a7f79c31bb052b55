"""Freed pages: onto the per-CPU lists, and from there back to the buddy lists, the oldest first.

Source: mm/page_alloc.c, Linux 6.1.192 (free_unref_page_commit, nr_pcp_free, free_pcppages_bulk).
"""

from __future__ import annotations

from memsim.kernels._jit import (
    helper,
    inline,
    prefetch,
)
from memsim.kernels.buddy import (
    CMA,
    add_to_free_list,
    buddy_merge_likely,
    free_one_page,
    free_range,
    is_capturing,
    merge_buddies,
    mod_zone_page_state_singly,
    prefetch_merge,
)
from memsim.kernels.layout import (
    ORDER_SHIFT,
    P_BATCH,
    P_CMA_DIFF,
    P_COUNT,
    P_FREE_FACTOR,
    P_HIGH,
    P_STAT_DIFF,
    PAGE_PCP,
    TYPE_SHIFT,
    Z_NR_FREE_CMA,
    Z_NR_FREE_PAGES,
    Z_NR_ISOLATE_PAGEBLOCK,
    Z_RECLAIM_ACTIVE,
    Z_VMSTAT,
    Mem,
    page_type,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.kernels.pcp import (
    freed_pindex,
    pcp_list,
    pcp_pop_tail,
    pcp_push_head,
    pcp_row,
    pcp_tail,
    pindex_to_order,
)
from memsim.kernels.trace_log import (
    LOG_PCPU_DRAIN,
    keeps_log,
    log_event,
)
from memsim.kernels.vmstat import (
    PCP_DRAINED_BLOCKS,
)
from memsim.mm import (
    NR_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PCP_BATCH_SCALE_MAX,
)

DRAIN_CHUNK = 32
"""drain_pages returns a list in chunks of this many batches."""
TAIL_AHEAD = 12
"""Blocks between asking for a block's cache lines and taking it off its list's tail."""


@inline
def range_at_tail(m: Mem, lst: int, limit: int) -> int:
    """Count the single pages at the tail that lie side by side, the oldest lowest, all alike."""
    length = min(int(m.pcps[lst + 1]), limit)
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    tail = pcp_tail(m, lst)
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
def prefetch_tail(m: Mem, lst: int, tail: int, order: int) -> None:
    """Ask for what returning a block will touch that is soon to be the oldest.

    The oldest one now is ``tail`` places behind where the list begins.
    """
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    coming = int(m.rings[offset + (tail - 2 * TAIL_AHEAD & mask)])
    prefetch(m.state, coming)
    prefetch(m.state, coming & ~(3 << order) ^ (4 << order))
    prefetch_merge(m, int(m.rings[offset + (tail - TAIL_AHEAD & mask)]), order)


@inline
def drain_singles(m: Mem, z: int, row: int, cpu: int, lst: int, count: int) -> int:
    """Return single pages at the tail of a list to the buddy lists, up to a range or another type.

    Returns how many: at least one, at most ``count``.
    """
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    tail, length = pcp_tail(m, lst), int(m.pcps[lst + 1])
    count = min(count, length)
    pfn = int(m.rings[offset + (tail & mask)])
    migratetype = page_type(m, pfn)
    n = 0
    while n < count:
        prefetch_tail(m, lst, tail - n, 0)
        coming = int(m.rings[offset + (tail - n - 1 & mask)])
        if page_type(m, pfn) != migratetype or (coming == pfn + 1 and n):
            break
        m.state[pfn] = 0
        head, order = merge_buddies(m, z, pfn, 0, migratetype)
        add_to_free_list(m, z, head, order, migratetype, buddy_merge_likely(m, head, order))
        pfn = coming
        n += 1
    mod_zone_page_state_singly(m, z, cpu, P_STAT_DIFF, Z_NR_FREE_PAGES, n)
    if migratetype == CMA:
        mod_zone_page_state_singly(m, z, cpu, P_CMA_DIFF, Z_NR_FREE_CMA, n)
    m.pcps[lst + 1] = length - n
    m.pcps[row + P_COUNT] -= n
    zone_add(m, z, Z_VMSTAT + PCP_DRAINED_BLOCKS, n)
    return n


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
                else:
                    pages = drain_singles(m, z, row, cpu, lst, count)
                count -= pages
                continue
            prefetch_tail(m, lst, pcp_tail(m, lst), order)
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
