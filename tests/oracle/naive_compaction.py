"""Compaction of spec section 6 in plain lists and dicts, for small zones."""

from oracle.naive_pcp import NaivePcp
from oracle.naive_zone import NaiveZone

from memsim.mm import MAX_PAGE_ORDER
from memsim.mm import Migratetype as Mt

BLOCK = 512
ASYNC, SYNC_LIGHT, SYNC = "async", "sync_light", "sync"
MET = ("complete", "partial")


class CapturingZone(NaiveZone):
    """A zone whose freed blocks may go straight to a task that compacts it (6.6)."""

    wanted, caught = None, None  # order waited for; the block got

    def free_block(self, cpu, pfn, order, mt):
        k = self.wanted
        if k is None or k == MAX_PAGE_ORDER or mt in (Mt.CMA, Mt.ISOLATE):
            return super().free_block(cpu, pfn, order, mt)
        if mt == Mt.MOVABLE and k < 9:
            return super().free_block(cpu, pfn, order, mt)
        first, parts, size = pfn, [], order
        while size < k and self.is_free(first ^ (1 << size), size):
            parts.append(first ^ (1 << size))
            first &= ~(1 << size)
            size += 1
        if size != k:
            return super().free_block(cpu, pfn, order, mt)
        self.book(cpu, 1 << order, mt)
        for part in parts:
            self.remove(part)
        self.book(cpu, -(1 << k), mt)
        self.wanted, self.caught = None, first
        return None


class Page:
    """An allocated block; ``words`` say what it is: anon, file, active, pinned, kernel ..."""

    slot = None  # in swap

    def __init__(self, words, order, handle):
        self.words, self.order, self.handle = words, order, handle


class NaiveCompaction:
    def __init__(self, spec, pages, page_table):
        """``pages``: pfn of each allocated block to its Page, the oldest first."""
        self.pageblocks, self.counts, self.seen = dict(spec.pageblocks), {}, {}
        seen = _Counter()
        self.zones = [
            CapturingZone(zone, spec, self.pageblocks, set(), [], seen) for zone in spec.zones
        ]
        self.pcps = [
            [
                NaivePcp(zone, cpu, given.pcp_high, given.pcp_batch)
                for cpu in range(len(spec.cpu_nid))
            ]
            for zone, given in zip(self.zones, spec.zones, strict=True)
        ]
        self.pages, self.page_table = pages, page_table
        self.lru = {}
        for pfn in pages:
            if self.list_of(pfn) is not None:
                self.lru.setdefault(self.list_of(pfn), []).insert(0, pfn)
        self.skip = set()
        self.memory = [ZoneMemory(zone) for zone in self.zones]

    def count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    def list_of(self, pfn):
        words = self.pages[pfn].words
        if "kernel" in words:
            return None
        if "mlocked" in words:
            return "unevictable"
        return ("active " if "active" in words else "") + ("anon" if "anon" in words else "file")

    def zone_at(self, pfn):
        return next((z for z, zone in enumerate(self.zones) if zone.start <= pfn < zone.end), None)

    # 6.2

    def order_0_passes(self, z, mark, reserve_index):
        zone = self.zones[z]
        free = zone.nr_free_pages.read() - zone.reserved_highatomic
        return free > mark + zone.lowmem_reserve[reserve_index]

    def suitable(self, z, order, highest):
        """6.2 with the min mark and no flags: "success", "skipped" or None (go on)."""
        zone = self.zones[z]
        if order == -1:
            return None
        free = zone.nr_free_pages.read() - ((1 << order) - 1)
        free -= zone.reserved_highatomic + zone.nr_free_cma.read()
        listed = any(zone.lists[c, t] for c in range(order, 11) for t in range(3))
        if free > zone.wmark[0] + zone.boost + zone.lowmem_reserve[highest] and listed:
            return "success"
        mark = zone.wmark[1 if order > 3 else 0] + zone.boost + 2 * 2**order
        if not self.order_0_passes(z, mark, highest):
            return "skipped"
        if order > 3 and 0 <= index(zone, order) <= 500:
            return "skipped"
        return None

    # 6.8

    def deferred(self, z, order):
        mine = self.memory[z]
        if order < mine.order_failed:
            return False
        mine.considered = min(mine.considered + 1, 2**mine.shift)
        return mine.considered < 2**mine.shift

    def defer(self, z, order):
        mine = self.memory[z]
        mine.considered = 0
        mine.shift = min(mine.shift + 1, 6)
        mine.order_failed = min(mine.order_failed, order)

    def believe(self, z, order):
        mine = self.memory[z]
        if order >= mine.order_failed:
            mine.order_failed = order + 1

    # Who compacts (6.1)

    def compact_memory(self):
        for z in range(len(self.zones)):
            Run(self, z, -1, Mt.UNMOVABLE, SYNC, whole=True).go(highest=0)

    def direct(self, zonelist, order, mt, cpu, mode, highest, fs=True):
        """Return the best result, and the captured block or None."""
        ranks = ["skipped", "deferred", "complete", "partial", "contended", "success"]
        best = "skipped"
        full = mode == "full"
        for z in zonelist:
            if not full and self.deferred(z, order):
                best = max(best, "deferred", key=ranks.index)
                continue
            run = Run(self, z, order, mt, SYNC_LIGHT if full else mode, full, cpu, direct=True)
            run.fs = fs
            self.zones[z].wanted, self.zones[z].caught = order, None
            result = run.go(highest)
            self.zones[z].wanted = None
            if self.zones[z].caught is not None:
                result = "success"
            best = max(best, result, key=ranks.index)
            if result == "success":
                self.believe(z, order)
                return best, self.zones[z].caught
            if mode != ASYNC and result in MET:
                self.defer(z, order)
        return best, None

    def kcompactd(self, order, highest):
        for z, zone in enumerate(self.zones):
            if zone.index > highest or self.deferred(z, order):
                continue
            if self.suitable(z, order, zone.index) is not None:
                continue
            result = Run(self, z, order, Mt.UNMOVABLE, SYNC_LIGHT).go(highest)
            if result == "success":
                self.believe(z, order)
            elif result in MET:
                for pcp in self.pcps[z]:
                    pcp.drain(0)
                self.defer(z, order)


class ZoneMemory:
    """What compaction remembers of a zone."""

    def __init__(self, zone):
        self.start, self.last = zone.start, (zone.end - 1) // BLOCK * BLOCK
        self.considered = self.shift = self.order_failed = 0
        self.flush = False
        self.init_migrate = self.init_free = 0
        self.reset()

    def reset(self):
        self.migrate = {ASYNC: self.start, SYNC: self.start}
        self.free = self.last


class Run:
    """One run over one zone."""

    def __init__(self, owner, z, order, mt, mode, whole=False, cpu=0, direct=False):
        self.owner, self.z, self.zone, self.mine = owner, z, owner.zones[z], owner.memory[z]
        self.order, self.mt, self.mode, self.cpu = order, mt, mode, cpu
        self.whole, self.heedless, self.direct, self.fs = whole, whole, direct, True
        self.any_target = whole and direct
        self.windows = mode == ASYNC and direct
        self.lowest_found, self.fails, self.search_order = None, 0, order
        self.sources, self.targets = [], []  # head first
        self.scanned = [0, 0]

    def go(self, highest):
        result = self.owner.suitable(self.z, self.order, highest)
        if result:
            return result
        mine = self.mine
        if self.order >= mine.order_failed and mine.shift == 6 and mine.considered >= 64:
            self.flush_skip_bits()
        self.pos = mine.migrate[ASYNC if self.mode == ASYNC else SYNC]
        self.free = mine.free
        if self.whole:
            self.pos, self.free = mine.start, mine.last
        elif self.pos <= mine.init_migrate:
            self.whole = True
        result = self.loop()
        self.release()
        self.owner.count("compact_migrate_scanned", self.scanned[0])
        self.owner.count("compact_free_scanned", self.scanned[1])
        return result

    def flush_skip_bits(self):
        if self.mine.flush:
            self.mine.flush = False
            reset_skip_bits(self.owner, self.z)

    def loop(self):
        migrated_from = 0
        in_step = self.mode != ASYNC and self.mine.migrate[ASYNC] == self.mine.migrate[SYNC]
        while (result := self.finished()) is None:
            here = self.pos
            self.again = here // BLOCK == migrated_from // BLOCK
            if self.isolate():
                in_step = False
                migrated_from = here
                starved = self.migrate()
                if self.sources:
                    self.put_back()
                    if starved and not self.met():
                        return "contended"
                    if self.windows:
                        self.pos = ((self.pos - 1 >> self.order) + 1) << self.order
                        migrated_from = 0
            elif in_step:
                self.mine.migrate[SYNC] = self.mine.migrate[ASYNC]
            if self.order > 0 and 0 < migrated_from < self.pos >> self.order << self.order:
                self.owner.pcps[self.z][self.cpu].drain(self.cpu)
                migrated_from = 0
            if self.zone.caught is not None and self.direct:
                return "success"
        return result

    def met(self):
        return self.free // BLOCK <= self.pos // BLOCK

    def finished(self):
        if self.met():
            self.mine.reset()
            self.mine.flush |= self.direct
            return "complete" if self.whole else "partial"
        if self.order == -1 or self.pos % BLOCK:
            return None
        lists, own = self.zone.lists, [self.mt]
        if self.mt == Mt.MOVABLE:
            own.append(Mt.CMA)
        others = {Mt.UNMOVABLE: (2, 1), Mt.MOVABLE: (2, 0), Mt.RECLAIMABLE: (0, 1)}[self.mt]
        for c in range(self.order, MAX_PAGE_ORDER + 1):
            stealable = c >= 4 or self.mt != Mt.MOVABLE or not self.zone.grouping
            if any(lists[c, t] for t in own) or (stealable and any(lists[c, t] for t in others)):
                return "success"
        return None

    # 6.4

    def mark_migrate(self, pfn):
        after = pfn // BLOCK * BLOCK + BLOCK
        for mode in (ASYNC,) if self.mode == ASYNC else (ASYNC, SYNC):
            self.mine.migrate[mode] = max(self.mine.migrate[mode], after)

    def skipped(self, pfn):
        return not self.heedless and pfn // BLOCK in self.owner.skip

    def isolate(self):
        pfn = self.search_source()
        found = pfn != self.pos and self.fails == 0
        end = pfn // BLOCK * BLOCK + BLOCK
        while end <= self.free:
            at_start = pfn % BLOCK == 0 or pfn == self.zone.start
            passed = at_start and not found and self.skipped(pfn)
            if self.owner.zone_at(pfn) == self.z and not passed:
                if self.is_source(pfn):
                    self.scan(pfn, end)
                    return bool(self.sources)
                self.mark_migrate(end)
            self.pos = pfn = end
            end += BLOCK
            found = False
        return False

    def is_source(self, pfn):
        head = self.owner.pages.get(pfn // BLOCK * BLOCK)
        if head and head.order >= 9 and "kernel" not in head.words:
            return False
        if not self.windows:
            return True
        kinds = (Mt.MOVABLE, Mt.CMA) if self.mt == Mt.MOVABLE else (self.mt,)
        return self.zone.type_of(pfn) in kinds

    def movable(self, pfn):
        page = self.owner.pages.get(pfn)
        if page is None or page.order or "kernel" in page.words:
            return False
        if "file" in page.words and not self.fs:
            return False
        if "writing" in page.words and self.mode != SYNC:
            return False
        return not ("pinned" in page.words and "anon" in page.words)

    def scan(self, start, end):
        pfn, scanned, touched = start, 0, False
        window = (start >> self.order) + 1 << self.order if self.windows else None
        if start % BLOCK == 0 and self.skipped(start):
            pfn, scanned = end, 1
        while pfn < end:
            if self.windows and pfn >= window:
                if self.sources:
                    break
                window = (pfn >> self.order) + 1 << self.order
            scanned += 1
            if pfn in self.zone.block:
                pfn += 1 << self.zone.block[pfn][0]
                continue
            if self.movable(pfn):
                if not touched and pfn % BLOCK == 0 and not self.heedless:
                    self.owner.skip.add(pfn // BLOCK)
                touched = True
                self.owner.lru[self.owner.list_of(pfn)].remove(pfn)
                self.sources.insert(0, pfn)
                pfn += 1
                if len(self.sources) >= 32 and not self.again:
                    break
                continue
            pfn += self.compound(pfn)
            if self.windows:
                self.put_back()
                if pfn <= window:
                    pfn, window = window, window + (1 << self.order)
        pfn = min(pfn, end)
        if pfn == end and (not self.sources or self.again):
            if start % BLOCK == 0 and not touched:
                self.owner.skip.add(start // BLOCK)
            self.mark_migrate(end)
        self.owner.count("compact_isolated", len(self.sources))
        self.scanned[0] += scanned
        self.pos = pfn

    def compound(self, pfn):
        page = self.owner.pages.get(pfn)
        return 1 << page.order if page and "kernel" not in page.words else 1

    def search_source(self):
        starts = self.pos == self.zone.start or self.pos % BLOCK == 0
        if self.heedless or not starts or self.order <= 3:
            return self.pos
        if self.direct and self.mt != Mt.MOVABLE:
            return self.pos
        share = 2 if self.pos == self.zone.start else 8
        below = (self.pos + (self.free - self.pos) // share) // BLOCK * BLOCK
        left = (32 >> min(self.fails, 31)) + 1
        for order in range(self.order - 1, 2, -1):
            if left <= 0:
                break
            blocks = self.zone.lists[order, Mt.MOVABLE]
            for i, pfn in enumerate(blocks):
                left -= 1
                self.scanned[0] += 1
                fits = pfn < below and pfn // BLOCK not in self.owner.skip
                if left < 0 or fits:
                    blocks[:] = blocks[i + 1 :] + blocks[: i + 1]
                if left < 0:
                    break
                if fits:
                    self.owner.skip.add(pfn // BLOCK)
                    self.fails = 0
                    self.lowest_found = min(pfn, self.lowest_found or pfn)
                    return max(pfn // BLOCK * BLOCK, self.zone.start)
        self.fails += 1
        if self.lowest_found is not None:
            self.pos, self.lowest_found = self.lowest_found, None
        return self.pos

    def put_back(self):
        for pfn in self.sources:
            self.owner.lru[self.owner.list_of(pfn)].insert(0, pfn)
        self.sources = []

    # 8.3 and 8.4

    def migrate(self):
        """Return whether targets ran out; a search wants as many as there were pages at first."""
        self.wanted = len(self.sources)
        for _ in range(10):
            waiting = 0
            for pfn in list(self.sources):
                if not self.targets:
                    self.find_targets()
                if not self.targets:
                    self.owner.count("pgmigrate_fail", waiting + 1)
                    return True
                if {"pinned", "writing"} & self.owner.pages[pfn].words:
                    waiting += 1
                    continue
                self.sources.remove(pfn)
                self.move(pfn, self.targets.pop(0))
            if not self.sources:
                break
        self.owner.count("pgmigrate_fail", len(self.sources))
        return False

    def move(self, pfn, target):
        page = self.owner.pages.pop(pfn)
        self.owner.pages[target] = page
        self.owner.page_table[page.handle] = target
        self.owner.lru[self.owner.list_of(target)].insert(0, target)
        self.owner.count("pgmigrate_success")
        self.free_page(pfn)

    def free_page(self, pfn):
        self.owner.count("pgfree")
        self.owner.pcps[self.z][self.cpu].free(pfn, 0)

    # 6.5

    def enough(self):
        return len(self.targets) >= self.wanted

    def take_block(self, pfn):
        """Take a free block; its pages, highest first, go before the targets taken earlier."""
        order, _ = self.zone.block[pfn]
        kind = self.zone.type_of(pfn)
        if not self.owner.order_0_passes(self.z, self.zone.wmark[0] + 2**order, 0):
            return False
        self.zone.book(self.cpu, -(1 << order), kind)
        self.zone.remove(pfn)
        if order >= 8:
            for start in range(pfn, pfn + 2**order, BLOCK):
                if self.zone.type_of(start) in (Mt.UNMOVABLE, Mt.MOVABLE, Mt.RECLAIMABLE):
                    self.zone.set_type(start, Mt.MOVABLE)
        self.targets[:0] = range(pfn + 2**order - 1, pfn - 1, -1)
        self.owner.count("compact_isolated", 2**order)
        return True

    def scan_free(self, start, end, stride):
        pfn, before = start, len(self.targets)
        while pfn < end:
            self.scanned[1] += 1
            if pfn not in self.zone.block:
                pfn += self.compound(pfn) - 1 + stride
                continue
            size = 1 << self.zone.block[pfn][0]
            if not self.take_block(pfn):
                break
            self.scanned[1] += size - 1
            pfn += size
            if self.enough():
                break
            pfn += stride - 1
        return min(pfn, end), len(self.targets) > before

    def is_target(self, start):
        if self.owner.zone_at(start) != self.z or self.zone.block.get(start, (0,))[0] >= 9:
            return False
        kind_fits = self.zone.type_of(start) in (Mt.MOVABLE, Mt.CMA)
        return (self.any_target or kind_fits) and not self.skipped(start)

    def find_targets(self):
        self.search_target()
        if self.targets:
            return
        at, stride = self.free, 32 if self.mode == ASYNC else 1
        block = at // BLOCK * BLOCK
        while block >= self.pos // BLOCK * BLOCK + BLOCK:
            end = min(block + BLOCK, self.zone.end)
            if self.is_target(block):
                at, some = self.scan_free(at, end, stride)
                if at == end:
                    self.owner.skip.add(block // BLOCK)
                    self.mine.free = min(self.mine.free, block)
                if self.enough() or at < end:
                    if self.enough() and at == end:
                        at = block - BLOCK
                    break
                stride = 1 if some else min(32, 2 * stride)
            block -= BLOCK
            at = block
        self.free = at

    def search_target(self):
        if self.order <= 0:
            return
        begins = self.free >= self.mine.init_free
        limit = 256 if begins else max(1, ((32 >> min(self.fails, 31)) + 1) // 2)
        span = self.free - self.pos
        low = (self.free - span // 4) // BLOCK * BLOCK
        middle = (self.free - span // 2) // BLOCK * BLOCK
        self.search_order = min(self.search_order, self.order - 1)
        orders = [(self.search_order - i) % self.order for i in range(self.order)]
        highest, found, gave_up = 0, None, False
        for order in orders:
            blocks = self.zone.lists[order, Mt.MOVABLE]
            if not blocks:
                continue
            looked, best, hit = 0, None, False
            for pfn in reversed(blocks):
                looked += 1
                self.scanned[1] += 1
                highest = max(highest, pfn // BLOCK * BLOCK, self.zone.start)
                if pfn >= low:
                    best, hit = pfn, True
                    break
                if pfn >= middle and (best is None or pfn > best):
                    best = pfn
                    limit //= 2
                if looked >= limit:
                    break
            first = blocks.index(best) if best is not None else len(blocks) - looked
            blocks[:] = blocks[first:] + blocks[:first]
            if hit:
                self.fails, self.search_order = 0, order
            if best is not None:
                if self.take_block(best):
                    self.scanned[1] += len(self.targets) - 1
                    found = best
                else:
                    gave_up = True
                break
            if looked >= limit:
                limit = max(1, limit // 2)
        if found is None:
            self.search_order = (self.search_order - 1) % self.order
            self.fails += 1
            self.owner.seen["search failed"] = gave_up
            if begins and highest >= middle:
                found = self.free = highest
            elif begins and self.direct:
                found = self.free = middle
        if highest and highest >= self.mine.free:
            self.mine.free = highest - BLOCK
        outside = found is None or self.owner.zone_at(found) != self.z
        if not outside and not self.enough() and not self.windows:
            start = max(found // BLOCK * BLOCK, self.zone.start)
            end = min(found // BLOCK * BLOCK + BLOCK, self.zone.end)
            if self.scan_free(start, end, 1)[0] == end:
                self.owner.skip.add(found // BLOCK)

    def release(self):
        if self.targets:
            back = max(self.targets) // BLOCK * BLOCK
            for pfn in self.targets:
                self.free_page(pfn)
            self.targets = []
            self.mine.free = max(self.mine.free, back)


def index(zone, k):
    """6.9, in thousandths."""
    blocks = [(pfn, order) for pfn, (order, _) in zone.block.items()]
    if not blocks:
        return 0
    if any(order >= k for _, order in blocks):
        return -1000
    pages = sum(2**order for _, order in blocks)
    return 1000 - (1000 + pages * 1000 // 2**k) // len(blocks)


def reset_skip_bits(owner, z):
    """6.3 step 3: from both ends towards the middle, as far as a sample finds work."""
    zone, mine = owner.zones[z], owner.memory[z]
    up, down = zone.start, zone.end - 1
    source, target = None, None
    while up < down:
        if source is None and sample(owner, z, up, True, False):
            source = mine.init_migrate = up
            mine.migrate = {ASYNC: up, SYNC: up}
        elif source is not None:
            sample(owner, z, up, True, True)
        if target is None and sample(owner, z, down, False, True):
            target = mine.init_free = mine.free = down
        elif target is not None:
            sample(owner, z, down, True, True)
        up += BLOCK
        down -= BLOCK
    if (source if source is not None else zone.end - 1) >= (
        target if target is not None else zone.start
    ):
        mine.migrate, mine.free = {ASYNC: up, SYNC: up}, down


def sample(owner, z, pfn, lru, free):
    """Clear a pageblock's bit if one of every 8 pages is of use; say whether one is.

    Once both ends are known, a clear bit is enough.
    """
    zone, start = owner.zones[z], pfn // BLOCK * BLOCK
    head = owner.pages.get(start)
    if owner.zone_at(pfn) != z or (head and head.order >= 9 and "kernel" not in head.words):
        return False
    if lru and free and start // BLOCK not in owner.skip:
        return True
    if free and not lru and zone.type_of(pfn) != Mt.MOVABLE:
        return False
    first, last = max(start, zone.start), min(start + BLOCK, zone.end)
    for page in range(first, last, 8):
        held = owner.pages.get(page)
        if (lru and held and "kernel" not in held.words) or (free and page in zone.block):
            owner.skip.discard(start // BLOCK)
            return True
    return False


class _Counter(dict):
    def __missing__(self, key):
        return 0
