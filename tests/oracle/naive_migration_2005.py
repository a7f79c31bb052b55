"""Page migration of 2005, naively: pages are objects with holders, an attempt yields its steps.

Written from spec history-2005 3.2 (v1) and linux-mm 10.1, 10.2 (2.6.16). Pages have a node and no
place on it. Between the steps anybody may do something to the page (``others``).
"""

from memsim.mm import LRU_BATCH_2005

PASSES = 11
TRYLOCK_PASSES = (0, 1, 2)
CHUNK = 257
RETRY = {"locked", "writeback", "dirty", "buffers", "mlocked", "pinned"}


class Page:
    def __init__(self, handle, node, **kind):
        self.handle, self.node, self.slot = handle, node, None
        names = "anon mapped young referenced active dirty writeback reclaim mlocked kernel"
        for name in names.split():
            setattr(self, name, kind.get(name, False))
        self.pins = 0

    @property
    def swapcache(self):
        return self.slot is not None


class NaiveMigration:
    """``free``: free pages of each node; ``costs`` in ns; one CPU of each node."""

    def __init__(self, free, slots, costs):
        self.free, self.costs = list(free), costs
        self.table, self.traits = {}, {}
        self.slots, self.slot_next, self.slot_cluster = [None] * slots, 0, 0
        self.lists = {(node, active): [] for node in range(len(free)) for active in (True, False)}
        self.batches = [[] for _ in free]
        self.ring, self.device_free = [], 0
        self.clock = 0

    # pages and lists

    def place(self, handle, node, cpu, traits=(), **kind):
        page = Page(handle, node, **kind)
        self.free[node] -= 1
        self.table[handle], self.traits[handle] = page, set(traits)
        if not page.kernel:
            self.add_to_lru(page, cpu)

    def add_to_lru(self, page, cpu):
        self.batches[cpu].append(page)
        if len(self.batches[cpu]) == LRU_BATCH_2005:
            self.drain(cpu)

    def drain(self, cpu):
        for page in self.batches[cpu]:
            self.lists[page.node, page.active].insert(0, page)
        self.batches[cpu] = []

    def release(self, page):
        self.free[page.node] += 1
        self.ring = [(None if p is page else p, end) for p, end in self.ring]
        if page.slot is not None:
            self.slots[page.slot] = None

    # swap and the device

    def take_slot(self, handle):
        free = [i for i, owner in enumerate(self.slots) if owner is None]
        if not free:
            return None
        slot = next((i for i in free if i >= self.slot_next), None) if self.slot_cluster else None
        self.slot_cluster -= slot is not None
        if slot is None:
            self.slot_cluster = 255
            runs = [i for i in free if self.slots[i : i + 256] == [None] * 256]
            slot = (runs or free)[0]
        self.slots[slot] = handle
        self.slot_next = slot + 1
        return slot

    def give_up_slot(self, page):
        self.slots[page.slot] = None
        page.slot, page.dirty = None, True

    def begin_write(self, page):
        while len(self.ring) == 1024:
            self.sleep(max(self.ring[0][1] - self.clock, 0))
        if page.dirty and self.can_be_written(page):
            self.count("writeback_started")
            page.dirty, page.writeback = False, True
            ns = self.costs["swap_write" if page.anon else "file_write"]
            self.device_free = max(self.clock, self.device_free) + ns
            self.ring.append((page, self.device_free))

    def end_writes(self):
        while self.ring and self.ring[0][1] <= self.clock:
            page, _ = self.ring.pop(0)
            if page is None:
                continue
            listed = self.lists[page.node, page.active]
            if page.reclaim and page in listed and not (page.active or page.dirty or page.mlocked):
                listed.remove(page)
                listed.append(page)
            page.writeback = page.reclaim = False

    def sleep(self, ns):
        self.count("wait_model_ns", ns)
        self.clock += ns
        self.end_writes()

    def count(self, name, n=1):
        self.counts["migrate_" + name] = self.counts.get("migrate_" + name, 0) + n

    # what others do

    def happen(self, what):
        page, handle = self.page, self.page.handle
        entry = self.table[handle]
        if entry is None or (not isinstance(entry, Page) and what != "exit"):
            return
        if what in ("fault", "write_fault"):
            self.fault(what == "write_fault")
        elif what == "get_page":
            page.pins = 1
        elif what == "put_page":
            page.pins = 0
        elif what == "unlock_page":
            self.traits[handle].discard("locked")
        elif what == "put_buffers":
            if "buffers_in_use" in self.traits[handle]:
                self.traits[handle] -= {"buffers_in_use"}
                self.traits[handle] |= {"buffers"}
        elif self.locked:
            self.deferred.add(what)
        elif what == "lock_page":
            self.traits[handle].add("locked")
        elif what == "exit":
            if isinstance(entry, int):
                self.slots[entry] = None
            self.table[handle] = None
        elif not page.writeback:
            self.begin_write(page)

    def fault(self, write):
        page = self.page
        if page.mapped:
            page.young = True
        elif not self.locked or not (page.anon or self.switched):
            self.map(page)
        else:
            self.waiting.append((self.clock, write))
            self.waiters_on_old += not self.switched
            return
        if write:
            self.make_dirty(page)

    def make_dirty(self, page):
        if not page.dirty and not page.anon:
            page.reclaim = False
        page.dirty = True

    def map(self, page):
        page.mapped = page.young = True
        used = sum(owner is not None for owner in self.slots)
        if page.swapcache and not page.writeback and 2 * used > len(self.slots):
            self.give_up_slot(page)

    def unlock(self):
        self.locked = False
        for since, _ in self.waiting:
            self.count("faults_waited")
            self.count("fault_wait_model_ns", self.clock - since)
        if self.waiting:
            if not self.page.mapped:
                self.map(self.page)
            self.page.young = True
            if any(write for _, write in self.waiting):
                self.make_dirty(self.page)
        self.waiting = []
        deferred, self.deferred = self.deferred, set()
        for what in ("lock_page", "write_page", "exit"):
            if what in deferred:
                self.happen(what)

    # one attempt: yields the name of each step before it is taken, returns what came of it

    def has(self, *traits):
        return bool(self.traits[self.page.handle] & set(traits))

    def attempt(self, page, pass_, direct):
        self.page, self.locked, self.switched, self.waiters_on_old = page, False, False, 0
        yield "lock"
        self.clock += self.costs["scan"]
        if self.table[page.handle] is None:
            self.release(page)
            return "freed"
        if self.has("locked"):
            if pass_ in TRYLOCK_PASSES:
                return "locked"
            yield "wait_on_lock"
            self.count("lock_waited")
            self.waited += 1
            self.sleep(self.costs["file_read"])
            self.traits[page.handle].discard("locked")
            if self.table[page.handle] is None:
                return "locked"
        self.locked = True
        result = yield from self.with_lock(page, pass_, direct)
        yield "unlock"
        self.unlock()
        if result == "direct" and self.table[page.handle] is None:
            self.forget_new()
            result = "freed"
        return result

    def forget_new(self):
        for cpu, batch in enumerate(self.batches):
            if self.page in batch:
                self.drain(cpu)
        self.lists[self.page.node, self.page.active].remove(self.page)
        self.release(self.page)

    def with_lock(self, page, pass_, direct):
        yield "wait_on_writeback"
        if page.writeback:
            self.end_writes()
            if page.writeback and pass_ == 0:
                return "writeback"
            self.count("writeback_waited", page.writeback)
            self.waited += page.writeback
            while page.writeback:
                self.sleep(max(self.ring[0][1] - self.clock, 0))
        yield "add_to_swap"
        if page.anon and not page.swapcache:
            page.slot = self.take_slot(page.handle)
            if page.slot is None:
                return "no_swap"
            self.count("swap_slots")
            page.dirty = True
        if not direct:
            return (yield from self.evict(page))
        if not self.moves_by_itself(page):
            yield "write_out"
            if page.dirty:
                return self.write_out(page)
            yield "release_buffers"
            if self.has("buffers_in_use"):
                patient = pass_ <= (2 if self.code == "v1" else 4)
                return "buffers" if patient else (yield from self.evict(page))
            self.traits[page.handle].discard("buffers")
        return (yield from self.move(page))

    def moves_by_itself(self, page):
        if self.has("no_migrate_op", "ramfs"):
            return False
        return self.code != "v1" or not (page.anon or self.has("shmem"))

    def can_be_written(self, page):
        traits = self.traits[page.handle]
        return "ramfs" not in traits and ("shmem" not in traits or None in self.slots)

    def write_out(self, page):
        if page.pins or self.waiters_on_old:
            return "pinned"
        if not self.can_be_written(page):
            return "dirty"
        page.reclaim = True
        self.begin_write(page)
        return "writeback"

    def unmap(self, page):
        if page.mlocked:
            return "mlocked"
        if page.mapped:
            self.count("tlb_flushes")
            self.clock += self.costs["flush"]
        page.mapped = page.young = False
        return None

    def evict(self, page):
        yield "unmap"
        self.clock += self.costs["reclaim"]
        failure = self.unmap(page)
        if failure:
            return failure
        yield "write_out"
        if page.dirty:
            return self.write_out(page)
        yield "release_buffers"
        if self.has("buffers_in_use"):
            return "buffers"
        self.traits[page.handle].discard("buffers")
        yield "check_references"
        if page.pins or page.mapped or self.waiters_on_old:
            return "pinned"
        if self.table[page.handle] is page:
            self.table[page.handle] = page.slot if page.swapcache else "gone"
        page.slot = None
        yield "free"
        self.release(page)
        return "swap"

    def move(self, page):
        yield "check_references"
        self.clock += self.costs["bookkeeping"]
        if page.pins or self.waiters_on_old:
            return "pinned"
        early = self.code == "v1"
        if early:
            yield "switch_mapping"
            self.switched = True
        yield "unmap"
        failure = self.unmap(page)
        yield "check_again"
        if failure or page.pins or page.mapped or self.waiters_on_old:
            self.switched = False
            return failure or "pinned"
        new = Page(page.handle, self.targets.pop(0), anon=page.anon)
        new.slot = page.slot
        self.table[page.handle] = self.page = new
        self.switched = True
        if not early:
            yield "switch_mapping"
        yield "early_flags"
        new.referenced, new.active, new.mlocked = page.referenced, page.active, page.mlocked
        yield "copy"
        self.clock += self.costs["copy"]
        yield "late_flags"
        new.dirty, new.reclaim = new.dirty or page.dirty, new.reclaim or page.reclaim
        yield "clear_old"
        page.slot = None
        self.release(page)
        yield "remove_from_swap"
        if page.anon:
            new.mapped = True
            if self.code != "v1" and new.swapcache:
                self.give_up_slot(new)
        yield "start_writeback"
        if "write_page" in self.deferred:
            self.deferred.discard("write_page")
            written = new.dirty
            self.begin_write(new)
            self.count("queued_writeback_started", written and new.writeback)
        self.add_to_lru(new, self.cpu)
        return "direct"

    # the call

    def migrate(self, handles, node, mode, code, full, cpu, others, move_all=False):
        """Return a dict of results for each handle: fate, passes, waits, ns; and -ENOMEM or not.

        ``others``: (place in the list, pass or -1, step, what).
        """
        self.code, self.cpu, self.others, self.counts = code, cpu, others, {}
        self.waiting, self.deferred = [], set()
        self.end_writes()
        for other in range(len(self.batches)):
            self.drain(other)
        fates = {i: self.isolate(h, node, move_all) for i, h in enumerate(handles)}
        todo = [(i, self.table[handles[i]]) for i, fate in fates.items() if fate is None]
        self.results = {i: [fates[i], 0, 0, 0] for i in fates}
        held = [self.table.get(handle) for handle in handles]
        sources = {page.node for page in held if isinstance(page, Page)}
        self.targets = []
        enough = True
        if mode == "swap":
            self.passes(todo, False)
        else:
            enough = self.move_all_to(todo, node, full, sources)
        self.put_back(todo)
        return self.results, enough

    def isolate(self, handle, node, move_all):
        page = self.table.get(handle)
        if not isinstance(page, Page):
            return "not_in_memory"
        if page.node == node:
            return "already_there"
        listed = self.lists[page.node, page.active]
        if page.kernel or page not in listed:
            return "not_lru"
        if "shared" in self.traits[handle] and not move_all:
            return "shared"
        listed.remove(page)
        return None

    def allocate(self, node, wanted, full, sources):
        others = [n for n in range(len(self.free)) if n not in (node, *sources)]
        for place in (node, *(others if full == "other_node" else ())):
            while len(self.targets) < wanted and self.free[place]:
                self.free[place] -= 1
                self.targets.append(place)
        return len(self.targets) == wanted

    def give_back(self):
        for node in self.targets:
            self.free[node] += 1
        self.targets = []

    def move_all_to(self, todo, node, full, sources):
        left = list(todo)
        while left:
            wanted = min(CHUNK, len(left)) if self.code != "v1" else len(left)
            enough = self.allocate(node, wanted, full, sources)
            if not enough and full != "swap":
                self.give_back()
                for i, _ in left:
                    self.results[i][0] = self.results[i][0] or "no_memory"
                return False
            left = self.passes(left, True)
            if self.targets:
                self.give_back()
                return True
            if not enough:
                self.passes(left, False)
                return True
        return True

    def passes(self, todo, direct):
        for pass_ in range(PASSES):
            again, untried = [], []
            for i, page in todo:
                if direct and not self.targets:
                    untried.append((i, page))
                    continue
                self.try_once(i, page, pass_, direct)
                if self.results[i][0] in RETRY:
                    again.append((i, page))
            todo = again + untried
            if not again or (direct and not self.targets):
                break
        return todo

    def try_once(self, i, page, pass_, direct):
        begin, self.waited = self.clock, 0
        steps = self.attempt(page, pass_, direct)
        try:
            while True:
                step = next(steps)
                for who, when, where, what in self.others:
                    if who == i and when in (-1, pass_) and where == step:
                        self.happen(what)
        except StopIteration as end:
            result = self.results[i]
            result[0] = end.value
            result[1] += 1
            result[2] += self.waited
            result[3] += self.clock - begin

    def put_back(self, todo):
        for i, page in todo:
            if self.results[i][0] in ("direct", "swap", "freed"):
                continue
            if self.table[page.handle] is None:
                self.release(page)
                self.results[i][0] = "freed"
            else:
                self.add_to_lru(page, self.cpu)
