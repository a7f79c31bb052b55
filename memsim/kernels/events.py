"""One event of a batch: reading it, and recording what became of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.buddy import pcp_allowed_order, prefetch_buddies
from memsim.kernels.layout import (
    GONE,
    R_ACCESS_PS,
    R_ACCESS_WAIT_NS,
    R_ACCESSES,
    R_FLAGS,
    R_HIGHEST_ZONE,
    R_MIGRATETYPE,
    R_NODE,
    R_NODEMASK,
    R_REMOTE_ACCESSES,
    R_SLOW_ACCESSES,
    REQ_HUGE_FAULT,
    REQ_THISNODE,
    Z_NODE,
    Mem,
    page_zone,
    zone_get,
)
from memsim.kernels.page_alloc import (
    WOULD_RECLAIM,
    prep_new_page,
)
from memsim.kernels.swapfile import swap_free
from memsim.kernels.system import (
    N_DEMOTION_MASK,
    NODE_FIELDS,
    S_EXTFRAG_INDEX,
    S_FALLBACK,
    S_STALL,
    S_WHY,
)
from memsim.kernels.touch import touch_resident
from memsim.kernels.trace_log import (
    LOG_CAPACITY,
    LOG_EVENT,
    LOG_HEADROOM,
    LOG_USED,
)
from memsim.kernels.vmstat import (
    ALLOC_NEEDS_RECLAIM,
    ALLOC_NOPAGE,
    ALLOC_SUCCESS,
    FREES_NOT_HELD,
    THP_FAULT_ALLOC,
    THP_FAULT_FALLBACK,
)
from memsim.kernels.zonelist import AllocContext
from memsim.mm import OP_FALLBACK, OP_SERIES, OP_TOUCH, OP_WRITE, Status, WhyNot

FREED = int(Status.FREED)
NOT_HELD = int(Status.NOT_HELD)
OK = int(Status.OK)
NOPAGE = int(Status.NOPAGE)
NEEDS_RECLAIM = int(Status.NEEDS_RECLAIM)
SKIPPED = int(Status.SKIPPED)
TOUCHED = int(Status.TOUCHED)
NOT_SIMULATED = int(WhyNot.NOT_SIMULATED)
PREFETCH = 32
"""Events between asking for a page's cache lines and using them."""


class Batch(NamedTuple):
    """Events and what becomes of them (n events)."""

    op: NDArray[np.uint8]
    request: NDArray[np.uint16]
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]
    time: NDArray[np.int64]
    pfn: NDArray[np.int32]
    status: NDArray[np.uint8]
    why: NDArray[np.uint8]
    extfrag: NDArray[np.int16]


def no_events(now: int) -> Batch:
    """Return a batch without events, for time to come to ``now`` (ns)."""
    bytes_, words, ints = np.zeros(0, np.uint8), np.zeros(0, np.uint16), np.zeros(0, np.int32)
    time, index = np.array([now], np.int64), np.zeros(0, np.int16)
    return Batch(bytes_, words, words, ints, time, ints, bytes_, bytes_, index)


@inline
def coming_page(m: Mem, b: Batch, i: int) -> int:
    """Return the page that a coming event's handle holds now, page 0 for none.

    Looking at a page in vain costs less than a branch that nobody can predict.
    """
    return max(int(m.page_table[int(b.handle[i])]), 1) - 1


@inline
def prefetch_events(m: Mem, b: Batch, i: int, stop: int) -> None:
    """Ask for what coming events will touch: the handle, then its page, then its LRU neighbours.

    A block that goes to a per-CPU list is looked at closer when it leaves that.
    """
    if i + 2 * PREFETCH < stop:
        prefetch(m.page_table, int(b.handle[i + 2 * PREFETCH]))
        order = int(b.op[i + PREFETCH]) & 0xF
        pfn = coming_page(m, b, i + PREFETCH)
        prefetch(m.state, pfn)
        prefetch(m.pageblocks, pfn >> m.pageblock_order)
        if not pcp_allowed_order(order):
            prefetch_buddies(m, pfn, order)
        pfn = coming_page(m, b, i + PREFETCH // 2)
        prefetch(m.state, int(m.next[pfn]))
        prefetch(m.state, int(m.prev[pfn]))


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


@helper
def drop_reclaimed(m: Mem, handle: int) -> None:
    """Let a handle forget a page that reclaim has taken: its swap slot, or its place in a file."""
    entry = int(m.page_table[handle])
    if entry != GONE:
        swap_free(m, -entry - 1)
    m.page_table[handle] = 0


@inline
def let_go(m: Mem, b: Batch, i: int) -> int:
    """Take the block of a free's handle from it, and record that; -1 if it holds nothing."""
    handle = int(b.handle[i])
    pfn = int(m.page_table[handle]) - 1
    if pfn < -1:
        drop_reclaimed(m, handle)
        b.status[i] = FREED
        return -1
    if pfn < 0:
        m.events[FREES_NOT_HELD] += 1
        b.status[i] = NOT_HELD
    else:
        m.page_table[handle] = 0
        b.status[i] = FREED
    return pfn


@inline
def is_resident(m: Mem, b: Batch, i: int) -> bool:
    """Say whether what an event's handle holds is in memory."""
    return int(m.page_table[int(b.handle[i])]) > 0


@inline
def is_skipped(m: Mem, b: Batch, i: int) -> bool:
    """Say whether an allocation depends on something that did not happen."""
    op = int(b.op[i])
    if op & OP_FALLBACK:
        return int(m.system[S_FALLBACK]) == 0
    ends = op & (OP_SERIES | OP_TOUCH) == OP_SERIES
    return ends and int(m.page_table[int(b.handle[i]) - 1]) <= 0


@inline
def touch(m: Mem, b: Batch, i: int) -> int:
    """Carry out an access to a page that is in memory; return its pfn."""
    pfn = int(m.page_table[int(b.handle[i])]) - 1
    touch_resident(m, pfn, int(b.op[i]) & OP_WRITE)
    b.status[i] = TOUCHED
    return pfn


@inline
def count_access(m: Mem, rows: NDArray[np.int64], at: int, cpu: int, pfn: int) -> None:
    """Count an access of a request row (its fields begin at ``at``), and what it cost."""
    home = int(m.cpu_node[cpu])
    node = zone_get(m, page_zone(m, pfn), Z_NODE)
    rows[at + R_ACCESSES] += 1
    rows[at + R_REMOTE_ACCESSES] += 1 if node != home else 0
    rows[at + R_ACCESS_PS] += m.access_ps[home * m.nr_nodes + node]
    slower = int(m.nodes[home * NODE_FIELDS + N_DEMOTION_MASK])
    rows[at + R_SLOW_ACCESSES] += slower >> node & 1
    rows[at + R_ACCESS_WAIT_NS] += m.system[S_STALL]


@helper
def count_huge_fault(m: Mem, got: bool) -> None:
    """Count a fault that asked for a huge page; without one, base pages are to take its place."""
    m.system[S_FALLBACK] = 0 if got else 1
    m.events[THP_FAULT_ALLOC if got else THP_FAULT_FALLBACK] += 1


@inline
def record(m: Mem, ac: AllocContext, b: Batch, i: int, pfn: int, page: int) -> int:
    """Hand a block to the handle that asked for it, or record why there is none; return the pfn."""
    if ac.flags & REQ_HUGE_FAULT:
        count_huge_fault(m, pfn >= 0)
    if pfn >= 0:
        handle = int(b.handle[i])
        prep_new_page(m, ac, pfn, page, handle)
        m.page_table[handle] = pfn + 1
        m.events[ALLOC_SUCCESS] += 1
        b.status[i] = OK
    elif pfn == WOULD_RECLAIM:
        m.events[ALLOC_NEEDS_RECLAIM] += 1
        b.status[i] = NEEDS_RECLAIM
        b.why[i] = NOT_SIMULATED
    else:
        m.events[ALLOC_NOPAGE] += 1
        b.status[i] = NOPAGE
        b.why[i] = m.system[S_WHY]
        b.extfrag[i] = m.system[S_EXTFRAG_INDEX]
    return max(pfn, -1)
