"""The whole machine: allocate, free, drain, NUMA and LRU; answers ``backend.Machine``."""

from oracle.naive_alloc import NaiveAllocator
from oracle.naive_pcp import has_pcp

from memsim.mm import LRU_BATCH, Status
from memsim.mm import Migratetype as Mt

NUMA_COUNTERS = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")


class NaiveMachine(NaiveAllocator):
    def __init__(self, spec):
        super().__init__(spec)
        self.lru_batch = [[] for _ in spec.cpu_nid]  # per CPU: (pfn, order) not yet on the LRU
        self.pgalloc = self.pgfree = 0
        self.numa_counts = [dict.fromkeys(NUMA_COUNTERS, 0) for _ in spec.zones]

    def alloc(self, cpu, request):
        mt = request.migratetype if self.spec.grouping else Mt.UNMOVABLE
        status, preferred, z, pfn = self.alloc_pages(cpu, request, mt)
        if status == Status.OK:
            self.pgalloc += 1 << request.order
            self.count_numa(cpu, z, preferred)
            if request.lru:
                self.lru_add(cpu, pfn, request.order)
        else:
            self.seen[status.name] += 1
        return status, pfn

    def free(self, cpu, pfn, order):
        self.lru_remove(pfn, order)
        self.pgfree += 1 << order
        z = next(z for z, zone in enumerate(self.zones) if zone.start <= pfn < zone.end)
        if has_pcp(order):
            self.pcp[z][cpu].free(pfn, order)
        else:
            zone = self.zones[z]
            zone.free_block(cpu, pfn, order, zone.type_of(pfn))

    def drain_all(self, cpu):
        for owner in range(len(self.spec.cpu_nid)):
            for z in range(len(self.zones)):
                self.pcp[z][owner].drain(cpu)

    # 5.7, and the LRU as far as stealing asks for it (3.5 step 5)

    def count_numa(self, cpu, z, preferred):
        nid = self.zones[z].nid
        if nid == self.zones[preferred].nid:
            self.numa_counts[z]["numa_hit"] += 1
        else:
            self.numa_counts[z]["numa_miss"] += 1
            self.numa_counts[preferred]["numa_foreign"] += 1
        local = nid == self.spec.cpu_nid[cpu]
        self.numa_counts[z]["numa_local" if local else "numa_other"] += 1

    def lru_add(self, cpu, pfn, order):
        self.lru_batch[cpu].append((pfn, order))
        if order > 0 or len(self.lru_batch[cpu]) == LRU_BATCH:
            self.lru_drain(cpu)

    def lru_drain(self, cpu):
        for pfn, order in self.lru_batch[cpu]:
            self.lru.update(range(pfn, pfn + (1 << order)))
        self.lru_batch[cpu].clear()

    def lru_remove(self, pfn, order):
        for cpu, batch in enumerate(self.lru_batch):
            if (pfn, order) in batch:
                self.seen["freed while in an LRU batch"] += 1
                self.lru_drain(cpu)
        self.lru.difference_update(range(pfn, pfn + (1 << order)))

    # What can be seen from outside

    def events(self):
        events = self.log[:]
        self.log.clear()
        return events

    def free_list(self, zone, order, mt):
        return list(self.zones[zone].lists[order, mt])

    def nr_free(self, zone, order):
        return self.zones[zone].nr_free(order)

    def nr_free_pages(self, zone):
        return self.zones[zone].nr_free_pages.exact()

    def nr_free_cma(self, zone):
        return self.zones[zone].nr_free_cma.exact()

    def counter(self, zone):
        counter = self.zones[zone].nr_free_pages
        return counter.total, list(counter.delta)

    def pcp_list(self, zone, cpu, pindex):
        return [pfn for pfn, _ in self.pcp[zone][cpu].lists[pindex]]

    def pcp_count(self, zone, cpu):
        return self.pcp[zone][cpu].count

    def free_factor(self, zone, cpu):
        return self.pcp[zone][cpu].free_factor

    def boost(self, zone):
        return self.zones[zone].boost

    def wmark_pages(self, zone, wmark):
        return self.zones[zone].wmark[wmark] + self.zones[zone].boost

    def reserved_highatomic(self, zone):
        return self.zones[zone].reserved_highatomic

    def pageblock_type(self, pfn):
        return int(self.zones[0].type_of(pfn))

    def vmstat(self):
        return {"pgalloc": self.pgalloc, "pgfree": self.pgfree}

    def numa(self, zone):
        return dict(self.numa_counts[zone])

    def kswapd_wakes(self):
        return self.wakes
