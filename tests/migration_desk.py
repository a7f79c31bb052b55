"""Migrations on memories laid out page by page (see ``compaction_desk``)."""

from __future__ import annotations

import numpy as np
from compaction_desk import machine, zone

from memsim.kernels import trace_log
from memsim.memory.migrate_call import Call
from memsim.memory.migrating import MOVE_GFP
from memsim.mm import MigrateMode, MigrateReason, Use, gfp_from_text
from memsim.schema import Request

HOTPLUG_GFP = gfp_from_text("GFP_USER|__GFP_MOVABLE|__GFP_RETRY_MAYFAIL")
GFP = {
    MigrateReason.SYSCALL: MOVE_GFP,
    MigrateReason.MEMORY_HOTPLUG: HOTPLUG_GFP,
    MigrateReason.LONGTERM_PIN: gfp_from_text("GFP_USER|__GFP_NOWARN"),
    MigrateReason.NUMA_MISPLACED: gfp_from_text("GFP_TRANSHUGE_LIGHT|__GFP_THISNODE|__GFP_NORETRY"),
}


def two_nodes(runs, first=1024, second=1024, marks=(0, 0, 0), **more):
    """Two nodes of one zone each: [0, first) and [first, first + second)."""
    zones = [zone(0, first, marks), zone(first, first + second, marks, node=1)]
    return machine(zones, runs, **more)


def migrate(memory, handles, mode=MigrateMode.SYNC, reason=MigrateReason.SYSCALL, **request):
    """Isolate pages and migrate them to node 1, or as ``request`` says; return the outcome."""
    request = {"preferred": 1} | request
    call = Call(memory, 0)
    mine = np.asarray(handles, np.int32)
    assert call.isolate(mine).all()
    result = call.migrate(mine, Request(GFP[reason], Use.ANON, **request), mode, reason)
    memory.check()
    return result, call.outcome(result, np.zeros(0, np.int32))


def attempts(memory):
    """Return the attempts since last asked: (pfn, target, pass, errno)."""
    rows = memory.take_log()
    mine = rows[rows[:, 1] == trace_log.LOG_MIGRATE_PAGE]
    return [tuple(row[2:6].tolist()) for row in mine]


def allocated(memory_attempts):
    """Count how often a target was allocated."""
    return sum(target >= 0 for _, target, _, _ in memory_attempts)
