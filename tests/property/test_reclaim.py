"""Reclaim against its naive twin: lists, flags, slots, writes and counters, after every event."""

import numpy as np
import pytest
from oracle.naive_vmscan import FLAGS, NaiveReclaim, Page
from pressure import assert_same_one_by_one, random_events, touch_at_random
from reclaim_twins import check_swap_and_counters

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.kernels import trace_log
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import GFP_COMPOSITES, OP_FREE, OP_WRITE, Gfp, Status, Use, ZoneType
from memsim.policies import LINUX_6_1, mobility
from memsim.schema import Request

BIT = {name: getattr(L, f"PAGE_{name.upper()}") for name in FLAGS}
COSTS = {"swap_read": 60_000, "file_read": 50_000, "swap_write": 80_000, "file_write": 70_000}
COUNTERS = (
    "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgactivate",
    "pgdeactivate", "pgrefill", "pgrotated", "pgscan_kswapd", "pgscan_direct", "pgscan_anon",
    "pgscan_file", "pgsteal_kswapd", "pgsteal_direct", "pgsteal_anon", "pgsteal_file", "pgskip",
    "slabs_scanned", "slab_pages_freed", "pageoutrun", "allocstall", "workingset_refault_anon",
    "workingset_refault_file", "nr_vmscan_write", "nr_vmscan_immediate_reclaim", "nr_dirtied",
    "nr_written", "stall_model_ns", "kswapd_model_ns",
)  # fmt: skip
ZONES = (
    (0, 1024, ZoneType.DMA32, (10, 14, 18), 70),
    (1024, 2048, ZoneType.NORMAL, (12, 16, 20), 90),
)
USER, KERNEL = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"], GFP_COMPOSITES["GFP_KERNEL"]
REQUESTS = {
    "anon": Request(USER, Use.ANON, lru=True),
    "file": Request(USER, Use.PAGE_CACHE, lru=True),
    "dirty": Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True),
    "mapped": Request(USER, Use.PAGE_CACHE, lru=True, mapped=True),
    "slab": Request(KERNEL | Gfp.RECLAIMABLE, Use.INODE),
    "kernel": Request(KERNEL, Use.KERNEL),
    "mlocked": Request(USER, Use.ANON, lru=True, mlocked=True),
    "pinned": Request(USER, Use.ANON, lru=True, pinned=True),
    "pinned slab": Request(KERNEL | Gfp.RECLAIMABLE, Use.INODE, pinned=True),
    "low": Request(KERNEL | Gfp.DMA32, Use.PAGE_CACHE, lru=True),
    "nofs": Request(GFP_COMPOSITES["GFP_NOFS"], Use.ANON, lru=True),
    "noio": Request(GFP_COMPOSITES["GFP_NOIO"], Use.ANON, lru=True),
    "no kswapd": Request(USER & ~Gfp.KSWAPD_RECLAIM, Use.ANON, lru=True),
}
NAMES = list(REQUESTS)
EVERYTHING = (12, 4, 3, 3, 2, 0.3, 0.3, 0.3, 0.1, 2, 1, 1, 2)
"""How often a handle is of each kind, as NAMES has them."""
ANON = (9, 0, 0, 0, 0, 0.3, 0, 0.3, 0, 0, 0, 0, 0)
DIRTY = (0, 1, 8, 2, 0, 0.3, 0, 0, 0, 0, 0, 0, 0)
SLAB = (1, 3, 0, 0, 9, 0.3, 0, 0, 1, 0, 0, 0, 0)


def machine(slots, swappiness):
    zones = tuple(
        ZoneSetup(
            node=0, zone_type=index, start_pfn=start, end_pfn=end, present=end - start,
            managed=free, watermark=(*wmark, wmark[2]), lowmem_reserve=(0,) * 5, pcp_high=0,
            pcp_batch=1, stat_threshold=0, nofragment=False, boost_factor=0,
        )
        for start, end, index, wmark, free in ZONES
    )  # fmt: skip
    pressure = Pressure(
        swappiness=swappiness, swap_slots=slots, compaction_proactiveness=0,
        swap_read_ns=COSTS["swap_read"], swap_write_ns=COSTS["swap_write"],
        file_read_ns=COSTS["file_read"], file_write_ns=COSTS["file_write"],
    )  # fmt: skip
    setup = MachineSetup(zones, (((1, 0), (1, 0)),), (0,), pressure=pressure)
    memory = Memory(setup, mobility.Policy().tables(LINUX_6_1))
    for z, (start, _, _, _, free) in enumerate(ZONES):
        memory.free_boot_range(z, start, start + free)
    memory.add_requests(list(REQUESTS.values()))
    memory.add_handles(350)
    return memory


class Pair:
    """The kernels and the twin, told the same."""

    def __init__(self, slots, swappiness, capacity, boosts=False):
        self.memory = machine(slots, swappiness)
        self.memory.mem.system[S.S_WRITEBACK_CAPACITY] = capacity
        self.memory.keep_log(1 << 12)
        self.boosts, self.events, self.boosted = boosts, 0, set()
        self.twin = NaiveReclaim(
            ZONES,
            slots,
            {**COSTS, "scan": 50, "reclaim": 500},
            swappiness=swappiness,
            capacity=capacity,
        )

    def boost(self):
        """Boost watermarks now and then, as a fallback does: who asks next wakes kswapd."""
        self.events += 1
        if self.boosts and self.events % 60 == 0:
            z = self.events // 60 % 2
            self.memory.add_zone_field(z, L.Z_BOOST, 24)
            self.memory.add_zone_field(z, L.Z_BOOSTED, 1 - self.memory.zone_field(z, L.Z_BOOSTED))
            self.twin.boost[z] += 24
            self.boosted.add(z)

    def run(self, op, kind, handle, time):
        self.boost()
        outcome = self.memory.run(
            np.array([op], np.uint8), np.array([NAMES.index(kind)], np.uint16),
            np.zeros(1, np.uint16), np.array([handle], np.int32), np.array([time], np.int64),
        )  # fmt: skip
        log = self.memory.take_log().tolist()
        self.twin.begin(time)
        if op & OP_FREE:
            self.twin.release(handle)
        elif isinstance(self.twin.table.get(handle), Page):
            self.twin.touch(handle, op & OP_WRITE)
        else:
            self.follow(REQUESTS[kind], handle, op & OP_WRITE, outcome, log)
        freed = [row[2] for row in log if row[1] == trace_log.LOG_FREE]
        assert freed == self.twin.freed
        self.twin.freed = []
        self.compare()
        return len(outcome.pfn) > 0

    def follow(self, request, handle, write, outcome, log):
        for _, kind, pfn, a, b, *_ in log:
            if kind == trace_log.LOG_STEP and pfn == trace_log.STEP_WAKE:
                self.twin.wake(b)
            elif kind == trace_log.LOG_STEP and pfn == trace_log.STEP_RECLAIM:
                gfp = request.gfp
                highest = ZoneType.DMA32 if gfp & Gfp.DMA32 else ZoneType.NORMAL
                highest = ZoneType.MOVABLE if gfp & Gfp.HIGHMEM else highest
                assert self.twin.direct_reclaim(highest, gfp & Gfp.FS, gfp & Gfp.IO) == a
        if len(outcome.pfn) and outcome.status[0] == Status.OK:
            state = int(self.memory.mem.state[outcome.pfn[0]])
            slab = request.use == Use.INODE
            flags = first_flags(request, slab)
            if request.gfp & Gfp.KSWAPD_RECLAIM:
                self.wake_if_boosted(self.twin.zone_of(int(outcome.pfn[0])))
            self.twin.place(int(outcome.pfn[0]), handle, flags, request.lru, write)
            assert bool(state & L.PAGE_PINNED) == ("pinned" in flags)

    def wake_if_boosted(self, z):
        """Wake kswapd when a page has left a zone, and before it is filled."""
        if z in self.boosted:
            self.boosted.remove(z)
            self.twin.free_pages[z] -= 1
            self.twin.wake(ZONES[z][2])
            self.twin.free_pages[z] += 1

    def compare(self):
        memory, twin = self.memory, self.twin
        state = memory.mem.state[: memory.nr_pages]
        held = np.flatnonzero(state & L.PAGE_ALLOCATED).tolist()
        assert held == sorted(twin.pages)
        for pfn, page in twin.pages.items():
            assert {n for n in FLAGS if state[pfn] & BIT[n]} == page.flags(), hex(pfn)
            assert not page.swapcache or memory.mem.swap_slot[pfn] == page.slot
        for kind in range(L.NR_LRU_LISTS):
            assert memory.lru_list(0, kind).tolist() == [p.pfn for p in twin.lists[kind]], kind
        check_swap_and_counters(memory, twin, COUNTERS)
        assert [memory.zone_field(z, L.Z_BOOST) for z in range(2)] == twin.boost
        row = memory.mem.nodes
        assert row[S.N_KSWAPD_DUE] == twin.kswapd_due
        assert memory.mem.system[S.S_FLUSHER_DUE] == twin.flush_due
        assert memory.mem.system[S.S_WRITEBACK_LENGTH] == len(twin.ring)


def first_flags(request, slab):
    flags = {"pinned"} if request.pinned else set()
    if slab:
        return flags | {"slab"}
    if not request.lru:
        return flags
    flags |= {"unevictable"} if request.mlocked else set()
    if request.use == Use.ANON:
        return flags | {"anon", "mapped", "young"}
    flags |= {"dirty"} if request.gfp & Gfp.WRITE else set()
    return flags | ({"mapped", "young"} if request.mapped else {"referenced"})


@pytest.mark.parametrize(
    ("slots", "swappiness", "capacity", "weights", "seen"),
    [
        pytest.param(
            1000, 160, 1024, EVERYTHING, ("pswpin", "pgskip", "boost taken back"), id="swap"
        ),
        pytest.param(30, 160, 8, EVERYTHING, ("pgskip", "pgsteal_anon"), id="small swap"),
        pytest.param(0, 60, 1024, EVERYTHING, ("pgdeactivate", "kills"), id="no swap"),
        pytest.param(300, 60, 16, ANON, ("pgrotated", "pgmajfault"), id="anon"),
        pytest.param(0, 60, 4, DIRTY, ("nr_written", "nr_vmscan_immediate_reclaim"), id="dirty"),
        pytest.param(9, 60, 1024, SLAB, ("slab_pages_freed", "boost taken back"), id="slab"),
    ],
)
def test_reclaim_is_that_of_the_naive_twin(slots, swappiness, capacity, weights, seen):
    pair = Pair(slots, swappiness, capacity, boosts="boost taken back" in seen)
    counts = {
        "kills": touch_at_random(pair, slots, dict(zip(NAMES, weights, strict=True)), 900),
        **pair.twin.counts,
    }
    missing = [n for n in (*seen, "pgsteal_kswapd", "pgsteal_direct") if not counts.get(n)]
    assert missing == []


def test_results_do_not_depend_on_batches_or_on_who_looks_when():
    whole = machine(1000, 100)
    assert_same_one_by_one(whole, machine(1000, 100), random_events(5, 1500, EVERYTHING))
    assert whole.vmstat()["pgsteal_kswapd"] > 0
