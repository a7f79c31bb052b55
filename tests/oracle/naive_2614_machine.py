"""A whole machine of 2.6.14: boot, hot and cold lists, watermarks, the zonelist walk.

Spec linux-2.6.14 1.2, 1.3, 2.2, 3.2, 4 and 5 steps 1 to 5; answers ``backend_2005.Machine``.
Reclaim is absent: a request that would reclaim is told so.
"""

from oracle.naive_2614_zone import ZONES, new_seen

from memsim.mm import Status, Wmark, ZoneType2005

NUMA_COUNTERS = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")


class HotCold:
    """The per-CPU lists of one zone and CPU: (cold, which) to pfns, head first."""

    def __init__(self, zone, spec):
        self.zone = zone
        self.lists = {(cold, which): [] for cold in (False, True) for which in (0, 1)}
        self.low = {False: spec.low, True: 0}
        divisor = zone.pcp_high_divisor
        self.high = {False: spec.high // divisor, True: spec.cold_high // divisor}
        self.chunk = {False: max(1, spec.batch), True: max(1, spec.cold_batch)}

    def alloc(self, kind, cold):
        pages = self.lists[cold, self.zone.which_pcp(kind)]
        if len(pages) <= self.low[cold]:
            self.refill(pages, kind, self.chunk[cold])
        if pages:
            return pages.pop(0)
        return self.zone.take(0, kind)

    def refill(self, pages, kind, chunk):
        taken = 0
        while taken < chunk and (pfn := self.zone.take(0, kind)) is not None:
            pages.append(pfn)
            taken += 1
        how = "in full" if taken == chunk else "in part" if taken else "with nothing"
        self.zone.seen[f"refill {how}"] += 1
        self.zone.counts["pcp_refills"] += taken > 0

    def free(self, pfn, cold):
        pages = self.lists[cold, self.zone.which_pcp(self.zone.type_to_free(pfn))]
        pages.insert(0, pfn)
        if len(pages) >= self.high[cold]:
            self.zone.seen["cold drain" if cold else "hot drain"] += 1
            self.drain(pages, self.chunk[cold])

    def drain(self, pages, count):
        for _ in range(min(count, len(pages))):
            self.zone.free_block(pages.pop(), 0)
            self.zone.counts["pcp_drained_blocks"] += 1


class NaiveMachine2614:
    pcp_class = HotCold

    def __init__(self, spec):
        self.spec = spec
        self.seen = new_seen()
        self.zones = [self.zone_class()(zone, spec, self.seen) for zone in spec.zones]
        self.pcp = [
            [self.pcp_class(zone, s) for _ in spec.cpu_nid]
            for zone, s in zip(self.zones, spec.zones, strict=True)
        ]
        self.kswapd_wakeups = 0
        self.numa_counts = [dict.fromkeys(NUMA_COUNTERS, 0) for _ in spec.zones]
        for z, zone in enumerate(spec.zones):
            if zone.reserved is not None:
                self.boot(z, zone)

    def zone_class(self):
        return ZONES[self.spec.policy]

    # 3.2

    def boot(self, z, zone):
        reserved = {pfn for start, end in zone.reserved for pfn in range(start, end)}
        word = self.spec.word_order
        whole_words = zone.index != ZoneType2005.HIGHMEM
        for first in range(zone.start >> word << word, zone.end, 1 << word):
            pages = range(first, first + (1 << word))
            free = [p for p in pages if zone.start <= p < zone.end and p not in reserved]
            if whole_words and len(free) == len(pages):
                self.zones[z].free_block(first, word)
            else:
                for pfn in free:
                    self.pcp[z][0].free(pfn, cold=False)

    # 5, steps 1 to 6

    def alloc(self, cpu, request):
        zonelist = self.zonelist(request)
        found = None
        if zonelist and request.order <= self.spec.max_page_order:
            found = self.walk(cpu, request, zonelist, Wmark.LOW, harder=False, high=False)
            if found is None:
                self.seen["slow path"] += 1
                self.kswapd_wakeups += self.wakeup_kswapd(zonelist, request.order)
                harder = not request.wait
                found = self.walk(cpu, request, zonelist, Wmark.MIN, harder, request.high)
            if found is None and request.memalloc:
                if not request.nomemalloc:
                    self.seen["walk without watermarks"] += 1
                    found = self.walk(cpu, request, zonelist, None, harder=False, high=False)
            elif found is None and request.wait:
                self.seen["NEEDS_RECLAIM"] += 1
                return Status.NEEDS_RECLAIM, -1
        if found is None:
            self.seen["NOPAGE"] += 1
            return Status.NOPAGE, -1
        z, pfn = found
        self.count_numa(cpu, z, zonelist[0])
        return Status.OK, pfn

    def wakeup_kswapd(self, zonelist, order):
        """6.7: count the zones below their low mark; nothing is kept from the lowest class zone."""
        lowest = ZoneType2005.DMA
        zones = [self.zones[z] for z in zonelist]
        return sum(
            not watermark_ok(zone, order, zone.wmark[Wmark.LOW], lowest, harder=False, high=False)
            for zone in zones
        )

    def zonelist(self, request):
        """The zones to walk, 1.2 and linux-mm 10.5; the first is the class zone."""
        highest = {
            "dma": ZoneType2005.DMA,
            "dma32": ZoneType2005.DMA32,
            "normal": ZoneType2005.NORMAL,
            "highmem": ZoneType2005.HIGHMEM,
        }[request.zone]
        if request.zone == "highmem" and request.kind == "user":
            highest = ZoneType2005.EASYRCLM
        nid = request.nid
        return [
            z
            for z in self.spec.zonelists[nid]
            if self.zones[z].index <= highest
            and (not request.thisnode or self.zones[z].nid == nid)
            and (request.nodemask is None or self.zones[z].nid in request.nodemask)
        ]

    def walk(self, cpu, request, zonelist, wmark, harder, high):
        """Return (zone, pfn) or None."""
        class_zone = self.zones[zonelist[0]].index
        for z in zonelist:
            zone = self.zones[z]
            if wmark is not None and not watermark_ok(
                zone, request.order, zone.wmark[wmark], class_zone, harder, high
            ):
                continue
            kind = zone.request_type(request)
            if request.order == 0:
                pfn = self.pcp[z][cpu].alloc(kind, request.cold)
            else:
                pfn = zone.take(request.order, kind)
            if pfn is not None:
                self.seen["lower zone"] += z != zonelist[0]
                return z, pfn
            self.seen["zone with nothing to take"] += 1
        return None

    def count_numa(self, cpu, z, preferred):
        nid = self.zones[z].nid
        if nid == self.zones[preferred].nid:
            self.numa_counts[z]["numa_hit"] += 1
        else:
            self.numa_counts[z]["numa_miss"] += 1
            self.numa_counts[preferred]["numa_foreign"] += 1
        local = nid == self.spec.cpu_nid[cpu]
        self.numa_counts[z]["numa_local" if local else "numa_other"] += 1

    # 4.4

    def free(self, cpu, pfn, order, cold=False):
        z = next(z for z, zone in enumerate(self.zones) if zone.start <= pfn < zone.end)
        if order == 0:
            self.pcp[z][cpu].free(pfn, cold)
        else:
            self.zones[z].free_block(pfn, order)

    def drain_all(self, cpu):
        """4.6, what suspend does: hot before cold, each list from its tail."""
        for lists in self.pcp:
            for pcp in lists:
                for pages in pcp.lists.values():
                    pcp.drain(pages, len(pages))

    # What can be seen from outside

    def free_list(self, zone, order, kind):
        return list(self.zones[zone].lists[order, kind])

    def nr_free(self, zone, order):
        return self.zones[zone].nr_free(order)

    def nr_free_pages(self, zone):
        return self.zones[zone].free_pages

    def pcp_list(self, zone, cpu, cold, which):
        return list(self.pcp[zone][cpu].lists[cold, which])

    def pageblock_type(self, pfn):
        return next(z.type_of(pfn) for z in self.zones if z.start <= pfn < z.end)

    def freed_to(self, pfn):
        zone = next(zone for zone in self.zones if zone.start <= pfn < zone.end)
        return zone.type_to_free(pfn)

    def reserve(self, zone):
        return self.zones[zone].reserve()

    def numa(self, zone):
        return dict(self.numa_counts[zone])

    def counts(self, zone):
        return dict(self.zones[zone].counts)


def watermark_ok(zone, order, mark, class_zone, harder, high):
    """2.2."""
    free = zone.free_pages - (1 << order) + 1
    if high:
        mark -= mark // 2
    if harder:
        mark -= mark // 4
    if free <= mark + zone.lowmem_reserve[class_zone]:
        return False
    for o in range(order):
        free -= zone.nr_free(o) << o
        mark //= 2
        if free <= mark:
            zone.seen["too little in large blocks"] += 1
            return False
    return True
