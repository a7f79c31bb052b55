"""Builds of many trees of sources at once.

Handles lie in this order: processes, their stacks, slabs of processes, then for the trees pages of
sources and objects, inodes, dentries, block-device buffers, other slabs, and the program's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import OP_COLD, OP_FREE, OP_TOUCH, OP_WRITE
from memsim.schema import AllocBatch
from memsim.workloads._places import Places
from memsim.workloads._processes import Lives, Processes
from memsim.workloads._requests import Ask, asked
from memsim.workloads._timeline import FREEING_NS, events, joined, parts_before, spaced

Longs = NDArray[np.int64]
INODES_PER_PAGE = 8
DENTRIES_PER_PAGE = 30
FILES_PER_BUFFER = 10
"""An inode table block holds 32 inodes of ext3, a directory block about 15 names."""
STACK_ORDER = 1
"""Two pages: THREAD_SIZE, include/asm-i386/thread_info.h, 2.6.14."""
CPU_PAGES = 256
"""Pages that one CPU copies before the next goes on."""
GRID = 64
"""Windows of a trial at least, so that none grows large."""


@dataclass(frozen=True)
class Tree:
    """One tree of sources; sizes in pages."""

    sources: int
    objects: int
    headers: int
    """The first pages of the sources."""
    files: int
    units: int

    @property
    def pages(self) -> int:
        """Pages of sources and objects."""
        return self.sources + self.objects

    @property
    def inodes(self) -> int:
        """Pages of inodes."""
        return -(-self.files // INODES_PER_PAGE)

    @property
    def dentries(self) -> int:
        """Pages of dentries."""
        return -(-self.files // DENTRIES_PER_PAGE)

    @property
    def buffers(self) -> int:
        """Pages of directories and inode tables."""
        return -(-self.files // FILES_PER_BUFFER)


class When(NamedTuple):
    """Instants of the builds in nanoseconds."""

    start: int
    built_from: int
    stop: int
    delete: int | None


class Slabs(NamedTuple):
    """Slab pages besides those of inodes and names."""

    trees: int
    """Taken while the trees are copied: what the page cache needs of them, reclaimable."""
    kept: float
    """Share of them that is not, and stays when the trees are deleted."""
    process: int
    """Of each process, unmovable."""


class Builds:
    """Copies of a tree that are unpacked, built over and over, and deleted."""

    def __init__(
        self,
        trees: int,
        tree: Tree,
        when: When,
        slabs: Slabs,
        reads: int,
        program: int,
        processes: Processes,
        trees_of: Longs,
        where: Places,
        rng: np.random.Generator,
    ) -> None:
        self.trees, self.tree, self.when, self.slabs = trees, tree, when, slabs
        self.reads, self.program = reads, program
        self.processes, self.tree_of = processes, trees_of
        self.where, self.rng = where, rng
        self.unit = _numbers_within(trees_of) % tree.units
        counts = [
            processes.handles,
            len(trees_of),
            len(trees_of) * slabs.process,
            trees * tree.pages,
            trees * tree.inodes,
            trees * tree.dentries,
            trees * tree.buffers,
            slabs.trees,
            program,
        ]
        places = np.cumsum([0, *counts]).tolist()
        self.stacks, self.own, self.pages, self.inodes = places[1:5]
        self.dentries, self.buffers, self.kernel, self.text, self.handles = places[5:]
        self.goes = rng.random(slabs.trees) >= slabs.kept

    def parts(self) -> Iterator[tuple[int, AllocBatch]]:
        """Yield the events in parts for ``in_order``."""
        end = self.processes.end_ns
        edges = np.union1d(self.processes.edges(), np.arange(GRID) * end // GRID)
        for begin, until in pairwise(edges.tolist()):
            parts = [
                *self._unpacked(begin, until),
                *self._started(begin, until),
                self._compiled(begin, until),
                self._executed(begin, until),
                self.processes.uses(begin, until),
                self._written(begin, until),
                *self._ended(begin, until),
                *self._deleted(begin, until),
            ]
            yield until, joined(parts)

    def _unpacked(self, begin: int, until: int) -> Iterator[AllocBatch]:
        """Copy the trees: pages, what the kernel remembers of files, and their metadata."""
        tree, each = self.tree, self.tree.sources
        page, time, cpu = self._copied(begin, until, self.trees * each)
        handle = self.pages + page // each * tree.pages + page % each
        yield asked(time, OP_TOUCH | OP_WRITE, Ask.WRITE, cpu, handle, self.where)
        file, time, cpu = self._copied(begin, until, self.trees * tree.files)
        owner, number = file // tree.files, file % tree.files
        for kind, first, pages, each in (
            (Ask.BUFFER, self.buffers, tree.buffers, FILES_PER_BUFFER),
            (Ask.INODE, self.inodes, tree.inodes, INODES_PER_PAGE),
            (Ask.DENTRY, self.dentries, tree.dentries, DENTRIES_PER_PAGE),
        ):
            handle = first + owner * pages + number // each
            op = OP_TOUCH | (OP_WRITE if kind == Ask.BUFFER else 0)
            yield asked(time, op, kind, cpu, handle, self.where)
        slab, time, cpu = self._copied(begin, until, self.slabs.trees)
        for kind, some in ((Ask.INODE, self.goes[slab]), (Ask.KERNEL, ~self.goes[slab])):
            yield asked(time[some], 0, kind, cpu[some], self.kernel + slab[some], self.where)

    def _copied(self, begin: int, until: int, count: int) -> tuple[Longs, Longs, Longs]:
        """Return those of ``count`` things whose turn comes in a window, when, and the place."""
        start, span = self.when.start, self.when.built_from - self.when.start
        first, stop = (parts_before(t, count, start, span) for t in (begin, until))
        index = np.arange(first, stop)
        time = spaced(index, count, start, span, self.rng)
        place = index * self.trees * self.tree.sources // max(count, 1) // CPU_PAGES
        return index, time, place % len(self.where.cpu)

    def _started(self, begin: int, until: int) -> Iterator[AllocBatch]:
        """Begin compilers: their faults and exits, stacks, and slabs that live as long."""
        yield self.processes.between(begin, until)
        who, number = self._of_processes(self.processes.born, begin, until, self.slabs.process)
        born, home = self.processes.born, self.processes.home
        yield asked(born[who], 0, Ask.KERNEL, home[who], self._own(who, number), self.where)
        who, _ = self._of_processes(born, begin, until, 1)
        yield asked(born[who], STACK_ORDER, Ask.KERNEL, home[who], self.stacks + who, self.where)

    def _ended(self, begin: int, until: int) -> Iterator[AllocBatch]:
        dies, home = self.processes.dies, self.processes.home
        who, number = self._of_processes(dies, begin, until, self.slabs.process)
        cpu = self.where.cpu[home[who]]
        yield events(dies[who], OP_FREE, 0, cpu, self._own(who, number))
        who, _ = self._of_processes(dies, begin, until, 1)
        cpu = self.where.cpu[home[who]]
        yield events(dies[who], STACK_ORDER | OP_FREE, 0, cpu, self.stacks + who)

    def _own(self, who: Longs, number: Longs) -> Longs:
        handles: Longs = self.own + who * self.slabs.process + number
        return handles

    def _of_processes(self, when: Longs, begin: int, until: int, each: int) -> tuple[Longs, Longs]:
        """Return (process, number) of what those have ``each`` of whose instant is in a window."""
        some = np.flatnonzero((when >= begin) & (when < until))
        return np.repeat(some, each), np.tile(np.arange(each), len(some))

    def _compiled(self, begin: int, until: int) -> AllocBatch:
        """Read headers, the popular ones more often, and the compiler's own source."""
        tree, own = self.tree, self.own_pages
        who, number = self._of_processes(self.processes.born, begin, until, self.reads + own)
        header = (tree.headers * self.rng.random(len(who)) ** 2).astype(np.int64)
        source = tree.headers + self.unit[who] * own + (number - self.reads)
        page = np.where(number < self.reads, header, np.minimum(source, tree.sources - 1))
        handle = self.pages + self.tree_of[who] * tree.pages + page
        span = self.processes.grow_ns
        time = spaced(number, self.reads + own, self.processes.born[who], span, self.rng)
        time = np.minimum(time, self.processes.dies[who])
        return asked(time, OP_TOUCH, Ask.READ, self.processes.home[who], handle, self.where)

    def _executed(self, begin: int, until: int) -> AllocBatch:
        """Run through the compiler's program once, from some page on."""
        born = self.processes.born
        who, number = self._of_processes(born, begin, until, self.program)
        first = self.rng.integers(0, max(self.program, 1), len(born))
        page = (first[who] + number) % max(self.program, 1)
        span = self.processes.grow_ns
        time = spaced(number, max(self.program, 1), born[who], span, self.rng)
        alive = np.flatnonzero(time < self.processes.dies[who])
        home = self.processes.home[who[alive]]
        return asked(time[alive], OP_TOUCH, Ask.TEXT, home, self.text + page[alive], self.where)

    @property
    def own_pages(self) -> int:
        """Pages of one source file."""
        return max((self.tree.sources - self.tree.headers) // self.tree.files, 1)

    def _written(self, begin: int, until: int) -> AllocBatch:
        """Write the object when a compiler ends."""
        tree, each = self.tree, self.tree.objects // self.tree.units
        who, number = self._of_processes(self.processes.dies, begin, until, each)
        page = tree.sources + self.unit[who] * each + number
        handle = self.pages + self.tree_of[who] * tree.pages + page
        time, cpu = self.processes.dies[who], self.processes.home[who]
        return asked(time, OP_TOUCH | OP_WRITE, Ask.WRITE, cpu, handle, self.where)

    def _deleted(self, begin: int, until: int) -> Iterator[AllocBatch]:
        """Delete the trees: what is cached of their files goes, and most of their slabs."""
        if self.when.delete is None:
            return
        gone = np.concatenate(
            [np.arange(self.pages, self.buffers), self.kernel + np.flatnonzero(self.goes)]
        )
        span = len(gone) * FREEING_NS
        first, stop = (parts_before(t, len(gone), self.when.delete, span) for t in (begin, until))
        time = self.when.delete + np.arange(first, stop) * FREEING_NS
        cpu = self.where.cpu[:1].repeat(stop - first)
        yield events(time, OP_FREE | OP_COLD, 0, cpu, gone[first:stop])


def _numbers_within(group: Longs) -> Longs:
    """Number the members of each group from 0, in their order."""
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    numbers = np.empty_like(group)
    numbers[order] = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers


def successive(
    slots: int, mean_ns: int, begin: int, end: int, rng: np.random.Generator
) -> tuple[Lives, Longs]:
    """Let processes follow one another in each slot; return their lives, and whose slot each has.

    Lives last half the mean to one and a half; they are sorted by birth.
    """
    most = 2 * max(end - begin, 0) // max(mean_ns, 1) + 2
    lasts = (mean_ns * (0.5 + rng.random((slots, most)))).astype(np.int64).clip(1)
    dies = begin + np.cumsum(lasts, axis=1)
    born = (dies - lasts).reshape(-1)
    slot = np.repeat(np.arange(slots), most)
    order = np.argsort(born, kind="stable")
    order = order[born[order] < end]
    return Lives(born[order], np.minimum(dies.reshape(-1)[order], end)), slot[order]
