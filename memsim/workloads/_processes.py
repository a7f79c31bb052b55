"""Faults and exits of many processes at once.

A process touches its pages 0, 1, 2 ... at an even rate. What it holds is numbered in the order in
which exit frees it: pages, then page tables from the lowest level (PTE, one for 512 pages) to the
highest (PGD, one). Its handles are these numbers from ``base`` on. Pages for its arguments, which
exec takes and exit frees first, have handles after those of all processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, PAGEBLOCK_ORDER
from memsim.schema import AllocBatch
from memsim.workloads._mempolicy import Fault, Targets
from memsim.workloads._places import Places
from memsim.workloads._timeline import FREEING_NS, WINDOW_EVENTS, events, joined, spaced

Longs = NDArray[np.int64]
TABLE_SHIFT = 9
"""A page table has 512 entries."""
HUGE_PAGES = 1 << PAGEBLOCK_ORDER
PUD_LEVEL, PGD_LEVEL = 3, 4
PGD_ORDER = 1
"""The kernel's and the user's half (PGD_ALLOCATION_ORDER, arch/x86, with page-table isolation)."""
MMU_GATHER_PAGES = 512
"""Pages that exit frees at a time (tlb_batch_pages_flush, mm/mmu_gather.c, 6.1)."""
TEARDOWN_NS = FREEING_NS * MMU_GATHER_PAGES
"""Time between two such groups."""


class Lives(NamedTuple):
    """When processes start and exit (nanoseconds, of length P)."""

    born: Longs
    dies: Longs


class More(Protocol):
    """What processes do besides: events that come and go with them."""

    def edges(self) -> tuple[Longs, NDArray[np.float64]]:
        """Return instants, and by how much the rate of events (per ns) changes there."""

    def between(self, begin: int, until: int) -> AllocBatch:
        """Return the events of a window, in no order of time."""


class Processes:
    """P processes that live alike."""

    def __init__(
        self,
        lives: Lives,
        pages: int,
        arguments: int,
        grow_ns: int,
        thp: float,
        where: Places,
        targets: Targets,
        rng: np.random.Generator,
        end_ns: int,
    ) -> None:
        self.born, self.dies = lives
        self.pages, self.grow_ns, self.rate = pages, grow_ns, pages / grow_ns
        self.arguments = arguments
        self.where, self.targets, self.rng, self.end_ns = where, targets, rng, end_ns
        self.touched = self._pages_before(np.minimum(self.dies, end_ns), np.floor)
        held = [self.touched]
        while len(held) <= PUD_LEVEL:
            held.append(-(-held[-1] >> TABLE_SHIFT))
        held.append(np.ones_like(self.touched))
        # level_at[l, p]: the first number of page tables of level l (0: of pages).
        self.level_at = np.cumsum([np.zeros_like(self.touched), *held[:-1]], axis=0)
        self.held = self.level_at[-1] + 1
        self.base = np.cumsum(self.held) - self.held
        ranges = max(-(-pages // HUGE_PAGES), 1)
        self.huge = rng.random((len(self.born), ranges)) < thp
        self.huge[:, pages // HUGE_PAGES :] = False
        self.place = where.draw(rng, (len(self.born), ranges))
        self.home = where.draw(rng, len(self.born))

    @property
    def handles(self) -> int:
        """How many handles the processes use together."""
        return int(self.held.sum()) + self.arguments * len(self.born)

    def parts(self, more: More | None = None) -> Iterator[tuple[int, AllocBatch]]:
        """Yield the events, and those of ``more``, in parts for ``in_order``."""
        for begin, until in pairwise(self.edges(more)):
            mine = self.between(begin, until)
            yield until, mine if more is None else joined([mine, more.between(begin, until)])

    def between(self, begin: int, until: int) -> AllocBatch:
        """Return the events of a window, in no order of time; some may lie a little later."""
        faults = self._faults(begin, until)
        starts = [self._forks(begin, until), self._execs(begin, until)]
        exits = [self._argument_frees(begin, until), self._frees(begin, until)]
        return joined([*starts, *faults, *exits])

    def uses(self, begin: int, until: int) -> AllocBatch:
        """Let processes born in a window come back to pages, as often as they touch new ones.

        No page is huge. The events are in no order of time, and many lie later than the window.
        """
        born = np.flatnonzero((self.born >= begin) & (self.born < until))
        who, number = ranges(np.zeros_like(born), self.touched[born])
        who = born[who]
        page = (self.rng.random(len(who)) * number).astype(np.int64)
        time = spaced(number, max(self.pages, 1), self.born[who], self.grow_ns, self.rng)
        place = self.place[who, page >> PAGEBLOCK_ORDER]
        request = self.targets.row(Fault.PAGE, page, self.where.node[place])
        write = np.where(number % 2, OP_WRITE, 0)
        again = np.flatnonzero(number)
        cpu = self.where.cpu[place]
        columns = (time, OP_TOUCH | write, request, cpu, self.base[who] + page)
        return events(*(column[again] for column in columns))

    def _pages_before(self, instant: Longs, rounding: np.ufunc) -> Longs:
        """Count the pages that each process touches before an instant if it does not exit."""
        pages: Longs = rounding((instant - self.born) * self.rate).clip(0, self.pages)
        return pages.astype(np.int64)

    def edges(self, more: More | None = None) -> Longs:
        """Cut the trial into windows of about WINDOW_EVENTS events each."""
        grown = self.born + (self.touched / max(self.rate, 1e-9)).astype(np.int64)
        gone = self.dies + self.held * TEARDOWN_NS // MMU_GATHER_PAGES
        freeing = np.full(len(self.born), MMU_GATHER_PAGES / TEARDOWN_NS)
        faulting = np.full(len(self.born), self.rate)
        instant = np.concatenate([[0], self.born, grown, self.dies, gone])
        change = np.concatenate([[0.0], faulting, -faulting, freeing, -freeing])
        if more is not None:
            instants, changes = more.edges()
            instant = np.concatenate([instant, instants])
            change = np.concatenate([change, changes])
        order = np.argsort(instant, kind="stable")
        instant, slope = instant[order], np.cumsum(change[order]).clip(min=0)
        planned = np.concatenate([[0], np.cumsum(slope[:-1] * np.diff(instant))])
        count = int(planned[-1] // WINDOW_EVENTS) + 1
        inner = np.interp(np.arange(1, count) * (planned[-1] / count), planned, instant)
        edges = np.concatenate([[0], inner.astype(np.int64), [self.end_ns]])
        return np.unique(edges.clip(0, self.end_ns))

    def _forks(self, begin: int, until: int) -> AllocBatch:
        who = np.flatnonzero((self.born >= begin) & (self.born < until))
        return self._tables(PGD_LEVEL, self.born[who], who, np.zeros_like(who), self.home[who])

    def _execs(self, begin: int, until: int) -> AllocBatch:
        who, handle = self._argument_handles(self.born, begin, until)
        home = self.home[who]
        request = self.targets.row(Fault.ARGUMENT, handle, self.where.node[home])
        return events(self.born[who], 0, request, self.where.cpu[home], handle)

    def _argument_frees(self, begin: int, until: int) -> AllocBatch:
        who, handle = self._argument_handles(self.dies, begin, until)
        return events(self.dies[who], OP_FREE, 0, self.where.cpu[self.home[who]], handle)

    def _argument_handles(self, when: Longs, begin: int, until: int) -> tuple[Longs, Longs]:
        """Return (owner, handle) of the argument pages of processes whose instant has come."""
        who = np.repeat(np.flatnonzero((when >= begin) & (when < until)), self.arguments)
        number = np.arange(len(who)) % max(self.arguments, 1)
        return who, int(self.held.sum()) + who * self.arguments + number

    def _faults(self, begin: int, until: int) -> list[AllocBatch]:
        first, stop = (
            np.minimum(self._pages_before(np.full_like(self.born, t), np.ceil), self.touched)
            for t in (begin, until)
        )
        who, page = ranges(first, stop)
        time = spaced(page, max(self.pages, 1), self.born[who], self.grow_ns, self.rng)
        area = page >> PAGEBLOCK_ORDER
        huge, place = self.huge[who, area], self.place[who, area]
        tables = []
        for level in range(PUD_LEVEL, 0, -1):
            rows = np.flatnonzero(page & ((1 << level * TABLE_SHIFT) - 1) == 0)
            # The table behind a huge page, kept for when it is split, comes after the page.
            waits = huge[rows] if level == 1 else np.zeros(len(rows), np.bool_)
            for some in (rows[~waits], rows[waits]):
                table = page[some] >> level * TABLE_SHIFT
                tables.append(self._tables(level, time[some], who[some], table, place[some]))
        small, whole = np.flatnonzero(~huge), np.flatnonzero(huge & (page % HUGE_PAGES == 0))
        pages = []
        for fault, rows, order in ((Fault.PAGE, small, 0), (Fault.HUGE, whole, PAGEBLOCK_ORDER)):
            number = page[rows] >> order
            request = self.targets.row(fault, number, self.where.node[place[rows]])
            handle = self.base[who[rows]] + page[rows]
            pages.append(events(time[rows], order, request, self.where.cpu[place[rows]], handle))
        return [*tables[:-1], *pages, tables[-1]]

    def _tables(
        self, level: int, time: Longs, who: Longs, table: Longs, place: Longs
    ) -> AllocBatch:
        request = self.targets.row(Fault.TABLE, table, self.where.node[place])
        handle = self.base[who] + self.level_at[level, who] + table
        order = PGD_ORDER if level == PGD_LEVEL else 0
        return events(time, order, request, self.where.cpu[place], handle)

    def _frees(self, begin: int, until: int) -> AllocBatch:
        groups = -(-self.held // MMU_GATHER_PAGES)
        first, stop = (-((self.dies - t) // TEARDOWN_NS) for t in (begin, until))
        first, stop = (
            np.minimum(group.clip(0, groups) * MMU_GATHER_PAGES, self.held)
            for group in (first, stop)
        )
        who, number = ranges(first, stop)
        time = self.dies[who] + number // MMU_GATHER_PAGES * TEARDOWN_NS
        area = np.minimum(number >> PAGEBLOCK_ORDER, self.huge.shape[1] - 1)
        huge = self.huge[who, area] & (number < self.touched[who])
        order = np.where(huge, PAGEBLOCK_ORDER, 0)
        order[number == self.held[who] - 1] = PGD_ORDER
        rows = np.flatnonzero(~huge | (number % HUGE_PAGES == 0))
        cpu = self.where.cpu[self.home[who[rows]]]
        handle = self.base[who[rows]] + number[rows]
        return events(time[rows], order[rows] | OP_FREE, 0, cpu, handle)


def ranges(first: Longs, stop: Longs) -> tuple[Longs, Longs]:
    """Return (owner, number) of each number of each owner's half-open range."""
    length = stop - first
    owner = np.repeat(np.arange(len(first)), length)
    begin = np.cumsum(length) - length - first
    return owner, np.arange(len(owner)) - begin[owner]
