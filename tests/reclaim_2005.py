"""Kernels of 2005 and their naive twin of reclaim, told the same: equal after every event."""

import numpy as np
from oracle.naive_2614_vmscan import TICK, NaiveReclaim2614
from oracle.naive_vmscan import FLAGS, NEVER, Page
from pressure_2005 import ANON, BARE, DIRTY, FILE, MAPPED, SLAB
from reclaim_twins import check_swap_and_counters

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.kernels import trace_log
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import OP_FREE, OP_WRITE, Gfp, Use, ZoneType2005, gfp_from_text
from memsim.schema import Request

BIT = {name: getattr(L, f"PAGE_{name.upper()}") for name in FLAGS}
COSTS = {"swap_read": 60_000, "file_read": 50_000, "swap_write": 80_000, "file_write": 70_000}
RETRY_WAIT = 20_000_000
COUNTERS = (
    "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgactivate",
    "pgdeactivate", "pgrefill", "pgrotated", "pgscan_kswapd", "pgscan_direct", "pgscan_anon",
    "pgscan_file", "pgsteal_kswapd", "pgsteal_direct", "pgsteal_anon", "pgsteal_file",
    "slabs_scanned", "slab_pages_freed", "pageoutrun", "allocstall", "nr_vmscan_write",
    "nr_dirtied", "nr_written", "stall_model_ns", "kswapd_model_ns", "kswapd_wakeups",
)  # fmt: skip
SCAN = (
    ("prev", L.SCAN_PREV_PRIORITY), ("scanned", L.SCAN_PAGES_SCANNED),
    ("dead", L.SCAN_ALL_UNRECLAIMABLE),
)  # fmt: skip
ZONES = (
    (0, 1024, ZoneType2005.DMA, (10, 14, 18), 70),
    (1024, 2048, ZoneType2005.NORMAL, (12, 16, 20), 90),
)
RESERVE = 4
"""Pages of the lower zone that requests for the higher one leave alone."""
HIGHUSER = gfp_from_text("GFP_HIGHUSER")
REQUESTS = {
    "anon": ANON,
    "file": FILE,
    "dirty": DIRTY,
    "mapped": MAPPED,
    "slab": SLAB,
    "kernel": Request(gfp_from_text("GFP_KERNEL"), Use.KERNEL),
    "mlocked": Request(HIGHUSER, Use.ANON, lru=True, mlocked=True),
    "pinned": Request(HIGHUSER, Use.PAGE_CACHE, lru=True, pinned=True),
    "nofs": Request(gfp_from_text("GFP_NOFS"), Use.ANON, lru=True),
}
NAMES = list(REQUESTS)
EVERYTHING = (12, 4, 3, 3, 2, 0.3, 0.3, 0.3, 1)
"""How often a handle is of each kind, as NAMES has them."""
FILES = (0, 6, 6, 3, 1, 0.3, 0, 0.3, 0)
HANDLES = 350


def machine(slots, swappiness, lumpy=False):
    zones = tuple(
        ZoneSetup(
            node=0, zone_type=index, start_pfn=start, end_pfn=end, present=free, managed=free,
            watermark=(*wmark, wmark[2]), pcp_high=0, pcp_batch=1,
            stat_threshold=0, nofragment=False, boost_factor=0, pcp_cold_batch=1,
            lowmem_reserve=tuple(RESERVE * (kind > index) for kind in range(5)),
        )
        for start, end, index, wmark, free in ZONES
    )  # fmt: skip
    pressure = Pressure(
        swappiness=swappiness, swap_slots=slots, lumpy=lumpy,
        swap_read_ns=COSTS["swap_read"], swap_write_ns=COSTS["swap_write"],
        file_read_ns=COSTS["file_read"], file_write_ns=COSTS["file_write"],
    )  # fmt: skip
    setup = MachineSetup(
        zones, (((1, 0), (1, 0)),), (0,), mechanism="linux-2.6.14", pageblock_order=10,
        pressure=pressure,
    )  # fmt: skip
    memory = Memory(setup, BARE)
    for z, (start, _, _, _, free) in enumerate(ZONES):
        memory.free_boot_range(z, start, start + free, 32)
    memory.drain_all()
    memory.add_requests(list(REQUESTS.values()))
    memory.add_handles(HANDLES)
    return memory


class Pair:
    """The kernels and the twin, told the same; the kernels' log says where pages are placed."""

    def __init__(self, slots, swappiness, lumpy=False):
        self.memory = machine(slots, swappiness, lumpy)
        self.memory.keep_log(1 << 14)
        self.twin = NaiveReclaim2614(
            ZONES, slots, {**COSTS, "scan": 50, "reclaim": 500}, swappiness, reserve=RESERVE
        )
        self.twin.lumpy = lumpy
        self.log = []

    def run(self, op, kind, handle, time):
        outcome = self.memory.run(
            np.array([op], np.uint8), np.array([NAMES.index(kind)], np.uint16),
            np.zeros(1, np.uint16), np.array([handle], np.int32), np.array([time], np.int64),
        )  # fmt: skip
        self.log = self.memory.take_log().tolist()
        freed = [row[2] for row in self.log if row[1] == trace_log.LOG_FREE]
        twin, request = self.twin, REQUESTS[kind]
        twin.begin(time)
        if op & OP_FREE:
            twin.release(handle)
        elif isinstance(twin.table.get(handle), Page):
            twin.touch(handle, op & OP_WRITE, request.mapped or request.use == Use.ANON)
        else:
            self.fault(request, handle, op & OP_WRITE)
        assert freed == twin.freed
        twin.freed = []
        self.compare()
        return len(outcome.pfn) > 0

    def fault(self, request, handle, write):
        twin = self.twin
        entry = twin.table.get(handle)
        slot = entry if entry not in (None, "gone") else None
        if slot is not None:
            self.read_ahead(request, slot, slot)
        pfn = self.alloc(request)
        if pfn is None:
            return
        flags = first_flags(request)
        page = twin.place(pfn, handle, flags, request.lru)
        if entry is not None:
            twin.fill(page, entry, "mapped" in flags)
        if "dirty" in flags:
            twin.balance_dirty()
        elif write:
            twin.write_to(page)
        if slot is not None:
            self.read_ahead(request, slot, slot // 4 * 4 + 4)

    def read_ahead(self, request, slot, end):
        twin = self.twin
        for other in range(slot // 4 * 4, min(end, len(twin.slots))):
            owner = twin.slots[other]
            if owner is None:
                return
            if other != slot and not isinstance(twin.table[owner], Page):
                pfn = self.alloc(request)
                if pfn is None:
                    return
                flags = first_flags(request) - {"mapped", "young"}
                twin.read(twin.place(pfn, owner, flags, request.lru), other)

    def alloc(self, request):
        """Follow one request through the log; return the page that it got."""
        fs, io = request.gfp & Gfp.FS, request.gfp & Gfp.IO
        while self.log:
            _, kind, what, a, *_ = self.log.pop(0)
            if kind == trace_log.LOG_ZONE_LOCKED:
                return what
            if kind != trace_log.LOG_STEP:
                continue
            if what == trace_log.STEP_WAKE:
                self.twin.wake()
            elif what == trace_log.STEP_RECLAIM:
                assert self.twin.direct_reclaim(fs, io) == a
            elif what == trace_log.STEP_RETRY:
                self.twin.wait(RETRY_WAIT)
            elif what == trace_log.STEP_OOM:
                self.twin.stall(TICK)
            elif what == trace_log.STEP_FAIL:
                return None
        return None

    def compare(self):
        memory, twin = self.memory, self.twin
        state = memory.mem.state[: memory.nr_pages]
        assert np.flatnonzero(state & L.PAGE_ALLOCATED).tolist() == sorted(twin.pages)
        for pfn, page in twin.pages.items():
            assert {n for n in FLAGS if state[pfn] & BIT[n]} == page.flags(), hex(pfn)
            assert not page.swapcache or memory.mem.swap_slot[pfn] == page.slot
        kinds = (("active", L.LRU_ACTIVE_FILE), ("inactive", L.LRU_INACTIVE_FILE))
        for z in range(len(ZONES)):
            for name, kind in (*kinds, ("slab", L.LRU_SLAB)):
                listed = [page.pfn for page in twin.lists[z, name]]
                assert memory.lru_list(z, kind).tolist() == listed, (z, name)
            for name, field in SCAN:
                assert memory.zone_field(z, L.Z_SCAN + field) == getattr(twin.scan[z], name), name
        check_swap_and_counters(memory, twin, COUNTERS)
        due = int(memory.mem.nodes[S.N_KSWAPD_DUE])
        assert due == (S.FOREVER if twin.kswapd_due == NEVER else twin.kswapd_due)


def first_flags(request):
    flags = {"pinned"} if request.pinned else set()
    if request.use == Use.DENTRY:
        return flags | {"slab"}
    if not request.lru:
        return flags
    flags |= {"unevictable"} if request.mlocked else set()
    if request.use == Use.ANON:
        return flags | {"anon", "mapped", "young", "active"}
    flags |= {"dirty"} if request.gfp & Gfp.WRITE else set()
    return flags | ({"mapped", "young"} if request.mapped else {"referenced"})
