"""memsim's kernels of 2005 behind the interface of ``backend_2005.Machine``."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from memsim.kernels import layout as L
from memsim.kernels import vmstat
from memsim.kernels.placement import OPT_PAGE_FLAG
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import OP_COLD, OP_FREE, Gfp, Status, Use, ZoneType2005
from memsim.policies import Kernel, full, light, mobility, none
from memsim.schema import Request

CAPACITY = 1 << 18
FALLBACK = 3
POLICIES = {
    "none": none.Policy(),
    "disabled": light.Policy(enabled=False),
    "usemap": light.Policy(variant="usemap"),
    "page_flag": light.Policy(variant="page_flag"),
    "full": full.Policy(),
    "grouped": mobility.Policy(),
}
USES = {"kernel": Use.KERNEL, "user": Use.ANON, "reclaimable": Use.DENTRY}
MOBILITY = {"kernel": Gfp.NONE, "user": Gfp.MOVABLE, "reclaimable": Gfp.RECLAIMABLE}
ZONE_BITS = {"dma": Gfp.DMA, "dma32": Gfp.DMA32, "normal": Gfp.NONE, "highmem": Gfp.HIGHMEM}
COUNTS = {
    "extfrag_events": L.Z_VMSTAT + vmstat.EXTFRAG_EVENTS,
    "pageblocks_claimed": L.Z_VMSTAT + vmstat.PAGEBLOCKS_CLAIMED,
    "pcp_refills": L.Z_VMSTAT + vmstat.PCP_REFILLS,
    "pcp_drained_blocks": L.Z_VMSTAT + vmstat.PCP_DRAINED_BLOCKS,
}


def _zone(zone):
    return ZoneSetup(
        node=zone.nid,
        zone_type=ZoneType2005(zone.index),
        start_pfn=zone.start,
        end_pfn=zone.end,
        present=zone.end - zone.start,
        managed=zone.end - zone.start,
        watermark=(*zone.wmark, zone.wmark[2]),
        lowmem_reserve=zone.lowmem_reserve,
        pcp_high=zone.high,
        pcp_batch=zone.batch,
        pcp_low=zone.low,
        pcp_cold_high=zone.cold_high,
        pcp_cold_batch=zone.cold_batch,
        stat_threshold=0,
        nofragment=False,
    )


def _gfp(request):
    pairs = (
        (request.cold, Gfp.COLD),
        (request.wait, Gfp.DIRECT_RECLAIM),
        (request.high, Gfp.HIGH),
        (request.nomemalloc, Gfp.NOMEMALLOC),
        (request.memalloc, Gfp.MEMALLOC),
        (request.thisnode, Gfp.THISNODE),
    )
    bits = ZONE_BITS[request.zone] | MOBILITY[request.kind]
    return bits | sum((flag for given, flag in pairs if given), Gfp.NONE)


class KernelMachine2614:
    def __init__(self, spec):
        top = spec.max_page_order
        lists = {
            nid: (zones, tuple(z for z in zones if spec.zones[z].nid == nid))
            for nid, zones in spec.zonelists.items()
        }
        setup = MachineSetup(
            zones=tuple(_zone(zone) for zone in spec.zones),
            zonelists=tuple(lists.get(nid, ((), ())) for nid in range(max(lists) + 1)),
            cpu_node=spec.cpu_nid,
            mechanism="linux-2.6.14",
            max_page_order=top,
            pageblock_order=top,
        )
        tables = POLICIES[spec.policy].tables(Kernel("linux-2.6.14", top, top))
        self.memory = Memory(setup, tables)
        for block, kind in spec.pageblocks.items():
            self.memory.mem.pageblocks[block] = kind
        for z, zone in enumerate(spec.zones):
            self._start(spec, z, zone)
        self.memory.add_handles(CAPACITY)
        self.classes = {}
        self.handles = {}
        self.next_handle = 0

    def _start(self, spec, z, zone):
        for (order, kind), blocks in groupby(zone.free, lambda block: block[1:]):
            self.memory.place_free(z, order, kind, np.array([b[0] for b in blocks], np.int32))
        if spec.policy == "full":
            size = 1 << spec.max_page_order
            blocks = range(zone.start // size, -(-zone.end // size))
            reserve = sum(spec.pageblocks.get(block) == FALLBACK for block in blocks)
            self.memory.add_zone_field(z, L.Z_NR_RESERVED_HIGHATOMIC, reserve * size)
        if zone.reserved is not None:
            word = 0 if zone.index == ZoneType2005.HIGHMEM else 1 << spec.word_order
            start = zone.start
            for first, last in [*sorted(zone.reserved), (zone.end, zone.end)]:
                if start < first:
                    self.memory.free_boot_range(z, start, first, word)
                start = max(start, last)

    def _run(self, cpu, op, row, handle):
        outcome = self.memory.run(
            np.array([op], np.uint8),
            np.array([row], np.uint16),
            np.array([cpu], np.uint16),
            np.array([handle], np.int32),
        )
        return Status(outcome.status[0]), int(outcome.pfn[0])

    def alloc(self, cpu, request):
        nodes = None if request.nodemask is None else tuple(sorted(request.nodemask))
        known = Request(_gfp(request), USES[request.kind], nodes, request.nid)
        if known not in self.classes:
            self.classes[known] = self.memory.add_requests([known])
        handle, self.next_handle = self.next_handle, self.next_handle + 1
        status, pfn = self._run(cpu, request.order, self.classes[known], handle)
        if status == Status.OK:
            self.handles[pfn] = handle
        return status, pfn

    def free(self, cpu, pfn, order, cold=False):
        op = OP_FREE | order | (OP_COLD if cold else 0)
        status, freed = self._run(cpu, op, 0, self.handles.pop(pfn))
        assert (status, freed) == (Status.FREED, pfn)

    def drain_all(self, cpu):
        self.memory.drain_all(cpu)

    def free_list(self, zone, order, kind):
        return self.memory.free_list(zone, order, kind).tolist()

    def nr_free(self, zone, order):
        return self.memory.zone_field(zone, L.Z_NR_FREE + order)

    def nr_free_pages(self, zone):
        return self.memory.nr_free_pages(zone)

    def pcp_list(self, zone, cpu, cold, which):
        return self.memory.pcp_list(zone, cpu, 2 * cold + which).tolist()

    def pageblock_type(self, pfn):
        return int(self.memory.mem.pageblocks[pfn >> self.memory.setup.pageblock_order])

    def freed_to(self, pfn):
        if self.memory.tables.options[OPT_PAGE_FLAG]:
            return (int(self.memory.mem.state[pfn]) & L.TYPE_MASK) >> L.TYPE_SHIFT
        return self.pageblock_type(pfn)

    def reserve(self, zone):
        return self.memory.zone_field(zone, L.Z_NR_RESERVED_HIGHATOMIC)

    def numa(self, zone):
        return dict(self.memory.zone_vmstat()[zone])

    @property
    def kswapd_wakeups(self):
        return self.memory.vmstat()["kswapd_wakeups"]

    def counts(self, zone):
        return {name: self.memory.zone_field(zone, field) for name, field in COUNTS.items()}
