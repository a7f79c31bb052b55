"""What happens beside the requests: the device, kswapd, kcompactd, each at its own instants.

The system row's S_NEXT_DUE is the earliest of them, so that a request finds out with one
comparison that nothing is due. Whoever sets a due time calls ``due_at``.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import Mem
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import S_NEXT_DUE, S_NOW, S_STALL


@helper
def carry_out_due(m: Mem, tables: PolicyTables, now: int) -> None:
    """Carry out what is due up to ``now``, the earliest first; of one instant, the device first."""


@inline
def begin_event(m: Mem, tables: PolicyTables, now: int) -> None:
    """Let time come to the instant of an event; the world does what was due until then."""
    m.system[S_NOW] = now
    m.system[S_STALL] = 0
    if int(m.system[S_NEXT_DUE]) <= now:
        carry_out_due(m, tables, now)
