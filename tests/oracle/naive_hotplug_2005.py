"""Taking memory away as in 2007, history-2005 section 4.2, in plain lists and dicts.

Nobody else acts, and nothing is reclaimed. A page that moves leaves the range: where it goes is of
no interest, only that there is room.
"""

from memsim.mm import MAX_ORDER_NR_PAGES

CHUNK = 256
BUDGET = 5
TRIES_OF_A_PAGE = 11


class NaiveRemoval:
    def __init__(self, pages, waiting, room, slots):
        """``pages``: pfn to kind, ``waiting``: those in a batch; ``room``: free pages elsewhere."""
        self.pages, self.waiting = dict(pages), set(waiting)
        self.room, self.slots = room, slots
        self.migrated, self.failed = 0, 0
        self.negative = 0
        self.tries = 0
        self.stopped_by = -1

    def offline(self, start, end, passes):
        """Return "" or an errno; time is over after so many passes."""
        if start % MAX_ORDER_NR_PAGES or end % MAX_ORDER_NR_PAGES or end <= start:
            return "EINVAL"
        while self.tries < passes:
            result = self.one_pass(start, end)
            if result is not None:
                return result
        return "EAGAIN"

    def one_pass(self, start, end):
        if self.tries:
            self.waiting.clear()
        first = next((p for p in range(start, end) if self.on_lru(p)), None)
        if first is None:
            return self.last_look(start, end)
        self.tries += 1
        taken, stranger = self.collect(first, end)
        if stranger is not None:
            self.stopped_by = stranger
            return self.error("EBUSY")
        self.stopped_by = -1
        return self.error("ENOMEM") if self.migrate(taken) else None

    def error(self, code):
        self.negative += 1
        return code if self.negative == BUDGET else None

    def on_lru(self, pfn):
        return self.pages.get(pfn, "kernel") != "kernel" and pfn not in self.waiting

    def collect(self, first, end):
        """Up to 256 pages, and the first in use among them that is on no list."""
        taken, stranger = [], None
        for pfn in range(first, end):
            if self.on_lru(pfn):
                taken.append(pfn)
            elif pfn in self.pages and stranger is None:
                stranger = pfn
            if len(taken) == CHUNK:
                break
        return taken, stranger

    def migrate(self, taken):
        """Move what can be moved; say whether the memory has not sufficed."""
        targets = min(len(taken), self.room)
        left, tried = list(taken), set()
        for _ in range(TRIES_OF_A_PAGE if targets else 0):
            again = []
            for pfn in left:
                if targets == 0:
                    again.append(pfn)
                    continue
                tried.add(pfn)
                what = self.attempt(pfn)
                if what == "moved":
                    targets -= 1
                elif what == "again":
                    again.append(pfn)
            left = again
        self.failed += sum(pfn in self.pages for pfn in tried)
        return len(tried) < len(taken)

    def attempt(self, pfn):
        kind = self.pages[pfn]
        if kind != "file" and "slotted" not in kind and self.slots == 0:
            return "never"
        if kind in ("pinned", "mlocked"):
            # It has got its place in swap, and keeps it.
            self.slots -= 1
            self.pages[pfn] = kind + " slotted"
            return "again"
        if "slotted" in kind:
            return "again"
        del self.pages[pfn]
        self.room -= 1
        self.migrated += 1
        return "moved"

    def last_look(self, start, end):
        self.waiting.clear()
        for pfn in range(start, end):
            if pfn in self.pages:
                self.stopped_by = pfn
                return "EBUSY"
        return ""
