"""What one reclaimer is at: the kernel's struct scan_control, as fields beside a node's.

kswapd's lie in its node's row of ``Mem.nodes``, the direct reclaimer's in the row after the last
node's. A scan control is passed as the place where its fields begin.

Source: mm/vmscan.c, Linux 6.1.
"""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import Mem
from memsim.kernels.system import N_COMPACT, N_SCAN_CONTROL, NODE_FIELDS

(
    SC_NODE,
    SC_PRIORITY,
    SC_ORDER,
    SC_HIGHEST_ZONE,
    SC_TO_RECLAIM,
    SC_RECLAIMED,
    SC_SCANNED,
    SC_KSWAPD,
    SC_CPU,
    SC_MAY_FS,
    SC_MAY_IO,
    SC_MAY_WRITE,
    SC_MAY_SWAP,
    SC_DEACTIVATE_ANON,
    SC_DEACTIVATE_FILE,
    SC_FORCE_DEACTIVATE,
    SC_SKIPPED_DEACTIVATE,
    SC_COST,
    SC_NODE_BEFORE,
    SC_ROUND_BEFORE,
    SC_TAKEN,
    SC_FILE_TAKEN,
    SC_WRITEBACK,
    SC_UNQUEUED_DIRTY,
    SC_IMMEDIATE,
    SC_PAGEOUT,
    SC_DEMOTE,
) = range(27)
"""CPU: who frees. COST: ns that the work has taken so far. NODE_BEFORE,
ROUND_BEFORE: pages reclaimed when this pass over the node, this round of kswapd's, began. TAKEN
and what follows: pages that this pass has isolated, and what they were. DEMOTE: 1 while pages may
go to a slower node."""
SC_NR = 27
"""Pages still to be scanned of each of the four lists (LRU_*)."""
assert N_SCAN_CONTROL + SC_NR + 4 <= N_COMPACT


@inline
def kswapd_control(node: int) -> int:
    """Return kswapd's scan control of a node."""
    return node * NODE_FIELDS + N_SCAN_CONTROL


@inline
def direct_control(m: Mem) -> int:
    """Return the scan control of whoever reclaims directly."""
    return m.nr_nodes * NODE_FIELDS + N_SCAN_CONTROL


@inline
def sc_get(m: Mem, sc: int, field: int) -> int:
    """Read a field of a scan control."""
    return int(m.nodes[sc + field])


@inline
def sc_set(m: Mem, sc: int, field: int, value: int) -> None:
    """Write a field of a scan control."""
    m.nodes[sc + field] = value


@inline
def sc_add(m: Mem, sc: int, field: int, value: int) -> None:
    """Add to a field of a scan control."""
    m.nodes[sc + field] += value
