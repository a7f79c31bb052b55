"""Two-node machines of 2005 whose pages are migrated, with what holds them back."""

import numpy as np

from memsim.memory import Memory
from memsim.memory.migrating_2005 import migrate
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, Use, ZoneType2005, gfp_from_text
from memsim.policies import Kernel, none
from memsim.schema import Request

BARE = none.Policy().tables(Kernel("linux-2.6.14", 10, 10))
HIGHUSER = gfp_from_text("GFP_HIGHUSER")
ANON = Request(HIGHUSER, Use.ANON, lru=True)
FILE = Request(HIGHUSER, Use.PAGE_CACHE, lru=True)
MAPPED = Request(HIGHUSER, Use.PAGE_CACHE, lru=True, mapped=True)
DIRTY = Request(gfp_from_text("GFP_HIGHUSER|__GFP_WRITE"), Use.PAGE_CACHE, lru=True)
MLOCKED = Request(HIGHUSER, Use.ANON, lru=True, mlocked=True)
KERNEL = Request(gfp_from_text("GFP_KERNEL"), Use.KERNEL)
PAGES = 1024


BARE_LISTS = {"pcp_high": 0, "pcp_batch": 1, "pcp_cold_batch": 1}
FULL_LISTS = {
    "pcp_high": 42,
    "pcp_batch": 7,
    "pcp_low": 14,
    "pcp_cold_high": 14,
    "pcp_cold_batch": 7,
}


def zone(node, marks=(0, 0, 0), lists=BARE_LISTS):
    return ZoneSetup(
        node=node, zone_type=ZoneType2005.NORMAL, start_pfn=node * PAGES,
        end_pfn=(node + 1) * PAGES, present=PAGES, managed=PAGES, watermark=(*marks, marks[2]),
        lowmem_reserve=(0,) * 5, stat_threshold=0, nofragment=False, boost_factor=0, **lists,
    )  # fmt: skip


class TwoNodes:
    """A CPU on each node; pages are allocated on node 0 unless told otherwise."""

    def __init__(self, slots=512, nodes=2, marks=(0, 0, 0), lists=BARE_LISTS, **pressure):
        order = [tuple(sorted(range(nodes), key=lambda n: (n != node, n))) for node in range(nodes)]
        setup = MachineSetup(
            tuple(zone(node, marks, lists) for node in range(nodes)),
            tuple((order[node], (node,)) for node in range(nodes)),
            tuple(range(nodes)),
            mechanism="linux-2.6.14",
            pageblock_order=10,
            pressure=Pressure(swap_slots=slots, **pressure),
        )
        self.memory = Memory(setup, BARE)
        for node in range(nodes):
            self.memory.free_boot_range(node, node * PAGES, (node + 1) * PAGES, 32)
        self.memory.drain_all()
        self.rows = {}
        self.handles = 0
        self.memory.add_handles(1 << 13)

    def run(self, op, request, handles, cpu=0, time=None):
        if request not in self.rows:
            self.rows[request] = self.memory.add_requests([request])
        n = len(handles)
        at = self.memory.now if time is None else time
        return self.memory.run(
            np.full(n, op, np.uint8), np.full(n, self.rows[request], np.uint16),
            np.full(n, cpu, np.uint16), np.array(handles, np.int32), np.full(n, at, np.int64),
        )  # fmt: skip

    def take(self, request=ANON, n=1, cpu=0, traits=0):
        """Allocate pages; return their handles."""
        handles = np.arange(self.handles, self.handles + n, dtype=np.int32)
        self.handles += n
        assert (self.run(0, request, handles, cpu).pfn >= 0).all()
        self.memory.mem.traits[handles] = traits
        return handles

    def touch(self, handle, request=ANON, write=False, cpu=0):
        return self.run(OP_TOUCH | (OP_WRITE if write else 0), request, [handle], cpu)

    def free(self, handle):
        return self.run(OP_FREE, ANON, [handle])

    def migrate(self, handles, to=1, **options):
        outcome = migrate(self.memory, np.asarray(handles, np.int32), to, **options)
        self.memory.check()
        return outcome

    def pfn(self, handle):
        return int(self.memory.page_table[handle]) - 1

    def node(self, handle):
        return self.pfn(handle) // PAGES

    def state(self, handle):
        return int(self.memory.mem.state[self.pfn(handle)])

    def set_state(self, handle, bits):
        self.memory.mem.state[self.pfn(handle)] |= bits

    def fill(self, node, leave=0):
        """Let the kernel take all free pages of a node but some."""
        return self.take(KERNEL, self.memory.nr_free_pages(node) - leave, cpu=node)

    def free_slots(self):
        return int(np.count_nonzero(self.memory.mem.swap_map == 0))
