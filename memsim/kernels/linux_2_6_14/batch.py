"""Entry points: whole batches of requests and frees, carried out in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import kernel, ptr
from memsim.kernels.events import (
    Batch,
    alloc_context,
    batch_pointers,
    let_go,
    log_is_full,
    prefetch_events,
    record,
)
from memsim.kernels.layout import (
    R_PAGE,
    REQUEST_FIELDS,
    Mem,
    pointers,
)
from memsim.kernels.linux_2_6_14.page_alloc import alloc_pages, free_pages
from memsim.kernels.linux_2_6_14.pcp import drain_pages_zone
from memsim.kernels.placement import PolicyTables, policy_pointers
from memsim.kernels.system import S_NOW
from memsim.mm import OP_COLD, OP_FREE


@kernel
def run_batch(
    mem: Mem, policy: PolicyTables, requests: NDArray[np.int64], batch: Batch, start: int, stop: int
) -> int:
    """Carry out events [start, stop) in order; see ``memsim.kernels.batch.run_batch``."""
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
                free_pages(m, tables, cpu, pfn, 1 if op & OP_COLD else 0)
        else:
            at = int(b.request[i]) * REQUEST_FIELDS
            ac = alloc_context(m, rows, at, op & 0xF, cpu)
            pfn = alloc_pages(m, tables, ac)
            pfn = record(m, ac, b, i, pfn, int(rows[at + R_PAGE]))
        b.pfn[i] = pfn
    return stop


@kernel
def drain_all_pages(mem: Mem, policy: PolicyTables) -> None:
    """Return the pages of all per-CPU lists to the buddy lists."""
    m = pointers(mem)
    tables = policy_pointers(policy)
    for cpu in range(m.nr_cpus):
        for z in range(m.nr_zones):
            drain_pages_zone(m, tables, z, cpu)


@kernel
def advance(mem: Mem, policy: PolicyTables, now: int) -> None:
    """Let time come to ``now``."""
    m = pointers(mem)
    m.system[S_NOW] = max(now, int(m.system[S_NOW]))
