"""One zone of Linux 2.6.14 in lists and dicts, bare and under the placement patches of 2005.

Spec linux-2.6.14 3, history-2005 2.1 and 2.2, linux-mm 10.3 and 10.4. One class per patch. Written
to be read beside the spec, not to be fast.
"""

from collections import Counter

from memsim.mm import NR_PLACEMENT_TYPES

NORCLM, EASY, KERN, FALLBACK = TYPES = range(NR_PLACEMENT_TYPES)
RESERVE_SHIFT = 3
COUNTS = ("extfrag_events", "pageblocks_claimed", "pcp_refills", "pcp_drained_blocks")
"""How often a block came from another type's lists, a max-order block was given a type, a per-CPU
list got pages, and how many pages such lists gave back."""
FALLBACKS = {
    NORCLM: (NORCLM, FALLBACK, KERN, EASY),
    EASY: (EASY, FALLBACK, NORCLM, KERN),
    KERN: (KERN, FALLBACK, NORCLM, EASY),
}


class BareZone:
    """No types at all: 2.6.14 itself, and the light patch where it is configured off."""

    pcp_high_divisor = 1

    def __init__(self, zone, machine, seen):
        self.start, self.end, self.nid, self.index = zone.start, zone.end, zone.nid, zone.index
        self.present = zone.end - zone.start
        self.wmark, self.lowmem_reserve = zone.wmark, zone.lowmem_reserve
        self.max_order = machine.max_page_order
        self.block_pages = 1 << self.max_order
        self.large = (self.max_order + 1) // 2  # MAX_ORDER / 2
        self.seen = seen
        self.usemap = {  # first pfn of a max-order block -> type
            pfn - pfn % self.block_pages: NORCLM for pfn in range(self.start, self.end)
        }
        for block, kind in machine.pageblocks.items():
            if block << self.max_order in self.usemap:
                self.usemap[block << self.max_order] = kind
        self.lists = {(k, t): [] for k in range(self.max_order + 1) for t in TYPES}
        self.block = {}  # first pfn of a free block -> (order, list type)
        self.free_pages = 0
        self.counts = dict.fromkeys(COUNTS, 0)
        for pfn, order, kind in zone.free:
            self.block[pfn] = (order, kind)
            self.lists[order, kind].append(pfn)
            self.free_pages += 1 << order

    # What a policy decides

    def request_type(self, request):
        return NORCLM

    def which_pcp(self, kind):
        return 0

    def type_to_free(self, pfn):
        return NORCLM

    def take_foreign(self, order, kind):
        """Return a pfn or None; the zone's own lists of the type had nothing."""
        return None

    # Linux-2.6.14 3.1

    def put(self, pfn, order, kind):
        self.block[pfn] = (order, kind)
        self.lists[order, kind].insert(0, pfn)

    def remove(self, pfn):
        order, kind = self.block.pop(pfn)
        self.lists[order, kind].remove(pfn)

    def nr_free(self, order):
        return sum(len(self.lists[order, t]) for t in TYPES)

    def split(self, pfn, c, order, kind):
        """Take a listed block of order c; return its low part, the rest goes to a type's lists."""
        self.remove(pfn)
        while c > order:
            c -= 1
            self.put(pfn + (1 << c), c, kind)
        return pfn

    def take(self, order, kind):
        """Return a pfn or None."""
        pfn = self.take_own(order, kind)
        if pfn is None:
            pfn = self.take_foreign(order, kind)
            self.counts["extfrag_events"] += pfn is not None
        if pfn is not None:
            self.free_pages -= 1 << order
        return pfn

    def take_own(self, order, kind):
        for c in range(order, self.max_order + 1):
            if self.lists[c, kind]:
                return self.split(self.lists[c, kind][0], c, order, kind)
        return None

    def free_block(self, pfn, order):
        kind = self.type_to_free(pfn)
        self.free_pages += 1 << order
        while order < self.max_order:
            buddy = pfn ^ (1 << order)
            if not self.start <= buddy < self.end or self.block.get(buddy, (-1,))[0] != order:
                break
            if self.block[buddy][1] != kind:
                self.seen["merge of two types"] += 1
            self.remove(buddy)
            pfn &= ~(1 << order)
            order += 1
        self.put(pfn, order, kind)

    # What can be seen from outside

    def type_of(self, pfn):
        return self.usemap[pfn - pfn % self.block_pages]

    def reserve(self):
        return 0


class UsemapZone(BareZone):
    """The light patch, V20: the max-order block says where its pages are freed to."""

    pcp_high_divisor = 2

    def request_type(self, request):
        return EASY if request.kind == "user" else NORCLM

    def which_pcp(self, kind):
        return int(kind == EASY)

    def type_to_free(self, pfn):
        return self.type_of(pfn)

    def take_foreign(self, order, kind):
        lender = NORCLM if kind == EASY else EASY
        for c in range(self.max_order, order - 1, -1):
            if self.lists[c, lender]:
                pfn = self.lists[c, lender][0]
                large = c >= self.large
                self.seen["large block stolen" if large else "small block stolen"] += 1
                self.seen["block of the very order stolen"] += c == order
                if large:
                    self.claim(pfn, kind)
                return self.split(pfn, c, order, kind if large else lender)
        return None

    def claim(self, pfn, kind):
        """Flip the bit, even if it says the requester's type already."""
        self.seen["bit flipped back"] += self.type_of(pfn) == kind
        self.usemap[pfn - pfn % self.block_pages] = NORCLM + EASY - self.type_of(pfn)
        self.counts["pageblocks_claimed"] += 1


class PageFlagZone(UsemapZone):
    """The light patch, V21: each page says where it is freed to. No usemap, no halved lists."""

    pcp_high_divisor = 1

    def __init__(self, zone, machine, seen):
        super().__init__(zone, machine, seen)
        self.flag = {}  # first pfn of what was handed out -> type; clear before

    def take(self, order, kind):
        pfn = super().take(order, kind)
        if pfn is not None:
            self.flag[pfn] = kind
        return pfn

    def type_to_free(self, pfn):
        return self.flag.get(pfn, NORCLM)

    def claim(self, pfn, kind):
        pass


class FullZone(BareZone):
    """The full patch, V19: four types, a pool of max-order blocks, a reserve."""

    def request_type(self, request):
        return {"kernel": NORCLM, "user": EASY, "reclaimable": KERN}[request.kind]

    def which_pcp(self, kind):
        return int(kind == EASY)

    def type_to_free(self, pfn):
        return self.type_of(pfn)

    def take_foreign(self, order, kind):
        pfn = self.take_from_pool(order, kind)
        return self.take_fallback(order, kind) if pfn is None else pfn

    def take_from_pool(self, order, kind):
        top = self.max_order
        for lender in TYPES:
            if lender != kind and self.lists[top, lender]:
                pfn = self.lists[top, lender][0]
                self.label(pfn, kind)
                self.seen[f"pool of type {lender}"] += 1
                return self.split(pfn, top, order, kind)
        return None

    def take_fallback(self, order, kind):
        for lender in FALLBACKS[kind]:
            for c in range(self.max_order, order, -1):
                if self.lists[c, lender]:
                    pfn = self.lists[c, lender][0]
                    self.seen[f"type {kind} falls back to {lender}"] += 1
                    if kind == NORCLM and c >= self.large:
                        self.seen["large block grouped"] += 1
                        self.label(pfn, NORCLM)
                    return self.split(pfn, c, order, NORCLM if kind == NORCLM else lender)
        if any(self.lists[order, lender] for lender in TYPES):
            self.seen["block of the very order refused"] += 1
        return None

    def label(self, pfn, kind):
        """Give a max-order block to a type, or to the reserve while that is short."""
        short = self.reserve() < self.present >> RESERVE_SHIFT
        block = pfn - pfn % self.block_pages
        self.seen["reserve filled" if short else "reserve full"] += 1
        self.seen["reserve given up"] += self.usemap[block] == FALLBACK and not short
        self.usemap[block] = FALLBACK if short else kind
        self.counts["pageblocks_claimed"] += 1

    def reserve(self):
        return self.block_pages * list(self.usemap.values()).count(FALLBACK)


ZONES = {
    "none": BareZone,
    "disabled": BareZone,
    "usemap": UsemapZone,
    "page_flag": PageFlagZone,
    "full": FullZone,
}


def new_seen():
    """Counts which rules were used, so that a stream can show that it reached them."""
    return Counter()
