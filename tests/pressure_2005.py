"""Machines of 2005 and 2007 under pressure, asked one request at a time."""

from __future__ import annotations

import numpy as np

from memsim.kernels import layout as L
from memsim.kernels.swap import lru_add_drain
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, Use, ZoneType2005, gfp_from_text
from memsim.policies import Kernel, mobility, none
from memsim.schema import Request

BLOCK = 1024
GROUPING = mobility.Policy().tables(Kernel("linux-2.6.14", 10, 10))
BARE = none.Policy().tables(Kernel("linux-2.6.14", 10, 10))
ANON = Request(gfp_from_text("GFP_HIGHUSER"), Use.ANON, lru=True)
FILE = Request(gfp_from_text("GFP_HIGHUSER"), Use.PAGE_CACHE, lru=True)
MAPPED = Request(gfp_from_text("GFP_HIGHUSER"), Use.PAGE_CACHE, lru=True, mapped=True)
DIRTY = Request(gfp_from_text("GFP_HIGHUSER|__GFP_WRITE"), Use.PAGE_CACHE, lru=True)
SLAB = Request(gfp_from_text("GFP_KERNEL|__GFP_RECLAIMABLE"), Use.DENTRY)


def zone(start, pages, kind=ZoneType2005.NORMAL, wmark=(16, 20, 24), **fields):
    """A zone whose per-CPU lists keep nothing."""
    return ZoneSetup(
        node=0,
        zone_type=kind,
        start_pfn=start,
        end_pfn=start + pages,
        present=pages,
        managed=pages,
        watermark=(*wmark, wmark[2]),
        lowmem_reserve=(0,) * 5,
        stat_threshold=0,
        nofragment=False,
        boost_factor=0,
        **{"pcp_high": 0, "pcp_batch": 1, "pcp_cold_batch": 1, **fields},
    )


class OldMachine:
    """Zones one above the other; ``free`` are (pfn, order, type) on the lists, None: all booted."""

    def __init__(self, *zones, free=None, tables=BARE, pressure=None):
        order = tuple(reversed(range(len(zones))))
        setup = MachineSetup(
            zones,
            ((order, order),),
            (0,),
            mechanism="linux-2.6.14",
            pageblock_order=10,
            pressure=pressure,
        )
        self.memory = Memory(setup, tables)
        for z, one in enumerate(zones):
            if free is None:
                self.memory.free_boot_range(z, one.start_pfn, one.end_pfn, 32)
            for pfn, k, kind in free or ():
                if one.start_pfn <= pfn < one.end_pfn:
                    self.memory.place_free(z, k, kind, np.array([pfn], np.int32))
        self.memory.add_handles(1 << 15)
        self.handles = 0
        self.rows = {}

    def row(self, request):
        if request not in self.rows:
            self.rows[request] = self.memory.add_requests([request])
        return self.rows[request]

    def run(self, op, row, handles, time=None):
        """Carry out one op on several handles."""
        n = len(handles)
        columns = (np.full(n, op, np.uint8), np.full(n, row, np.uint16), np.zeros(n, np.uint16))
        at = self.memory.now if time is None else time
        times = np.full(n, at, np.int64)
        return self.memory.run(*columns, np.array(handles, np.int32), times)

    def ask(self, request, order=0, n=1):
        """Ask for blocks; return the outcome."""
        self.handles += n
        return self.run(order, self.row(request), range(self.handles - n, self.handles))

    def take(self, gfp="GFP_KERNEL", order=0, use=Use.KERNEL):
        """Ask for a block; return its pfn, -1 if there is none."""
        outcome = self.ask(Request(gfp_from_text(gfp), use), order)
        return int(outcome.pfn[0]) if len(outcome.pfn) else None

    def touch(self, handle, request, write=False, time=None):
        op = OP_TOUCH | (OP_WRITE if write else 0)
        return self.run(op, self.row(request), [handle], time)

    def free(self, handle, order=0):
        return self.run(OP_FREE | order, 0, [handle])

    def scan(self, z, field):
        return self.memory.zone_field(z, L.Z_SCAN + field)

    def set_scan(self, z, field, value):
        self.memory.add_zone_field(z, L.Z_SCAN + field, value - self.scan(z, field))

    def lists(self, z=0):
        """Active and inactive pages, youngest first."""
        kinds = (L.LRU_ACTIVE_FILE, L.LRU_INACTIVE_FILE)
        return tuple(self.memory.lru_list(z, kind).tolist() for kind in kinds)

    def drain_batches(self):
        """Let the pages that wait on CPU 0 enter their lists; needs kernels without the JIT."""
        lru_add_drain(self.memory.mem, 0)

    def state(self, pfn):
        return int(self.memory.mem.state[pfn])

    def count(self, name):
        return self.memory.vmstat()[name]


def pressed(**fields):
    """Pressure of a machine with fast, free daemons."""
    return Pressure(**{"scan_ns": 0, "reclaim_ns": 0, **fields})
