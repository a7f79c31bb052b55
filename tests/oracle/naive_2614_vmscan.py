"""Reclaim of 2.6.14, naively: lists of pages in Python, kswapd a generator (spec linux-2.6.14 6).

Placement is left to whoever drives it, as in ``naive_vmscan``, whose device, flusher and swap slots
these are; lumpy reclaim is of 7.2. Only single pages; nothing lies on per-CPU lists.
"""

from oracle.naive_vmscan import CHUNK, NEVER, TOP_PRIORITY, WAIT, NaiveReclaim, Page

from memsim.mm import LRU_BATCH_2005, Wmark

LEAST_STEP = 1000
TICK = 4_000_000


class Page2614(Page):
    zone = None

    def kind(self):
        return self.zone, "slab" if self.slab else "active" if self.active else "inactive"


class Zone:
    def __init__(self):
        self.carried = {"active": 0, "inactive": 0}
        self.prev = self.temp = TOP_PRIORITY
        self.scanned, self.dead = 0, False


class NaiveReclaim2614(NaiveReclaim):
    """``zones``: (start, end, index, (min, low, high), free pages), lowest first.

    ``reserve``: pages that each keeps from requests that may use a higher one.
    """

    batch_length = LRU_BATCH_2005

    def __init__(self, zones, slots, costs, swappiness, objects=20, reserve=0):
        super().__init__(zones, slots, costs, swappiness=swappiness, objects=objects)
        kinds = ("active", "inactive", "slab")
        self.lists = {(z, kind): [] for z in range(len(zones)) for kind in kinds}
        self.scan = [Zone() for _ in zones]
        self.total = sum(zone[4] - zone[3][Wmark.HIGH] for zone in zones)
        self.work = self.pool = self.partly = 0
        self.reserve = reserve
        self.lumpy, self.order = False, 0

    # pages come, are used, and go

    def place(self, pfn, handle, flags, lru, write=False):
        page = Page2614(pfn, handle, flags)
        page.zone = self.zone_of(pfn)
        return self.enter_lists(page, lru)

    def fill(self, page, entry, maps):
        self.count("pgmajfault", maps)
        if entry != "gone":
            self.read(page, entry)
            if self.swap_is_short():
                self.give_up_slot(page)
        elif not page.slab:
            self.count("pgpgin", 4)
            self.stall(self.costs["file_read"])

    def read(self, page, slot):
        page.swapcache, page.slot = True, slot
        self.count("pswpin")
        self.count("pgpgin", 4)
        self.stall(self.costs["swap_read"])

    def swap_is_short(self):
        return 2 * len(self.free_slots()) < len(self.slots)

    def give_up_slot(self, page):
        self.slots[page.slot] = None
        page.swapcache, page.dirty = False, True

    def touch(self, handle, write, maps):
        page = self.table[handle]
        if page.mapped:
            page.young = True
        elif page.anon or (maps and not page.slab):
            self.count("pgfault")
            page.mapped = page.young = True
            if page.swapcache and not page.writeback and self.swap_is_short():
                self.give_up_slot(page)
        elif page.referenced and page.kind() == page.where == (page.zone, "inactive"):
            page.referenced = False
            self.activate(page)
        else:
            page.referenced = True
        if write:
            self.write_to(page)

    def write_to(self, page):
        if page.anon:
            page.dirty = True
        elif not page.slab and page.where is not None:
            self.set_dirty(page)
            self.balance_dirty()

    def balance_dirty(self):
        for _ in range(10):
            dirty = sum(page.dirty and not page.anon for page in self.pages.values())
            if dirty + self.under_way() <= self.limit():
                return
            self.wait(WAIT)

    def activate(self, page):
        self.count("pgactivate")
        self.move(page, active=True)

    def vanish(self, page):
        super().vanish(page)
        zone = self.scan[page.zone]
        zone.scanned, zone.dead = 0, False

    def end_writes(self):
        while self.ring and self.ring[0][1] <= self.clock:
            page, _ = self.ring.pop(0)
            if page is None:
                continue
            page.writeback = False
            self.count("nr_written")
            kept = page.where == "batch" or page.active or page.unevictable or page.dirty
            if page.reclaim and not kept:
                self.unlink(page)
                self.link(page, len(self.lists[page.kind()]))
                self.count("pgrotated")
            page.reclaim = False

    # waiting

    def wait(self, ns):
        work, self.work = self.work, 0
        self.stall(ns)
        self.advance(self.clock)
        self.work = work

    def under_way(self):
        return sum(page.writeback for page in self.pages.values())

    def mapped_percent(self):
        return sum(page.mapped for page in self.pages.values()) * 100 // self.total

    def limit(self):
        return max(min(40, (100 - self.mapped_percent()) // 2), 5) * self.total // 100

    def too_much_under_way(self):
        return self.under_way() > self.limit() + self.limit() // 10

    # 6.2 to 6.5

    def amount(self, z, kind, priority):
        carried = self.scan[z].carried
        carried[kind] += (len(self.lists[z, kind]) >> priority) + 1
        if carried[kind] < CHUNK:
            return 0
        used, carried[kind] = carried[kind], 0
        return used

    def isolate(self, z, kind, n):
        self.drain_batch()
        taken, listed = [], self.lists[z, kind]
        while len(taken) < n and listed:
            tail = listed[-1]
            first = tail.pfn >> self.order << self.order
            block = [self.pages.get(pfn) for pfn in range(first, first + (1 << self.order))]
            others = [p for p in block if p and p is not tail and p.where == (z, kind)]
            for page in (tail, *others):
                self.unlink(page)
                taken.append(page)
        self.scan[z].scanned += len(taken) + (not self.lumpy)
        self.work += self.costs["scan"] * len(taken)
        return taken

    def refill(self, z, n):
        tendency = self.mapped_percent() // 2 + (100 >> self.scan[z].prev) + self.swappiness
        for page in self.isolate(z, "active", n):
            self.count("pgrefill")
            page.active = page.mapped and self.stays(page, tendency >= 100)
            self.count("pgdeactivate", not page.active)
            self.link(page)

    def stays(self, page, reclaim_mapped):
        if not reclaim_mapped or (page.anon and not self.slots):
            return True
        return self.was_referenced(page)

    def was_referenced(self, page):
        found = page.referenced or (page.mapped and page.young)
        page.referenced = page.young = False
        return found

    def shrink(self, z, n, who, fs, io):
        scanned, freed, back = 0, 0, []
        for page in self.isolate(z, "inactive", n):
            scanned += 1 + (page.mapped or page.swapcache)
            self.count(f"pgscan_{who}")
            self.count("pgscan_anon" if page.anon else "pgscan_file")
            fate = self.judge(page, who, fs, io)
            if fate == "free":
                self.evict(page, who)
                freed += 1
                continue
            page.active = fate == "activate"
            self.count("pgactivate", page.active)
            back.append(page)
        for page in back:
            self.link(page)
        return scanned, freed

    def judge(self, page, who, fs, io):
        if page.writeback:
            return "keep"
        referenced = self.was_referenced(page)
        if referenced and (page.mapped or page.swapcache):
            return "activate"
        if page.anon and not page.swapcache:
            slot = self.take_slot(page.handle)
            if slot is None:
                return "activate"
            page.slot, page.swapcache, page.dirty = slot, True, True
        if page.mapped:
            if page.unevictable:
                return "activate"
            page.mapped = page.young = False
            self.work += self.costs["reclaim"]
        if page.dirty:
            if not referenced and (fs or (page.swapcache and io)) and not page.pinned:
                page.reclaim = True
                self.write(page)
                self.count("nr_vmscan_write")
            return "keep"
        return "keep" if page.pinned else "free"

    def evict(self, page, who):
        self.table[page.handle] = page.slot if page.swapcache else "gone"
        self.count(f"pgsteal_{who}")
        self.count("pgsteal_anon" if page.anon else "pgsteal_file")
        self.work += self.costs["reclaim"]
        self.freed.append(page.pfn)
        self.vanish(page)

    def once(self, z, left, who, fs=True, io=True):
        """A batch of each list; what is left of each is counted down."""
        if left["active"]:
            self.refill(z, min(left["active"], CHUNK))
        found = (0, 0)
        if left["inactive"]:
            found = self.shrink(z, min(left["inactive"], CHUNK), who, fs, io)
        for kind in left:
            left[kind] = max(0, left[kind] - CHUNK)
        return found

    # 6.6

    def shrink_slab(self, scanned, seen, fs=True):
        pages = [page for page in self.pages.values() if page.slab]
        unused = len(pages) * self.objects
        self.pool += 4 * (scanned or 32) // 2 * (unused // 100 * 100) // (seen + 1)
        freed = 0
        if fs:
            looked = min(self.pool - self.pool % 128, 2 * unused + 128)
            self.pool %= 128
            self.count("slabs_scanned", looked)
            self.work += self.costs["scan"] * looked
            self.partly += looked
            for _ in range(self.partly // self.objects):
                freed += self.prune()
            self.partly %= self.objects
        return freed

    def prune(self):
        z = max(range(len(self.zones)), key=lambda z: len(self.lists[z, "slab"]))
        if not self.lists[z, "slab"]:
            return 0
        page = self.lists[z, "slab"][-1]
        if page.referenced or page.pinned:
            self.move(page, referenced=False)
            return 0
        self.table[page.handle] = "gone"
        self.unlink(page)
        self.count("slab_pages_freed")
        self.work += self.costs["reclaim"]
        self.freed.append(page.pfn)
        self.vanish(page)
        return 1

    # 6.3

    def direct_reclaim(self, fs, io):
        self.count("allocstall")
        order = range(len(self.zones) - 1, -1, -1)
        seen = sum(map(self.lru_pages, order))
        for zone in self.scan:
            zone.temp = TOP_PRIORITY
        all_scanned = all_freed = 0
        for priority in range(TOP_PRIORITY, -1, -1):
            self.work = scanned = freed = 0
            for z in order:
                looked, gone = self.shrink_zone(z, priority, fs, io)
                scanned, freed = scanned + looked, freed + gone
            freed += self.shrink_slab(scanned, seen, fs)
            self.stall(self.work)
            all_scanned, all_freed = all_scanned + scanned, all_freed + freed
            if all_freed >= CHUNK:
                break
            if all_scanned > 48:
                self.flush_before = self.clock + 1
                if self.dirtied:
                    self.flush_due = min(self.flush_due, self.clock)
            if scanned and priority < TOP_PRIORITY - 2:
                self.wait(WAIT)
        self.work = 0
        for zone in self.scan:
            zone.prev = zone.temp
        return all_freed if all_freed >= CHUNK else 0

    def shrink_zone(self, z, priority, fs, io):
        zone = self.scan[z]
        if zone.dead and priority != TOP_PRIORITY:
            return 0, 0
        zone.temp, zone.prev = priority, min(zone.prev, priority)
        left = {kind: self.amount(z, kind, priority) for kind in ("active", "inactive")}
        scanned = freed = 0
        while any(left.values()) and freed < CHUNK:
            looked, gone = self.once(z, left, "direct", fs, io)
            scanned, freed = scanned + looked, freed + gone
        for _ in range(10):
            if self.too_much_under_way():
                self.wait(WAIT)
        return scanned, freed

    # 6.7

    def lru_pages(self, z):
        return len(self.lists[z, "active"]) + len(self.lists[z, "inactive"])

    def is_above(self, z, mark, end=0):
        kept = self.reserve if end > z else 0
        return self.free_pages[z] > self.zones[z][3][mark] + kept

    def wake(self):
        for z in range(len(self.zones)):
            if not self.is_above(z, Wmark.LOW):
                self.count("kswapd_wakeups")
                if self.kswapd_due == NEVER:
                    self.kswapd_due = self.clock

    def rest(self, wait=0):
        cost, self.work = max(self.work, LEAST_STEP), 0
        begin = self.clock + cost
        if self.ring:
            wait = min(wait, max(0, self.writes_end() - begin))
        return cost, begin + wait

    def enter(self, z, end, priority):
        """The next zone to look at, and whether it is above its high mark."""
        while z <= end and self.scan[z].dead and priority != TOP_PRIORITY:
            z += 1
        if z > end:
            return None, True, None
        zone = self.scan[z]
        fine = self.is_above(z, Wmark.HIGH, end)
        zone.temp, zone.prev = priority, min(zone.prev, priority)
        return z, fine, {kind: self.amount(z, kind, priority) for kind in ("active", "inactive")}

    def kswapd(self):
        while True:
            self.work = wait = 0
            self.count("pageoutrun")
            for zone in self.scan:
                zone.temp = TOP_PRIORITY
            fine, all_scanned, all_freed = True, 0, 0
            for priority in range(TOP_PRIORITY, -1, -1):
                top = priority == TOP_PRIORITY
                low = [
                    z
                    for z, zone in enumerate(self.scan)
                    if (top or not zone.dead) and not self.is_above(z, Wmark.HIGH)
                ]
                fine = True
                if not low:
                    break
                end = low[-1]
                seen = sum(map(self.lru_pages, range(end + 1)))
                z, fine, left = self.enter(0, end, priority)
                while z is not None:
                    scanned = freed = 0
                    while True:
                        looked, gone = self.once(z, left, "kswapd")
                        scanned, freed = scanned + looked, freed + gone
                        if not any(left.values()) or freed >= CHUNK:
                            break
                        yield self.rest()
                    while self.too_much_under_way():
                        yield self.rest(WAIT)
                    slab = self.shrink_slab(scanned, seen)
                    all_scanned, all_freed = all_scanned + scanned, all_freed + freed + slab
                    if slab == 0 and self.scan[z].scanned >= 4 * self.lru_pages(z):
                        self.scan[z].dead = True
                    z, is_fine, left = self.enter(z + 1, end, priority)
                    fine = fine and is_fine
                    if z is not None:
                        yield self.rest()
                if fine:
                    break
                wait = WAIT if priority < TOP_PRIORITY - 2 and all_scanned else 0
                if all_freed >= CHUNK or priority == 0:
                    break
                yield self.rest(wait)
            for zone in self.scan:
                zone.prev = zone.temp
            cost, until = self.rest(wait)
            yield cost, None if fine else until
