"""Streams of compactions on small zones: the kernels and the oracle agree page for page."""

from types import SimpleNamespace

import numpy as np
from compaction_desk import free_blocks, machine, zone
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.naive_compaction import ASYNC, SYNC, SYNC_LIGHT, NaiveCompaction, Page, reset_skip_bits

from memsim.kernels import compaction, kcompactd
from memsim.kernels import layout as L
from memsim.kernels.compact_control import CC_CAPTURED, control
from memsim.kernels.compaction_skip import reset_isolation_suitable
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_DEFERRED,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
)
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD_DUE,
    N_KCOMPACTD_HIGHEST_ZONE,
    N_KCOMPACTD_ORDER,
)
from memsim.kernels.zonelist import AllocContext
from memsim.memory.setup import Pressure
from memsim.mm import NR_PAGE_ORDERS, NR_PCP_LISTS, Migratetype, ZoneType

WORDS = {
    "anon": {"anon"},
    "file": {"file"},
    "active": {"file", "active"},
    "swapped": {"anon"},
    "pinned": {"anon", "pinned"},
    "pinned_file": {"file", "pinned"},
    "mlocked": {"anon", "mlocked"},
    "writing": {"file", "writing"},
    "kernel": {"kernel"},
    "huge": {"anon"},
    "kernel9": {"kernel"},
}
COMMON = ("anon", "file", "anon", "file", "active", "swapped")
RARE = ("pinned", "pinned_file", "mlocked", "writing", "kernel")
RESULTS = {
    "skipped": COMPACT_SKIPPED,
    "deferred": COMPACT_DEFERRED,
    "complete": COMPACT_COMPLETE,
    "partial": COMPACT_PARTIAL_SKIPPED,
    "contended": COMPACT_CONTENDED,
    "success": COMPACT_SUCCESS,
}
MODES = {
    ASYNC: compaction.PRIO_ASYNC,
    SYNC_LIGHT: compaction.PRIO_SYNC_LIGHT,
    "full": compaction.PRIO_SYNC_FULL,
}
EVENTS = (
    "pgmigrate_success",
    "pgmigrate_fail",
    "pgfree",
    "compact_isolated",
    "compact_migrate_scanned",
    "compact_free_scanned",
)
U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE


def pageblock_runs(rng, start, density):
    """Fill a pageblock: all free, one huge block, or pages here and there."""
    shape = rng.random()
    if shape < 0.15:
        return {}
    if shape < 0.25:
        return {start: (512, "huge" if rng.random() < 0.5 else "kernel9")}
    spoilt = rng.random() < 0.4
    runs, pfn = {}, start
    while pfn < start + 512:
        pages = int(rng.choice((1, 1, 2, 3, 7, 16, 40)))
        pages = min(pages, start + 512 - pfn)
        if rng.random() < density:
            kinds = RARE if spoilt and rng.random() < 0.15 else COMMON
            runs[pfn] = (pages, str(rng.choice(kinds)))
        pfn += pages
    return runs


def both(rng):
    """Build the same two zones, with a hole between them, for the kernels and for the oracle."""
    marks = [(0, 0, 0), (30, 60, 90), (200, 300, 400)][int(rng.integers(3))]
    pcp = (0, 1) if rng.random() < 0.5 else (60, 7)
    kinds = (ZoneType.DMA32, ZoneType.NORMAL)
    spans = ((0, 2048), (4096, 8192 - 1024))
    threshold = int(rng.choice((0, 2)))
    given = [
        zone(
            start,
            end,
            marks,
            zone_type=kind,
            pcp_high=pcp[0],
            pcp_batch=pcp[1],
            stat_threshold=threshold,
        )
        for (start, end), kind in zip(spans, kinds, strict=True)
    ]
    density = float(rng.choice((0.3, 0.6, 0.85)))
    runs, types = {}, {}
    for start, end in spans:
        for block in range(start, end, 512):
            runs |= pageblock_runs(rng, block, density)
            types[block // 512] = int(rng.choice((M, M, M, M, U, R)))
    pressure = Pressure(compaction_proactiveness=0, swap_slots=1 << 13)
    memory = machine(given, runs, pressure, types=types, zonelist=(1, 0), log=False)
    return memory, twin(given, runs, types, kinds)


def twin(given, runs, types, kinds):
    taken = np.zeros(given[-1].end_pfn, bool)
    pages, table, slots = {}, {}, iter(range(1 << 13))
    for start, (count, kind) in sorted(runs.items()):
        taken[start : start + count] = True
        step = 512 if kind in ("huge", "kernel9") else 1
        for pfn in range(start, start + count, step):
            table[len(pages)] = pfn
            pages[pfn] = Page(WORDS[kind], 9 if step > 1 else 0, len(pages))
            pages[pfn].slot = next(slots) if kind == "swapped" else None
    zones = [
        SimpleNamespace(
            start=z.start_pfn,
            end=z.end_pfn,
            nid=0,
            index=kind,
            managed=z.managed,
            wmark=z.watermark,
            lowmem_reserve=z.lowmem_reserve,
            free=[
                (pfn, k, types[pfn // 512]) for pfn, k in free_blocks(taken, z.start_pfn, z.end_pfn)
            ],
            pcp_high=z.pcp_high,
            pcp_batch=z.pcp_batch,
            stat_threshold=z.stat_threshold,
            nr_reserved_highatomic=0,
        )
        for z, kind in zip(given, kinds, strict=True)
    ]
    spec = SimpleNamespace(
        zones=zones,
        cpu_nid=(0,),
        pageblocks={block: Migratetype(kind) for block, kind in types.items()},
        grouping=True,
        cma=True,
        watermark_boost_factor=15000,
    )
    return NaiveCompaction(spec, pages, table)


LISTS = {
    "anon": L.LRU_INACTIVE_ANON,
    "active anon": L.LRU_ACTIVE_ANON,
    "file": L.LRU_INACTIVE_FILE,
    "active file": L.LRU_ACTIVE_FILE,
    "unevictable": L.LRU_UNEVICTABLE,
}


def of_kernels(memory):
    state = {"page table": dict(enumerate((memory.page_table - 1).tolist()))}
    for name, kind in LISTS.items():
        state[name] = memory.lru_list(0, kind).tolist()
    for z in range(2):
        for order in range(NR_PAGE_ORDERS):
            for mt in (U, M, R):
                state[z, order, mt] = memory.free_list(z, order, mt).tolist()
        for pindex in range(NR_PCP_LISTS):
            state[z, "pcp", pindex] = memory.pcp_list(z, 0, pindex).tolist()
        state[z, "free"] = memory.zone_field(z, L.Z_NR_FREE_PAGES)
        state[z, "memory"] = [memory.zone_field(z, L.Z_COMPACT + i) for i in range(9)]
    state["pageblocks"] = memory.mem.pageblocks.tolist()
    state["skip"] = np.flatnonzero(memory.mem.pageblock_skip).tolist()
    cached = np.flatnonzero(memory.mem.state[: memory.nr_pages] & L.PAGE_SWAPCACHE)
    state["slots"] = {int(pfn): int(memory.mem.swap_slot[pfn]) for pfn in cached}
    counted = memory.vmstat()
    return state | {name: counted[name] for name in EVENTS}


def of_oracle(twin, nr_blocks):
    state = {"page table": dict(twin.page_table)}
    for name in LISTS:
        state[name] = twin.lru.get(name, [])
    for z, theirs in enumerate(twin.zones):
        for order in range(NR_PAGE_ORDERS):
            for mt in (U, M, R):
                state[z, order, mt] = theirs.lists[order, mt]
        for pindex in range(NR_PCP_LISTS):
            state[z, "pcp", pindex] = [pfn for pfn, _ in twin.pcps[z][0].lists[pindex]]
        state[z, "free"] = theirs.nr_free_pages.total
        mine = twin.memory[z]
        state[z, "memory"] = [
            mine.migrate[ASYNC],
            mine.migrate[SYNC],
            mine.free,
            mine.init_migrate,
            mine.init_free,
            mine.considered,
            mine.shift,
            mine.order_failed,
            int(mine.flush),
        ]
    state["pageblocks"] = [int(twin.pageblocks.get(b, M)) for b in range(nr_blocks)]
    state["skip"] = sorted(twin.skip)
    state["slots"] = {pfn: p.slot for pfn, p in twin.pages.items() if p.slot is not None}
    return state | {name: twin.counts.get(name, 0) for name in EVENTS}


def differences(memory, twin):
    one, other = of_kernels(memory), of_oracle(twin, len(memory.mem.pageblocks))
    assert one.keys() == other.keys()
    return {key: (one[key], other[key]) for key in one if one[key] != other[key]}


def direct(rng, memory, twin, order):
    mt = Migratetype(int(rng.choice((U, M, M, R))))
    mode = str(rng.choice((ASYNC, SYNC_LIGHT, "full")))
    fs = bool(rng.random() < 0.8)
    flags = L.REQ_IO | (L.REQ_FS if fs else 0)
    ac = AllocContext(order, int(mt), int(ZoneType.NORMAL), flags, 0, -1, 0)
    result, pfn = compaction.try_to_compact_pages(memory.mem, memory.tables, ac, 0, MODES[mode])
    theirs, caught = twin.direct((1, 0), order, mt, 0, mode, int(ZoneType.NORMAL), fs)
    assert (result, pfn) == (RESULTS[theirs], -1 if caught is None else caught)
    if pfn >= 0:
        assert pfn == control(memory.mem, CC_CAPTURED)
        hold(memory, twin, pfn, order)
    return theirs


def hold(memory, twin, pfn, order):
    """Let a captured block be an allocation of the kernel's."""
    memory.mem.state[pfn] |= L.PAGE_ALLOCATED | order << L.ORDER_SHIFT
    twin.pages[pfn] = Page({"kernel"}, order, None)


def act(rng, memory, twin):
    """Do something at random to both; return its name."""
    what = rng.random()
    order = int(rng.choice((1, 3, 4, 6, 9, 9, 9, 10)))
    if what < 0.15:
        memory.compact_memory()
        twin.compact_memory()
        return "sysctl"
    if what < 0.3:
        memory.mem.nodes[N_KCOMPACTD_ORDER] = order
        memory.mem.nodes[N_KCOMPACTD_HIGHEST_ZONE] = int(ZoneType.NORMAL)
        kcompactd.kcompactd_step(memory.mem, memory.tables, 0)
        while memory.mem.nodes[N_KCOMPACTD_DUE] != FOREVER:
            kcompactd.kcompactd_step(memory.mem, memory.tables, 0)
        twin.kcompactd(order, int(ZoneType.NORMAL))
        return "kcompactd"
    if what < 0.4:
        reset_isolation_suitable(memory.mem, 0)
        for z in range(2):
            if twin.memory[z].flush:
                twin.memory[z].flush = False
                reset_skip_bits(twin, z)
        return "flush"
    return direct(rng, memory, twin, order)


@settings(max_examples=6, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_kernels_and_oracle_agree_after_every_compaction(seed):
    rng = np.random.default_rng(seed)
    memory, twin = both(rng)
    assert differences(memory, twin) == {}
    for step in range(8):
        name = act(rng, memory, twin)
        assert differences(memory, twin) == {}, (step, name)
        memory.check()
