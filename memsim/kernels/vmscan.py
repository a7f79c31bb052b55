"""Reclaim on behalf of a request, and what requests ask about reclaim.

Source: mm/vmscan.c, Linux 6.1 (try_to_free_pages, shrink_zones, wakeup_kswapd; spec 7.4).

Unlike Linux: a request that reclaims in vain waits for the device from the fourth priority on, if
something is being written, and before that if the device takes no more: for 32 writes, at most
100 ms.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.compaction_suitable import (
    COMPACT_CONTINUE,
    COMPACT_SUCCESS,
    compaction_suitable,
)
from memsim.kernels.daemons import carry_out_due, let_daemons_go_first
from memsim.kernels.demotion import can_reclaim_anon_pages
from memsim.kernels.kcompactd import wakeup_kcompactd
from memsim.kernels.kswapd import THROTTLE_NS, THROTTLE_WRITES
from memsim.kernels.layout import (
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    REQ_DIRECT_RECLAIM,
    REQ_FS,
    REQ_IO,
    Z_LRU,
    Z_NODE,
    Z_NR_FREE_PAGES,
    Mem,
    zone_get,
)
from memsim.kernels.page_io import device_congested, writes_end
from memsim.kernels.placement import PolicyTables
from memsim.kernels.scan_control import (
    SC_COST,
    SC_CPU,
    SC_FORCE_DEACTIVATE,
    SC_HIGHEST_ZONE,
    SC_KSWAPD,
    SC_MAY_FS,
    SC_MAY_IO,
    SC_MAY_SWAP,
    SC_MAY_WRITE,
    SC_NODE,
    SC_ORDER,
    SC_PRIORITY,
    SC_RECLAIMED,
    SC_SKIPPED_DEACTIVATE,
    SC_TO_RECLAIM,
    direct_control,
    sc_get,
    sc_set,
)
from memsim.kernels.shrink_list import SWAP_CLUSTER_MAX
from memsim.kernels.shrink_node import (
    DEF_PRIORITY,
    begin_node,
    compact_gap,
    finish_node,
    shrink_lists_once,
)
from memsim.kernels.system import book_stall, clock
from memsim.kernels.vmstat import ALLOCSTALL
from memsim.kernels.wakeup import high_wmark_pages, wake_kswapd, zone_watermark_ok_safe
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone
from memsim.mm import PAGE_ALLOC_COSTLY_ORDER


@helper
def shrink_node(m: Mem, tables: PolicyTables, sc: int, node: int) -> None:
    """Reclaim from a node at the present priority."""
    sc_set(m, sc, SC_NODE, node)
    again = True
    while again:
        begin_node(m, sc)
        while shrink_lists_once(m, tables, sc):
            pass
        again = finish_node(m, sc)


@inline
def compaction_ready(m: Mem, z: int, order: int, highest_zone: int) -> bool:
    """Say whether a zone has what compaction needs, so that the request need not reclaim there."""
    suitable = compaction_suitable(m, z, order, 0, highest_zone)
    if suitable != COMPACT_CONTINUE:
        return suitable == COMPACT_SUCCESS
    mark = high_wmark_pages(m, z) + compact_gap(order)
    return zone_watermark_ok_safe(m, z, 0, mark, highest_zone)


@helper
def shrink_zones(m: Mem, tables: PolicyTables, sc: int, ac: AllocContext) -> bool:
    """Reclaim from each node of the request's list; say whether compaction is possible instead."""
    ready = False
    last = -1
    position = next_zone(m, ac, 0)
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        node = zone_get(m, z, Z_NODE)
        costly = ac.order > PAGE_ALLOC_COSTLY_ORDER
        if costly and compaction_ready(m, z, ac.order, ac.highest_zone):
            ready = True
        elif node != last:
            shrink_node(m, tables, sc, node)
            last = node
        position = next_zone(m, ac, position + 1)
    return ready


@helper
def reclaim_throttle(m: Mem, tables: PolicyTables, sc: int) -> None:
    """Let a request that reclaims in vain wait for writes; the daemons go on meanwhile."""
    until = min(writes_end(m, THROTTLE_WRITES), clock(m) + THROTTLE_NS)
    urgent = sc_get(m, sc, SC_PRIORITY) < DEF_PRIORITY - 2 or device_congested(m)
    if urgent and until > clock(m):
        book_stall(m, until - clock(m))
        carry_out_due(m, tables, clock(m))


@helper
def do_try_to_free_pages(m: Mem, tables: PolicyTables, sc: int, ac: AllocContext) -> bool:
    """Reclaim at rising urgency until there is enough; say whether compaction is possible."""
    for priority in range(DEF_PRIORITY, -1, -1):
        sc_set(m, sc, SC_PRIORITY, priority)
        sc_set(m, sc, SC_COST, 0)
        ready = shrink_zones(m, tables, sc, ac)
        book_stall(m, sc_get(m, sc, SC_COST))
        if ready or sc_get(m, sc, SC_RECLAIMED) >= sc_get(m, sc, SC_TO_RECLAIM):
            return ready
        reclaim_throttle(m, tables, sc)
    return False


@helper
def try_to_free_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Reclaim on behalf of a request; return the pages freed (spec 7.4).

    1 where compaction is possible and nothing was freed, 0 where there was no progress. Active
    pages that were spared are aged in a second attempt.
    """
    # While the request compacted, kswapd has gone to sleep and cleared the skip bits: in capture
    # frag (19.474063 to 19.475020) its second compaction begins anew and gets a block.
    carry_out_due(m, tables, clock(m))
    let_daemons_go_first(m, tables)
    sc = direct_control(m)
    m.events[ALLOCSTALL] += 1
    sc_set(m, sc, SC_KSWAPD, 0)
    sc_set(m, sc, SC_CPU, ac.cpu)
    sc_set(m, sc, SC_ORDER, ac.order)
    sc_set(m, sc, SC_HIGHEST_ZONE, ac.highest_zone)
    sc_set(m, sc, SC_TO_RECLAIM, SWAP_CLUSTER_MAX)
    sc_set(m, sc, SC_RECLAIMED, 0)
    sc_set(m, sc, SC_MAY_FS, 1 if ac.flags & REQ_FS else 0)
    sc_set(m, sc, SC_MAY_IO, 1 if ac.flags & REQ_IO else 0)
    sc_set(m, sc, SC_MAY_WRITE, 1)
    sc_set(m, sc, SC_MAY_SWAP, 1)
    sc_set(m, sc, SC_SKIPPED_DEACTIVATE, 0)
    for force in range(2):
        sc_set(m, sc, SC_FORCE_DEACTIVATE, force)
        ready = do_try_to_free_pages(m, tables, sc, ac)
        if sc_get(m, sc, SC_RECLAIMED) or ready:
            return max(sc_get(m, sc, SC_RECLAIMED), 1)
        if not sc_get(m, sc, SC_SKIPPED_DEACTIVATE):
            break
    return 0


@helper
def zone_reclaimable_pages(m: Mem, z: int) -> int:
    """Count the pages of a zone that reclaim might get (spec 5.5).

    Where there are none, its free pages are counted in their place.
    """
    pages = zone_get(m, z, Z_LRU + LRU_INACTIVE_FILE) + zone_get(m, z, Z_LRU + LRU_ACTIVE_FILE)
    if can_reclaim_anon_pages(m, zone_get(m, z, Z_NODE)):
        pages += zone_get(m, z, Z_LRU + LRU_INACTIVE_ANON)
        pages += zone_get(m, z, Z_LRU + LRU_ACTIVE_ANON)
    return pages if pages else zone_get(m, z, Z_NR_FREE_PAGES)


@helper
def wakeup_kswapd(m: Mem, z: int, order: int, highest_zone: int, flags: int) -> None:
    """Wake the kswapd of a zone's node, unless the node is balanced (spec 7.5).

    If it is left asleep and the request (``flags``: REQ_*) cannot reclaim, kcompactd is woken.
    """
    if wake_kswapd(m, z, order, highest_zone) and not flags & REQ_DIRECT_RECLAIM:
        wakeup_kcompactd(m, zone_get(m, z, Z_NODE), order, highest_zone)
