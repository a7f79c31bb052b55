"""Runs of events that are alike, carried out together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import ISOLATE
from memsim.kernels.events import (
    FREED,
    OK,
    Batch,
    alloc_context,
    prefetch_events,
)
from memsim.kernels.layout import (
    ORDER_MASK,
    P_COUNT,
    P_FREE_FACTOR,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_PCP,
    PAGE_SLAB,
    R_PAGE,
    REQ_HUGE_FAULT,
    REQUEST_FIELDS,
    TYPE_SHIFT,
    Z_BOOSTED,
    Z_VMSTAT,
    Mem,
    page_zone,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.kernels.lru import lru_del
from memsim.kernels.page_alloc import (
    count_numa,
    fast_path_flags,
    forget_page,
    may_use_pcplist,
    prep_new_page,
)
from memsim.kernels.pcp import (
    freed_pindex,
    order_to_pindex,
    pcp_list,
    pcp_push_head,
    pcp_row,
)
from memsim.kernels.pcp_free import nr_pcp_high
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import S_NEXT_DUE, S_NOW
from memsim.kernels.vmstat import (
    ALLOC_SUCCESS,
    PGFREE,
)
from memsim.kernels.zonelist import next_zone, zone_at_mark, zonelist_zone
from memsim.mm import OP_FREE

MANY_HALVINGS = 60
"""As good as endless for free_factor, and few enough to shift by."""


@inline
def begins_run(b: Batch, i: int, stop: int) -> bool:
    """Say whether event ``i`` and the next three have the same op and CPU."""
    if i + 3 >= stop:
        return False
    differs = 0
    for other in range(i + 1, i + 4):
        differs |= int(b.op[i]) ^ int(b.op[other]) | int(b.cpu[i]) ^ int(b.cpu[other])
    return differs == 0


@inline
def goes_on(m: Mem, b: Batch, i: int, other: int) -> bool:
    """Say whether two events ask for the same on the same CPU."""
    return (
        int(b.op[i]) == int(b.op[other])
        and int(b.cpu[i]) == int(b.cpu[other])
        and int(b.request[i]) == int(b.request[other])
        and int(b.time[other]) < int(m.system[S_NEXT_DUE])
    )


@inline
def alloc_run(
    m: Mem, tables: PolicyTables, rows: NDArray[np.int64], b: Batch, i: int, stop: int
) -> int:
    """Serve like requests from the per-CPU list that event ``i`` would take from; return how many.

    Taking from the list changes nothing that the walk to it reads, so all come to the same list
    until it is empty.
    """
    at = int(b.request[i]) * REQUEST_FIELDS
    ac = alloc_context(m, rows, at, int(b.op[i]) & 0xF, int(b.cpu[i]))
    alloc_flags = fast_path_flags(m, tables, ac)
    alone = not may_use_pcplist(tables, ac, alloc_flags) or ac.flags & REQ_HUGE_FAULT
    z = -1 if alone else zone_at_mark(m, ac, alloc_flags)
    if z < 0 or zone_get(m, z, Z_BOOSTED):
        return 0
    row = pcp_row(m, z, ac.cpu)
    lst = pcp_list(row, order_to_pindex(ac.migratetype, ac.order))
    head, length = int(m.pcps[lst]), int(m.pcps[lst + 1])
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    stop = min(stop, i + length)
    n = 0
    while i + n < stop and goes_on(m, b, i, i + n):
        pfn = int(m.rings[offset + (head + n & mask)])
        handle = int(b.handle[i + n])
        if int(m.page_table[handle]) < 0:
            break
        m.system[S_NOW] = b.time[i + n]
        prep_new_page(m, ac, pfn, int(rows[at + R_PAGE]), handle)
        m.page_table[handle] = pfn + 1
        b.pfn[i + n] = pfn
        b.status[i + n] = OK
        n += 1
    if n:
        m.pcps[lst], m.pcps[lst + 1] = head + n & mask, length - n
        m.pcps[row + P_COUNT] -= n << ac.order
        m.pcps[row + P_FREE_FACTOR] >>= min(n, MANY_HALVINGS)
        count_numa(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), z, ac.cpu, n)
        m.events[ALLOC_SUCCESS] += n
    return n


@inline
def free_run(m: Mem, b: Batch, i: int, stop: int) -> int:
    """Put single pages on the per-CPU lists of event ``i``'s zone; return how many.

    Stops before the page that would fill the lists.
    """
    first = int(m.page_table[int(b.handle[i])]) - 1
    if first < 0:
        return 0
    z = page_zone(m, first)
    row = pcp_row(m, z, int(b.cpu[i]))
    full = i + nr_pcp_high(m, z, row) - 1 - int(m.pcps[row + P_COUNT])
    n = 0
    while (
        i + n < min(stop, full)
        and int(b.op[i + n]) == int(b.op[i])
        and int(b.cpu[i + n]) == int(b.cpu[i])
        and int(b.time[i + n]) < int(m.system[S_NEXT_DUE])
    ):
        prefetch_events(m, b, i + n, stop)
        handle = int(b.handle[i + n])
        pfn = int(m.page_table[handle]) - 1
        if pfn < 0 or page_zone(m, pfn) != z:
            break
        blocktype = pageblock_type(m, pfn)
        state = int(m.state[pfn])
        if state & (ORDER_MASK | PAGE_LRU_PENDING | PAGE_ISOLATED) or blocktype == ISOLATE:
            break
        if state & (PAGE_LRU | PAGE_SLAB):
            lru_del(m, pfn)
        forget_page(m, z, pfn, state)
        m.state[pfn] = blocktype << TYPE_SHIFT | PAGE_PCP
        pcp_push_head(m, pcp_list(row, freed_pindex(blocktype, 0)), pfn)
        m.page_table[handle] = 0
        b.pfn[i + n] = pfn
        b.status[i + n] = FREED
        n += 1
    m.pcps[row + P_COUNT] += n
    zone_add(m, z, Z_VMSTAT + PGFREE, n)
    return n


@helper
def run_of_events(
    m: Mem, tables: PolicyTables, rows: NDArray[np.int64], b: Batch, i: int, stop: int
) -> int:
    """Carry out events from ``i`` on that are alike, up to one that does more; return how many.

    They only move pages between holders and a CPU's lists, and leave exactly what they leave one
    by one. An event that refills or drains the lists, or frees a page in an LRU batch, is not
    among them.
    """
    op = int(b.op[i])
    if op & OP_FREE:
        return free_run(m, b, i, stop) if op & 0xF == 0 else 0
    return 0 if op & ~0xF else alloc_run(m, tables, rows, b, i, stop)
