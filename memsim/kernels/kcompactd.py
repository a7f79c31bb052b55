"""kcompactd, proactive compaction, and the sysctl compact_memory.

Source: mm/compaction.c, Linux 6.1.192 (kcompactd, proactive_compact_node, compact_nodes; spec
6.10). kcompactd works in steps of one batch of pages at most, each of which takes what it costs.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline, kernel, pointers
from memsim.kernels.compact_control import (
    CC_CPU,
    CC_FREE_SCANNED,
    CC_HIGHEST_ZONE,
    CC_IGNORE_SKIP_HINT,
    CC_MIGRATE_SCANNED,
    CC_ORDER,
    CC_PROACTIVE,
    CC_TARGETS,
    CC_WHOLE_ZONE,
    CC_ZONE,
    MIGRATE_SYNC,
    MIGRATE_SYNC_LIGHT,
    WHOLE_MEMORY,
    control,
    control_set,
    new_control,
    put_aside,
    take_up,
)
from memsim.kernels.compaction import (
    begin_run,
    compact_zone,
    end_run,
    may_compact,
    run_cost,
    step_run,
)
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
from memsim.kernels.layout import ISOLATED_PAGES, Z_NODE, Z_TYPE, Mem, zone_get
from memsim.kernels.pcp_free import drain_pages_zone
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD,
    N_KCOMPACTD_DUE,
    N_KCOMPACTD_HIGHEST_ZONE,
    N_KCOMPACTD_ORDER,
    N_KSWAPD_DUE,
    N_KSWAPD_WOKE,
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
"""Until when kcompactd is busy with its last step."""
N_KCOMPACTD_WORK = N_KCOMPACTD + 1
N_KCOMPACTD_WORK_ORDER = N_KCOMPACTD + 2
N_KCOMPACTD_WORK_HIGHEST_ZONE = N_KCOMPACTD + 3
N_KCOMPACTD_SCORE = N_KCOMPACTD + 4
"""The node's score when proactive compaction began."""
WORK_NONE, WORK_WOKEN, WORK_PROACTIVE = range(3)
"""What kcompactd is doing: nothing, what it was woken for, or a proactive round."""
MIN_STEP_NS = 1000
"""A step takes at least so long, so that there are never endlessly many at one instant."""


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
    """Wake a node's kcompactd for an order, if compaction would do any good (spec 6.10).

    While it works it is told, and looks at that afterwards.
    """
    if order == 0:
        return
    row = node * NODE_FIELDS
    order = max(order, int(m.nodes[row + N_KCOMPACTD_ORDER]))
    highest_zone = max(highest_zone, int(m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE]))
    m.nodes[row + N_KCOMPACTD_ORDER] = order
    m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE] = highest_zone
    at_work = int(m.nodes[row + N_KCOMPACTD_WORK]) != WORK_NONE
    asleep = int(m.nodes[row + N_KCOMPACTD_DUE]) == FOREVER and not at_work
    if asleep and kcompactd_node_suitable(m, node, order, highest_zone):
        set_kcompactd_due(m, node, max(clock(m), int(m.nodes[row + N_KCOMPACTD_BUSY])))


@inline
def set_kcompactd_due(m: Mem, node: int, time: int) -> None:
    """Let a node's kcompactd do what it was woken for at this time."""
    m.nodes[node * NODE_FIELDS + N_KCOMPACTD_DUE] = time
    due_at(m, time)


@inline
def is_wanted(m: Mem, node: int, z: int) -> bool:
    """Say whether a zone is one that the work at hand is to compact."""
    if zone_get(m, z, Z_NODE) != node:
        return False
    row = node * NODE_FIELDS
    if int(m.nodes[row + N_KCOMPACTD_WORK]) == WORK_PROACTIVE:
        return True
    order, zone_type = int(m.nodes[row + N_KCOMPACTD_WORK_ORDER]), zone_get(m, z, Z_TYPE)
    if zone_type > int(m.nodes[row + N_KCOMPACTD_WORK_HIGHEST_ZONE]):
        return False
    if compaction_deferred(m, z, order):
        return False
    return compaction_suitable(m, z, order, 0, zone_type) == COMPACT_CONTINUE


@inline
def new_daemon_control(m: Mem, tables: PolicyTables, node: int, z: int) -> None:
    """Begin a run of kcompactd's over a zone."""
    row = node * NODE_FIELDS
    if int(m.nodes[row + N_KCOMPACTD_WORK]) == WORK_PROACTIVE:
        new_whole_control(m, tables, z, MIGRATE_SYNC_LIGHT)
        control_set(m, CC_PROACTIVE, 1)
    else:
        order = int(m.nodes[row + N_KCOMPACTD_WORK_ORDER])
        new_control(m, tables, z, order, MIGRATE_SYNC_LIGHT, node_cpu(m, node))
        control_set(m, CC_HIGHEST_ZONE, int(m.nodes[row + N_KCOMPACTD_WORK_HIGHEST_ZONE]))
    control_set(m, CC_TARGETS, (2 + node) * ISOLATED_PAGES)


@helper
def begin_next_zone(m: Mem, tables: PolicyTables, node: int, z: int) -> bool:
    """Begin the run over the next zone from ``z`` on that has work; say whether there is one."""
    for following in range(z, m.nr_zones):
        if not is_wanted(m, node, following):
            continue
        new_daemon_control(m, tables, node, following)
        result = may_compact(m)
        if result == COMPACT_CONTINUE:
            result = begin_run(m, tables)
            if result == COMPACT_CONTINUE:
                return True
            end_run(m, result)
        end_zone(m, node, result)
    return False


@helper
def end_zone(m: Mem, node: int, result: int) -> None:
    """Note what came of a run that kcompactd was woken for; proactive ones leave no trace."""
    if int(m.nodes[node * NODE_FIELDS + N_KCOMPACTD_WORK]) == WORK_WOKEN:
        note_result(m, result)
        count_daemon(m)


@helper
def begin_work(m: Mem, tables: PolicyTables, node: int, work: int) -> bool:
    """Let a node's kcompactd begin with its first zone; say whether there is work."""
    m.nodes[node * NODE_FIELDS + N_KCOMPACTD_WORK] = work
    m.nodes[node * NODE_FIELDS + N_KCOMPACTD_BUSY] = clock(m)
    more = begin_next_zone(m, tables, node, 0)
    if more:
        put_aside(m, node)
    return more


@helper
def work_on(m: Mem, tables: PolicyTables, node: int) -> bool:
    """Let a node's kcompactd take one step of its run, and begin the next one where it ends.

    Says whether there is more to be done; what the step took is booked.
    """
    take_up(m, node)
    before = run_cost(m)
    result = step_run(m, tables)
    book_work(m, node, run_cost(m) - before)
    more = result == COMPACT_CONTINUE
    if not more:
        end_run(m, result)
        z = control(m, CC_ZONE)
        end_zone(m, node, result)
        more = begin_next_zone(m, tables, node, z + 1)
    if more:
        put_aside(m, node)
    return more


@inline
def book_work(m: Mem, node: int, cost: int) -> None:
    """Book what a step has taken; the next one comes no earlier."""
    cost = max(cost, MIN_STEP_NS)
    m.events[KCOMPACTD_MODEL_NS] += cost
    m.nodes[node * NODE_FIELDS + N_KCOMPACTD_BUSY] = clock(m) + cost


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
    """Let kcompactd do its next piece of what it was woken for, and sleep after the last one."""
    row = node * NODE_FIELDS
    m.nodes[row + N_KCOMPACTD_DUE] = FOREVER
    if int(m.nodes[row + N_KCOMPACTD_WORK]) == WORK_NONE:
        m.events[COMPACT_DAEMON_WAKE] += 1
        m.nodes[row + N_KCOMPACTD_WORK_ORDER] = int(m.nodes[row + N_KCOMPACTD_ORDER])
        m.nodes[row + N_KCOMPACTD_WORK_HIGHEST_ZONE] = int(m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE])
        m.nodes[row + N_PROACTIVE_DUE] = FOREVER
        more = begin_work(m, tables, node, WORK_WOKEN)
    else:
        more = work_on(m, tables, node)
    if more:
        set_kcompactd_due(m, node, int(m.nodes[row + N_KCOMPACTD_BUSY]))
        return
    if int(m.nodes[row + N_KCOMPACTD_ORDER]) <= int(m.nodes[row + N_KCOMPACTD_WORK_ORDER]):
        m.nodes[row + N_KCOMPACTD_ORDER] = 0
        m.nodes[row + N_KCOMPACTD_HIGHEST_ZONE] = 0
    end_work(m, node, 0)


@helper
def end_work(m: Mem, node: int, defer_shift: int) -> None:
    """Sleep, or go on with what was asked for meanwhile; proactive compaction looks again later.

    That is an interval after the end of the work.
    """
    row = node * NODE_FIELDS
    done = int(m.nodes[row + N_KCOMPACTD_BUSY])
    m.nodes[row + N_KCOMPACTD_WORK] = WORK_NONE
    set_proactive_due(m, node, done + (PROACTIVE_INTERVAL_NS << defer_shift))
    if int(m.nodes[row + N_KCOMPACTD_ORDER]):
        set_kcompactd_due(m, node, done)


@helper
def should_proactive_compact_node(m: Mem, node: int) -> bool:
    """Say whether a node is fragmented enough, and kswapd asleep."""
    asleep = int(m.nodes[node * NODE_FIELDS + N_KSWAPD_DUE]) == FOREVER
    return asleep and fragmentation_score_node(m, node) > fragmentation_score_wmark(m, False)


@helper
def proactive_step(m: Mem, tables: PolicyTables, node: int) -> None:
    """Look at a node's score and begin to compact it, or go on with that.

    Between two steps anybody may act. Unlike Linux: the zones' runs end once kswapd was woken, even
    if it has gone back to sleep before the next step.
    """
    row = node * NODE_FIELDS
    m.nodes[row + N_PROACTIVE_DUE] = FOREVER
    if int(m.nodes[row + N_KCOMPACTD_WORK]) != WORK_NONE:
        go_on_later(m, node, work_on(m, tables, node))
    elif should_proactive_compact_node(m, node):
        proactive_compact_node(m, tables, node)
    else:
        set_proactive_due(m, node, clock(m) + PROACTIVE_INTERVAL_NS)


@helper
def proactive_compact_node(m: Mem, tables: PolicyTables, node: int) -> None:
    """Begin a proactive round over a node."""
    row = node * NODE_FIELDS
    m.nodes[row + N_KSWAPD_WOKE] = 0 if int(m.nodes[row + N_KSWAPD_DUE]) == FOREVER else 1
    m.nodes[row + N_KCOMPACTD_SCORE] = fragmentation_score_node(m, node)
    go_on_later(m, node, begin_work(m, tables, node, WORK_PROACTIVE))


@helper
def go_on_later(m: Mem, node: int, more: bool) -> None:
    """Say when a proactive round goes on; after its end look again, much later if it was no use."""
    row = node * NODE_FIELDS
    if more:
        set_proactive_due(m, node, int(m.nodes[row + N_KCOMPACTD_BUSY]))
        return
    helped = fragmentation_score_node(m, node) < int(m.nodes[row + N_KCOMPACTD_SCORE])
    end_work(m, node, 0 if helped else COMPACT_MAX_DEFER_SHIFT)


@inline
def new_whole_control(m: Mem, tables: PolicyTables, z: int, mode: int) -> None:
    """Begin a run over all of a zone, whatever its skip bits say."""
    new_control(m, tables, z, WHOLE_MEMORY, mode, node_cpu(m, zone_get(m, z, Z_NODE)))
    control_set(m, CC_WHOLE_ZONE, 1)
    control_set(m, CC_IGNORE_SKIP_HINT, 1)


@kernel
def compact_nodes(mem: Mem, policy: PolicyTables) -> None:
    """Compact all zones of all nodes (/proc/sys/vm/compact_memory); nobody's time passes."""
    m = pointers(mem)
    tables = pointers(policy)
    for node in range(m.nr_nodes):
        for z in range(m.nr_zones):
            if zone_get(m, z, Z_NODE) == node:
                new_whole_control(m, tables, z, MIGRATE_SYNC)
                compact_zone(m, tables)


@kernel
def compact_nodes_proactively(mem: Mem, policy: PolicyTables) -> None:
    """Let each kcompactd that has nothing to do begin a proactive round, whatever the score."""
    m = pointers(mem)
    tables = pointers(policy)
    for node in range(m.nr_nodes):
        if int(m.nodes[node * NODE_FIELDS + N_KCOMPACTD_WORK]) == WORK_NONE:
            proactive_compact_node(m, tables, node)


@kernel
def node_score(mem: Mem, node: int) -> int:
    """Return a node's fragmentation score (spec 6.10)."""
    return fragmentation_score_node(pointers(mem), node)
