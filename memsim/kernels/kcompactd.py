"""kcompactd, proactive compaction, and the sysctl compact_memory.

Source: mm/compaction.c, Linux 6.1.192 (kcompactd, proactive_compact_node, compact_nodes; spec
6.10). Unlike Linux: a daemon's run over a node happens at one instant, what it took delays the
next.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, kernel, pointers
from memsim.kernels.compact_control import (
    CC_CPU,
    CC_FREE_SCANNED,
    CC_HIGHEST_ZONE,
    CC_IGNORE_SKIP_HINT,
    CC_MIGRATE_SCANNED,
    CC_ORDER,
    CC_PROACTIVE,
    CC_WHOLE_ZONE,
    CC_ZONE,
    MIGRATE_SYNC,
    MIGRATE_SYNC_LIGHT,
    WHOLE_MEMORY,
    control,
    control_set,
    new_control,
)
from memsim.kernels.compaction import compact_zone, run_cost
from memsim.kernels.compaction_score import fragmentation_score_node, fragmentation_score_wmark
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTINUE,
    COMPACT_MAX_DEFER_SHIFT,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SUCCESS,
    compaction_defer_reset,
    compaction_deferred,
    compaction_suitable,
    defer_compaction,
)
from memsim.kernels.layout import Z_NODE, Z_TYPE, Mem, zone_get
from memsim.kernels.pcp import drain_pages_zone
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD,
    N_KCOMPACTD_DUE,
    N_KCOMPACTD_HIGHEST_ZONE,
    N_KCOMPACTD_ORDER,
    N_KSWAPD_DUE,
    N_PROACTIVE_DUE,
    NODE_FIELDS,
    PROACTIVE_INTERVAL_NS,
    S_COMPACTION_PROACTIVENESS,
    clock,
    due_at,
)
from memsim.kernels.vmstat import (
    COMPACT_DAEMON_FREE_SCANNED,
    COMPACT_DAEMON_MIGRATE_SCANNED,
    COMPACT_DAEMON_WAKE,
    KCOMPACTD_MODEL_NS,
)

N_KCOMPACTD_BUSY = N_KCOMPACTD
"""Until when kcompactd is busy with what it did last."""


@helper
def node_cpu(m: Mem, node: int) -> int:
    """Return the CPU that a node's daemons run on: the node's first, or the machine's."""
    for cpu in range(m.nr_cpus):
        if int(m.cpu_node[cpu]) == node:
            return cpu
    return 0


@helper
def kcompactd_node_suitable(m: Mem, node: int, order: int, highest_zone: int) -> bool:
    """Say whether some zone of a node is worth compacting."""
    for z in range(m.nr_zones):
        if (
            zone_get(m, z, Z_NODE) == node
            and zone_get(m, z, Z_TYPE) <= highest_zone
            and compaction_suitable(m, z, order, 0, highest_zone) == COMPACT_CONTINUE
        ):
            return True
    return False


@helper
def wakeup_kcompactd(m: Mem, node: int, order: int, highest_zone: int) -> None:
    """Wake a node's kcompactd for an order, if compaction would do any good (spec 6.10)."""
    if order == 0:
        return
    row = node * NODE_FIELDS
    order = max(order, int(m.nodes[row + N_KCOMPACTD_ORDER]))
    highest_zone = max(highest_zone, int(m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE]))
    m.nodes[row + N_KCOMPACTD_ORDER] = order
    m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE] = highest_zone
    asleep = int(m.nodes[row + N_KCOMPACTD_DUE]) == FOREVER
    if asleep and kcompactd_node_suitable(m, node, order, highest_zone):
        due = max(clock(m), int(m.nodes[row + N_KCOMPACTD_BUSY]))
        m.nodes[row + N_KCOMPACTD_DUE] = due
        due_at(m, due)


@helper
def kcompactd_do_work(
    m: Mem, tables: PolicyTables, node: int, order: int, highest_zone: int
) -> int:
    """Compact a node's zones for an order; return what that took, in nanoseconds."""
    cpu = node_cpu(m, node)
    cost = 0
    for z in range(m.nr_zones):
        zone_type = zone_get(m, z, Z_TYPE)
        if zone_get(m, z, Z_NODE) != node or zone_type > highest_zone:
            continue
        if compaction_deferred(m, z, order):
            continue
        if compaction_suitable(m, z, order, 0, zone_type) != COMPACT_CONTINUE:
            continue
        new_control(m, tables, z, order, MIGRATE_SYNC_LIGHT, cpu)
        control_set(m, CC_HIGHEST_ZONE, highest_zone)
        result = compact_zone(m, tables)
        note_result(m, result)
        count_daemon(m)
        cost += run_cost(m)
    return cost


@helper
def note_result(m: Mem, result: int) -> None:
    """Remember whether the run at hand helped the order that kcompactd was woken for."""
    z = control(m, CC_ZONE)
    order = control(m, CC_ORDER)
    if result == COMPACT_SUCCESS:
        compaction_defer_reset(m, z, order, False)
    elif result in (COMPACT_PARTIAL_SKIPPED, COMPACT_COMPLETE):
        cpu = control(m, CC_CPU)
        for owner in range(m.nr_cpus):
            drain_pages_zone(m, z, owner, cpu)
        defer_compaction(m, z, order)


@helper
def count_daemon(m: Mem) -> None:
    """Count what a run has scanned that the daemon was woken for.

    Proactive runs are not counted (capture e4/group_r8: 41,333 pages scanned, none by the daemon).
    """
    m.events[COMPACT_DAEMON_MIGRATE_SCANNED] += control(m, CC_MIGRATE_SCANNED)
    m.events[COMPACT_DAEMON_FREE_SCANNED] += control(m, CC_FREE_SCANNED)


@helper
def set_proactive_due(m: Mem, node: int, time: int) -> None:
    """Let proactive compaction look at a node next at this time, if it is on."""
    if int(m.system[S_COMPACTION_PROACTIVENESS]) > 0:
        m.nodes[node * NODE_FIELDS + N_PROACTIVE_DUE] = time
        due_at(m, time)


@helper
def kcompactd_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Let kcompactd do all that it was woken for, and sleep."""
    row = node * NODE_FIELDS
    order = int(m.nodes[row + N_KCOMPACTD_ORDER])
    highest_zone = int(m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE])
    m.nodes[row + N_KCOMPACTD_ORDER] = 0
    m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE] = 0
    m.nodes[row + N_KCOMPACTD_DUE] = FOREVER
    m.events[COMPACT_DAEMON_WAKE] += 1
    end_work(m, node, kcompactd_do_work(m, tables, node, order, highest_zone), 0)


@helper
def end_work(m: Mem, node: int, cost: int, defer_shift: int) -> None:
    """Book a daemon's work; proactive compaction looks again an interval after its end."""
    done = clock(m) + cost
    m.events[KCOMPACTD_MODEL_NS] += cost
    m.nodes[node * NODE_FIELDS + N_KCOMPACTD_BUSY] = done
    set_proactive_due(m, node, done + (PROACTIVE_INTERVAL_NS << defer_shift))


@helper
def should_proactive_compact_node(m: Mem, node: int) -> bool:
    """Say whether a node is fragmented enough, and kswapd asleep."""
    asleep = int(m.nodes[node * NODE_FIELDS + N_KSWAPD_DUE]) == FOREVER
    return asleep and fragmentation_score_node(m, node) > fragmentation_score_wmark(m, False)


@helper
def compact_node(m: Mem, tables: PolicyTables, node: int, mode: int, proactive: int) -> int:
    """Compact all zones of a node, whatever its skip bits say; return what that took, in ns."""
    cost = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            new_control(m, tables, z, WHOLE_MEMORY, mode, node_cpu(m, node))
            control_set(m, CC_WHOLE_ZONE, 1)
            control_set(m, CC_IGNORE_SKIP_HINT, 1)
            control_set(m, CC_PROACTIVE, proactive)
            compact_zone(m, tables)
            cost += run_cost(m)
    return cost


@helper
def proactive_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Compact a node if its score is high; if that does not lower it, look again much later."""
    cost = 0
    defer_shift = 0
    if should_proactive_compact_node(m, node):
        before = fragmentation_score_node(m, node)
        cost = compact_node(m, tables, node, MIGRATE_SYNC_LIGHT, 1)
        if fragmentation_score_node(m, node) >= before:
            defer_shift = COMPACT_MAX_DEFER_SHIFT
    end_work(m, node, cost, defer_shift)


@kernel
def compact_nodes(mem: Mem, policy: PolicyTables, proactive: int) -> None:
    """Compact all nodes (/proc/sys/vm/compact_memory), or ``proactive``, whatever their scores.

    Nobody's time passes.
    """
    m = pointers(mem)
    tables = pointers(policy)
    mode = MIGRATE_SYNC_LIGHT if proactive else MIGRATE_SYNC
    for node in range(m.nr_nodes):
        compact_node(m, tables, node, mode, proactive)


@kernel
def node_score(mem: Mem, node: int) -> int:
    """Return a node's fragmentation score (spec 6.10)."""
    return fragmentation_score_node(pointers(mem), node)
