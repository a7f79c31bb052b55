"""Entry points: whole batches of requests and frees, carried out in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import kernel, pointers, ptr
from memsim.kernels.daemons import begin_event
from memsim.kernels.events import (
    SKIPPED,
    Batch,
    alloc_context,
    count_access,
    is_resident,
    is_skipped,
    let_go,
    log_is_full,
    prefetch_events,
    record,
    touch,
)
from memsim.kernels.layout import (
    R_PAGE,
    R_WAITERS,
    REQUEST_FIELDS,
    Mem,
)
from memsim.kernels.numa_balancing import numa_hint_fault
from memsim.kernels.page_alloc import NEEDS_OOM_KILL, free_pages
from memsim.kernels.placement import PolicyTables
from memsim.kernels.runs import begins_run, run_of_events
from memsim.kernels.slowpath import alloc_pages
from memsim.kernels.slowpath import drain_all_pages as drain_all
from memsim.kernels.system import S_NUMA_BALANCING, S_OOM, S_STALL, S_WAITERS, fall_behind
from memsim.kernels.touch import fault_in
from memsim.kernels.trace_log import (
    keeps_log,
)
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE


@kernel
def run_batch(
    mem: Mem, policy: PolicyTables, requests: NDArray[np.int64], batch: Batch, start: int, stop: int
) -> int:
    """Carry out events [start, stop) in order; fill in pfn and status.

    Without events (``start == stop``) time comes to that of ``start``, and what is due is done.
    Returns the index of the first event not carried out: ``stop``, or less when the log is full,
    a request needs an OOM kill, or streams have fallen behind.
    ``requests`` is flat, (rows * REQUEST_FIELDS,).
    """
    m = pointers(mem)
    tables = pointers(policy)
    rows = ptr(requests)
    b = pointers(batch)
    together = not keeps_log(m)
    m.system[S_OOM] = 0
    if start == stop:
        begin_event(m, tables, int(b.time[start]))
    i = start
    while i < stop:
        if log_is_full(m, i):
            return i
        begin_event(m, tables, int(b.time[i]))
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
        elif op & OP_TOUCH and is_resident(m, b, i):
            if int(m.system[S_NUMA_BALANCING]):
                numa_hint_fault(m, tables, cpu, int(b.handle[i]))
            pfn = touch(m, b, i)
        elif is_skipped(m, b, i):
            b.status[i] = SKIPPED
            pfn = -1
        else:
            at = int(b.request[i]) * REQUEST_FIELDS
            m.system[S_WAITERS] = rows[at + R_WAITERS]
            ac = alloc_context(m, rows, at, op & 0xF, cpu)
            pfn = alloc_pages(m, tables, ac)
            if pfn == NEEDS_OOM_KILL:
                m.system[S_OOM] = 1
                return i
            entry = int(m.page_table[int(b.handle[i])])
            pfn = record(m, ac, b, i, pfn, int(rows[at + R_PAGE]))
            if entry < 0 and pfn >= 0:
                fault_in(m, int(b.handle[i]), entry, pfn, op & OP_WRITE)
        b.pfn[i] = pfn
        if op & (OP_FREE | OP_TOUCH) == OP_TOUCH and pfn >= 0:
            count_access(m, rows, int(b.request[i]) * REQUEST_FIELDS, cpu, pfn)
        i += 1
        if int(m.system[S_STALL]) and fall_behind(m, rows, int(b.request[i - 1]) * REQUEST_FIELDS):
            return i
    return stop


@kernel
def drain_all_pages(mem: Mem, cpu: int) -> None:
    """Return the pages of all per-CPU lists to the buddy lists; ``cpu`` does it for all.

    Source: __drain_all_pages, mm/page_alloc.c, 6.1.
    """
    drain_all(pointers(mem), cpu)
