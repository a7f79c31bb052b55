"""kswapd: reclaim beside the requests, until a zone of the node is above its high mark.

Source: mm/vmscan.c, Linux 6.1 (kswapd, balance_pgdat, kswapd_shrink_node; spec 7.5).

kswapd works in steps of up to 32 pages of each list; each takes as long as it costs.

Unlike Linux: kswapd sleeps at once when the node is balanced, without a nap of 100 ms before; and
where it reclaims nothing while pages are being written it waits for writes, at most 100 ms.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.compaction_skip import reset_isolation_suitable
from memsim.kernels.kcompactd import node_cpu, wakeup_kcompactd
from memsim.kernels.layout import Z_BOOST, Z_KSWAPD_BOOST, Z_RECLAIM_ACTIVE, Mem, zone_get, zone_set
from memsim.kernels.page_io import device_congested, writes_end
from memsim.kernels.placement import PolicyTables
from memsim.kernels.scan_control import (
    SC_COST,
    SC_CPU,
    SC_HIGHEST_ZONE,
    SC_IMMEDIATE,
    SC_KSWAPD,
    SC_MAY_FS,
    SC_MAY_IO,
    SC_MAY_SWAP,
    SC_MAY_WRITE,
    SC_NODE,
    SC_ORDER,
    SC_PRIORITY,
    SC_RECLAIMED,
    SC_ROUND_BEFORE,
    SC_SCANNED,
    SC_TO_RECLAIM,
    kswapd_control,
    sc_add,
    sc_get,
    sc_set,
)
from memsim.kernels.shrink_list import SWAP_CLUSTER_MAX
from memsim.kernels.shrink_node import (
    DEF_PRIORITY,
    age_active_anon,
    begin_node,
    compact_gap,
    finish_node,
    shrink_lists_once,
)
from memsim.kernels.system import (
    FOREVER,
    N_KSWAPD_ALLOC_ORDER,
    N_KSWAPD_BOOST,
    N_KSWAPD_BOOSTED,
    N_KSWAPD_DUE,
    N_KSWAPD_FAILURES,
    N_KSWAPD_HIGHEST_ZONE,
    N_KSWAPD_ORDER,
    N_KSWAPD_STAGE,
    N_PGDAT_DIRTY,
    N_PGDAT_WRITEBACK,
    NODE_FIELDS,
    clock,
)
from memsim.kernels.vmstat import KSWAPD_MODEL_NS, PAGEOUTRUN
from memsim.kernels.wakeup import (
    MAX_RECLAIM_RETRIES,
    high_wmark_pages,
    is_eligible,
    pgdat_balanced,
)
from memsim.mm import PAGEBLOCK_ORDER

STAGE_RUN, STAGE_ROUND, STAGE_LISTS, STAGE_SLEEP = range(4)
"""kswapd begins a run; a round at the present priority; it is within a round; it goes to sleep."""
MIN_STEP_NS = 1000
"""A step takes at least so long, so that there are never endlessly many at one instant."""
THROTTLE_NS = 100_000_000
"""The longest time that reclaim waits for writes."""
THROTTLE_WRITES = 32
"""Writes that it waits for."""


@helper
def begin_run(m: Mem, node: int, sc: int) -> None:
    """Begin to balance a node for the largest order and the highest zone that wakers named."""
    at = node * NODE_FIELDS
    m.events[PAGEOUTRUN] += 1
    order = int(m.nodes[at + N_KSWAPD_ORDER])
    highest = int(m.nodes[at + N_KSWAPD_HIGHEST_ZONE])
    m.nodes[at + N_KSWAPD_ORDER] = 0
    m.nodes[at + N_KSWAPD_ALLOC_ORDER] = order
    sc_set(m, sc, SC_NODE, node)
    sc_set(m, sc, SC_KSWAPD, 1)
    sc_set(m, sc, SC_CPU, node_cpu(m, node))
    sc_set(m, sc, SC_MAY_FS, 1)
    sc_set(m, sc, SC_MAY_IO, 1)
    sc_set(m, sc, SC_ORDER, order)
    sc_set(m, sc, SC_HIGHEST_ZONE, highest)
    sc_set(m, sc, SC_RECLAIMED, 0)
    sc_set(m, sc, SC_PRIORITY, DEF_PRIORITY)
    boost = 0
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, highest):
            zone_set(m, z, Z_RECLAIM_ACTIVE, 1)
            zone_set(m, z, Z_KSWAPD_BOOST, zone_get(m, z, Z_BOOST))
            boost += zone_get(m, z, Z_BOOST)
    m.nodes[at + N_KSWAPD_BOOST] = boost
    m.nodes[at + N_KSWAPD_BOOSTED] = 1 if boost else 0


@helper
def begin_round(m: Mem, node: int, sc: int) -> int:
    """Begin to reclaim at the present priority, unless the node is balanced; return the stage."""
    at = node * NODE_FIELDS
    balanced = pgdat_balanced(m, node, sc_get(m, sc, SC_ORDER), sc_get(m, sc, SC_HIGHEST_ZONE))
    if not balanced and int(m.nodes[at + N_KSWAPD_BOOST]):
        m.nodes[at + N_KSWAPD_BOOST] = 0
        sc_set(m, sc, SC_PRIORITY, DEF_PRIORITY)
    boost = int(m.nodes[at + N_KSWAPD_BOOST])
    if boost == 0 and balanced:
        return end_run(m, node, sc)
    sc_set(m, sc, SC_MAY_SWAP, 0 if boost else 1)
    urgent = sc_get(m, sc, SC_PRIORITY) < DEF_PRIORITY - 2
    sc_set(m, sc, SC_MAY_WRITE, 0 if boost and not urgent else 1)
    sc_set(m, sc, SC_SCANNED, 0)
    sc_set(m, sc, SC_ROUND_BEFORE, sc_get(m, sc, SC_RECLAIMED))
    target = 0
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, sc_get(m, sc, SC_HIGHEST_ZONE)):
            target += max(high_wmark_pages(m, z), SWAP_CLUSTER_MAX)
    sc_set(m, sc, SC_TO_RECLAIM, target)
    age_active_anon(m, sc)
    begin_node(m, sc)
    return STAGE_LISTS


@helper
def end_round(m: Mem, node: int, sc: int) -> int:
    """Choose the priority of the next round from what this one came to; return the stage."""
    at = node * NODE_FIELDS
    if finish_node(m, sc):
        begin_node(m, sc)
        return STAGE_LISTS
    order = sc_get(m, sc, SC_ORDER)
    if order and sc_get(m, sc, SC_RECLAIMED) >= compact_gap(order):
        sc_set(m, sc, SC_ORDER, 0)
    reclaimed = sc_get(m, sc, SC_RECLAIMED) - sc_get(m, sc, SC_ROUND_BEFORE)
    was_boosted = int(m.nodes[at + N_KSWAPD_BOOST]) > 0
    holds = was_boosted and sc_get(m, sc, SC_PRIORITY) == DEF_PRIORITY - 2
    enough = sc_get(m, sc, SC_SCANNED) >= sc_get(m, sc, SC_TO_RECLAIM)
    m.nodes[at + N_KSWAPD_BOOST] = max(int(m.nodes[at + N_KSWAPD_BOOST]) - reclaimed, 0)
    if int(m.nodes[at + N_KSWAPD_BOOST]) and reclaimed == 0:
        return give_up_run(m, node, sc)
    if reclaimed == 0 or not (holds or enough):
        sc_add(m, sc, SC_PRIORITY, -1)
    return STAGE_ROUND if sc_get(m, sc, SC_PRIORITY) >= 1 else give_up_run(m, node, sc)


@helper
def give_up_run(m: Mem, node: int, sc: int) -> int:
    """End a run that has come to nothing more, and count it if it was fruitless.

    A run for the boost alone counts as well (capture ``frag_nogroup``: eleven of them at order 4,
    then kswapd is not woken any more).
    """
    if sc_get(m, sc, SC_RECLAIMED) == 0:
        m.nodes[node * NODE_FIELDS + N_KSWAPD_FAILURES] += 1
    return end_run(m, node, sc)


@helper
def end_run(m: Mem, node: int, sc: int) -> int:
    """Take boosts back, and sleep if the node is balanced or hopeless; return the stage.

    It is to be balanced for what was asked for meanwhile, unless this run has dropped its order.
    """
    at = node * NODE_FIELDS
    highest = sc_get(m, sc, SC_HIGHEST_ZONE)
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, highest):
            zone_set(m, z, Z_RECLAIM_ACTIVE, 0)
    if int(m.nodes[at + N_KSWAPD_BOOSTED]):
        for z in range(m.nr_zones):
            if is_eligible(m, z, node, highest):
                boost = zone_get(m, z, Z_BOOST)
                zone_set(m, z, Z_BOOST, boost - min(boost, zone_get(m, z, Z_KSWAPD_BOOST)))
        wakeup_kcompactd(m, node, PAGEBLOCK_ORDER, highest)
    order = sc_get(m, sc, SC_ORDER)
    if order == int(m.nodes[at + N_KSWAPD_ALLOC_ORDER]):
        order = int(m.nodes[at + N_KSWAPD_ORDER])
        m.nodes[at + N_KSWAPD_ALLOC_ORDER] = order
    highest = int(m.nodes[at + N_KSWAPD_HIGHEST_ZONE])
    hopeless = int(m.nodes[at + N_KSWAPD_FAILURES]) >= MAX_RECLAIM_RETRIES
    if not hopeless and not pgdat_balanced(m, node, order, highest):
        return STAGE_RUN
    m.nodes[at + N_PGDAT_DIRTY] = 0
    m.nodes[at + N_PGDAT_WRITEBACK] = 0
    m.nodes[at + N_KSWAPD_HIGHEST_ZONE] = 0
    reset_isolation_suitable(m, node)
    wakeup_kcompactd(m, node, int(m.nodes[at + N_KSWAPD_ALLOC_ORDER]), highest)
    return STAGE_SLEEP


@inline
def throttle(m: Mem, sc: int, stage: int) -> int:
    """Say until when kswapd waits for the device after a round."""
    lost = sc_get(m, sc, SC_RECLAIMED) == sc_get(m, sc, SC_ROUND_BEFORE)
    urgent = sc_get(m, sc, SC_PRIORITY) < DEF_PRIORITY - 2 or device_congested(m)
    vain = lost and urgent
    if stage != STAGE_ROUND or not (vain or sc_get(m, sc, SC_IMMEDIATE)):
        return 0
    return min(writes_end(m, THROTTLE_WRITES), clock(m) + THROTTLE_NS)


@helper
def kswapd_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Let kswapd do its next piece of work, and say when the following one is due."""
    at = node * NODE_FIELDS
    sc = kswapd_control(node)
    sc_set(m, sc, SC_COST, 0)
    stage = int(m.nodes[at + N_KSWAPD_STAGE])
    wait = 0
    if stage == STAGE_LISTS:
        if not shrink_lists_once(m, tables, sc):
            stage = end_round(m, node, sc)
            wait = throttle(m, sc, stage)
    else:
        if stage == STAGE_RUN:
            begin_run(m, node, sc)
        stage = begin_round(m, node, sc)
    cost = max(sc_get(m, sc, SC_COST), MIN_STEP_NS)
    m.events[KSWAPD_MODEL_NS] += cost
    asleep = stage == STAGE_SLEEP
    m.nodes[at + N_KSWAPD_STAGE] = STAGE_RUN if asleep else stage
    m.nodes[at + N_KSWAPD_DUE] = FOREVER if asleep else max(clock(m) + cost, wait)
