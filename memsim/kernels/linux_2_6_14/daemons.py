"""What happens beside the requests: the device, the flusher, kswapd, each at its own instants."""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.flusher import flusher_step
from memsim.kernels.layout import Mem
from memsim.kernels.linux_2_6_14.kswapd import kswapd_step, node_get
from memsim.kernels.linux_2_6_14.page_reclaim import S_COST
from memsim.kernels.page_io import device_due, end_writes
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    N_KSWAPD_DUE,
    S_FLUSHER_DUE,
    S_NEXT_DUE,
    S_NOW,
    S_STALL,
    book_stall,
    clock,
)


@helper
def next_kswapd(m: Mem) -> int:
    """Return the node whose kswapd is due first."""
    first = 0
    for node in range(1, m.nr_nodes):
        if node_get(m, node, N_KSWAPD_DUE) < node_get(m, first, N_KSWAPD_DUE):
            first = node
    return first


@helper
def carry_out_due(m: Mem, tables: PolicyTables, now: int) -> None:
    """Carry out what is due up to ``now``, the earliest first; of one instant, the device first."""
    asked_at, waited = int(m.system[S_NOW]), int(m.system[S_STALL])
    cost = int(m.system[S_COST])
    m.system[S_STALL] = 0
    while True:
        node = next_kswapd(m)
        device, flusher = device_due(m), int(m.system[S_FLUSHER_DUE])
        due = min(device, flusher, node_get(m, node, N_KSWAPD_DUE))
        m.system[S_NEXT_DUE] = due
        if due > now:
            break
        m.system[S_NOW] = due
        if device == due:
            end_writes(m, due)
        elif flusher == due:
            flusher_step(m)
        else:
            kswapd_step(m, tables, node)
    m.system[S_NOW], m.system[S_STALL] = asked_at, waited
    m.system[S_COST] = cost


@inline
def begin_event(m: Mem, tables: PolicyTables, now: int) -> None:
    """Let time come to the instant of an event; the world does what was due until then."""
    m.system[S_NOW] = now
    m.system[S_STALL] = 0
    if int(m.system[S_NEXT_DUE]) <= now:
        carry_out_due(m, tables, now)


@helper
def io_schedule_timeout(m: Mem, tables: PolicyTables, ns: int) -> None:
    """Let the request at hand wait; the world goes on meanwhile.

    Unlike Linux: a request waits its time out, even if the device has a place in its queue before.
    """
    book_stall(m, ns)
    if int(m.system[S_NEXT_DUE]) <= clock(m):
        carry_out_due(m, tables, clock(m))
