"""memsim's kernels behind the interface of ``backend.Machine``."""

from __future__ import annotations

import numpy as np

from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import OP_FREE, Gfp, Migratetype, Status, Use, ZoneType
from memsim.policies import LINUX_6_1, mobility, none
from memsim.schema import Request

CAPACITY = 1 << 16
KINDS = {
    trace_log.LOG_ZONE_LOCKED: "zone_locked",
    trace_log.LOG_PCPU_DRAIN: "drain",
    trace_log.LOG_EXTFRAG: "extfrag",
}


def _zone(spec, zone):
    nodes = {z.nid for z in spec.zones}
    dma32 = any(z.nid == zone.nid and z.index == ZoneType.DMA32 for z in spec.zones)
    return ZoneSetup(
        node=zone.nid,
        zone_type=ZoneType(zone.index),
        start_pfn=zone.start,
        end_pfn=zone.end,
        present=zone.end - zone.start,
        managed=zone.managed or zone.end - zone.start,
        watermark=(*zone.wmark, zone.wmark[2]),
        lowmem_reserve=zone.lowmem_reserve,
        pcp_high=zone.pcp_high,
        pcp_batch=zone.pcp_batch,
        stat_threshold=zone.stat_threshold,
        nofragment=zone.index == ZoneType.NORMAL and (len(nodes) == 1 or dma32),
        boost_factor=spec.watermark_boost_factor,
    )


def _gfp(request):
    pairs = (
        (request.migratetype == Migratetype.MOVABLE, Gfp.MOVABLE),
        (request.migratetype == Migratetype.RECLAIMABLE, Gfp.RECLAIMABLE),
        (request.highest_zoneidx == ZoneType.MOVABLE, Gfp.HIGHMEM),
        (request.highest_zoneidx == ZoneType.DMA32, Gfp.DMA32),
        (request.highest_zoneidx == ZoneType.DMA, Gfp.DMA),
        (request.direct_reclaim, Gfp.DIRECT_RECLAIM),
        (request.kswapd, Gfp.KSWAPD_RECLAIM),
        (request.high, Gfp.HIGH),
        (request.atomic, Gfp.ATOMIC),
        (request.nomemalloc, Gfp.NOMEMALLOC),
        (request.memalloc, Gfp.MEMALLOC),
        (request.thisnode, Gfp.THISNODE),
    )
    return sum((flag for given, flag in pairs if given), Gfp.NONE)


class KernelMachine:
    def __init__(self, spec):
        self.spec = spec
        policy = mobility.Policy(cma=spec.cma) if spec.grouping else none.Policy()
        nodes = range(max(*spec.zonelists, *spec.cpu_nid, 0) + 1)
        lists = {
            nid: (zones, tuple(z for z in zones if spec.zones[z].nid == nid))
            for nid, zones in spec.zonelists.items()
        }
        setup = MachineSetup(
            zones=tuple(_zone(spec, zone) for zone in spec.zones),
            zonelists=tuple(lists.get(nid, ((), ())) for nid in nodes),
            cpu_node=spec.cpu_nid,
        )
        self.memory = Memory(setup, policy.tables(LINUX_6_1))
        for block, kind in spec.pageblocks.items():
            self.memory.mem.pageblocks[block] = kind
        for z, zone in enumerate(spec.zones):
            for pfn, order, kind in zone.free:
                self.memory.place_free(z, order, kind, np.array([pfn], np.int32))
            self.memory.add_zone_field(z, L.Z_NR_RESERVED_HIGHATOMIC, zone.nr_reserved_highatomic)
        self.memory.add_handles(CAPACITY)
        self.memory.keep_log(1 << 12)
        self.classes = {}
        self.handles = {}
        self.next_handle = 0

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
        known = Request(
            _gfp(request), Use.KERNEL, nodes, request.nid, cma=request.cma, lru=request.lru
        )
        if known not in self.classes:
            self.classes[known] = self.memory.add_requests([known])
        handle, self.next_handle = self.next_handle, self.next_handle + 1
        status, pfn = self._run(cpu, request.order, self.classes[known], handle)
        if status == Status.OK:
            self.handles[pfn] = handle
        return status, pfn

    def free(self, cpu, pfn, order):
        status, freed = self._run(cpu, OP_FREE | order, 0, self.handles.pop(pfn))
        assert (status, freed) == (Status.FREED, pfn)

    def drain_all(self, cpu):
        self.memory.drain_all(cpu)

    def events(self):
        events = []
        for _, kind, pfn, order, mt, *rest in self.memory.take_log().tolist():
            if kind == trace_log.LOG_ZONE_LOCKED:
                events.append((KINDS[kind], pfn, order, mt, rest[0]))
            elif kind == trace_log.LOG_PCPU_DRAIN:
                events.append((KINDS[kind], pfn, order, mt))
            elif kind == trace_log.LOG_EXTFRAG:
                fallback_order, fallback_mt, owns = rest
                events.append((KINDS[kind], pfn, order, fallback_order, mt, fallback_mt, owns))
        return events

    def free_list(self, zone, order, mt):
        return self.memory.free_list(zone, order, mt).tolist()

    def nr_free(self, zone, order):
        return self.memory.zone_field(zone, L.Z_NR_FREE + order)

    def nr_free_pages(self, zone):
        return self.memory.nr_free_pages(zone)

    def nr_free_cma(self, zone):
        return self.memory.nr_free_cma(zone)

    def counter(self, zone):
        cpus = range(len(self.spec.cpu_nid))
        deltas = [self.memory.pcp_field(zone, cpu, L.P_STAT_DIFF) for cpu in cpus]
        return self.memory.zone_field(zone, L.Z_NR_FREE_PAGES), deltas

    def pcp_list(self, zone, cpu, pindex):
        return self.memory.pcp_list(zone, cpu, pindex).tolist()

    def pcp_count(self, zone, cpu):
        return self.memory.pcp_field(zone, cpu, L.P_COUNT)

    def free_factor(self, zone, cpu):
        return self.memory.pcp_field(zone, cpu, L.P_FREE_FACTOR)

    def boost(self, zone):
        return self.memory.zone_field(zone, L.Z_BOOST)

    def wmark_pages(self, zone, wmark):
        return self.memory.zone_field(zone, L.Z_WMARK + wmark) + self.boost(zone)

    def reserved_highatomic(self, zone):
        return self.memory.zone_field(zone, L.Z_NR_RESERVED_HIGHATOMIC)

    def pageblock_type(self, pfn):
        return int(self.memory.mem.pageblocks[pfn >> 9])

    def vmstat(self):
        counters = self.memory.vmstat()
        pgalloc = sum(v for name, v in counters.items() if name.startswith("pgalloc_"))
        return {"pgalloc": pgalloc, "pgfree": counters["pgfree"]}

    def numa(self, zone):
        return dict(self.memory.zone_vmstat()[zone])

    def kswapd_wakes(self):
        return self.memory.vmstat()["kswapd_wakeups"]
