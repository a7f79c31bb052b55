"""What happens beside the requests: device, kswapd, kcompactd, flusher, each at its own instants.

The system row's S_NEXT_DUE is the earliest of them, so that a request finds out with one
comparison that nothing is due. Whoever sets a due time calls ``system.due_at``.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.flusher import flusher_step
from memsim.kernels.kcompactd import kcompactd_step, proactive_step
from memsim.kernels.kswapd import kswapd_step
from memsim.kernels.layout import Mem
from memsim.kernels.page_io import device_due, end_writes
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD_DUE,
    N_KSWAPD_DUE,
    N_PROACTIVE_DUE,
    NODE_FIELDS,
    S_FLUSHER_DUE,
    S_NEXT_DUE,
    S_NOW,
    S_SHARED_CPU,
    S_STALL,
    book_stall,
    clock,
)

DEVICE, KSWAPD, KCOMPACTD, PROACTIVE, FLUSHER = range(5)
"""In this order they act where they are due at the same instant."""


@helper
def earliest_due(m: Mem) -> tuple[int, int, int]:
    """Return when the next of them is due, who it is, and its node."""
    due, who, where = device_due(m), DEVICE, 0
    for node in range(m.nr_nodes):
        at = node * NODE_FIELDS
        if int(m.nodes[at + N_KSWAPD_DUE]) < due:
            due, who, where = int(m.nodes[at + N_KSWAPD_DUE]), KSWAPD, node
    for node in range(m.nr_nodes):
        at = node * NODE_FIELDS
        if int(m.nodes[at + N_KCOMPACTD_DUE]) < due:
            due, who, where = int(m.nodes[at + N_KCOMPACTD_DUE]), KCOMPACTD, node
    for node in range(m.nr_nodes):
        at = node * NODE_FIELDS
        if int(m.nodes[at + N_PROACTIVE_DUE]) < due:
            due, who, where = int(m.nodes[at + N_PROACTIVE_DUE]), PROACTIVE, node
    if int(m.system[S_FLUSHER_DUE]) < due:
        due, who, where = int(m.system[S_FLUSHER_DUE]), FLUSHER, 0
    return due, who, where


@helper
def carry_out_due(m: Mem, tables: PolicyTables, now: int) -> None:
    """Carry out what is due up to ``now``, the earliest first; of one instant, the device first.

    Each acts on its own clock; that of the request at hand stays as it is.
    """
    time, stall = int(m.system[S_NOW]), int(m.system[S_STALL])
    m.system[S_STALL] = 0
    due, who, node = earliest_due(m)
    while due <= now:
        m.system[S_NOW] = due
        if who == DEVICE:
            end_writes(m, due)
        elif who == KSWAPD:
            kswapd_step(m, tables, node)
        elif who == KCOMPACTD:
            kcompactd_step(m, tables, node)
        elif who == PROACTIVE:
            proactive_step(m, tables, node)
        else:
            flusher_step(m)
        due, who, node = earliest_due(m)
    m.system[S_NEXT_DUE] = due
    m.system[S_NOW], m.system[S_STALL] = time, stall


@helper
def let_daemons_go_first(m: Mem, tables: PolicyTables) -> None:
    """Where there is one CPU for all, let the request at hand wait until the daemons sleep.

    The capture ``frag_nogroup`` shows it (from 8.824529 on): between any two blocks that a process
    gets kswapd and kcompactd are woken, act and sleep.
    """
    if int(m.system[S_SHARED_CPU]) == 0:
        return
    due = daemons_due(m)
    while due != FOREVER:
        if due > clock(m):
            book_stall(m, due - clock(m))
        carry_out_due(m, tables, clock(m))
        due = daemons_due(m)


@helper
def daemons_due(m: Mem) -> int:
    """Return when kswapd or kcompactd of some node acts next, FOREVER where all sleep."""
    due = FOREVER
    for node in range(m.nr_nodes):
        at = node * NODE_FIELDS
        due = min(due, int(m.nodes[at + N_KSWAPD_DUE]), int(m.nodes[at + N_KCOMPACTD_DUE]))
    return due


@inline
def begin_event(m: Mem, tables: PolicyTables, now: int) -> None:
    """Let time come to the instant of an event; the world does what was due until then."""
    m.system[S_NOW] = now
    m.system[S_STALL] = 0
    if int(m.system[S_NEXT_DUE]) <= now:
        carry_out_due(m, tables, now)
        let_daemons_go_first(m, tables)
