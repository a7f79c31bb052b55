"""A range of pages for one caller: alloc_contig_range, and CMA on top of it (spec linux-mm 9.6)."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import contig_range as kernels
from memsim.kernels import migration
from memsim.kernels.compaction_fast import CLUSTER
from memsim.kernels.system import S_STALL
from memsim.memory import Memory
from memsim.memory.hotplug import TARGET_GFP
from memsim.memory.migrate_call import keep_spare_handles
from memsim.memory.obstacles import OF_PAGE, Obstacle, Reason, left_behind, unmovable_pages
from memsim.memory.requests import request_row
from memsim.memory.setup import NO_ZONE
from memsim.mm import (
    MAX_PAGE_ORDER,
    OP_FREE,
    PAGEBLOCK_NR_PAGES,
    MigrateMode,
    MigrateReason,
    Migratetype,
    Unmovable,
    Use,
)
from memsim.schema import Request

MAX_TRIES = 5
"""How often a batch is given to migrate_pages."""


@dataclass(frozen=True)
class ContigOutcome:
    """What became of a request for the pages [start_pfn, start_pfn + nr_pages)."""

    start_pfn: int
    nr_pages: int
    errno: int
    """0, or negative: -EBUSY, -ENOMEM (none elsewhere), -EINVAL (not one zone's memory)."""
    reason: Reason
    obstacles: tuple[Obstacle, ...] = ()
    page: int = -1
    """The page that stopped it, -1 if none did."""
    handle: int = -1
    """The first of the handles that hold the pages, one each, ascending; -1 if it failed."""
    migrate_calls: int = 0
    pages_dropped: int = 0
    """Clean pages of files that were just dropped."""
    pgmigrate_success: int = 0
    pgmigrate_fail: int = 0
    began_ns: int = 0
    ended_ns: int = 0


class _Emptying:
    """One range on its way to being empty."""

    def __init__(self, memory: Memory, zone: int, start: int, end: int, cpu: int) -> None:
        self.memory, self.zone, self.cpu = memory, zone, cpu
        self.start, self.end = start, end
        self.now = memory.now
        self.calls = self.dropped = 0
        node = memory.setup.zones[zone].node
        request = Request(TARGET_GFP, Use.ANON, preferred=node)
        self.row = np.array(request_row(request, memory.tables, memory.setup.mechanism), np.int64)
        self.left: tuple[Obstacle, ...] = ()

    def run(self) -> int:
        """Drop and move what is in the range; return 0, -EBUSY or -ENOMEM."""
        pages = np.zeros(CLUSTER, np.int32)
        did = np.zeros(kernels.TAKEN_FIELDS, np.int64)
        at = self.start
        while at < self.end:
            self.memory.advance(self.now)
            kernels.isolate_migratepages_range(self.memory.mem, at, self.end, pages, did)
            at = int(did[kernels.TAKEN_NEXT])
            code = self._empty(pages[: int(did[kernels.TAKEN_PAGES])])
            if code:
                return code
        return 0

    def _empty(self, pages: NDArray[np.int32]) -> int:
        """Move a batch of isolated pages, up to five times."""
        for attempt in range(MAX_TRIES):
            if len(pages) and attempt:
                self.memory.advance(self.now)
                pages = self._isolate_again(pages)
            n = int(kernels.reclaim_clean_pages(self.memory.mem, self.cpu, pages, len(pages)))
            self.dropped += len(pages) - n
            codes, result = self._migrate(pages[:n])
            self.now += int(self.memory.mem.system[S_STALL])
            if result == -errno.ENOMEM:
                return result
            self.left = left_behind(self.memory, pages[:n], codes)
            pages = pages[:n][codes != 0].copy()
            if len(pages) == 0:
                return 0
        return -errno.EBUSY

    def _isolate_again(self, pages: NDArray[np.int32]) -> NDArray[np.int32]:
        """Take pages off their lists once more; return those that nobody has freed meanwhile."""
        taken = np.zeros(len(pages), np.uint8)
        migration.isolate_pages(self.memory.mem, pages, taken)
        left: NDArray[np.int32] = pages[taken != 0].copy()
        return left

    def _migrate(self, pages: NDArray[np.int32]) -> tuple[NDArray[np.int8], int]:
        codes, tries = np.zeros((2, len(pages)), np.int8)
        if len(pages) == 0:
            return codes, 0
        keep_spare_handles(self.memory, pages)
        self.calls += 1
        result = migration.migrate_list(
            self.memory.mem,
            self.memory.tables,
            self.row,
            pages,
            self.cpu,
            MigrateMode.SYNC,
            MigrateReason.CONTIG_RANGE,
            codes,
            tries,
        )
        return codes, int(result)


def alloc_contig(
    memory: Memory,
    start_pfn: int,
    nr_pages: int,
    migratetype: Migratetype = Migratetype.MOVABLE,
    cpu: int = 0,
) -> ContigOutcome:
    """Allocate exactly these pages; what is in them is dropped, or moved within 5 tries.

    ``migratetype`` is CMA on behalf of CMA, whose pageblocks nobody else gets; the pageblocks of
    the range are of that type afterwards.
    """
    counted = memory.vmstat()
    began, end = memory.now, start_pfn + nr_pages
    areas = memory.mem.zone_of[start_pfn >> MAX_PAGE_ORDER : (end - 1 >> MAX_PAGE_ORDER) + 1]
    if nr_pages <= 0 or end > memory.nr_pages or NO_ZONE in areas or len(set(areas.tolist())) > 1:
        return ContigOutcome(start_pfn, nr_pages, -errno.EINVAL, Reason.STRADDLES_ZONES)
    zone = int(areas[0])
    first = start_pfn // PAGEBLOCK_NR_PAGES * PAGEBLOCK_NR_PAGES
    last = -(-end // PAGEBLOCK_NR_PAGES) * PAGEBLOCK_NR_PAGES
    found = np.zeros(2, np.int64)
    memory.advance(began)
    kernels.isolate_contig_range(memory.mem, zone, cpu, first, last, int(migratetype), found)
    if found[0]:
        reason, every = (
            OF_PAGE[Unmovable(int(found[0]))],
            unmovable_pages(memory, zone, first, last),
        )
        return ContigOutcome(start_pfn, nr_pages, -errno.EBUSY, reason, every, int(found[1]))
    work = _Emptying(memory, zone, start_pfn, end, cpu)
    code, page, handle = work.run(), -1, -1
    if code != -errno.ENOMEM:
        stop = kernels.take_contig_range(memory.mem, zone, cpu, start_pfn, end, int(migratetype))
        code = 0 if stop == end else -errno.EBUSY
        page = -1 if stop == end else int(stop)
    kernels.undo_contig_range(memory.mem, zone, cpu, first, last, int(migratetype))
    if code == 0:
        handle = _give(memory, start_pfn, nr_pages)
    now = memory.vmstat()
    return ContigOutcome(
        start_pfn,
        nr_pages,
        code,
        _reason(code, work.left),
        work.left if code else (),
        page,
        handle,
        work.calls,
        work.dropped,
        now["pgmigrate_success"] - counted["pgmigrate_success"],
        now["pgmigrate_fail"] - counted["pgmigrate_fail"],
        began,
        work.now,
    )


def _reason(code: int, left: tuple[Obstacle, ...]) -> Reason:
    if code == 0:
        return Reason.NONE
    if code == -errno.ENOMEM:
        return Reason.NO_MEMORY
    return left[0].reason if left else Reason.STAYED


def _give(memory: Memory, start_pfn: int, nr_pages: int) -> int:
    """Let new handles hold pages that were just taken; return the first."""
    handle = memory.add_handles(nr_pages)
    pfns = np.arange(start_pfn, start_pfn + nr_pages, dtype=np.int32)
    memory.page_table[handle : handle + nr_pages] = pfns + 1
    memory.mem.rmap[pfns] = np.arange(handle, handle + nr_pages)
    return handle


def free_contig(memory: Memory, handle: int, nr_pages: int, cpu: int = 0) -> None:
    """Free the pages of an ``alloc_contig``, one by one, ascending."""
    memory.run(
        np.full(nr_pages, OP_FREE, np.uint8),
        np.zeros(nr_pages, np.uint16),
        np.full(nr_pages, cpu, np.uint16),
        np.arange(handle, handle + nr_pages, dtype=np.int32),
    )


# --- CMA ------------------------------------------------------------------------------------


@dataclass
class CmaArea:
    """A CMA area and which of its pages are given out."""

    start_pfn: int
    used: NDArray[np.bool_]
    """One for each page."""
    held: dict[int, int] = field(default_factory=dict)
    """First page of an allocation -> its first handle."""


def cma_areas(memory: Memory) -> tuple[CmaArea, ...]:
    """Find the CMA areas of a machine: runs of CMA pageblocks."""
    blocks = np.flatnonzero(memory.mem.pageblocks == Migratetype.CMA)
    runs = np.split(blocks, np.flatnonzero(np.diff(blocks) > 1) + 1) if len(blocks) else []
    return tuple(
        CmaArea(int(run[0]) * PAGEBLOCK_NR_PAGES, np.zeros(len(run) * PAGEBLOCK_NR_PAGES, bool))
        for run in runs
    )


def cma_alloc(
    memory: Memory, area: CmaArea, nr_pages: int, align_order: int = 0, cpu: int = 0
) -> tuple[ContigOutcome, ...]:
    """Allocate pages of a CMA area, first fit; return all attempts, the last one decides.

    A busy place is passed over for the next aligned one. Without any place that fits there is no
    attempt: the area is exhausted.
    """
    attempts: list[ContigOutcome] = []
    step = 1 << align_order
    at = -area.start_pfn % step
    while at + nr_pages <= len(area.used):
        taken = np.flatnonzero(area.used[at : at + nr_pages])
        if len(taken):
            at += -(-(int(taken[-1]) + 1) // step) * step
            continue
        outcome = alloc_contig(memory, area.start_pfn + at, nr_pages, Migratetype.CMA, cpu)
        attempts.append(outcome)
        if outcome.errno == 0:
            area.used[at : at + nr_pages] = True
            area.held[outcome.start_pfn] = outcome.handle
        if outcome.errno != -errno.EBUSY:
            break
        at += step
    return tuple(attempts)


def cma_release(memory: Memory, area: CmaArea, start_pfn: int, nr_pages: int, cpu: int = 0) -> None:
    """Give pages of a CMA area back."""
    free_contig(memory, area.held.pop(start_pfn), nr_pages, cpu)
    at = start_pfn - area.start_pfn
    area.used[at : at + nr_pages] = False
