"""One zone of Linux 6.1 in lists and dicts: buddy, fallback, stealing, boost, HighAtomic, CMA.

Spec sections 2 and 3. Written to be read beside the spec, not to be fast.

Events in the log, in the order they happen:
``("zone_locked", pfn, order, migratetype, percpu_refill)``, ``("drain", pfn, order, migratetype)``,
``("extfrag", pfn, alloc_order, fallback_order, alloc_mt, fallback_mt, change_ownership)``.
"""

from collections import Counter

from memsim.mm import MAX_PAGE_ORDER, MIGRATE_TYPES, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER
from memsim.mm import Migratetype as Mt

ORDERS = range(MAX_PAGE_ORDER + 1)
MERGEABLE = (Mt.UNMOVABLE, Mt.MOVABLE, Mt.RECLAIMABLE)
FALLBACKS = {
    Mt.UNMOVABLE: (Mt.RECLAIMABLE, Mt.MOVABLE),
    Mt.MOVABLE: (Mt.RECLAIMABLE, Mt.UNMOVABLE),
    Mt.RECLAIMABLE: (Mt.UNMOVABLE, Mt.MOVABLE),
}
PCP_ORDERS = (0, 1, 2, 3, PAGEBLOCK_ORDER)


class LaggingCounter:
    """A zone counter of which every CPU holds back a part (5.3 step 0)."""

    def __init__(self, value, cpus, threshold):
        self.total = value
        self.delta = [0] * cpus
        self.threshold = threshold

    def add(self, cpu, change):
        x = self.delta[cpu] + change
        if abs(x) > self.threshold:
            self.total += x
            x = 0
        self.delta[cpu] = x

    def read(self):
        return max(0, self.total)

    def exact(self):
        return self.total + sum(self.delta)


class NaiveZone:
    def __init__(self, zone, machine, pageblocks, lru, log, seen):
        self.start, self.end, self.nid, self.index = zone.start, zone.end, zone.nid, zone.index
        self.managed = zone.managed or zone.end - zone.start
        self.wmark = zone.wmark
        self.lowmem_reserve = zone.lowmem_reserve
        self.boost_factor = machine.watermark_boost_factor
        self.grouping, self.cma = machine.grouping, machine.cma
        self.pageblocks, self.lru, self.log, self.seen = pageblocks, lru, log, seen
        self.lists = {(k, t): [] for k in ORDERS for t in range(MIGRATE_TYPES)}
        self.block = {}  # first pfn of a free block -> (order, list type)
        for pfn, order, mt in zone.free:
            self.put(pfn, order, mt, tail=True)
        free = sum(1 << k for k, t in self.block.values() if t != Mt.ISOLATE)
        free_cma = sum(1 << k for k, t in self.block.values() if t == Mt.CMA)
        cpus = len(machine.cpu_nid)
        self.nr_free_pages = LaggingCounter(free, cpus, zone.stat_threshold)
        self.nr_free_cma = LaggingCounter(free_cma, cpus, zone.stat_threshold)
        self.boost = 0
        self.boosted_flag = False
        self.reserved_highatomic = zone.nr_reserved_highatomic

    # Lists and pageblock types

    def put(self, pfn, order, mt, tail):
        self.block[pfn] = (order, mt)
        if tail:
            self.lists[order, mt].append(pfn)
        else:
            self.lists[order, mt].insert(0, pfn)

    def remove(self, pfn):
        order, mt = self.block.pop(pfn)
        self.lists[order, mt].remove(pfn)
        return order

    def move_to_tail(self, pfn, mt):
        self.put(pfn, self.remove(pfn), mt, tail=True)

    def nr_free(self, order):
        return sum(len(self.lists[order, t]) for t in range(MIGRATE_TYPES))

    def is_free(self, pfn, order):
        return pfn in self.block and self.block[pfn][0] == order

    def type_of(self, pfn):
        return self.pageblocks.get(pfn >> PAGEBLOCK_ORDER, Mt.MOVABLE)

    def set_type(self, pfn, mt):
        if not self.grouping and mt in MERGEABLE:
            mt = Mt.UNMOVABLE
        self.pageblocks[pfn >> PAGEBLOCK_ORDER] = mt

    def has_isolated(self):
        blocks = range(self.start >> PAGEBLOCK_ORDER, (self.end - 1 >> PAGEBLOCK_ORDER) + 1)
        return any(self.pageblocks.get(block) == Mt.ISOLATE for block in blocks)

    def book(self, cpu, change, mt):
        if mt != Mt.ISOLATE:
            self.nr_free_pages.add(cpu, change)
        if mt == Mt.CMA:
            self.nr_free_cma.add(cpu, change)

    # 2.2 and 2.3

    def take_smallest(self, order, mt):
        """Return a pfn or None; the caller books the counters."""
        for c in range(order, MAX_PAGE_ORDER + 1):
            if self.lists[c, mt]:
                pfn = self.lists[c, mt][0]
                self.remove(pfn)
                while c > order:
                    c -= 1
                    self.put(pfn + (1 << c), c, mt, tail=False)
                refill = int(order in PCP_ORDERS and mt in MERGEABLE)
                self.log.append(("zone_locked", pfn, order, int(mt), refill))
                return pfn
        return None

    def free_block(self, cpu, pfn, order, mt):
        self.book(cpu, 1 << order, mt)
        while order < MAX_PAGE_ORDER:
            buddy = pfn ^ (1 << order)
            if not self.is_free(buddy, order):
                break
            if order >= PAGEBLOCK_ORDER:
                other = self.type_of(buddy)
                if mt != other and not (mt in MERGEABLE and other in MERGEABLE):
                    self.seen["merge refused"] += 1
                    break
            self.remove(buddy)
            pfn &= buddy
            order += 1
        parent = pfn & ~(1 << order)
        tail = order < 9 and self.is_free(parent ^ (1 << (order + 1)), order + 1)
        self.seen["free to tail" if tail else "free to head"] += 1
        self.put(pfn, order, mt, tail)

    # 3.4 to 3.6

    def take(self, order, mt, flags):
        """Take with fallback: return (pfn, type of the list it came from) or None."""
        cma_usable = self.cma and mt == Mt.MOVABLE and "cma" in flags
        if cma_usable and self.nr_free_cma.read() > self.nr_free_pages.read() // 2:
            pfn = self.take_smallest(order, Mt.CMA)
            if pfn is not None:
                self.seen["cma by the half rule"] += 1
                return pfn, Mt.CMA
        while True:
            pfn = self.take_smallest(order, mt)
            if pfn is not None:
                return pfn, mt
            if cma_usable:
                pfn = self.take_smallest(order, Mt.CMA)
                if pfn is not None:
                    self.seen["cma after own lists"] += 1
                    return pfn, Mt.CMA
            if not self.fallback(order, mt, flags):
                return None

    def candidate(self, c, mt):
        return next((f for f in FALLBACKS[mt] if self.lists[c, f]), None)

    def can_steal(self, c, mt):
        return c >= 4 or mt in (Mt.UNMOVABLE, Mt.RECLAIMABLE) or not self.grouping

    def fallback(self, order, mt, flags):
        lowest = order
        if order < PAGEBLOCK_ORDER and "nofragment" in flags:
            lowest = PAGEBLOCK_ORDER
        sizes = [c for c in range(lowest, MAX_PAGE_ORDER + 1) if self.candidate(c, mt) is not None]
        if not sizes:
            return False
        c = max(sizes)
        if not self.can_steal(c, mt) and c > order:
            c = min(sizes)
            self.seen["smallest searched"] += 1
        other = self.candidate(c, mt)
        pfn = self.lists[c, other][0]
        self.steal(pfn, c, mt, self.can_steal(c, mt), flags)
        owns = int(self.type_of(pfn) == mt)
        self.log.append(("extfrag", pfn, order, c, int(mt), int(other), owns))
        return True

    def steal(self, pfn, c, mt, whole, flags):
        old = self.type_of(pfn)
        if old == Mt.HIGHATOMIC:
            self.seen["steal in a HighAtomic pageblock"] += 1
            self.move_to_tail(pfn, mt)
            return
        if c >= PAGEBLOCK_ORDER:
            self.seen["steal of whole pageblocks"] += 1
            for p in range(pfn, pfn + (1 << c), PAGEBLOCK_NR_PAGES):
                self.set_type(p, mt)
            self.move_to_tail(pfn, mt)
            return
        if self.boost_watermark() and "kswapd" in flags:
            self.boosted_flag = True
        moved = self.move_pageblock(pfn, mt) if whole else None
        if not moved:
            self.seen["steal at a zone edge" if whole else "steal of one block"] += 1
            self.move_to_tail(pfn, mt)
            return
        free, movable = moved
        if mt == Mt.MOVABLE:
            alike = movable
        elif old == Mt.MOVABLE:
            alike = PAGEBLOCK_NR_PAGES - free - movable
        else:
            alike = 0
        claimed = free + alike >= PAGEBLOCK_NR_PAGES // 2 or not self.grouping
        self.seen["steal claims" if claimed else "steal without claim"] += 1
        if claimed:
            self.set_type(pfn, mt)

    def move_pageblock(self, pfn, mt):
        """Move the free blocks of pfn's pageblock to mt's tails: (free, movable) pages, or None."""
        first = pfn - pfn % PAGEBLOCK_NR_PAGES
        last = first + PAGEBLOCK_NR_PAGES - 1
        if first < self.start:
            first = pfn
        if last >= self.end:
            return None
        free = movable = 0
        p = first
        while p <= last:
            if p in self.block:
                size = 1 << self.block[p][0]
                self.move_to_tail(p, mt)
                free += size
                p += size
            else:
                movable += p in self.lru
                p += 1
        return free, movable

    def boost_watermark(self):
        high = self.wmark[2]
        cap = high * self.boost_factor // 10000
        if self.managed < 4 * PAGEBLOCK_NR_PAGES or cap == 0:
            return False
        cap = max(cap, PAGEBLOCK_NR_PAGES)
        self.boost = min(self.boost + PAGEBLOCK_NR_PAGES, cap)
        self.seen["boost"] += 1
        return True

    # 3.9

    def reserve_highatomic(self, pfn):
        limit = self.managed // 100 + PAGEBLOCK_NR_PAGES
        if self.reserved_highatomic < limit and self.type_of(pfn) in MERGEABLE:
            self.seen["highatomic reserved"] += 1
            self.reserved_highatomic += PAGEBLOCK_NR_PAGES
            self.set_type(pfn, Mt.HIGHATOMIC)
            self.move_pageblock(pfn, Mt.HIGHATOMIC)


def new_seen():
    """Counts which rules were used, so that a stream can show that it reached them."""
    return Counter()
