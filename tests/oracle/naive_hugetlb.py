"""The pool of huge pages, spec 8.6 and 9.2 step 6d, as lists: the page put back last goes first."""

from memsim.mm import PAGEBLOCK_NR_PAGES


class NaivePool:
    def __init__(self, pages):
        """``pages``: for each node the pfns in the order in which they joined."""
        self.free = [list(mine) for mine in pages]
        self.total = [len(mine) for mine in pages]
        self.node_of = {pfn: node for node, mine in enumerate(pages) for pfn in mine}
        self.reserved = 0
        self.held = {}

    def reserve(self, count):
        enough = sum(map(len, self.free)) - self.reserved >= count
        self.reserved += count if enough else 0
        return enough

    def fault(self, handles, order, allowed):
        """Take a page for each handle from the first node that has one; say whether all got one."""
        for handle in handles:
            node = next((n for n in order if n in allowed and self.free[n]), None)
            if node is None:
                return False
            self.held[handle] = self.free[node].pop()
            self.reserved -= 1
        return True

    def unmap(self, handles):
        for handle in handles:
            pfn = self.held.pop(handle, None)
            if pfn is None:
                self.reserved -= 1
            else:
                self.free[self.node_of[pfn]].append(pfn)

    def dissolve(self, start, end):
        """Give pages back to the allocator; return the first that must stay, or -1."""
        for pfn in range(start, end, PAGEBLOCK_NR_PAGES):
            node = self.node_of.get(pfn)
            if node is None or pfn not in self.free[node]:
                continue
            if sum(map(len, self.free)) <= self.reserved:
                return pfn
            self.free[node].remove(pfn)
            self.total[node] -= 1
            del self.node_of[pfn]
        return -1
