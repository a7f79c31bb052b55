"""kswapd: one per node, works in small steps until every zone is above its high mark.

Source: balance_pgdat, kswapd, wakeup_kswapd, mm/vmscan.c, Linux 2.6.14 (spec 6.7).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    REQ_FS,
    REQ_IO,
    SCAN_ALL_UNRECLAIMABLE,
    SCAN_PAGES_SCANNED,
    SCAN_PREV_PRIORITY,
    SCAN_TEMP_PRIORITY,
    Z_NODE,
    Z_SCAN,
    Z_TYPE,
    Mem,
    zone_get,
    zone_set,
)
from memsim.kernels.linux_2_6_14.page_alloc import LOWEST_ZONE, WMARK_LOW, zone_watermark_ok
from memsim.kernels.linux_2_6_14.page_reclaim import S_COST, ScanControl
from memsim.kernels.linux_2_6_14.shrinker import shrink_slab
from memsim.kernels.linux_2_6_14.vmscan import (
    LEAST_PRIORITY_WITHOUT_WAIT,
    scan_amounts,
    shrink_once,
    zone_lru_pages,
)
from memsim.kernels.linux_2_6_14.writeback import too_much_writeback
from memsim.kernels.page_io import device_due, writes_end
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    FOREVER,
    N_KSWAPD_2005,
    N_KSWAPD_DUE,
    N_KSWAPD_HIGHEST_ZONE,
    N_KSWAPD_ORDER,
    N_KSWAPD_PRIORITY,
    NODE_FIELDS,
    S_PRESSURE,
    clock,
    due_at,
)
from memsim.kernels.vmstat import KSWAPD_MODEL_NS, KSWAPD_WAKEUPS, PAGEOUTRUN
from memsim.mm import DEF_PRIORITY, SWAP_CLUSTER_MAX, Wmark

WMARK_HIGH = int(Wmark.HIGH)
CONGESTION_WAIT_NS = 100_000_000
STEP_NS = 1_000
"""The least that a step takes, so that time passes whatever things cost."""
BEGINS, BETWEEN_ROUNDS, IN_ZONE, DONE_WITH_LISTS = range(4)
(
    N_STAGE,
    N_RUN_ORDER,
    N_ZONE,
    N_NR_ACTIVE,
    N_NR_INACTIVE,
    N_ZONE_SCANNED,
    N_ZONE_FREED,
    N_TOTAL_SCANNED,
    N_TOTAL_FREED,
    N_ALL_ZONES_OK,
    N_LRU_PAGES,
) = range(N_KSWAPD_2005, N_KSWAPD_2005 + 11)


@inline
def node_get(m: Mem, node: int, field: int) -> int:
    """Read a field of a node."""
    return int(m.nodes[node * NODE_FIELDS + field])


@inline
def node_set(m: Mem, node: int, field: int, value: int) -> None:
    """Write a field of a node."""
    m.nodes[node * NODE_FIELDS + field] = value


@helper
def wakeup_kswapd(m: Mem, z: int, order: int) -> None:
    """Wake a zone's kswapd, unless the zone is above its low mark without any reserve."""
    if zone_watermark_ok(m, z, order, LOWEST_ZONE, WMARK_LOW):
        return
    m.events[KSWAPD_WAKEUPS] += 1
    if int(m.system[S_PRESSURE]) == 0:
        return
    node = zone_get(m, z, Z_NODE)
    node_set(m, node, N_KSWAPD_ORDER, max(order, node_get(m, node, N_KSWAPD_ORDER)))
    if node_get(m, node, N_KSWAPD_DUE) == FOREVER:
        node_set(m, node, N_KSWAPD_DUE, clock(m))
        node_set(m, node, N_RUN_ORDER, node_get(m, node, N_KSWAPD_ORDER))
        node_set(m, node, N_STAGE, BEGINS)
        due_at(m, clock(m))


@inline
def worth_looking_at(m: Mem, z: int, node: int) -> bool:
    """Say whether kswapd looks at a zone at its present priority."""
    if zone_get(m, z, Z_NODE) != node:
        return False
    given_up = zone_get(m, z, Z_SCAN + SCAN_ALL_UNRECLAIMABLE)
    return given_up == 0 or node_get(m, node, N_KSWAPD_PRIORITY) == DEF_PRIORITY


@helper
def find_end_zone(m: Mem, node: int) -> int:
    """Return the highest zone below its high mark, -1 if there is none."""
    order = node_get(m, node, N_RUN_ORDER)
    for z in range(m.nr_zones - 1, -1, -1):
        if worth_looking_at(m, z, node) and not zone_watermark_ok(
            m, z, order, LOWEST_ZONE, WMARK_HIGH
        ):
            return z
    return -1


@helper
def begin_run(m: Mem, node: int) -> None:
    """Start from the top priority (``loop_again``)."""
    m.events[PAGEOUTRUN] += 1
    node_set(m, node, N_KSWAPD_PRIORITY, DEF_PRIORITY)
    node_set(m, node, N_TOTAL_SCANNED, 0)
    node_set(m, node, N_TOTAL_FREED, 0)
    node_set(m, node, N_ALL_ZONES_OK, 1)
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            zone_set(m, z, Z_SCAN + SCAN_TEMP_PRIORITY, DEF_PRIORITY)


@helper
def begin_round(m: Mem, node: int) -> bool:
    """Start the round of a priority; say whether a zone needs it."""
    end_zone = find_end_zone(m, node)
    node_set(m, node, N_ALL_ZONES_OK, 1)
    if end_zone < 0:
        return False
    pages = 0
    for z in range(end_zone + 1):
        if zone_get(m, z, Z_NODE) == node:
            pages += zone_lru_pages(m, z)
    node_set(m, node, N_KSWAPD_HIGHEST_ZONE, end_zone)
    node_set(m, node, N_LRU_PAGES, pages)
    return begin_zone(m, node, 0)


@helper
def begin_zone(m: Mem, node: int, z: int) -> bool:
    """Start with the first zone from ``z`` on that the round looks at; say whether there is one."""
    end_zone = node_get(m, node, N_KSWAPD_HIGHEST_ZONE)
    while z <= end_zone and not worth_looking_at(m, z, node):
        z += 1
    if z > end_zone:
        return False
    priority = node_get(m, node, N_KSWAPD_PRIORITY)
    order = node_get(m, node, N_RUN_ORDER)
    if not zone_watermark_ok(m, z, order, zone_get(m, end_zone, Z_TYPE), WMARK_HIGH):
        node_set(m, node, N_ALL_ZONES_OK, 0)
    zone_set(m, z, Z_SCAN + SCAN_TEMP_PRIORITY, priority)
    previous = zone_get(m, z, Z_SCAN + SCAN_PREV_PRIORITY)
    zone_set(m, z, Z_SCAN + SCAN_PREV_PRIORITY, min(previous, priority))
    active, inactive = scan_amounts(m, z, priority)
    node_set(m, node, N_ZONE, z)
    node_set(m, node, N_NR_ACTIVE, active)
    node_set(m, node, N_NR_INACTIVE, inactive)
    node_set(m, node, N_ZONE_SCANNED, 0)
    node_set(m, node, N_ZONE_FREED, 0)
    node_set(m, node, N_STAGE, IN_ZONE)
    return True


@helper
def scan_zone(m: Mem, tables: PolicyTables, node: int, sc: ScanControl) -> None:
    """Scan one batch of each list of the present zone."""
    active, inactive = node_get(m, node, N_NR_ACTIVE), node_get(m, node, N_NR_INACTIVE)
    scanned, freed = shrink_once(m, tables, node_get(m, node, N_ZONE), sc, active, inactive)
    active, inactive = max(active - SWAP_CLUSTER_MAX, 0), max(inactive - SWAP_CLUSTER_MAX, 0)
    freed += node_get(m, node, N_ZONE_FREED)
    node_set(m, node, N_NR_ACTIVE, active)
    node_set(m, node, N_NR_INACTIVE, inactive)
    node_set(m, node, N_ZONE_SCANNED, node_get(m, node, N_ZONE_SCANNED) + scanned)
    node_set(m, node, N_ZONE_FREED, freed)
    if (active == 0 and inactive == 0) or freed >= SWAP_CLUSTER_MAX:
        node_set(m, node, N_STAGE, DONE_WITH_LISTS)


@helper
def finish_zone(m: Mem, tables: PolicyTables, node: int, sc: ScanControl) -> int:
    """Shrink slab for the present zone and go on to the next; return how long kswapd waits."""
    z = node_get(m, node, N_ZONE)
    scanned = node_get(m, node, N_ZONE_SCANNED)
    slab = shrink_slab(m, tables, sc, scanned, node_get(m, node, N_LRU_PAGES))
    freed = node_get(m, node, N_ZONE_FREED) + slab
    node_set(m, node, N_TOTAL_SCANNED, node_get(m, node, N_TOTAL_SCANNED) + scanned)
    node_set(m, node, N_TOTAL_FREED, node_get(m, node, N_TOTAL_FREED) + freed)
    if slab == 0 and zone_get(m, z, Z_SCAN + SCAN_PAGES_SCANNED) >= 4 * zone_lru_pages(m, z):
        zone_set(m, z, Z_SCAN + SCAN_ALL_UNRECLAIMABLE, 1)
    if begin_zone(m, node, z + 1):
        return 0
    return finish_round(m, node)


@helper
def finish_round(m: Mem, node: int) -> int:
    """Go on to the next priority, start again or rest; return how long kswapd waits first."""
    if node_get(m, node, N_ALL_ZONES_OK):
        finish_run(m, node)
        return 0
    priority = node_get(m, node, N_KSWAPD_PRIORITY)
    waits = priority < LEAST_PRIORITY_WITHOUT_WAIT and node_get(m, node, N_TOTAL_SCANNED) > 0
    node_set(m, node, N_STAGE, BETWEEN_ROUNDS)
    node_set(m, node, N_KSWAPD_PRIORITY, priority - 1)
    if node_get(m, node, N_TOTAL_FREED) >= SWAP_CLUSTER_MAX or priority == 0:
        finish_run(m, node)
    return CONGESTION_WAIT_NS if waits else 0


@helper
def finish_run(m: Mem, node: int) -> None:
    """Start again if a zone is still too low, or if a larger order was asked for; else sleep."""
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            priority = zone_get(m, z, Z_SCAN + SCAN_TEMP_PRIORITY)
            zone_set(m, z, Z_SCAN + SCAN_PREV_PRIORITY, priority)
    node_set(m, node, N_STAGE, BEGINS)
    if node_get(m, node, N_ALL_ZONES_OK) == 0:
        return
    wanted = node_get(m, node, N_KSWAPD_ORDER)
    node_set(m, node, N_KSWAPD_ORDER, 0)
    if wanted > node_get(m, node, N_RUN_ORDER):
        node_set(m, node, N_RUN_ORDER, wanted)
    else:
        node_set(m, node, N_KSWAPD_DUE, FOREVER)


@helper
def kswapd_cpu(m: Mem, node: int) -> int:
    """Return the first CPU of a node, or CPU 0 where it has none: kswapd frees there."""
    for cpu in range(m.nr_cpus):
        if int(m.cpu_node[cpu]) == node:
            return cpu
    return 0


@inline
def congestion_wait(m: Mem, begin: int, ns: int) -> int:
    """Return when a wait for the device ends: with a request it completes, or when time is up."""
    if device_due(m) == FOREVER:
        return begin + ns
    return max(begin, min(begin + ns, writes_end(m, SWAP_CLUSTER_MAX)))


@helper
def kswapd_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Let a node's kswapd scan one batch of pages, and say when it goes on."""
    m.system[S_COST] = 0
    if node_get(m, node, N_STAGE) == BEGINS:
        begin_run(m, node)
        node_set(m, node, N_STAGE, BETWEEN_ROUNDS)
    if node_get(m, node, N_STAGE) == BETWEEN_ROUNDS and not begin_round(m, node):
        finish_run(m, node)
    waits = 0
    if node_get(m, node, N_STAGE) != BEGINS:
        priority = node_get(m, node, N_KSWAPD_PRIORITY)
        sc = ScanControl(0, REQ_IO | REQ_FS, priority, 1, kswapd_cpu(m, node))
        if node_get(m, node, N_STAGE) == IN_ZONE:
            scan_zone(m, tables, node, sc)
        if node_get(m, node, N_STAGE) == DONE_WITH_LISTS:
            # What is too much for the device holds up kswapd here, without an end but the device's.
            waits = CONGESTION_WAIT_NS
            if not too_much_writeback(m):
                waits = finish_zone(m, tables, node, sc)
    cost = max(int(m.system[S_COST]), STEP_NS)
    m.events[KSWAPD_MODEL_NS] += cost
    if node_get(m, node, N_KSWAPD_DUE) != FOREVER:
        due = clock(m) + cost
        node_set(m, node, N_KSWAPD_DUE, congestion_wait(m, due, waits))
