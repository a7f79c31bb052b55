"""What twins of migration share: two nodes with pages of all kinds, and what both sides see."""

from types import SimpleNamespace

import numpy as np
from compaction_desk import free_blocks
from oracle import naive_migration as naive

from memsim.kernels import layout as L
from memsim.mm import NR_PAGE_ORDERS, NR_PCP_LISTS, Migratetype, ZoneType

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE
KINDS = {
    "anon": {"anon"},
    "file": {"file"},
    "dirty": {"file", "dirty"},
    "pinned": {"anon", "pinned"},
    "mlocked": {"anon", "mlocked"},
    "writing": {"file", "writing"},
}
COMMON = ("anon", "anon", "anon", "file", "dirty")
TRAITS = {
    "locked": L.TRAIT_LOCKED,
    "ramfs": L.TRAIT_RAMFS,
    "no_migrate_op": L.TRAIT_NO_MIGRATE_OP,
    "buffers_in_use": L.TRAIT_BUFFERS_IN_USE,
}
COUNTED = (
    "pgmigrate_success",
    "pgmigrate_fail",
    "thp_migration_success",
    "thp_migration_fail",
    "thp_migration_split",
    "pgfree",
)
SPANS = (
    (0, 4096, 0, ZoneType.NORMAL),
    (4096, 6144, 1, ZoneType.NORMAL),
    (6144, 7168, 1, ZoneType.MOVABLE),
)
LISTS = {"anon": L.LRU_INACTIVE_ANON, "file": L.LRU_INACTIVE_FILE, "unevictable": L.LRU_UNEVICTABLE}


def sources(rng):
    """What node 0 holds: pages of all kinds, huge pages, and between them memory of the kernel."""
    runs, pfn = {}, 0
    while pfn < 3584:
        if pfn % 512 == 0 and rng.random() < 0.3:
            runs[pfn] = (512, "huge" if rng.random() < 0.8 else "kernel9")
            pfn += 512
            continue
        pages = min(int(rng.choice((1, 3, 20, 120))), 512 - pfn % 512)
        shape = rng.random()
        if shape < 0.9:
            rare = rng.random() < 0.2
            kind = str(rng.choice(list(KINDS) if rare else COMMON))
            runs[pfn] = (min(pages, 5) if rare else pages, kind)
        pfn += pages
    return runs


def targets(rng):
    """How full node 1 is: kernel pages here and there, so that some have no huge page free."""
    runs, density = {}, float(rng.choice((0.0, 0.3, 0.9)))
    for start in range(4096, 7168, 64):
        if rng.random() < density:
            runs[start + 1] = (int(rng.choice((1, 20, 63))), "kernel")
    return runs


def traits_too(rng, memory, runs):
    """Give some pages traits; return the oracle's pages."""
    pages, handle = {}, 0
    for start, (count, kind) in sorted(runs.items()):
        large = kind in ("huge", "kernel9")
        for pfn in range(start, start + count, 512 if large else 1):
            words = {"anon"} if large else set(KINDS.get(kind, ()))
            if large and rng.random() < 0.2:
                memory.mem.state[pfn] |= L.PAGE_PINNED
                words |= {"pinned"}
            if kind == "kernel9":
                memory.mem.traits[handle] = L.TRAIT_HUGETLB
                words |= {"hugetlb"}
            if words and not large and rng.random() < 0.1:
                trait = str(rng.choice(list(TRAITS)))
                memory.mem.traits[handle] = TRAITS[trait]
                words |= {trait}
            if words:
                pages[pfn] = naive.Page(words, 9 if large else 0, handle)
            handle += 1
    return pages


def spec_of(given, runs, types):
    taken = np.zeros(given[-1].end_pfn, bool)
    for start, (count, _) in runs.items():
        taken[start : start + count] = True
    zones = [
        SimpleNamespace(
            start=z.start_pfn,
            end=z.end_pfn,
            nid=z.node,
            index=z.zone_type,
            managed=z.managed,
            wmark=z.watermark,
            lowmem_reserve=z.lowmem_reserve,
            free=[
                (pfn, k, types.get(pfn // 512, M))
                for pfn, k in free_blocks(taken, z.start_pfn, z.end_pfn)
            ],
            pcp_high=z.pcp_high,
            pcp_batch=z.pcp_batch,
            stat_threshold=z.stat_threshold,
            nr_reserved_highatomic=0,
        )
        for z in given
    ]
    return SimpleNamespace(
        zones=zones,
        cpu_nid=(0, 1),
        zonelists={0: (0, 2, 1), 1: (2, 1, 0)},
        pageblocks={block: Migratetype(kind) for block, kind in types.items()},
        grouping=True,
        cma=True,
        watermark_boost_factor=15000,
    )


def of_kernels(memory, twin):
    held = [page.handle for page in twin.pages.values()]
    state = {"page table": {h: int(memory.page_table[h]) - 1 for h in held}}
    for node in range(2):
        for name, kind in LISTS.items():
            state[node, name] = memory.lru_list(node, kind).tolist()
    for z in range(3):
        for order in range(NR_PAGE_ORDERS):
            for mt in (U, M, R):
                state[z, order, mt] = memory.free_list(z, order, mt).tolist()
        for pindex in range(NR_PCP_LISTS):
            state[z, "pcp", pindex] = memory.pcp_list(z, 0, pindex).tolist()
        state[z, "free"] = memory.zone_field(z, L.Z_NR_FREE_PAGES)
    counted = memory.vmstat()
    return state | {name: counted[name] for name in COUNTED}


def of_oracle(twin):
    theirs = twin.machine
    state = {"page table": dict(twin.page_table)}
    for node in range(2):
        for name in LISTS:
            state[node, name] = twin.lru.get((node, name), [])
    for z in range(3):
        for order in range(NR_PAGE_ORDERS):
            for mt in (U, M, R):
                state[z, order, mt] = theirs.free_list(z, order, mt)
        for pindex in range(NR_PCP_LISTS):
            state[z, "pcp", pindex] = theirs.pcp_list(z, 0, pindex)
        state[z, "free"] = theirs.counter(z)[0]
    counted = twin.counts | theirs.vmstat()
    return state | {name: counted.get(name, 0) for name in COUNTED}


def differences(memory, twin):
    one, other = of_kernels(memory, twin), of_oracle(twin)
    assert one.keys() == other.keys()
    return {key: (one[key], other[key]) for key in one if one[key] != other[key]}
