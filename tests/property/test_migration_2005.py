"""Migration of 2005 against its naive twin, page for page, on small machines of two nodes."""

import numpy as np
import pytest
from migration_2005 import ANON, DIRTY, FILE, FULL_LISTS, KERNEL, MAPPED, MLOCKED, TwoNodes
from oracle.naive_migration_2005 import NaiveMigration, Page

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14 import migration as M
from memsim.kernels.system import S_PRESSURE
from memsim.memory.migrating_2005 import Disturbance, Fate, Touches, What
from memsim.mm import LRU_BATCH_2005

COSTS = {
    "scan": 50, "reclaim": 500, "bookkeeping": 700, "copy": 400,
    "file_read": 60_000, "file_write": 70_000, "swap_write": 80_000,
}  # fmt: skip
KINDS = {
    ANON: dict(anon=True, mapped=True, young=True, active=True),
    MLOCKED: dict(anon=True, mapped=True, young=True, active=True, mlocked=True),
    FILE: dict(referenced=True),
    DIRTY: dict(referenced=True, dirty=True),
    MAPPED: dict(mapped=True, young=True),
    KERNEL: dict(kernel=True),
}
WEIGHTS = (10, 1, 4, 4, 4, 1)
TRAITS = {
    "shared": L.TRAIT_SHARED, "no_migrate_op": L.TRAIT_NO_MIGRATE_OP, "buffers": L.TRAIT_BUFFERS,
    "buffers_in_use": L.TRAIT_BUFFERS_IN_USE, "locked": L.TRAIT_LOCKED, "shmem": L.TRAIT_SHMEM,
    "ramfs": L.TRAIT_RAMFS,
}  # fmt: skip
BITS = {
    "anon": L.PAGE_ANON, "mapped": L.PAGE_MAPPED, "young": L.PAGE_YOUNG, "active": L.PAGE_ACTIVE,
    "referenced": L.PAGE_REFERENCED, "dirty": L.PAGE_DIRTY, "writeback": L.PAGE_WRITEBACK,
    "reclaim": L.PAGE_RECLAIM, "mlocked": L.PAGE_UNEVICTABLE, "swapcache": L.PAGE_SWAPCACHE,
    "pins": L.PAGE_PINNED,
}  # fmt: skip
STEPS = {n.removeprefix("STEP_").lower(): v for n, v in vars(M).items() if n.startswith("STEP_")}
del STEPS["fields"]
FATES = {
    "direct": Fate.MOVED_DIRECT, "swap": Fate.MOVED_SWAP, "freed": Fate.FREED_MEANWHILE,
    "not_in_memory": Fate.NOT_IN_MEMORY, "already_there": Fate.ALREADY_THERE,
}  # fmt: skip
MODES = ("direct", "direct", "swap")
CODES = ("v1", "linux-2.6.16")
FULL = ("swap", "enomem", "other_node")


class Pair:
    """The kernels and the twin, told the same."""

    def __init__(self, slots, nodes):
        self.machine = TwoNodes(slots, nodes, file_write_ns=COSTS["file_write"])
        self.memory = self.machine.memory
        self.memory.mem.system[S_PRESSURE] = 0
        free = [self.memory.nr_free_pages(node) for node in range(nodes)]
        self.twin = NaiveMigration(free, slots, {**COSTS, "flush": 800 + 200 * nodes})
        self.seen = set()

    def take(self, request, node, traits):
        bits = sum(TRAITS[name] for name in traits)
        (handle,) = self.machine.take(request, cpu=node, traits=bits)
        self.twin.place(int(handle), node, node, traits, **KINDS[request])
        return handle

    def migrate(self, handles, node, others, **how):
        happens = [
            Disturbance(page, pass_, STEPS[step], What[what.upper()])
            for page, pass_, step, what in others
        ]
        outcome = self.machine.migrate(handles, node, disturbances=happens, **how)
        results, enough = self.twin.migrate(
            [int(h) for h in handles], node, how["mode"], how["code"], how["target_full"],
            0, others, how["move_all"],
        )  # fmt: skip
        fates = [self.fate(result[0]) for result in results.values()]
        assert [Fate(fate) for fate in outcome.fate] == fates
        assert outcome.passes.tolist() == [result[1] for result in results.values()]
        assert outcome.waits.tolist() == [result[2] for result in results.values()]
        assert outcome.page_model_ns.tolist() == [result[3] for result in results.values()]
        counted = {name: n for name, n in outcome.counters.items() if n}
        assert counted == {name: n for name, n in self.twin.counts.items() if n}
        assert (outcome.errno == 0) == enough
        assert self.memory.now + outcome.model_ns == self.twin.clock
        self.seen |= set(fates)
        self.compare()
        self.later(self.twin.clock - self.memory.now)

    def fate(self, name):
        return FATES[name] if name in FATES else Fate[f"FAILED_{name.upper()}"]

    def later(self, ns):
        self.memory.advance(self.memory.now + ns)
        self.twin.clock = self.memory.now
        self.twin.end_writes()

    def compare(self):
        memory, twin = self.memory, self.twin
        table, state = memory.page_table, memory.mem.state
        for handle, entry in twin.table.items():
            if not isinstance(entry, Page):
                away = {None: 0, "gone": L.GONE}
                expected = away[entry] if entry in away else -1 - entry
                assert table[handle] == expected
                continue
            assert self.machine.node(handle) == entry.node
            bits = int(state[table[handle] - 1])
            assert {n: bool(bits & b) for n, b in BITS.items()} == {
                name: bool(getattr(entry, name)) for name in BITS
            }
            traits = {n for n, b in TRAITS.items() if memory.mem.traits[handle] & b}
            assert traits == twin.traits[handle]
        for (node, active), pages in twin.lists.items():
            kind = L.LRU_ACTIVE_FILE if active else L.LRU_INACTIVE_FILE
            listed = memory.mem.rmap[memory.lru_list(node, kind)].tolist()
            assert listed == [page.handle for page in pages]
        for cpu, batch in enumerate(twin.batches):
            row = memory.mem.lru_batches[cpu * (L.LRU_FIELDS) :]
            waiting = memory.mem.rmap[row[1 : 1 + row[0]]].tolist()
            assert waiting == [page.handle for page in batch]
            assert len(waiting) < LRU_BATCH_2005
        owners = [0 if owner is None else owner + 1 for owner in twin.slots]
        assert memory.mem.swap_map.tolist() == owners
        assert [memory.nr_free_pages(n) for n in range(len(twin.free))] == twin.free


def traits_of(rng, request):
    if request is KERNEL or rng.random() < 0.4:
        return ()
    if request in (ANON, MLOCKED):
        names = ("shared", "locked")
    else:
        names = tuple(TRAITS)
    return tuple({names[int(k)] for k in rng.integers(0, len(names), rng.integers(1, 3))})


def populate(pair, rng, count, nodes):
    kinds = list(KINDS)
    chosen = rng.choice(len(kinds), count, p=np.array(WEIGHTS) / sum(WEIGHTS))
    handles = []
    for k in chosen:
        handle = pair.take(kinds[k], int(rng.random() < 0.2), traits_of(rng, kinds[k]))
        if kinds[k] is not KERNEL and rng.random() < 0.1:
            pair.machine.set_state(handle, L.PAGE_PINNED)
            pair.twin.table[int(handle)].pins = 1
        handles.append(handle)
    return np.array(handles, np.int32)


def disturbances(rng, pages, count):
    whats = [what.name.lower() for what in What]
    return [
        (
            int(rng.integers(pages)), int(rng.integers(-1, 4)),
            str(rng.choice(list(STEPS))), str(rng.choice(whats)),
        )
        for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_migration_of_2005_is_that_of_the_naive_twin(seed):
    rng = np.random.default_rng(seed)
    nodes = 2 + seed % 2
    pair = Pair(slots=(400, 25, 300, 60)[seed % 4], nodes=nodes)
    handles = populate(pair, rng, 120, nodes)
    fill(pair, rng, nodes)
    for round_ in range(8):
        chosen = rng.permutation(handles)[: int(rng.integers(20, 120))]
        others = disturbances(rng, len(chosen), int(rng.integers(0, 60)))
        pair.migrate(
            chosen, round_ % nodes, others, mode=str(rng.choice(MODES)),
            code=str(rng.choice(CODES)), target_full=str(rng.choice(FULL)),
            move_all=bool(rng.integers(2)),
        )  # fmt: skip
        pair.later(int(rng.integers(0, 500_000)))


def fill(pair, rng, nodes):
    """Leave a node little room, so that it fills up."""
    node = int(rng.integers(nodes))
    leave = int(rng.integers(5, 200))
    while pair.memory.nr_free_pages(node) > leave:
        pair.take(KERNEL, node, ())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("seed", range(3))
def test_who_looks_on_changes_nothing(seed, code):
    rng = np.random.default_rng(seed)
    machines = [TwoNodes(200, 3, (20, 60, 90), FULL_LISTS) for _ in range(2)]
    machines[0].memory.keep_log(1 << 14)
    for machine in machines:
        machine.fill(1, leave=110)
    first = machines[0].handles
    kinds = list(KINDS)
    for k in rng.choice(len(kinds), 300, p=np.array(WEIGHTS) / sum(WEIGHTS)):
        bits = sum(TRAITS[name] for name in traits_of(rng, kinds[k]))
        for machine in machines:
            machine.take(kinds[k], traits=bits)
    waited = 0
    for round_ in range(4):
        pages = first + rng.permutation(300)[: int(rng.integers(100, 300))]
        for machine in machines:
            # Some pages are being written when the move begins.
            machine.migrate(pages[::5], 1 - round_ % 2, mode="swap", budget_ns=20_000)
        # So many that some come while a page is in flight.
        now = machines[0].memory.now
        touches = Touches(
            rng.choice(pages, 20_000).astype(np.int32), now + rng.integers(0, 300_000, 20_000)
        )
        looked, not_looked = (
            machine.migrate(
                pages,
                1 - round_ % 2,
                code=code,
                watch=watch,
                touches=touches,
                target_full="swap" if round_ else "other_node",
            )
            for machine, watch in zip(machines, (5, -1), strict=True)
        )
        for name in ("fate", "passes", "waits", "page_model_ns", "new_pfn"):
            assert getattr(looked, name).tolist() == getattr(not_looked, name).tolist()
        assert looked.count(Fate.MOVED_DIRECT) > 0 or round_ > 0
        waited += looked.counters["migrate_faults_waited"]
        assert (looked.counters, looked.model_ns) == (not_looked.counters, not_looked.model_ns)
    assert waited > 0
    first, second = (machine.memory.mem for machine in machines)
    lists = [
        [
            *(m.memory.free_list(z, order, 0).tolist() for z in range(3) for order in range(11)),
            *(m.memory.lru_list(z, kind).tolist() for z in range(3) for kind in range(6)),
        ]
        for m in machines
    ]
    assert lists[0] == lists[1]
    for name in ("state", "page_table", "pcps", "rings", "swap_map", "system",
                 "zones", "events"):  # fmt: skip
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
