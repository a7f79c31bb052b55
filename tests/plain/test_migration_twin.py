"""Random lists of pages to migrate: the kernels and the oracle agree page for page."""

import numpy as np
from compaction_desk import machine, zone
from hypothesis import given, settings
from hypothesis import strategies as st
from migration_desk import GFP
from migration_twins import SPANS, M, R, U, differences, sources, spec_of, targets, traits_too
from oracle import naive_migration as naive

from memsim.kernels import system as S
from memsim.memory.migrate_call import Call, keep_spare_handles
from memsim.mm import MigrateMode, MigrateReason, Use
from memsim.schema import Request

MODES = {
    naive.ASYNC: MigrateMode.ASYNC,
    naive.SYNC_LIGHT: MigrateMode.SYNC_LIGHT,
    naive.SYNC: MigrateMode.SYNC,
}
REASONS = {
    "syscall": (MigrateReason.SYSCALL, 1, None),
    "hotplug": (MigrateReason.MEMORY_HOTPLUG, None, (1,)),
    "longterm_pin": (MigrateReason.LONGTERM_PIN, None, None),
    "numa_misplaced": (MigrateReason.NUMA_MISPLACED, 1, None),
}


def both(rng):
    marks = [(0, 0, 0), (30, 60, 90)][int(rng.integers(2))]
    pcp = (0, 1) if rng.random() < 0.5 else (60, 7)
    threshold = int(rng.choice((0, 2)))
    more = {"pcp_high": pcp[0], "pcp_batch": pcp[1], "stat_threshold": threshold}
    given = [zone(s, e, marks, node=n, zone_type=t, **more) for s, e, n, t in SPANS]
    runs = sources(rng) | targets(rng)
    types = {block: int(rng.choice((M, M, M, U, R))) for block in range(8, 14)}
    memory = machine(given, runs, types=types, zonelist=(2, 1, 0), log=False)
    memory.mem.system[S.S_PRESSURE] = 0
    memory.mem.system[S.S_WRITES_END] = 1 << 40
    pages = traits_too(rng, memory, runs)
    heads = np.array([p for p, page in pages.items() if page.order], np.int32)
    first = keep_spare_handles(memory, heads)
    spare = range(first, int(memory.mem.system[S.S_SPARE_END]))
    return memory, naive.NaiveMigration(spec_of(given, runs, types), pages, spare)


def migrate_both(rng, memory, twin):
    """Move a random list in both; return the kernels' result."""
    every = [p for p in twin.pages if p < 4096 or rng.random() < 0.3]
    chosen = rng.permutation([p for p in every if rng.random() < 0.6])
    mode = str(rng.choice(list(MODES), p=(0.2, 0.2, 0.6)))
    why = str(rng.choice(list(REASONS), p=(0.4, 0.3, 0.15, 0.15)))
    reason, node, nodes = REASONS[why]
    pfns = [int(p) for p in chosen]
    handles = np.array([twin.pages[p].handle for p in pfns], np.int32)
    call = Call(memory, 0)
    assert call.isolate(handles).all()
    request = Request(GFP[reason], Use.ANON, preferred=node, nodes=nodes)
    result = call.migrate(handles, request, MODES[mode], reason)
    outcome = call.outcome(result, np.zeros(0, np.int32))
    for pfn in pfns:
        twin.isolate(pfn)
    started = twin.now
    twin.now = 0
    theirs = twin.migrate_pages(pfns, mode, why, node, nodes)
    assert (result, outcome.codes.tolist(), outcome.tries.tolist()) == theirs, (mode, why, started)
    assert outcome.took_ns == twin.now
    return why, result


@settings(max_examples=6, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_kernels_and_oracle_agree_after_every_migration(seed):
    rng = np.random.default_rng(seed)
    memory, twin = both(rng)
    assert differences(memory, twin) == {}
    for _ in range(3):
        done = migrate_both(rng, memory, twin)
        assert differences(memory, twin) == {}, done
        memory.check()
