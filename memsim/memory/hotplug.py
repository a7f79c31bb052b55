"""Memory goes offline, block by block, and comes back (spec linux-mm 9.1-9.5, 2.6).

All or nothing: a range either leaves its zone with every page, or stays as it was, but for the
types of its pageblocks.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import memory_hotplug as kernels
from memsim.kernels import migration
from memsim.kernels.hugetlb_pool import dissolve_free_huge_pages
from memsim.kernels.system import S_MIGRATE_NS, S_STALL
from memsim.memory import Memory
from memsim.memory.migrate_call import keep_spare_handles
from memsim.memory.obstacles import (
    OF_PAGE,
    Obstacle,
    Reason,
    lacking,
    left_behind,
    pinned_pages,
    unmovable_pages,
)
from memsim.memory.requests import request_row
from memsim.memory.resizing import nodes_with_memory, shrink_zone
from memsim.memory.setup import NO_ZONE
from memsim.memory.standstill import Repetition, look
from memsim.mm import (
    MAX_PAGE_ORDER,
    PAGEBLOCK_NR_PAGES,
    SECTION_PAGES,
    MigrateMode,
    MigrateReason,
    Migratetype,
    Unmovable,
    Use,
    gfp_from_text,
)
from memsim.schema import Request

TARGET_GFP = gfp_from_text("GFP_USER|__GFP_MOVABLE|__GFP_RETRY_MAYFAIL")
"""What pages are moved to (spec 8.6)."""
FOREVER_NS = (1 << 62) - 1
FAILED_SHARE = 4
"""An attempt that fails takes a fourth of one that succeeds."""
COUNTED = ("pgmigrate_success", "pgmigrate_fail")


@dataclass(frozen=True)
class OfflineOutcome:
    """What became of one attempt to take [start_pfn, start_pfn + nr_pages) offline."""

    start_pfn: int
    nr_pages: int
    zone: int
    """-1 if the range is not one zone's."""
    errno: int
    """0, or negative: -EINVAL, -EBUSY (found when isolating), -EINTR (signal or timeout); in 2007
    -EAGAIN (timeout), -EINTR (signal), and -EBUSY or -ENOMEM once too many passes ended so."""
    reason: Reason
    obstacles: tuple[Obstacle, ...] = ()
    """Every such page of the range: first what could not be moved, then what never can."""
    page: int = -1
    """The page that stopped the kernel, or the first that it could not move; -1 if none did."""
    pages_migrated: int = 0
    pages_left: int = 0
    """Pages on LRU lists that were still there at the end."""
    tries: int = 0
    """How often pages were collected and migrated."""
    began_ns: int = 0
    ended_ns: int = 0
    free_before: tuple[int, ...] = ()
    """Free pages of each node."""
    free_after: tuple[int, ...] = ()
    pgmigrate_success: int = 0
    pgmigrate_fail: int = 0
    split: tuple[tuple[int, int], ...] = ()
    """Handle of a huge page that was split, and the first of those that its other pages got."""

    @property
    def removed(self) -> bool:
        """The range is offline."""
        return self.errno == 0


def block_range(number: int, block_pages: int = SECTION_PAGES) -> tuple[int, int]:
    """Return first pfn and pages of a memory block (/sys/devices/system/memory/memoryN)."""
    return number * block_pages, block_pages


def node_blocks(memory: Memory, node: int, block_pages: int = SECTION_PAGES) -> tuple[int, ...]:
    """Number the memory blocks that hold memory of a node, ascending."""
    found = {
        number
        for zone in memory.setup.zones
        if zone.node == node and zone.present > 0
        for start, end in zone.pieces
        for number in range(start // block_pages, -(-end // block_pages))
    }
    return tuple(sorted(found))


def free_of_nodes(memory: Memory) -> tuple[int, ...]:
    """Count the free pages of each node."""
    free = [0] * memory.mem.nr_nodes
    for z, zone in enumerate(memory.setup.zones):
        free[zone.node] += memory.nr_free_pages(z)
    return tuple(free)


def offline(
    memory: Memory,
    start_pfn: int,
    nr_pages: int,
    timeout_ns: int = FOREVER_NS,
    signal_at: int | None = None,
    cpu: int = 0,
) -> OfflineOutcome:
    """Take [start_pfn, start_pfn + nr_pages) offline on ``cpu``, or find out why it cannot go.

    There is no limit of retries: pages that stay are tried again until ``timeout_ns`` have passed
    or ``signal_at`` (ns) has come.
    """
    attempt = Offlining(memory, start_pfn, nr_pages, timeout_ns, signal_at, cpu)
    while (outcome := attempt.step(attempt.stops_at)) is None:
        pass
    return outcome


def offline_node(
    memory: Memory,
    node: int,
    timeout_ns: int = FOREVER_NS,
    block_pages: int = SECTION_PAGES,
    *,
    high_to_low: bool = True,
    cpu: int = 0,
) -> tuple[OfflineOutcome, ...]:
    """Try every memory block of a node once; ``timeout_ns`` is that of a block."""
    numbers = node_blocks(memory, node, block_pages)
    return tuple(
        offline(memory, *block_range(number, block_pages), timeout_ns, cpu=cpu)
        for number in (reversed(numbers) if high_to_low else numbers)
    )


class Beginning(NamedTuple):
    """How things stood when an attempt began."""

    now: int
    free: tuple[int, ...]
    counted: tuple[int, ...]


def beginning(memory: Memory) -> Beginning:
    """Note how things stand."""
    return Beginning(memory.now, free_of_nodes(memory), _counted(memory))


def _counted(memory: Memory) -> tuple[int, ...]:
    vmstat = memory.vmstat()
    return tuple(vmstat[name] for name in COUNTED)


def outcome_of(memory: Memory, began: Beginning, **what: Any) -> OfflineOutcome:
    """Say what became of an attempt, with what its end says of free pages and counters."""
    success, fail = np.subtract(_counted(memory), began.counted).tolist()
    obstacles = what.get("obstacles", ())
    page = what.pop("page", -1)
    return OfflineOutcome(
        **what,
        page=obstacles[0].pfn if page < 0 and obstacles else page,
        pages_migrated=success,
        began_ns=began.now,
        free_before=began.free,
        free_after=free_of_nodes(memory),
        pgmigrate_success=success,
        pgmigrate_fail=fail,
    )


def refusal(memory: Memory, start: int, nr_pages: int) -> tuple[Reason, int]:
    """Say why a range cannot even be tried, and of which zone it is (-1: of no single one).

    In 2007 pageblocks will do, where 6.1 wants a range to end at a section.
    """
    end = start + nr_pages
    pageblock = 1 << memory.setup.pageblock_order
    section = SECTION_PAGES if memory.setup.mechanism == "linux-6.1" else pageblock
    if nr_pages <= 0 or start < 0 or start % pageblock or end % section:
        return Reason.UNALIGNED, -1
    zones = np.unique(memory.mem.zone_of[start >> MAX_PAGE_ORDER : end >> MAX_PAGE_ORDER])
    if any(s < end and start < e for s, e, _ in memory.setup.offline):
        return Reason.OFFLINE, -1
    if end > memory.nr_pages or NO_ZONE in zones:
        return Reason.HOLE, -1
    if len(zones) > 1:
        return Reason.STRADDLES_ZONES, -1
    if kernels.has_holes(memory.mem, start, end):
        return Reason.HOLE, -1
    return Reason.NONE, int(zones[0])


class Offlining:
    """One attempt to take a range offline, pass by pass.

    Between two passes others may act: let the next ``step`` come when the simulation has come to
    ``now``.
    """

    def __init__(
        self,
        memory: Memory,
        start_pfn: int,
        nr_pages: int,
        timeout_ns: int = FOREVER_NS,
        signal_at: int | None = None,
        cpu: int = 0,
    ) -> None:
        self.memory, self.cpu = memory, cpu
        self.start, self.end = start_pfn, start_pfn + nr_pages
        self.began = beginning(memory)
        self.now = memory.now
        self.stops_at = self.now + timeout_ns
        if signal_at is not None:
            self.stops_at = min(self.stops_at, signal_at)
        self.tries = 0
        self.zone = -1
        self.listed = self.result = 0
        self.isolated = False
        self.page = -1
        self.repetition = Repetition(memory)
        self.at = self.start
        self.split: list[tuple[int, int]] = []

    def step(self, until: int = 0) -> OfflineOutcome | None:
        """Isolate, or else do one pass; return what came of it all once it is over.

        After two passes that have changed nothing all others that would begin before ``until``
        (ns), when somebody else may act, are counted at once.
        """
        if not self.isolated:
            return self._begin()
        if self.now >= self.stops_at:
            return self._give_up()
        before, began = look(self.memory), self.now
        if self._pass():
            took = self.now - began
            still = self._moved() == 0
            more = self.repetition.passes(before, took, self.now, min(until, self.stops_at), still)
            self.tries += 1 + more
            self.now += more * took
            return None
        self.listed = self.result = 0
        self.at = self.start
        self.page = dissolve_free_huge_pages(self.memory.mem, self.cpu, self.start, self.end)
        if self.page >= 0:
            return self._give_up(-errno.EBUSY, Reason.HUGETLB_RESERVED)
        if kernels.first_not_free(self.memory.mem, self.start, self.end) == self.end:
            return self._finish()
        return None

    def _begin(self) -> OfflineOutcome | None:
        reason, self.zone = refusal(self.memory, self.start, self.end - self.start)
        if reason:
            return self._outcome(-errno.EINVAL, reason)
        memory = self.memory
        pcps = memory.mem.pcps.reshape(len(memory.setup.zones), -1, L.PCP_FIELDS)[self.zone]
        self.pcp_sizes = pcps[:, [L.P_HIGH, L.P_BATCH]].copy()
        found = np.zeros(2, np.int64)
        memory.advance(self.now)
        kernels.isolate_range(
            memory.mem, memory.tables, self.zone, self.cpu, self.start, self.end, found
        )
        if found[0]:
            self._enable_pcp()
            self.page, reason = int(found[1]), OF_PAGE[Unmovable(int(found[0]))]
            pinned = pinned_pages(memory, self.start, self.end)
            return self._outcome(-errno.EBUSY, reason, (*self._unmovable(), *pinned))
        nr_pages = self.end - self.start
        self.pages = np.zeros(nr_pages, np.int32)
        self.codes = np.zeros(nr_pages, np.int8)
        self.attempts = np.zeros(nr_pages, np.int8)
        self.rows = self._targets()
        self.isolated = True
        return None

    def _targets(self) -> NDArray[np.int64]:
        """Make the request that pages are moved by: to other nodes if any has memory."""
        memory = self.memory
        own = memory.setup.zones[self.zone].node
        others = tuple(n for n in nodes_with_memory(memory) if n != own) or (own,)
        request = Request(TARGET_GFP, Use.ANON, nodes=others, preferred=own)
        return np.array(request_row(request, memory.tables, memory.setup.mechanism), np.int64)

    def _pass(self) -> bool:
        """Collect what can be moved and migrate it; say whether there was anything."""
        memory, did = self.memory, np.zeros(kernels.COLLECTED_FIELDS, np.int64)
        memory.advance(self.now)
        kernels.collect_movable_pages(memory.mem, self.at, self.end, self.pages, did)
        self.listed = n = int(did[kernels.COLLECTED_PAGES])
        if n:
            self.at = int(did[kernels.COLLECTED_FIRST])
            spare = keep_spare_handles(memory, self.pages[:n])
            orders = memory.mem.state[self.pages[:n]] >> L.ORDER_SHIFT & 0xF
            heads = memory.mem.rmap[self.pages[:n]].copy()
            self.result = migration.migrate_list(
                memory.mem,
                memory.tables,
                self.rows,
                self.pages[:n],
                self.cpu,
                MigrateMode.SYNC,
                MigrateReason.MEMORY_HOTPLUG,
                self.codes[:n],
                self.attempts[:n],
            )
            for i in np.flatnonzero(self.attempts[:n] < 0):
                self.split.append((int(heads[i]), spare))
                spare += (1 << int(orders[i])) - 1
        self.now += int(memory.mem.system[S_STALL]) + self._failing_cost()
        return n > 0

    def _failing_cost(self) -> int:
        """Say how long attempts took that failed: a page is unmapped and mapped again, not copied.

        The emulated machine of capture ``n2_pinvm`` needs 8 us for that, 35 us to move a page.
        """
        failed = self.attempts[: self.listed][self.codes[: self.listed] < 0]
        costs = int(self.memory.mem.system[S_MIGRATE_NS])
        return int(np.maximum(failed, 0).sum()) * costs // FAILED_SHARE

    def _enable_pcp(self) -> None:
        memory = self.memory
        pcps = memory.mem.pcps.reshape(len(memory.setup.zones), -1, L.PCP_FIELDS)[self.zone]
        pcps[:, [L.P_HIGH, L.P_BATCH]] = self.pcp_sizes

    def _finish(self) -> OfflineOutcome:
        memory = self.memory
        kernels.offline_isolated_pages(memory.mem, self.zone, self.start, self.end)
        self._enable_pcp()
        memory.mem.pageblocks[self._pageblocks] = Migratetype.MOVABLE
        shrink_zone(memory, self.zone, self.start, self.end)
        return self._outcome(0, Reason.NONE)

    def _give_up(self, code: int = -errno.EINTR, why: Reason = Reason.NONE) -> OfflineOutcome:
        memory = self.memory
        left = self.pages[: self.listed], self.codes[: self.listed]
        obstacles = (*left_behind(memory, *left), *self._unmovable())
        reason = obstacles[0].reason if obstacles else Reason.STAYED
        if self.result == -errno.ENOMEM and not obstacles:
            reason = lacking(memory, left[0])
        kernels.undo_offline(memory.mem, memory.tables, self.zone, self.cpu, self.start, self.end)
        self._enable_pcp()
        return self._outcome(code, why or reason, obstacles, left=self._left())

    @property
    def _pageblocks(self) -> slice:
        return slice(self.start // PAGEBLOCK_NR_PAGES, self.end // PAGEBLOCK_NR_PAGES)

    def _moved(self) -> int:
        return int(np.count_nonzero(self.codes[: self.listed] == 0))

    def _left(self) -> int:
        """Count the pages that stayed and that nobody has freed since."""
        stayed = self.pages[: self.listed][self.codes[: self.listed] != 0]
        return int(np.count_nonzero(self.memory.mem.state[stayed] & L.PAGE_ALLOCATED))

    def _unmovable(self) -> tuple[Obstacle, ...]:
        return unmovable_pages(self.memory, self.zone, self.start, self.end)

    def _outcome(
        self, code: int, reason: Reason, obstacles: tuple[Obstacle, ...] = (), left: int = 0
    ) -> OfflineOutcome:
        return outcome_of(
            self.memory,
            self.began,
            start_pfn=self.start,
            nr_pages=self.end - self.start,
            zone=self.zone,
            errno=code,
            reason=reason,
            obstacles=obstacles,
            page=self.page,
            pages_left=left,
            tries=self.tries,
            ended_ns=self.now,
            split=tuple(self.split),
        )
