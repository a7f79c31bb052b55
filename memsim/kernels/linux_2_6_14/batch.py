"""Entry points: whole batches of requests and frees, carried out in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline, kernel, pointers, ptr
from memsim.kernels.buddy import HIGHATOMIC
from memsim.kernels.events import (
    SKIPPED,
    TOUCHED,
    Batch,
    alloc_context,
    count_access,
    is_resident,
    is_skipped,
    let_go,
    log_is_full,
    prefetch_events,
    record,
)
from memsim.kernels.layout import (
    PAGE_DIRTY,
    R_PAGE,
    R_WAITERS,
    REQ_DIRECT_RECLAIM,
    REQUEST_FIELDS,
    Mem,
)
from memsim.kernels.linux_2_6_14.daemons import begin_event
from memsim.kernels.linux_2_6_14.page_alloc import free_pages
from memsim.kernels.linux_2_6_14.pcp import drain_pages_zone
from memsim.kernels.linux_2_6_14.slowpath import alloc_pages
from memsim.kernels.linux_2_6_14.touch import finish_fault, read_below, touch_resident
from memsim.kernels.page_alloc import NEEDS_OOM_KILL
from memsim.kernels.placement import OPT_HIGHATOMIC, PolicyTables
from memsim.kernels.system import S_OOM, S_STALL, S_WAITERS, fall_behind
from memsim.kernels.zonelist import AllocContext
from memsim.mm import OP_COLD, OP_FREE, OP_TOUCH, OP_WRITE


@inline
def typed(tables: PolicyTables, ac: AllocContext) -> AllocContext:
    """Give a request of several pages that cannot wait a type of its own, where 2.6.21 does so."""
    urgent = ac.order > 0 and not ac.flags & REQ_DIRECT_RECLAIM
    if not urgent or int(tables.options[OPT_HIGHATOMIC]) == 0:
        return ac
    return AllocContext(
        ac.order, HIGHATOMIC, ac.highest_zone, ac.flags, ac.zonelist, ac.nodemask, ac.cpu
    )


@inline
def allocate(m: Mem, tables: PolicyTables, rows: NDArray[np.int64], b: Batch, i: int) -> int:
    """Carry out a request, or an access to what is not in memory; return what it got."""
    op, handle = int(b.op[i]), int(b.handle[i])
    at = int(b.request[i]) * REQUEST_FIELDS
    page = int(rows[at + R_PAGE])
    ac = typed(tables, alloc_context(m, rows, at, op & 0xF, int(b.cpu[i])))
    entry = int(m.page_table[handle])
    if entry < 0:
        read_below(m, tables, ac, entry, page)
    pfn = alloc_pages(m, tables, ac)
    if pfn == NEEDS_OOM_KILL:
        return pfn
    pfn = record(m, ac, b, i, pfn, page)
    written = op & OP_TOUCH and op & OP_WRITE
    if pfn >= 0 and (entry < 0 or written or page & PAGE_DIRTY):
        finish_fault(m, tables, ac, handle, entry, page, 1 if written else 0)
    return pfn


@kernel
def run_batch(
    mem: Mem, policy: PolicyTables, requests: NDArray[np.int64], batch: Batch, start: int, stop: int
) -> int:
    """Carry out events [start, stop) in order; see ``memsim.kernels.batch.run_batch``."""
    m = pointers(mem)
    tables = pointers(policy)
    rows = ptr(requests)
    b = pointers(batch)
    m.system[S_OOM] = 0
    if start == stop:
        begin_event(m, tables, int(b.time[start]))
    for i in range(start, stop):
        if log_is_full(m, i):
            return i
        begin_event(m, tables, int(b.time[i]))
        prefetch_events(m, b, i, stop)
        op = int(b.op[i])
        handle = int(b.handle[i])
        at = int(b.request[i]) * REQUEST_FIELDS
        if op & OP_FREE:
            pfn = let_go(m, b, i)
            if pfn >= 0:
                free_pages(m, tables, int(b.cpu[i]), pfn, 1 if op & OP_COLD else 0)
        elif op & OP_TOUCH and is_resident(m, b, i):
            pfn = int(m.page_table[handle]) - 1
            m.system[S_WAITERS] = rows[at + R_WAITERS]
            touch_resident(m, tables, handle, pfn, int(rows[at + R_PAGE]), op & OP_WRITE)
            b.status[i] = TOUCHED
        elif is_skipped(m, b, i):
            b.status[i] = SKIPPED
            pfn = -1
        else:
            m.system[S_WAITERS] = rows[at + R_WAITERS]
            pfn = allocate(m, tables, rows, b, i)
            if pfn == NEEDS_OOM_KILL:
                m.system[S_OOM] = 1
                return i
        b.pfn[i] = pfn
        if op & (OP_FREE | OP_TOUCH) == OP_TOUCH and pfn >= 0:
            count_access(m, rows, at, int(b.cpu[i]), pfn)
        if int(m.system[S_STALL]) and fall_behind(m, rows, at):
            return i + 1
    return stop


@kernel
def drain_all_pages(mem: Mem, policy: PolicyTables) -> None:
    """Return the pages of all per-CPU lists to the buddy lists."""
    m = pointers(mem)
    tables = pointers(policy)
    for cpu in range(m.nr_cpus):
        for z in range(m.nr_zones):
            drain_pages_zone(m, tables, z, cpu)
