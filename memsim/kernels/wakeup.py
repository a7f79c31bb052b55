"""Whether a node has enough free memory, and waking its kswapd where it has not.

Source: mm/vmscan.c, Linux 6.1 (pgdat_balanced, wakeup_kswapd; spec 7.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    P_STAT_DIFF,
    Z_BOOST,
    Z_MANAGED,
    Z_NODE,
    Z_NR_FREE_PAGES,
    Z_TYPE,
    Z_WMARK,
    Mem,
    zone_get,
)
from memsim.kernels.pcp import pcp_row
from memsim.kernels.system import (
    FOREVER,
    N_KSWAPD_DUE,
    N_KSWAPD_FAILURES,
    N_KSWAPD_HIGHEST_ZONE,
    N_KSWAPD_ORDER,
    N_KSWAPD_WOKE,
    NODE_FIELDS,
    S_PRESSURE,
    clock,
    due_at,
)
from memsim.kernels.zonelist import AllocContext, zone_watermark_ok_with
from memsim.mm import Wmark

MAX_RECLAIM_RETRIES = 16
"""Runs without a single page after which kswapd gives up."""
WMARK_HIGH = int(Wmark.HIGH)


@inline
def is_eligible(m: Mem, z: int, node: int, highest_zone: int) -> bool:
    """Say whether a zone is one of a node's up to a zone type, and has memory."""
    return (
        zone_get(m, z, Z_NODE) == node
        and zone_get(m, z, Z_TYPE) <= highest_zone
        and zone_get(m, z, Z_MANAGED) > 0
    )


@inline
def high_wmark_pages(m: Mem, z: int) -> int:
    """Return a zone's high mark with its boost."""
    return zone_get(m, z, Z_WMARK + WMARK_HIGH) + zone_get(m, z, Z_BOOST)


@helper
def zone_free_exact(m: Mem, z: int) -> int:
    """Count a zone's free pages with what its CPUs have not folded in."""
    free = zone_get(m, z, Z_NR_FREE_PAGES)
    for cpu in range(m.nr_cpus):
        free += int(m.pcps[pcp_row(m, z, cpu) + P_STAT_DIFF])
    return max(free, 0)


@helper
def zone_watermark_ok_safe(m: Mem, z: int, order: int, mark: int, highest_zone: int) -> bool:
    """Test a zone against a mark with its exact count of free pages."""
    ac = AllocContext(order, 0, highest_zone, 0, 0, -1, 0)
    return zone_watermark_ok_with(m, z, ac, mark, 0, zone_free_exact(m, z))


@helper
def pgdat_balanced(m: Mem, node: int, order: int, highest_zone: int) -> bool:
    """Say whether one zone of a node, up to a zone type, is above its high mark for the order."""
    any_managed = False
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, highest_zone):
            any_managed = True
            if zone_watermark_ok_safe(m, z, order, high_wmark_pages(m, z), highest_zone):
                return True
    return not any_managed


@helper
def pgdat_watermark_boosted(m: Mem, node: int, highest_zone: int) -> bool:
    """Say whether the watermarks of some zone of a node are boosted."""
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, highest_zone) and zone_get(m, z, Z_BOOST):
            return True
    return False


@helper
def wake_kswapd(m: Mem, z: int, order: int, highest_zone: int) -> bool:
    """Wake the kswapd of a zone's node; say whether it had to be left asleep.

    It sleeps on where the node is balanced, or where it has given up.
    """
    if int(m.system[S_PRESSURE]) == 0:
        return False
    node = zone_get(m, z, Z_NODE)
    at = node * NODE_FIELDS
    m.nodes[at + N_KSWAPD_ORDER] = max(order, int(m.nodes[at + N_KSWAPD_ORDER]))
    m.nodes[at + N_KSWAPD_HIGHEST_ZONE] = max(
        highest_zone, int(m.nodes[at + N_KSWAPD_HIGHEST_ZONE])
    )
    if int(m.nodes[at + N_KSWAPD_DUE]) != FOREVER:
        return False
    hopeless = int(m.nodes[at + N_KSWAPD_FAILURES]) >= MAX_RECLAIM_RETRIES
    if hopeless or (
        pgdat_balanced(m, node, order, highest_zone)
        and not pgdat_watermark_boosted(m, node, highest_zone)
    ):
        return True
    m.nodes[at + N_KSWAPD_DUE] = clock(m)
    m.nodes[at + N_KSWAPD_WOKE] = 1
    due_at(m, clock(m))
    return False
