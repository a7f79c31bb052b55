"""A daemon's run of compaction that somebody outside takes step by step.

``memsim fidelity`` holds each step against a recorded one, and lets happen in between what the
record shows. Source: mm/compaction.c, Linux 6.1.192 (kcompactd_do_work, proactive_compact_node,
compact_nodes).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import kernel, pointers, ptr
from memsim.kernels.compact_control import (
    CC_CAPTURE,
    CC_CAPTURED,
    CC_HIGHEST_ZONE,
    CC_IGNORE_SKIP_HINT,
    CC_MODE,
    CC_ORDER,
    CC_PROACTIVE,
    CC_WHOLE_ZONE,
    CC_ZONE,
    MIGRATE_ASYNC,
    WHOLE_MEMORY,
    control,
    control_set,
    new_control,
)
from memsim.kernels.compaction import begin_run, end_run, may_compact, new_direct_control, step_run
from memsim.kernels.compaction_skip import compact_set, reset_isolation_suitable
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTINUE,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SUCCESS,
    compaction_defer_reset,
    compaction_deferred,
    defer_compaction,
)
from memsim.kernels.events import alloc_context
from memsim.kernels.kcompactd import node_cpu, note_result
from memsim.kernels.layout import (
    COMPACT_BLOCKSKIP_FLUSH,
    REQUEST_FIELDS,
    Z_NODE,
    Z_TYPE,
    Mem,
    zone_get,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.slowpath import gfp_to_alloc_flags

MET = (COMPACT_COMPLETE, COMPACT_PARTIAL_SKIPPED)


@kernel
def begin(mem: Mem, policy: PolicyTables, z: int, order: int, mode: int, proactive: int) -> int:
    """Begin a run over a zone (order -1: over all of it); return a COMPACT_* result.

    CONTINUE: there are steps to be taken.
    """
    m = pointers(mem)
    tables = pointers(policy)
    whole = 1 if order == WHOLE_MEMORY else 0
    if whole == 0:
        compaction_deferred(m, z, order)
    new_control(m, tables, z, order, mode, node_cpu(m, zone_get(m, z, Z_NODE)))
    control_set(m, CC_HIGHEST_ZONE, zone_get(m, z, Z_TYPE))
    control_set(m, CC_WHOLE_ZONE, whole)
    control_set(m, CC_IGNORE_SKIP_HINT, whole)
    control_set(m, CC_PROACTIVE, proactive)
    result = may_compact(m)
    return begin_run(m, tables) if result == COMPACT_CONTINUE else result


@kernel
def begin_direct(
    mem: Mem,
    policy: PolicyTables,
    requests: NDArray[np.int64],
    request: int,
    z: int,
    order: int,
    priority: int,
) -> int:
    """Begin a run over a zone on behalf of a request, a row of ``requests``; see ``begin``."""
    m = pointers(mem)
    tables = pointers(policy)
    cpu = node_cpu(m, zone_get(m, z, Z_NODE))
    ac = alloc_context(m, ptr(requests), request * REQUEST_FIELDS, order, cpu)
    compaction_deferred(m, z, order)
    new_direct_control(m, tables, z, ac, gfp_to_alloc_flags(ac), priority)
    result = may_compact(m)
    return begin_run(m, tables) if result == COMPACT_CONTINUE else result


@kernel
def end_direct(mem: Mem, result: int) -> int:
    """End a request's run with its result; return the block that was captured, or -1."""
    m = pointers(mem)
    end_run(m, result)
    control_set(m, CC_CAPTURE, 0)
    z, order = control(m, CC_ZONE), control(m, CC_ORDER)
    if result == COMPACT_SUCCESS:
        compaction_defer_reset(m, z, order, False)
    elif control(m, CC_MODE) != MIGRATE_ASYNC and result in MET:
        defer_compaction(m, z, order)
    return control(m, CC_CAPTURED)


@kernel
def note_served(mem: Mem, z: int, order: int) -> None:
    """Forget a zone's failures: a request that compacted has got its block there."""
    m = pointers(mem)
    compact_set(m, z, COMPACT_BLOCKSKIP_FLUSH, 0)
    compaction_defer_reset(m, z, order, True)


@kernel
def let_kswapd_sleep(mem: Mem) -> None:
    """Clear the skip bits that runs have asked for, as kswapd does before it sleeps."""
    m = pointers(mem)
    for node in range(m.nr_nodes):
        reset_isolation_suitable(m, node)


@kernel
def step(mem: Mem, policy: PolicyTables) -> int:
    """Take one step of the run; return CONTINUE until it has finished."""
    return step_run(pointers(mem), pointers(policy))


@kernel
def end(mem: Mem, result: int) -> None:
    """End the run with its result; kcompactd remembers whether it helped."""
    m = pointers(mem)
    end_run(m, result)
    if control(m, CC_ORDER) != WHOLE_MEMORY:
        note_result(m, result)
