"""The way of a request: flags, zonelist walk, watermark test; spec 5.2 to 5.5.

kswapd and reclaim are absent: waking is counted, and a request that would reclaim is told so.
"""

from oracle.naive_pcp import NaivePcp, has_pcp
from oracle.naive_zone import MERGEABLE, NaiveZone, new_seen

from memsim.mm import MAX_PAGE_ORDER, Status, Wmark, ZoneType
from memsim.mm import Migratetype as Mt


class NaiveAllocator:
    def __init__(self, spec):
        self.spec = spec
        self.seen = new_seen()
        self.log = []
        self.lru = set()
        self.pageblocks = dict(spec.pageblocks)
        self.zones = [
            NaiveZone(zone, spec, self.pageblocks, self.lru, self.log, self.seen)
            for zone in spec.zones
        ]
        self.pcp = [
            [NaivePcp(zone, cpu, s.pcp_high, s.pcp_batch) for cpu in range(len(spec.cpu_nid))]
            for zone, s in zip(self.zones, spec.zones, strict=True)
        ]
        self.wakes = 0

    # 5.2 and 5.5 without reclaim

    def alloc_pages(self, cpu, request, mt):
        """Return (status, preferred zone, zone, pfn)."""
        common = {"kswapd"} if request.kswapd else set()
        if mt == Mt.MOVABLE and request.cma:
            common.add("cma")
        zonelist = self.zonelist(request, request.nodemask)
        if not zonelist:
            self.seen["no zone to walk"] += 1
            return Status.NOPAGE, None, None, -1
        fast = common | ({"nofragment"} if self.nofragment(zonelist[0]) else set())
        found = self.walk(cpu, request, mt, zonelist, Wmark.LOW, fast)
        if found is None:
            self.wakes += request.kswapd
            slow = common | self.slow_flags(request)
            found = self.walk(cpu, request, mt, zonelist, Wmark.MIN, slow)
        memalloc = request.memalloc and not request.nomemalloc
        if found is None and memalloc:
            self.seen["walk without watermarks"] += 1
            zonelist = self.zonelist(request, None)
            found = self.walk(cpu, request, mt, zonelist, Wmark.MIN, common | {"no_watermarks"})
        elif found is None and not request.direct_reclaim:
            # The retry of 5.5 step 4 halves free_factor where it asks a pcp, and where cpusets do
            # not bind (5.2: high, not direct-reclaim) the node mask does not either.
            if request.high and request.nodemask is not None:
                zonelist = self.zonelist(request, None)
                self.seen["walk without the node mask"] += 1
            found = self.walk(cpu, request, mt, zonelist, Wmark.MIN, slow)
        if found is not None:
            return Status.OK, zonelist[0], *found
        if request.direct_reclaim and not memalloc:
            return Status.NEEDS_RECLAIM, None, None, -1
        return Status.NOPAGE, None, None, -1

    def slow_flags(self, request):
        flags = set()
        if request.high:
            flags.add("mr")
        if not request.direct_reclaim and not request.nomemalloc:
            flags.add("nb")
            if request.order > 0 and request.high:
                flags.add("ha")
        return flags

    def nofragment(self, preferred):
        zone = self.zones[preferred]
        if zone.index != ZoneType.NORMAL:
            return False
        one_node = len({other.nid for other in self.zones}) == 1
        dma32 = any(o.nid == zone.nid and o.index == ZoneType.DMA32 for o in self.zones)
        return one_node or dma32

    # 5.4

    def zonelist(self, request, nodemask):
        """The zones to walk, preferred first."""
        return [
            z
            for z in self.spec.zonelists[request.nid]
            if self.zones[z].index <= request.highest_zoneidx
            and (not request.thisnode or self.zones[z].nid == request.nid)
            and (nodemask is None or self.zones[z].nid in nodemask)
        ]

    def walk(self, cpu, request, mt, zonelist, wmark, flags):
        """Return (zone, pfn) or None."""
        local = self.zones[zonelist[0]].nid
        for z in zonelist:
            if "nofragment" in flags and self.zones[z].nid != local:
                self.seen["nofragment dropped at a remote node"] += 1
                return self.walk(cpu, request, mt, zonelist, wmark, flags - {"nofragment"})
            if "no_watermarks" not in flags and not self.watermark_ok(z, request, wmark, flags):
                continue
            pfn = self.rmqueue(cpu, z, request, mt, flags)
            if pfn is not None:
                if "ha" in flags:
                    self.zones[z].reserve_highatomic(pfn)
                return z, pfn
        if "nofragment" in flags:
            self.seen["nofragment dropped at the list's end"] += 1
            return self.walk(cpu, request, mt, zonelist, wmark, flags - {"nofragment"})
        return None

    def rmqueue(self, cpu, z, request, mt, flags):
        zone, order = self.zones[z], request.order
        pfn = None
        if has_pcp(order):
            if self.spec.cma and mt == Mt.MOVABLE and "cma" not in flags:
                self.seen["pcp skipped without cma"] += 1
            else:
                pfn = self.pcp[z][cpu].alloc(order, mt, flags)
        if pfn is None:
            pfn = self.rmqueue_buddy(cpu, zone, order, mt, flags)
        if zone.boosted_flag and "kswapd" in flags:
            zone.boosted_flag = False
            self.wakes += 1
            self.seen["woken by boost"] += 1
        return pfn

    def rmqueue_buddy(self, cpu, zone, order, mt, flags):
        pfn, source = None, Mt.HIGHATOMIC
        if "ha" in flags:
            pfn = zone.take_smallest(order, Mt.HIGHATOMIC)
            self.seen["highatomic first"] += pfn is not None
        if pfn is None:
            found = zone.take(order, mt, flags)
            if found is not None:
                pfn, source = found
            elif "nb" in flags:
                pfn = zone.take_smallest(order, Mt.HIGHATOMIC)
                self.seen["highatomic last"] += pfn is not None
        if pfn is not None:
            zone.book(cpu, -(1 << order), source)
        return pfn

    # 5.3

    def watermark_ok(self, z, request, wmark, flags):
        zone, order = self.zones[z], request.order
        free = zone.nr_free_pages.read()
        mark = self.wmark_pages(z, wmark)
        reserve = zone.lowmem_reserve[request.highest_zoneidx]
        if order == 0 and free - min(free, self.unusable(zone, flags)) > mark + reserve:
            return True
        if self.full_test(zone, order, mark, reserve, flags, free):
            return True
        if order == 0 and request.atomic and zone.boost and wmark == Wmark.MIN:
            unboosted = self.full_test(zone, order, zone.wmark[wmark], reserve, flags, free)
            self.seen["boost ignored by an atomic request"] += unboosted
            return unboosted
        return False

    def unusable(self, zone, flags):
        pages = 0
        if not flags & {"mr", "nb", "ha"}:
            pages += zone.reserved_highatomic
        if "cma" not in flags:
            pages += zone.nr_free_cma.read()
        return pages

    def full_test(self, zone, order, mark, reserve, flags, free):
        free -= (1 << order) - 1
        free -= self.unusable(zone, flags)
        low = mark
        if "mr" in flags:
            low -= low // 2
            if "nb" in flags:
                low -= low // 4
        if free <= low + reserve:
            return False
        if order == 0:
            return True
        types = list(MERGEABLE)
        if "cma" in flags:
            types.append(Mt.CMA)
        if "ha" in flags:
            types.append(Mt.HIGHATOMIC)
        return any(zone.lists[c, t] for c in range(order, MAX_PAGE_ORDER + 1) for t in types)
