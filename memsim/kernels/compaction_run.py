"""A daemon's run of compaction that somebody outside takes step by step.

``memsim fidelity`` holds each step against a recorded one, and lets happen in between what the
record shows. Source: mm/compaction.c, Linux 6.1.192 (kcompactd_do_work, proactive_compact_node,
compact_nodes).
"""

from __future__ import annotations

from memsim.kernels._jit import kernel
from memsim.kernels.compact_control import (
    CC_HIGHEST_ZONE,
    CC_IGNORE_SKIP_HINT,
    CC_ORDER,
    CC_PROACTIVE,
    CC_WHOLE_ZONE,
    WHOLE_MEMORY,
    control,
    control_set,
    new_control,
)
from memsim.kernels.compaction import begin_run, end_run, may_compact, step_run
from memsim.kernels.compaction_suitable import (
    COMPACT_CONTINUE,
)
from memsim.kernels.kcompactd import node_cpu, note_result
from memsim.kernels.layout import Z_NODE, Z_TYPE, Mem, pointers, zone_get
from memsim.kernels.placement import PolicyTables, policy_pointers


@kernel
def begin(mem: Mem, policy: PolicyTables, z: int, order: int, mode: int, proactive: int) -> int:
    """Begin a run over a zone (order -1: over all of it); return a COMPACT_* result.

    CONTINUE: there are steps to be taken.
    """
    m = pointers(mem)
    tables = policy_pointers(policy)
    whole = 1 if order == WHOLE_MEMORY else 0
    new_control(m, tables, z, order, mode, node_cpu(m, zone_get(m, z, Z_NODE)))
    control_set(m, CC_HIGHEST_ZONE, zone_get(m, z, Z_TYPE))
    control_set(m, CC_WHOLE_ZONE, whole)
    control_set(m, CC_IGNORE_SKIP_HINT, whole)
    control_set(m, CC_PROACTIVE, proactive)
    result = may_compact(m)
    return begin_run(m, tables) if result == COMPACT_CONTINUE else result


@kernel
def step(mem: Mem, policy: PolicyTables) -> int:
    """Take one step of the run; return CONTINUE until it has finished."""
    return step_run(pointers(mem), policy_pointers(policy))


@kernel
def end(mem: Mem, result: int) -> None:
    """End the run with its result; kcompactd remembers whether it helped."""
    m = pointers(mem)
    end_run(m, result)
    if control(m, CC_ORDER) != WHOLE_MEMORY:
        note_result(m, result)
