"""One zone of 2.6.21-rc6-mm1, which groups pages by mobility, and its per-CPU lists.

Spec linux-2.6.14 7.1.
"""

from oracle.naive_2614_machine import HotCold, NaiveMachine2614
from oracle.naive_2614_zone import BareZone

from memsim.mm import Migratetype as Mt

U, M, R, HA, RESERVE = Mt.UNMOVABLE, Mt.MOVABLE, Mt.RECLAIMABLE, Mt.HIGHATOMIC, 4
FALLBACKS = {U: (R, M, HA), R: (U, M, HA), M: (R, U, HA), HA: (R, U, M)}


class GroupedZone(BareZone):
    def __init__(self, zone, machine, seen):
        super().__init__(zone, machine, seen)
        for block in self.usemap:
            self.usemap[block] = machine.pageblocks.get(block >> self.max_order, M)
        self.lists |= {(k, RESERVE): [] for k in range(self.max_order + 1)}

    def request_type(self, request):
        if request.order > 0 and not request.wait:
            return HA
        return {"kernel": U, "user": M, "reclaimable": R}[request.kind]

    def type_to_free(self, pfn):
        return self.type_of(pfn)

    def nr_free(self, order):
        return super().nr_free(order) + len(self.lists[order, RESERVE])

    def take_foreign(self, order, kind):
        for sweep in (1, 2):
            for c in range(self.max_order, order - 1, -1):
                for other in FALLBACKS[kind]:
                    hidden = other == HA and kind != U and sweep == 1
                    if self.lists[c, other] and not hidden:
                        self.seen[f"type {kind:d} falls back to {other:d}"] += 1
                        return self.steal(c, other, order, kind)
        return None

    def take(self, order, kind):
        pfn = super().take(order, kind)
        if pfn is None and (pfn := self.take_own(order, RESERVE)) is not None:
            self.seen["reserve used"] += 1
            self.free_pages -= 1 << order
        return pfn

    def steal(self, c, other, order, kind):
        pfns = self.lists[c, other]
        pfn = pfns[0] if kind == M else min(pfns)
        moves = c >= self.large or kind == R
        if moves:
            blocks = self.move_block(pfn, kind)
            enough = blocks << c >= self.block_pages // 2
            self.seen["moved, and claimed" if enough else "moved, not claimed"] += 1
            if enough and other != HA:
                self.label(pfn, kind)
        if c == self.max_order:
            self.label(pfn, kind)
        return self.split(pfn, c, order, kind if moves else other)

    def move_block(self, pfn, kind):
        """Move the free blocks of a unit to a type's lists; return how many."""
        first = pfn - pfn % self.block_pages
        end = first + self.block_pages
        if end >= self.end:
            self.seen["last unit"] += 1
            return 0
        start = first if first >= self.start else pfn
        found = sorted(p for p in self.block if start <= p < end)
        for p in found:
            order, _ = self.block[p]
            self.remove(p)
            self.put(p, order, kind)
        return len(found)

    def label(self, pfn, kind):
        self.counts["pageblocks_claimed"] += self.type_of(pfn) != kind
        self.usemap[pfn - pfn % self.block_pages] = kind


class GroupedHotCold(HotCold):
    """One list for hot and one for cold pages, each of which remembers its type."""

    def __init__(self, zone, spec):
        super().__init__(zone, spec)
        self.kinds = {}

    def alloc(self, kind, cold):
        pages = self.lists[cold, 0]
        pfn = next((p for p in pages if self.kinds[p] == kind), None)
        if pfn is None:
            before = set(pages)
            self.refill(pages, kind, self.chunk[cold])
            taken = [p for p in pages if p not in before]
            self.kinds |= dict.fromkeys(taken, kind)
            pages[:] = [*reversed(taken), *(p for p in pages if p in before)]
            if not pages:
                return None
            pfn = pages[0]
        pages.remove(pfn)
        return pfn

    def free(self, pfn, cold):
        self.kinds[pfn] = self.zone.type_to_free(pfn)
        super().free(pfn, cold)


class NaiveMachine2621(NaiveMachine2614):
    pcp_class = GroupedHotCold

    def zone_class(self):
        return GroupedZone
