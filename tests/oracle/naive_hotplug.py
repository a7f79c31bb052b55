"""Taking memory offline, spec sections 9.2 and 9.3, in plain lists and dicts.

Pages are moved by the migration of section 8. There is no reclaim, and nobody else acts.
"""

from oracle.naive_migration import COPY, CPU, SYNC, NaiveMigration

from memsim.mm import MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, ZoneType
from memsim.mm import Migratetype as Mt

SCAN = 50  # nanoseconds per page looked at


class NaiveHotplug(NaiveMigration):
    def __init__(self, spec, pages, spare, kernel, reserved):
        """``kernel`` and ``reserved``: pfns of the kernel's pages and of those it never freed."""
        super().__init__(spec, pages, spare)
        self.kernel, self.reserved = set(kernel), set(reserved)

    # 9.3 The scan

    def obstacle_at(self, zone, pfn):
        if pfn in self.reserved:
            return "reserved"
        if zone.index == ZoneType.MOVABLE:
            return ""
        return "kernel" if pfn in self.kernel else ""

    def first_obstacle(self, zone, block):
        """Return (what, pfn) of the first page of a pageblock that cannot be moved, or None."""
        if zone.type_of(block) == Mt.CMA:
            return "cma", block
        for pfn in range(block, block + PAGEBLOCK_NR_PAGES):
            what = self.obstacle_at(zone, pfn)
            if what:
                return what, pfn
        return None

    # 9.2 step 4 and undo

    def move_block(self, zone, block, mt):
        """Move the free blocks headed in a pageblock to the tails of a type's lists."""
        moved = 0
        for pfn in range(block, block + PAGEBLOCK_NR_PAGES):
            if pfn in zone.block:
                moved += 1 << zone.block[pfn][0]
                zone.move_to_tail(pfn, mt)
        return moved

    def isolate_block(self, zone, block):
        found = self.first_obstacle(zone, block)
        if found is None:
            old = zone.type_of(block)
            zone.set_type(block, Mt.ISOLATE)
            zone.book(CPU, -self.move_block(zone, block, Mt.ISOLATE), old)
        return found

    def undo_block(self, zone, block):
        if zone.type_of(block) != Mt.ISOLATE:
            return
        order = zone.block.get(block, (0, 0))[0]
        buddy = block ^ (1 << order)
        whole = PAGEBLOCK_ORDER <= order < MAX_PAGE_ORDER and zone.is_free(buddy, order)
        if whole and zone.type_of(buddy) != Mt.ISOLATE:
            zone.remove(block)
            zone.set_type(block, Mt.MOVABLE)
            zone.book(CPU, 1 << order, Mt.MOVABLE)
            zone.remove(buddy)
            # Order 9 has come to order 10, beyond which nothing merges.
            zone.put(block & buddy, order + 1, Mt.MOVABLE, tail=True)
        else:
            zone.book(CPU, self.move_block(zone, block, Mt.MOVABLE), Mt.MOVABLE)
            zone.set_type(block, Mt.MOVABLE)

    def isolate_range(self, zone, start, end):
        """First, last, then the rest; what stopped it, after all was undone again."""
        first, *middle, last = range(start, end, PAGEBLOCK_NR_PAGES)
        done = []
        for block in (first, last, *middle):
            found = self.isolate_block(zone, block)
            if found:
                for other in sorted(done, key=lambda b: (b == last, b) if len(done) > 1 else b):
                    self.undo_block(zone, other)
                return found
            done.append(block)
        return None

    # 9.2 step 6

    def can_move(self, pfn):
        return pfn in self.pages and "isolated" not in self.pages[pfn].words

    def one_pass(self, at, end, nodes):
        """Move everything from the first page on that can be moved; return where that was."""
        pfns = [pfn for pfn in range(at, end) if self.can_move(pfn)]
        first = pfns[0] if pfns else end
        self.now += SCAN * (first - at)
        if not pfns:
            return None
        self.now += SCAN * (end - first)
        for pfn in pfns:
            self.isolate(pfn)
        _, codes, tries = self.migrate_pages(pfns, SYNC, "hotplug", None, nodes)
        failed = sum(t for code, t in zip(codes, tries, strict=True) if code < 0 < t)
        self.now += failed * COPY // 4
        return first

    def offline(self, start, end, passes, nodes):
        """Return "offline", "signal" after so many passes, or what could not be isolated."""
        zone = self.zone_at(start)
        lists = self.machine.pcp[self.machine.zones.index(zone)]
        sizes = [(pcp.high, pcp.batch) for pcp in lists]
        for pcp in lists:
            pcp.high, pcp.batch = 0, 1
        for pcp in lists:
            pcp.drain(CPU)
        result = self.isolate_range(zone, start, end)
        if result is None:
            result = self.empty(zone, start, end, passes, nodes)
        for pcp, size in zip(lists, sizes, strict=True):
            pcp.high, pcp.batch = size
        return result

    def empty(self, zone, start, end, passes, nodes):
        at = start
        for _ in range(passes):
            first = self.one_pass(at, end, nodes)
            if first is not None:
                at = first
                continue
            at = start
            blocks = [pfn for pfn in zone.block if start <= pfn < end]
            if sum(1 << zone.block[pfn][0] for pfn in blocks) == end - start:
                for pfn in blocks:
                    zone.remove(pfn)
                return "offline"
        for block in range(start, end, PAGEBLOCK_NR_PAGES):
            self.undo_block(zone, block)
        return "signal"
