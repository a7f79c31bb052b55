"""Entry points: whole batches of requests and frees, carried out in order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline, kernel, prefetch, ptr
from memsim.kernels.layout import (
    ALLOC_NEEDS_RECLAIM,
    ALLOC_NOPAGE,
    ALLOC_SUCCESS,
    FREES_NOT_HELD,
    LOG_CAPACITY,
    LOG_EVENT,
    LOG_HEADROOM,
    LOG_USED,
    R_FLAGS,
    R_HIGHEST_ZONE,
    R_MIGRATETYPE,
    R_MOBILITY,
    R_NODE,
    R_NODEMASK,
    REQ_THISNODE,
    REQUEST_FIELDS,
    Mem,
    pointers,
)
from memsim.kernels.page_alloc import (
    WOULD_RECLAIM,
    AllocContext,
    alloc_pages,
    free_pages,
    prep_new_page,
)
from memsim.kernels.pcp import drain_pages_zone
from memsim.kernels.placement import PolicyTables, policy_pointers
from memsim.mm import OP_FREE, Status

FREED = int(Status.FREED)
NOT_HELD = int(Status.NOT_HELD)
OK = int(Status.OK)
NOPAGE = int(Status.NOPAGE)
NEEDS_RECLAIM = int(Status.NEEDS_RECLAIM)
PREFETCH = 32
"""Events between asking for a page's cache lines and using them."""


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
def prefetch_block(m: Mem, pfn: int, order: int) -> None:
    """Ask for what freeing a block will touch: its links, and the marks of its next buddies."""
    prefetch(m.links, pfn)
    prefetch(m.pageblocks, pfn >> m.pageblock_order)
    prefetch(m.state, pfn)
    prefetch(m.state, pfn ^ (1 << order))
    prefetch(m.state, pfn ^ (2 << order))
    prefetch(m.state, pfn ^ (4 << order))


@inline
def prefetch_events(m: Mem, b: Batch, i: int, stop: int) -> None:
    """Ask for what the coming frees will touch: the handle first, its page later."""
    if i + 2 * PREFETCH < stop:
        prefetch(b.page_table, int(b.handle[i + 2 * PREFETCH]))
        op = int(b.op[i + PREFETCH])
        if op & OP_FREE:
            pfn = int(b.page_table[int(b.handle[i + PREFETCH])]) - 1
            if pfn >= 0:
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
    for i in range(start, stop):
        if log_is_full(m, i):
            return i
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
