"""Reclaim of one node, naively: lists of pages in Python, kswapd a generator (spec 7).

Placement is left to whoever drives it: pages come and go by pfn, and requests say when they wake
kswapd or reclaim, and whose watermarks are boosted. Only single pages; nothing lies on per-CPU
lists.
"""

from memsim.mm import LRU_BATCH, Wmark

INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE, UNEVICTABLE, SLAB = range(6)
NEVER = (1 << 63) - 1
HIGH = int(Wmark.HIGH)
CHUNK = 32
TOP_PRIORITY = 12
WAIT = 100_000_000
EXPIRE = 30_000_000_000
FLAGS = (
    "anon", "slab", "active", "mapped", "young", "referenced", "dirty", "writeback", "reclaim",
    "swapcache", "unevictable", "pinned",
)  # fmt: skip


class Page:
    def __init__(self, pfn, handle, flags):
        self.pfn, self.handle = pfn, handle
        self.slot = None
        self.where = None
        for name in FLAGS:
            setattr(self, name, name in flags)

    def kind(self):
        if self.slab:
            return SLAB
        if self.unevictable:
            return UNEVICTABLE
        return (INACTIVE_ANON if self.anon else INACTIVE_FILE) + self.active

    def flags(self):
        return {name for name in FLAGS if getattr(self, name)}


class Scan:
    def __init__(self, kswapd, target, highest, fs=True, io=True, force=False):
        self.kswapd, self.target, self.highest = kswapd, target, highest
        self.fs, self.io, self.force = fs, io, force
        self.priority = TOP_PRIORITY
        self.reclaimed = self.scanned = self.cost = 0
        self.spared_active = False
        self.may_swap = self.may_write = True
        self.begin()

    def begin(self):
        self.at_start = self.reclaimed
        self.taken = self.taken_file = self.met_writeback = self.met_dirty = self.immediate = 0


CHANGES = {
    "pgscan_kswapd": 3,
    "pgscan_direct": 3,
    "pgsteal_kswapd": 1,
    "pgsteal_direct": 1,
    "pgactivate": 1,
    "pgrefill": 3,
    "pgdeactivate": 1,
    "pgfault": 3,
}
"""How often counters of memory change for each event."""


class NaiveReclaim:
    """``zones``: (start, end, index, (min, low, high), free pages), all on one node."""

    batch_length = LRU_BATCH

    def __init__(
        self, zones, slots, costs, swappiness=60, cache_pressure=100, objects=20, capacity=1024
    ):
        self.zones, self.costs = zones, costs
        self.swappiness, self.cache_pressure, self.objects = swappiness, cache_pressure, objects
        self.capacity = capacity
        self.free_pages = [zone[4] for zone in zones]
        self.boost = [0] * len(zones)
        self.pages, self.table = {}, {}
        self.lists = [[] for _ in range(6)]
        self.batch = []
        self.slots = [None] * slots
        self.slot_next = self.slot_cluster = 0
        self.ring, self.device_free = [], 0
        self.dirtied, self.flush_before, self.flush_due = [], 0, NEVER
        self.background = sum(self.free_pages) // 10
        self.cost = {True: 0, False: 0}
        self.clock = 0
        self.kswapd_due, self.wanted_highest, self.failures = NEVER, 0, 0
        self.only_dirty = self.only_writeback = False
        self.daemon = self.kswapd()
        self.freed = []
        self.counts = {}
        self.summed, self.summed_at, self.sum_due = [0] * 4, 0, 0

    def count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    def zone_of(self, pfn):
        return next(i for i, zone in enumerate(self.zones) if zone[0] <= pfn < zone[1])

    def index_of(self, page):
        return self.zones[self.zone_of(page.pfn)][2]

    # pages come, are used, and go

    def place(self, pfn, handle, flags, lru, write=False):
        entry = self.table.get(handle)
        page = self.enter_lists(Page(pfn, handle, flags), lru)
        if entry is not None:
            self.bring_back(page, entry, write)

    def enter_lists(self, page, lru):
        """Let a page that was handed out be its handle's, and wait for its list."""
        self.pages[page.pfn] = self.table[page.handle] = page
        self.free_pages[self.zone_of(page.pfn)] -= 1
        self.count("pgfault", page.mapped)
        if page.dirty:
            self.note_dirtied(page.handle)
        if page.slab:
            self.link(page)
        elif lru:
            page.where = "batch"
            self.batch.append(page)
            if len(self.batch) == self.batch_length:
                self.drain_batch()
        return page

    def bring_back(self, page, entry, write):
        swapped = entry != "gone"
        self.count("pgpgin", 4)
        self.count("pgmajfault", page.mapped)
        if swapped:
            self.slots[entry] = None
            self.count("pswpin")
        if not page.slab:
            self.count("workingset_refault_anon" if swapped else "workingset_refault_file")
            self.note_cost(swapped, 1)
        self.stall(self.costs["swap_read" if swapped else "file_read"])
        if write and not page.anon and not page.slab:
            self.set_dirty(page)

    def stall(self, ns):
        self.clock += ns
        self.count("stall_model_ns", ns)

    def touch(self, handle, write):
        page = self.table[handle]
        if page.slab:
            page.referenced = True
        elif page.where is not None:
            if page.anon or page.mapped:
                self.count("pgfault", not page.mapped)
                page.mapped = page.young = True
            elif not page.referenced:
                page.referenced = True
            elif not page.active and not page.unevictable:
                self.count("pgactivate")
                self.move(page, active=True, referenced=False)
            if write and page.swapcache:
                page.reclaim = False
                page.dirty = page.writeback
                if not page.writeback:
                    self.slots[page.slot] = None
                    page.swapcache = False
            elif write and not page.anon:
                self.set_dirty(page)

    def release(self, handle):
        entry = self.table.pop(handle, None)
        if isinstance(entry, Page):
            if entry.where == "batch":
                self.drain_batch()
            if entry.where is not None:
                self.unlink(entry)
            self.vanish(entry)
            if entry.swapcache:
                self.slots[entry.slot] = None
        elif entry not in (None, "gone"):
            self.slots[entry] = None

    def vanish(self, page):
        self.ring = [(None if p is page else p, end) for p, end in self.ring]
        self.free_pages[self.zone_of(page.pfn)] += 1
        del self.pages[page.pfn]

    # lists, youngest first

    def link(self, page, at=0):
        page.where = page.kind()
        self.lists[page.where].insert(at, page)

    def unlink(self, page):
        self.lists[page.where].remove(page)
        page.where = None

    def move(self, page, **changes):
        listed = page.where != "batch"
        if listed:
            self.unlink(page)
        for name, value in changes.items():
            setattr(page, name, value)
        if listed:
            self.link(page)

    def drain_batch(self):
        for page in self.batch:
            self.link(page)
        self.batch = []

    # swap slots, writing

    def take_slot(self, handle):
        if None not in self.slots:
            return None
        slot = None
        if self.slot_cluster:
            slot = next((i for i in self.free_slots() if i >= self.slot_next), None)
            self.slot_cluster -= slot is not None
        if slot is None:
            self.slot_cluster = 255
            runs = (i for i in self.free_slots() if self.slots[i : i + 256] == [None] * 256)
            slot = next(runs, self.free_slots()[0])
        self.slots[slot] = handle
        self.slot_next = slot + 1
        return slot

    def free_slots(self):
        return [i for i, owner in enumerate(self.slots) if owner is None]

    def write(self, page):
        page.dirty, page.writeback = False, True
        self.count("pgpgout", 4)
        self.count("pswpout", page.anon)
        start = max(self.clock, self.device_free)
        self.device_free = start + self.costs["swap_write" if page.anon else "file_write"]
        self.ring.append((page, self.device_free))

    def end_writes(self):
        while self.ring and self.ring[0][1] <= self.clock:
            page, _ = self.ring.pop(0)
            if page is None:
                continue
            page.writeback = False
            self.count("nr_written")
            wanted, page.reclaim = page.reclaim, False
            if wanted and page.where != "batch" and not page.unevictable and not page.dirty:
                self.unlink(page)
                page.active = False
                self.link(page, len(self.lists[page.kind()]))
                self.count("pgrotated")

    def congested(self):
        return len(self.ring) == self.capacity

    def writes_end(self):
        return self.ring[min(CHUNK, len(self.ring)) - 1][1] if self.ring else self.clock

    def set_dirty(self, page):
        if not page.dirty:
            page.dirty, page.reclaim = True, False
            self.note_dirtied(page.handle)

    def note_dirtied(self, handle):
        self.count("nr_dirtied")
        self.dirtied.append((handle, self.clock))
        over = len(self.dirtied) > self.background
        self.flush_due = min(self.flush_due, self.clock + (0 if over else EXPIRE))

    def next_flush(self):
        _, since = self.dirtied[0]
        at_once = since < self.flush_before or len(self.dirtied) > self.background
        return since if at_once else since + EXPIRE

    def flush(self):
        self.flush_due = NEVER
        for _ in range(len(self.dirtied)):
            if self.next_flush() > self.clock or self.congested():
                break
            handle, _ = self.dirtied.pop(0)
            page = self.table.get(handle)
            if isinstance(page, Page) and page.dirty and not page.anon:
                if page.writeback:
                    self.dirtied.append((handle, self.clock))
                else:
                    self.write(page)
        if self.dirtied:
            due = self.next_flush()
            if due <= self.clock:
                due = self.ring[0][1]
            self.flush_due = max(due, self.clock + 1)

    # time

    def advance(self, now):
        before = self.clock
        while True:
            device = self.ring[0][1] if self.ring else NEVER
            due = min(device, self.kswapd_due, self.flush_due)
            if due > now:
                break
            self.clock = due
            if device == due:
                self.end_writes()
            elif self.kswapd_due == due:
                cost, until = next(self.daemon)
                self.count("kswapd_model_ns", cost)
                self.kswapd_due = NEVER if until is None else max(due + cost, until)
            else:
                self.flush()
        self.clock = before

    def begin(self, now):
        self.advance(now)
        self.clock = now

    # how much of which list

    def size(self, kind, highest=9):
        return sum(self.index_of(page) <= highest for page in self.lists[kind])

    def sum_up(self):
        """Lists are measured for ``is_low`` after 150 changes of counters, or two seconds."""
        changes = 0
        for name, each in CHANGES.items():
            changes += each * self.counts.get(name, 0)
        if changes >= self.summed_at + 150 or self.clock >= self.sum_due:
            self.summed = [len(pages) for pages in self.lists[:4]]
            self.summed_at, self.sum_due = changes, self.clock + 2 * 10**9

    def is_low(self, active):
        return self.summed[active - 1] < self.summed[active]

    def note_cost(self, anon, pages):
        self.cost[anon] += pages
        if sum(self.cost.values()) > sum(map(len, self.lists[:4])) // 4:
            self.cost = {kind: cost // 2 for kind, cost in self.cost.items()}

    def shares(self):
        total = sum(self.cost.values())
        anon, file = total + self.cost[True], total + self.cost[False]
        ap = self.swappiness * (anon + file + 1) // (anon + 1)
        fp = (200 - self.swappiness) * (anon + file + 1) // (file + 1)
        return ap, fp

    def scan_counts(self, scan):
        self.sum_up()
        scan.age = {
            ACTIVE_ANON: scan.force or self.is_low(ACTIVE_ANON),
            ACTIVE_FILE: scan.force or self.is_low(ACTIVE_FILE),
        }
        files = len(self.lists[INACTIVE_FILE]) + len(self.lists[ACTIVE_FILE])
        tiny = files + sum(self.free_pages) <= sum(map(self.high, range(len(self.zones))))
        some_anon = len(self.lists[INACTIVE_ANON]) >> scan.priority > 0
        ap, fp = self.shares()
        if None not in self.slots or not scan.may_swap:
            ap, fp = 0, 1
        elif scan.priority == 0 and self.swappiness:
            ap = fp = None
        elif tiny and not scan.age[ACTIVE_ANON] and some_anon:
            ap, fp = 1, 0
        elif len(self.lists[INACTIVE_FILE]) >> scan.priority and not scan.age[ACTIVE_FILE]:
            ap, fp = 0, 1
        scan.left = {}
        for kind in range(4):
            pages = self.size(kind, scan.highest) >> scan.priority
            share = ap if kind in (INACTIVE_ANON, ACTIVE_ANON) else fp
            scan.left[kind] = pages if ap is None else pages * share // (ap + fp)
        scan.begin()

    # the lists themselves

    def isolate(self, scan, kind, wanted):
        taken, passed = [], []
        while len(taken) < wanted and self.lists[kind]:
            page = self.lists[kind].pop()
            (passed if self.index_of(page) > scan.highest else taken).append(page)
        self.lists[kind] = passed[::-1] + self.lists[kind]
        self.count("pgskip", len(passed))
        scan.cost += (len(taken) + len(passed)) * self.costs["scan"]
        return taken

    def age_some(self, scan, kind):
        self.drain_batch()
        for page in self.isolate(scan, kind, scan.chunk):
            page.active = page.young = False
            self.link(page)
            self.count("pgdeactivate")
            self.count("pgrefill")

    def shrink_inactive(self, scan, kind):
        self.drain_batch()
        taken = self.isolate(scan, kind, scan.chunk)
        if not taken:
            return
        dirty, writes, freed = scan.met_dirty, self.counts.get("nr_vmscan_write", 0), 0
        for page in taken:
            scan.scanned += 1
            fate = self.fate(scan, page)
            if fate == "free":
                self.take_away(page)
                freed += 1
            else:
                page.active |= fate == "activate"
                self.count("pgactivate", fate == "activate")
                self.link(page)
        who, what = ("kswapd" if scan.kswapd else "direct"), ("file" if kind else "anon")
        for name in (who, what):
            self.count(f"pgscan_{name}", len(taken))
            self.count(f"pgsteal_{name}", freed)
        scan.taken += len(taken)
        scan.taken_file += len(taken) if kind else 0
        scan.reclaimed += freed
        scan.cost += freed * self.costs["reclaim"]
        self.note_cost(kind == INACTIVE_ANON, self.counts.get("nr_vmscan_write", 0) - writes)
        if scan.met_dirty - dirty == len(taken):
            self.flush_before = self.clock + 1
            if self.dirtied:
                self.flush_due = min(self.flush_due, self.clock)

    def take_away(self, page):
        self.freed.append(page.pfn)
        self.table[page.handle] = page.slot if page.swapcache else "gone"
        self.vanish(page)

    def fate(self, scan, page):
        if page.writeback:
            if scan.kswapd and page.reclaim and self.only_writeback:
                scan.immediate += 1
            else:
                page.reclaim = True
                scan.met_writeback += 1
            return "activate"
        scan.met_dirty += page.dirty and not page.anon
        was, page.referenced = page.referenced, False
        used, page.young = page.mapped and page.young, False
        if used:
            page.referenced = True
            return "activate" if was else "keep"
        if page.pinned:
            return "keep"
        if page.anon and not page.swapcache:
            if not scan.io or self.congested():
                return "keep"
            page.slot = self.take_slot(page.handle)
            if page.slot is None:
                return "activate"
            page.swapcache = page.dirty = True
        if page.anon:
            page.mapped = False
        if not page.dirty:
            return "free"
        if not page.anon and not (scan.kswapd and self.only_dirty and page.reclaim):
            page.reclaim = True
            self.count("nr_vmscan_immediate_reclaim")
            return "activate"
        allowed = scan.io if page.anon else scan.fs and not was
        if allowed and scan.may_write and not self.congested():
            page.reclaim = True
            self.count("nr_vmscan_write")
            self.write(page)
        return "keep"

    def shrink_once(self, scan):
        for kind in range(4):
            scan.chunk = min(scan.left[kind], CHUNK)
            scan.left[kind] -= scan.chunk
            if scan.chunk and kind in (INACTIVE_ANON, INACTIVE_FILE):
                self.shrink_inactive(scan, kind)
            elif scan.chunk and scan.age[kind]:
                self.age_some(scan, kind)
            elif scan.chunk:
                scan.spared_active = True
        if not any(scan.left[kind] for kind in (INACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE)):
            return False
        whole = not scan.kswapd and scan.priority == TOP_PRIORITY
        return whole or scan.reclaimed - scan.at_start < scan.target

    def age_anon(self, scan):
        if scan.may_swap and None in self.slots and self.is_low(ACTIVE_ANON):
            scan.chunk = CHUNK
            self.age_some(scan, ACTIVE_ANON)

    def finish(self, scan):
        self.age_anon(scan)
        if scan.fs:
            self.shrink_slab(scan)
        if scan.kswapd:
            self.only_writeback |= scan.met_writeback == scan.taken > 0
            self.only_dirty |= scan.met_dirty == scan.taken_file > 0
        if scan.reclaimed > scan.at_start:
            self.failures = 0

    def shrink_slab(self, scan):
        wanted = len(self.lists[SLAB]) * self.cache_pressure // 100 >> scan.priority
        for _ in range(wanted):
            page = self.lists[SLAB].pop()
            scan.cost += self.costs["scan"]
            self.count("slabs_scanned", self.objects)
            if page.referenced or page.pinned:
                page.referenced = False
                self.lists[SLAB].insert(0, page)
            else:
                self.take_away(page)
                scan.cost += self.costs["reclaim"]
                scan.reclaimed += 1
                self.count("slab_pages_freed")

    # who reclaims

    def direct_reclaim(self, highest, fs, io):
        self.advance(self.clock)
        self.count("allocstall")
        for force in (False, True):
            scan = Scan(False, CHUNK, highest, fs, io, force)
            for scan.priority in range(TOP_PRIORITY, -1, -1):
                scan.cost = 0
                self.scan_counts(scan)
                while self.shrink_once(scan):
                    pass
                self.finish(scan)
                self.stall(scan.cost)
                if scan.reclaimed >= CHUNK:
                    return scan.reclaimed
                until = min(self.writes_end(), self.clock + WAIT)
                if (scan.priority < 10 or self.congested()) and until > self.clock:
                    self.stall(until - self.clock)
                    self.advance(self.clock)
            if scan.reclaimed or not scan.spared_active:
                break
        return scan.reclaimed

    def eligible(self, highest):
        return [i for i, zone in enumerate(self.zones) if zone[2] <= highest]

    def high(self, i):
        return self.zones[i][3][HIGH] + self.boost[i]

    def balanced(self, highest):
        zones = self.eligible(highest)
        return not zones or any(self.free_pages[i] > self.high(i) for i in zones)

    def wake(self, highest):
        self.wanted_highest = max(highest, self.wanted_highest)
        boosted = any(self.boost[i] for i in self.eligible(highest))
        wanted = boosted or not self.balanced(highest)
        if self.kswapd_due == NEVER and self.failures < 16 and wanted:
            self.kswapd_due = self.clock

    def kswapd(self):
        while True:
            self.count("pageoutrun")
            scan = Scan(True, 0, self.wanted_highest)
            seen = {i: self.boost[i] for i in self.eligible(scan.highest)}
            left, hopeless = sum(seen.values()), False
            while scan.priority >= 1 and not hopeless:
                balanced = self.balanced(scan.highest)
                if left and not balanced:
                    left, scan.priority = 0, TOP_PRIORITY
                if balanced and not left:
                    break
                scan.may_swap, scan.may_write = not left, not left or scan.priority < 10
                scan.scanned, before = 0, scan.reclaimed
                scan.target = sum(max(self.high(i), CHUNK) for i in seen)
                self.age_anon(scan)
                self.scan_counts(scan)
                yield self.step(scan, 0)
                while self.shrink_once(scan):
                    yield self.step(scan, 0)
                self.finish(scan)
                gained = scan.reclaimed - before
                enough = (left and scan.priority == 10) or scan.scanned >= scan.target
                left = max(left - gained, 0)
                hopeless = left > 0 and not gained
                if not hopeless:
                    scan.priority -= not gained or not enough
                if scan.priority >= 1 and not hopeless:
                    urgent = scan.priority < 10 or self.congested()
                    waits = scan.immediate or (not gained and urgent)
                    yield self.step(scan, min(self.writes_end(), self.clock + WAIT) if waits else 0)
            self.failures += (scan.priority < 1 or hopeless) and scan.reclaimed == 0
            for i, boost in seen.items():
                self.count("boost taken back", min(boost, self.boost[i]))
                self.boost[i] -= min(boost, self.boost[i])
            if self.balanced(self.wanted_highest) or self.failures >= 16:
                self.only_dirty = self.only_writeback = False
                self.wanted_highest = 0
                yield self.step(scan, None)
            else:
                yield self.step(scan, 0)

    def step(self, scan, until):
        cost, scan.cost = max(scan.cost, 1000), 0
        return cost, until
