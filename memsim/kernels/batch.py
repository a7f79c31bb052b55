"""Entry points: whole batches of requests and frees, carried out in order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, prefetch, ptr
from memsim.kernels.buddy import ISOLATE, MOVABLE, pcp_allowed_order, prefetch_block
from memsim.kernels.layout import (
    ALLOC_NEEDS_RECLAIM,
    ALLOC_NOPAGE,
    ALLOC_SUCCESS,
    FREES_NOT_HELD,
    LOG_CAPACITY,
    LOG_EVENT,
    LOG_HEADROOM,
    LOG_USED,
    ORDER_MASK,
    P_COUNT,
    P_FREE_FACTOR,
    P_HIGH,
    PAGE_LRU_PENDING,
    PAGE_PCP,
    PGFREE,
    R_FLAGS,
    R_HIGHEST_ZONE,
    R_MIGRATETYPE,
    R_MOBILITY,
    R_NODE,
    R_NODEMASK,
    REQ_THISNODE,
    REQUEST_FIELDS,
    TYPE_SHIFT,
    Z_VMSTAT,
    Mem,
    keeps_log,
    page_zone,
    pageblock_type,
    pointers,
    zone_add,
)
from memsim.kernels.page_alloc import (
    WOULD_RECLAIM,
    alloc_pages,
    count_numa,
    fast_path_flags,
    free_pages,
    may_use_pcplist,
    prep_new_page,
    wake_if_boosted,
)
from memsim.kernels.pcp import (
    drain_pages_zone,
    order_to_pindex,
    pcp_list,
    pcp_push_head,
    pcp_row,
)
from memsim.kernels.placement import PolicyTables, policy_pointers
from memsim.kernels.zonelist import AllocContext, next_zone, zone_at_mark, zonelist_zone
from memsim.mm import MIGRATE_PCPTYPES, OP_FREE, Status

FREED = int(Status.FREED)
NOT_HELD = int(Status.NOT_HELD)
OK = int(Status.OK)
NOPAGE = int(Status.NOPAGE)
NEEDS_RECLAIM = int(Status.NEEDS_RECLAIM)
PREFETCH = 32
"""Events between asking for a page's cache lines and using them."""
MANY_HALVINGS = 60
"""As good as endless for free_factor, and few enough to shift by."""


class Batch(NamedTuple):
    """Events and what becomes of them (n events)."""

    op: NDArray[np.uint8]
    request: NDArray[np.uint16]
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]
    page_table: NDArray[np.int32]
    """pfn + 1 of what each handle holds, 0 for nothing."""
    pfn: NDArray[np.int32]
    status: NDArray[np.uint8]


@inline
def batch_pointers(batch: Batch) -> Batch:
    """Take the pointers of a batch's arrays."""
    return Batch(
        ptr(batch.op),
        ptr(batch.request),
        ptr(batch.cpu),
        ptr(batch.handle),
        ptr(batch.page_table),
        ptr(batch.pfn),
        ptr(batch.status),
    )


@inline
def prefetch_events(m: Mem, b: Batch, i: int, stop: int) -> None:
    """Ask for what the coming frees will touch: the handle first, its page later.

    A block that goes to a per-CPU list is looked at closer when it leaves that.
    """
    if i + 2 * PREFETCH < stop:
        prefetch(b.page_table, int(b.handle[i + 2 * PREFETCH]))
        op = int(b.op[i + PREFETCH])
        if op & OP_FREE:
            pfn = int(b.page_table[int(b.handle[i + PREFETCH])]) - 1
            if pfn >= 0:
                if pcp_allowed_order(op & 0xF):
                    prefetch(m.state, pfn)
                    prefetch(m.pageblocks, pfn >> m.pageblock_order)
                else:
                    prefetch_block(m, pfn, op & 0xF)


@inline
def alloc_context(m: Mem, row: NDArray[np.int64], at: int, order: int, cpu: int) -> AllocContext:
    """Read a request row (its fields begin at ``at``)."""
    flags = int(row[at + R_FLAGS])
    node = int(row[at + R_NODE])
    if node < 0:
        node = int(m.cpu_node[cpu])
    which = 2 * node + (1 if flags & REQ_THISNODE else 0)
    return AllocContext(
        order,
        int(row[at + R_MIGRATETYPE]),
        int(row[at + R_HIGHEST_ZONE]),
        flags,
        which * (m.nr_zones + 1),
        int(row[at + R_NODEMASK]),
        cpu,
    )


@inline
def log_is_full(m: Mem, i: int) -> bool:
    """Say whether the log has no room for an event; if it has, rows from now on are event ``i``."""
    capacity = int(m.log_cursor[LOG_CAPACITY])
    if capacity == 0:
        return False
    m.log_cursor[LOG_EVENT] = i
    return capacity - int(m.log_cursor[LOG_USED]) < int(m.log_cursor[LOG_HEADROOM])


@inline
def let_go(m: Mem, b: Batch, i: int) -> int:
    """Take the block of a free's handle from it, and record that; -1 if it holds nothing."""
    handle = int(b.handle[i])
    pfn = int(b.page_table[handle]) - 1
    if pfn < 0:
        m.events[FREES_NOT_HELD] += 1
        b.status[i] = NOT_HELD
    else:
        b.page_table[handle] = 0
        b.status[i] = FREED
    return pfn


@inline
def record(m: Mem, ac: AllocContext, b: Batch, i: int, pfn: int, mobility: int) -> int:
    """Hand a block to the handle that asked for it, or record why there is none; return the pfn."""
    if pfn >= 0:
        handle = int(b.handle[i])
        prep_new_page(m, ac, pfn, mobility, handle)
        b.page_table[handle] = pfn + 1
        m.events[ALLOC_SUCCESS] += 1
        b.status[i] = OK
    elif pfn == WOULD_RECLAIM:
        m.events[ALLOC_NEEDS_RECLAIM] += 1
        b.status[i] = NEEDS_RECLAIM
    else:
        m.events[ALLOC_NOPAGE] += 1
        b.status[i] = NOPAGE
    return max(pfn, -1)


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
def goes_on(b: Batch, i: int, other: int) -> bool:
    """Say whether two events ask for the same on the same CPU."""
    return (
        int(b.op[i]) == int(b.op[other])
        and int(b.cpu[i]) == int(b.cpu[other])
        and int(b.request[i]) == int(b.request[other])
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
    z = zone_at_mark(m, ac, alloc_flags) if may_use_pcplist(tables, ac, alloc_flags) else -1
    if z < 0:
        return 0
    row = pcp_row(m, z, ac.cpu)
    lst = pcp_list(row, order_to_pindex(ac.migratetype, ac.order))
    head, length = int(m.pcps[lst]), int(m.pcps[lst + 1])
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    stop = min(stop, i + length)
    n = 0
    while i + n < stop and goes_on(b, i, i + n):
        pfn = int(m.rings[offset + (head + n & mask)])
        handle = int(b.handle[i + n])
        prep_new_page(m, ac, pfn, int(rows[at + R_MOBILITY]), handle)
        b.page_table[handle] = pfn + 1
        b.pfn[i + n] = pfn
        b.status[i + n] = OK
        n += 1
    if n:
        m.pcps[lst], m.pcps[lst + 1] = head + n & mask, length - n
        m.pcps[row + P_COUNT] -= n << ac.order
        m.pcps[row + P_FREE_FACTOR] >>= min(n, MANY_HALVINGS)
        count_numa(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), z, ac.cpu, n)
        wake_if_boosted(m, z, alloc_flags)
        m.events[ALLOC_SUCCESS] += n
    return n


@inline
def free_run(m: Mem, b: Batch, i: int, stop: int) -> int:
    """Put single pages on the per-CPU lists of event ``i``'s zone; return how many.

    Stops before the page that would fill the lists.
    """
    first = int(b.page_table[int(b.handle[i])]) - 1
    if first < 0:
        return 0
    z = page_zone(m, first)
    row = pcp_row(m, z, int(b.cpu[i]))
    full = i + int(m.pcps[row + P_HIGH]) - 1 - int(m.pcps[row + P_COUNT])
    n = 0
    while (
        i + n < min(stop, full)
        and int(b.op[i + n]) == int(b.op[i])
        and int(b.cpu[i + n]) == int(b.cpu[i])
    ):
        prefetch_events(m, b, i + n, stop)
        handle = int(b.handle[i + n])
        pfn = int(b.page_table[handle]) - 1
        if pfn < 0 or page_zone(m, pfn) != z:
            break
        blocktype = pageblock_type(m, pfn)
        if int(m.state[pfn]) & (ORDER_MASK | PAGE_LRU_PENDING) or blocktype == ISOLATE:
            break
        m.state[pfn] = blocktype << TYPE_SHIFT | PAGE_PCP
        listtype = blocktype if blocktype < MIGRATE_PCPTYPES else MOVABLE
        pcp_push_head(m, pcp_list(row, listtype), pfn)
        b.page_table[handle] = 0
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
    return alloc_run(m, tables, rows, b, i, stop)


@kernel
def run_batch(
    mem: Mem, policy: PolicyTables, requests: NDArray[np.int64], batch: Batch, start: int, stop: int
) -> int:
    """Carry out events [start, stop) in order; fill in pfn and status.

    Returns the index of the first event not carried out: ``stop``, or less when the log is full.
    ``requests`` is flat, (rows * REQUEST_FIELDS,).
    """
    m = pointers(mem)
    tables = policy_pointers(policy)
    rows = ptr(requests)
    b = batch_pointers(batch)
    together = not keeps_log(m)
    i = start
    while i < stop:
        if log_is_full(m, i):
            return i
        if together and begins_run(b, i, stop):
            n = run_of_events(m, tables, rows, b, i, stop)
            if n:
                i += n
                continue
        prefetch_events(m, b, i, stop)
        op = int(b.op[i])
        cpu = int(b.cpu[i])
        if op & OP_FREE:
            pfn = let_go(m, b, i)
            if pfn >= 0:
                free_pages(m, cpu, pfn)
        else:
            at = int(b.request[i]) * REQUEST_FIELDS
            ac = alloc_context(m, rows, at, op & 0xF, cpu)
            pfn = alloc_pages(m, tables, ac)
            pfn = record(m, ac, b, i, pfn, int(rows[at + R_MOBILITY]))
        b.pfn[i] = pfn
        i += 1
    return stop


@kernel
def drain_all_pages(mem: Mem, cpu: int) -> None:
    """Return the pages of all per-CPU lists to the buddy lists; ``cpu`` does it for all.

    Source: __drain_all_pages, mm/page_alloc.c, 6.1.
    """
    m = pointers(mem)
    for owner in range(m.nr_cpus):
        for z in range(m.nr_zones):
            drain_pages_zone(m, z, owner, cpu)
