"""Random ranges taken offline: the kernels and the oracle agree page for page."""

from dataclasses import replace

import numpy as np
import pytest
from compaction_desk import machine, zone
from hypothesis import given, settings
from hypothesis import strategies as st
from migration_twins import SPANS, M, R, U, differences, sources, spec_of, targets, traits_too
from oracle.naive_hotplug import NaiveHotplug

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.memory import hotplug
from memsim.memory.hotplug import Offlining
from memsim.memory.migrate_call import keep_spare_handles
from memsim.memory.obstacles import Reason
from memsim.mm import Migratetype
from memsim.mm_init.resize import SizeRules

UNIT = 1024
SAID = {"kernel": Reason.KERNEL, "reserved": Reason.RESERVED, "cma": Reason.CMA}


def kernel_pages(rng, spans):
    """A few pages of the kernel's in some of the ranges."""
    runs = {}
    for start, end in spans:
        if rng.random() < 0.4:
            runs[int(rng.integers(start, end - 8))] = (int(rng.integers(1, 5)), "kernel")
    return runs


def both(rng):
    pcp = (0, 1) if rng.random() < 0.5 else (60, 7)
    threshold = int(rng.choice((0, 2)))
    marks = [(0, 0, 0), (30, 60, 90)][int(rng.integers(2))]
    more = {"pcp_high": pcp[0], "pcp_batch": pcp[1], "stat_threshold": threshold}
    given = [zone(s, e, marks, node=n, zone_type=t, **more) for s, e, n, t in SPANS]
    units = [(s, s + UNIT) for s in range(0, 7168, UNIT)]
    runs = {p: run for p, run in (sources(rng) | targets(rng)).items() if rng.random() < 0.7}
    for start, (count, kind) in kernel_pages(rng, units).items():
        if not any(p < start + count and start < p + n for p, (n, _) in runs.items()):
            runs[start] = (count, kind)
    types = {block: int(rng.choice((M, M, M, U, R))) for block in range(14)}
    memory = machine(given, runs, types=types, zonelist=(2, 1, 0), log=False)
    memory.setup = replace(
        memory.setup, rules=SizeRules((1, 1), ((10, 20), (20, 10)), khugepaged=False)
    )
    memory.mem.system[S.S_PRESSURE] = 0
    memory.mem.system[S.S_WRITES_END] = 1 << 40
    pages = traits_too(rng, memory, runs)
    kernel = [
        pfn
        for start, (count, kind) in runs.items()
        if kind == "kernel"
        for pfn in range(start, start + count)
    ]
    reserved = [pfn for pfn in kernel if pfn >= 6144]
    memory.mem.state[reserved] = L.PAGE_RESERVED
    for handle in np.flatnonzero(np.isin(memory.page_table - 1, reserved)):
        memory.page_table[handle] = 0
    memory._accounts = None
    heads = np.array([p for p, page in pages.items() if page.order], np.int32)
    first = keep_spare_handles(memory, heads)
    spare = range(first, int(memory.mem.system[S.S_SPARE_END]))
    twin = NaiveHotplug(spec_of(given, runs, types), pages, spare, kernel, reserved)
    return memory, twin


def isolated_too(memory, twin):
    """Compare what migrations leave alone: pageblock types, lists of isolated blocks."""
    found = differences(memory, twin)
    for z in range(3):
        for order in range(11):
            one = memory.free_list(z, order, Migratetype.ISOLATE).tolist()
            other = twin.machine.free_list(z, order, Migratetype.ISOLATE)
            if one != other:
                found[z, order, "isolate"] = one, other
    online = [s for s in range(0, 7168, 512) if memory.mem.zone_of[s >> 10] < 255]
    types = [int(memory.mem.pageblocks[s >> 9]) for s in online]
    theirs = [twin.machine.pageblock_type(s) for s in online]
    return found if types == theirs else {**found, "types": (types, theirs)}


def offline_both(rng, memory, twin):
    """Try a random range in both; return whether it went."""
    start = UNIT * int(rng.integers(0, 6))
    sizes = [1, 2] if start in (0, 2048, 4096) else [1]
    end = start + UNIT * int(rng.choice(sizes))
    passes = int(rng.integers(1, 4))
    attempt = Offlining(memory, start, end - start)
    attempt.now = twin.now
    outcome = attempt.step()
    for _ in range(passes):
        if outcome is None:
            outcome = attempt.step()
    if outcome is None:
        attempt.stops_at = attempt.now
        outcome = attempt.step()
    others = (1,) if start < 4096 else (0,)
    theirs = twin.offline(start, end, passes, others)
    if isinstance(theirs, tuple):
        assert (outcome.reason, outcome.page) == (SAID[theirs[0]], theirs[1])
    else:
        assert (outcome.errno == 0) == (theirs == "offline")
        assert outcome.ended_ns == twin.now
    return outcome.removed


@pytest.fixture(scope="module", autouse=True)
def small_sections():
    """Let ranges of 1024 pages go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hotplug, "SECTION_PAGES", UNIT)
        yield


@settings(max_examples=6, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_kernels_and_oracle_agree_after_every_attempt(seed):
    rng = np.random.default_rng(seed)
    memory, twin = both(rng)
    assert isolated_too(memory, twin) == {}
    for _ in range(3):
        began = memory.now
        removed = offline_both(rng, memory, twin)
        assert isolated_too(memory, twin) == {}, began
        memory.check()
        if removed:
            break


def test_streams_end_in_every_way():
    ends = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        _, twin = both(rng)
        start = UNIT * int(rng.integers(0, 6))
        result = twin.offline(start, start + UNIT, 3, (1,) if start < 4096 else (0,))
        ends.add(result if isinstance(result, str) else result[0])
    assert ends >= {"offline", "signal", "kernel"}
