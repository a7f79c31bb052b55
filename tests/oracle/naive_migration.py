"""Page migration of spec section 8 in plain lists and dicts, on the machine of section 5.

There is no reclaim: a target is had from free memory or not at all.
"""

from oracle.naive_machine import NaiveMachine

from memsim.mm import Migratetype as Mt
from memsim.mm import Status, ZoneType

ASYNC, SYNC_LIGHT, SYNC = "async", "sync_light", "sync"
EAGAIN, ENOMEM, EBUSY, EINVAL = -11, -12, -16, -22
NOT_TRIED = 1
COPY, READ, WRITE = 1_100, 60_000, 80_000  # nanoseconds per page
CPU = 0


class Page:
    """A block of a process; ``words`` say what it is, and go with it."""

    def __init__(self, words, order, handle):
        self.words, self.order, self.handle = set(words), order, handle

    @property
    def pages(self):
        return 1 << self.order


class Target:
    """A request for a target (8.6)."""

    high = atomic = memalloc = lru = False
    cma = True

    def __init__(self, node, nodes, only, mt, zone, may_reclaim):
        self.nid, self.nodemask, self.thisnode = node, nodes, only
        self.migratetype, self.highest_zoneidx = mt, zone
        self.direct_reclaim = self.kswapd = may_reclaim
        self.nomemalloc, self.order = not may_reclaim, 0


class NaiveMigration:
    def __init__(self, spec, pages, spare):
        """``pages``: pfn to Page, the oldest first; ``spare``: handles for pages of split ones."""
        self.machine, self.pages, self.spare = NaiveMachine(spec), pages, list(spare)
        self.page_table = {page.handle: pfn for pfn, page in pages.items()}
        self.lru = {}  # (node, kind) -> pfns, the youngest first
        self.counts = {}
        self.now, self.writes_end = 0, 1 << 40
        self.writes = []  # (pfn, when it ends), in order
        for pfn, page in pages.items():
            self.lru_add(pfn)
            if "writing" in page.words:
                self.writes.append((pfn, self.writes_end))

    def count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    def zone_at(self, pfn):
        return next(zone for zone in self.machine.zones if zone.start <= pfn < zone.end)

    # 8.2 Isolating and putting back

    def list_of(self, pfn):
        words = self.pages[pfn].words
        if "hugetlb" in words:
            return None
        if "mlocked" in words:
            return self.lru.setdefault((self.zone_at(pfn).nid, "unevictable"), [])
        kind = "anon" if "anon" in words else "file"
        return self.lru.setdefault((self.zone_at(pfn).nid, kind), [])

    def lru_add(self, pfn):
        if self.list_of(pfn) is not None:
            self.list_of(pfn).insert(0, pfn)
            self.machine.lru.update(range(pfn, pfn + self.pages[pfn].pages))

    def isolate(self, pfn):
        self.pages[pfn].words.add("isolated")
        if self.list_of(pfn) is not None:
            self.list_of(pfn).remove(pfn)
            self.machine.lru.difference_update(range(pfn, pfn + self.pages[pfn].pages))

    def put_back(self, pfn):
        self.pages[pfn].words.discard("isolated")
        self.lru_add(pfn)

    # 8.3 The driver

    def migrate_pages(self, pfns, mode, reason, node, nodes):
        """Return what the call returns, and of each page its code and attempts."""
        self.mode, self.reason, self.node, self.nodes = mode, reason, node, nodes
        self.codes = dict.fromkeys(pfns, NOT_TRIED)
        self.tries = dict.fromkeys(pfns, 0)
        self.failed_folios = 0
        hugetlb = [p for p in pfns if "hugetlb" in self.pages[p].words]
        chunks = [hugetlb, *self.chunks([p for p in pfns if p not in hugetlb])]
        stopped = any(self.migrate_chunk(chunk) for chunk in chunks)
        result = self.failed_folios if any(self.codes.values()) else 0
        for pfn in pfns:
            if pfn in self.pages and "isolated" in self.pages[pfn].words:
                self.put_back(pfn)
        return (
            ENOMEM if stopped else result,
            [self.codes[p] for p in pfns],
            [self.tries[p] for p in pfns],
        )

    def chunks(self, pfns):
        chunk, total = [], 0
        for pfn in pfns:
            if chunk and total + self.pages[pfn].pages > 512:
                yield chunk
                chunk, total = [], 0
            chunk.append(pfn)
            total += self.pages[pfn].pages
        yield chunk

    def migrate_chunk(self, chunk):
        """Ten passes; True if the call ends for want of a target."""
        waiting, split = chunk, []
        for attempt in range(10):
            again = []
            for pfn in waiting:
                page = self.pages[pfn]
                thp = page.order == 9
                code = self.attempt(pfn, attempt)
                self.tries[pfn] += 1
                if code == ENOMEM and page.order and self.may_split(pfn):
                    self.failed_folios += 1
                    self.tries[pfn] *= -1
                    self.count("thp_migration_fail")
                    self.count("thp_migration_split")
                    split.append(self.split(pfn))
                    continue
                if code == ENOMEM and self.reason == "longterm_pin" and page.order:
                    code = (
                        EAGAIN if "pinned" in page.words and "hugetlb" not in page.words else code
                    )
                self.codes[pfn] = code
                if code == 0:
                    self.count("pgmigrate_success", page.pages)
                    self.count("thp_migration_success", thp)
                elif code == EAGAIN:
                    again.append(pfn)
                else:
                    more = sum(self.pages[p].pages for p in again) if code == ENOMEM else 0
                    self.fail(page, page.pages + more)
                    if code == ENOMEM:
                        for pieces in split:
                            self.leave(pieces)
                        return True
            waiting = again
            if not waiting:
                break
        for pfn in waiting:
            self.fail(self.pages[pfn], self.pages[pfn].pages)
        return any(self.migrate_pieces(pieces) for pieces in split)

    def fail(self, page, pages):
        self.failed_folios += 1
        self.count("pgmigrate_fail", pages)
        self.count("thp_migration_fail", page.order == 9)

    # 8.5 Huge pages without a target

    def may_split(self, pfn):
        words = self.pages[pfn].words
        if self.reason == "numa_misplaced" or words & {"hugetlb", "pinned", "writing"}:
            return False
        return len(self.spare) >= self.pages[pfn].pages - 1

    def split(self, head):
        page = self.pages.pop(head)
        pieces = range(head, head + page.pages)
        for pfn in pieces:
            handle = page.handle if pfn == head else self.spare.pop(0)
            self.pages[pfn] = Page(page.words, 0, handle)
            self.page_table[handle] = pfn
        return pieces

    def migrate_pieces(self, pieces):
        waiting = list(pieces)
        head, worst = waiting[0], 0
        for attempt in range(10):
            again = []
            for pfn in waiting:
                code = self.attempt(pfn, attempt)
                if code == 0:
                    self.count("pgmigrate_success")
                elif code == EAGAIN:
                    again.append(pfn)
                else:
                    worst = code
                    self.count("pgmigrate_fail", 1 + (len(again) if code == ENOMEM else 0))
                    self.put_back(pfn)
                    if code == ENOMEM:
                        self.codes[head] = ENOMEM
                        self.leave(pieces)
                        return True
            waiting = again
        self.count("pgmigrate_fail", len(waiting))
        self.codes[head] = worst or (EAGAIN if waiting else 0)
        for pfn in waiting:
            self.put_back(pfn)
        return False

    def leave(self, pieces):
        for pfn in pieces:
            if pfn in self.pages and "isolated" in self.pages[pfn].words:
                self.put_back(pfn)

    # 8.4 One attempt

    def attempt(self, pfn, attempt):
        page = self.pages[pfn]
        self.catch_up()
        target = self.target_of(pfn)
        if target is None:
            return ENOMEM
        code = self.obstacle(pfn, page.words, attempt > 2)
        if code:
            self.machine.free(CPU, target, page.order)
            return code
        del self.pages[pfn]
        page.words.discard("isolated")
        self.pages[target] = page
        self.page_table[page.handle] = target
        self.lru_add(target)
        self.machine.free(CPU, pfn, page.order)
        self.now += COPY * page.pages
        return 0

    def obstacle(self, pfn, words, force):
        """Wait for what may be waited for; 0 if the page can be moved."""
        if "locked" in words:
            if not force or self.mode == ASYNC:
                return EAGAIN
            self.wait(self.now + READ)
            words.discard("locked")
        if "writing" in words:
            if self.mode != SYNC:
                return EBUSY
            if not force:
                return EAGAIN
            self.wait(dict(self.writes)[pfn])
        if "ramfs" in words:
            return EINVAL if self.mode == SYNC else EBUSY
        if "no_migrate_op" in words and "dirty" in words:
            if self.mode != SYNC:
                return EBUSY
            self.write(pfn, words)
            return EAGAIN
        if "buffers_in_use" in words:
            light = "no_migrate_op" in words and self.mode != SYNC
            return EBUSY if light else EAGAIN
        return EAGAIN if "pinned" in words else 0

    def write(self, pfn, words):
        words.discard("dirty")
        words.add("writing")
        self.writes_end = max(self.now, self.writes_end) + WRITE
        self.writes.append((pfn, self.writes_end))

    def wait(self, time):
        self.now = max(self.now, time)
        self.catch_up()

    def catch_up(self):
        while self.writes and self.writes[0][1] <= self.now:
            pfn, _ = self.writes.pop(0)
            self.pages[pfn].words.discard("writing")

    # 8.6 Where to

    def target_of(self, pfn):
        page, zone = self.pages[pfn], self.zone_at(pfn)
        movable = zone.index == ZoneType.MOVABLE
        node = zone.nid if self.node is None else self.node
        only, reclaims = False, True
        mt, highest = Mt.MOVABLE, ZoneType.NORMAL
        if self.reason == "syscall":
            only, highest = True, ZoneType.MOVABLE
        elif self.reason == "hotplug":
            highest = ZoneType.MOVABLE if movable or page.order else ZoneType.NORMAL
        elif self.reason == "longterm_pin":
            mt = Mt.UNMOVABLE
        elif self.reason == "numa_misplaced":
            only, reclaims, highest = True, False, ZoneType.MOVABLE
            if not any(self.stays_balanced(z, page.pages) for z in self.zones_of(node)):
                return None
        request = Target(node, self.nodes, only, mt, highest, reclaims)
        request.order = page.order
        if page.order:
            request.kswapd, request.nomemalloc = False, True
        status, pfn = self.machine.alloc(CPU, request)
        return pfn if status == Status.OK else None

    def zones_of(self, node):
        return [zone for zone in self.machine.zones if zone.nid == node]

    def stays_balanced(self, zone, pages):
        return zone.nr_free_pages.read() > zone.wmark[2] + zone.boost + pages
