"""Per-CPU page lists of one zone and CPU, spec section 4, in plain lists."""

from oracle.naive_zone import MERGEABLE, PCP_ORDERS

from memsim.mm import (
    NR_LOWORDER_PCP_LISTS,
    NR_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PAGEBLOCK_ORDER,
    PCP_BATCH_SCALE_MAX,
)
from memsim.mm import Migratetype as Mt


def pindex_of(order, mt):
    if order == PAGEBLOCK_ORDER:
        return NR_LOWORDER_PCP_LISTS + (mt == Mt.MOVABLE)
    return 3 * order + mt


def order_of(pindex):
    return pindex // 3 if pindex < NR_LOWORDER_PCP_LISTS else PAGEBLOCK_ORDER


class NaivePcp:
    def __init__(self, zone, cpu, high, batch):
        self.zone, self.cpu, self.high, self.batch = zone, cpu, high, batch
        self.lists = [[] for _ in range(NR_PCP_LISTS)]  # (pfn, type to free it to), head first
        self.count = 0
        self.free_factor = 0
        self.kswapd_balances = False

    def alloc(self, order, mt, flags):
        """4.3; return a pfn or None. The caller has checked the order and CMA (step 1)."""
        self.free_factor //= 2
        pages = self.lists[pindex_of(order, mt)]
        if not pages:
            self.refill(pages, order, mt, flags)
        if not pages:
            return None
        pfn, _ = pages.pop(0)
        self.count -= 1 << order
        return pfn

    def refill(self, pages, order, mt, flags):
        wanted = self.batch if self.batch == 1 else max(self.batch >> order, 2)
        taken = 0
        while taken < wanted:
            found = self.zone.take(order, mt, flags)
            if found is None:
                break
            pages.append(found)
            taken += 1
            if found[1] == Mt.CMA:
                self.zone.nr_free_cma.add(self.cpu, -(1 << order))
        self.zone.nr_free_pages.add(self.cpu, -(taken << order))
        self.count += taken << order
        how = "in full" if taken == wanted else "in part" if taken else "with nothing"
        self.zone.seen[f"refill {how}"] += 1
        self.zone.seen[f"refill order {order}"] += taken > 0

    def free(self, pfn, order):
        """4.4; the order is one that has a list."""
        mt = self.zone.type_of(pfn)
        if mt == Mt.ISOLATE:
            self.zone.free_block(self.cpu, pfn, order, mt)
            return
        pindex = pindex_of(order, mt if mt in MERGEABLE else Mt.MOVABLE)
        self.lists[pindex].insert(0, (pfn, mt))
        self.count += 1 << order
        free_high = self.free_factor > 0 and 1 <= order <= PAGE_ALLOC_COSTLY_ORDER
        limit = 0 if free_high else self.limit()
        if self.count >= limit:
            self.bulk_free(self.how_many(limit, free_high), pindex, self.cpu)

    def limit(self):
        return min(4 * self.batch, self.high) if self.kswapd_balances else self.high

    def how_many(self, limit, free_high):
        if free_high:
            self.zone.seen["everything freed"] += 1
            return self.count
        if limit < self.batch:
            return 1
        n = self.batch << self.free_factor
        if n < limit - self.batch and self.free_factor < PCP_BATCH_SCALE_MAX:
            self.free_factor += 1
            self.zone.seen["free_factor raised"] += 1
        return min(max(n, self.batch), limit - self.batch)

    def bulk_free(self, n, pindex, cpu):
        n = min(n, self.count)
        isolated = self.zone.has_isolated()
        while n > 0:
            while not self.lists[pindex]:
                pindex = (pindex + 1) % NR_PCP_LISTS
            order = order_of(pindex)
            while n > 0 and self.lists[pindex]:
                pfn, mt = self.lists[pindex].pop()
                n -= 1 << order
                self.count -= 1 << order
                if isolated:
                    mt = self.zone.type_of(pfn)
                self.zone.free_block(cpu, pfn, order, mt)
                self.zone.log.append(("drain", pfn, order, int(mt)))
                self.zone.seen[f"drain order {order}"] += 1
            pindex = (pindex + 1) % NR_PCP_LISTS

    def drain(self, cpu):
        """4.5: everything, in chunks; the counts are booked on the CPU that drains."""
        while self.count:
            self.bulk_free(min(self.count, self.batch << PCP_BATCH_SCALE_MAX), 0, cpu)


def has_pcp(order):
    return order in PCP_ORDERS
