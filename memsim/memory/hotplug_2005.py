"""Memory goes offline as it did in 2007, in kernels that have lists of 2005 (history-2005 4.2).

All or nothing: a range either leaves its zone with every page, or stays as it was.
"""

from __future__ import annotations

import errno

import numpy as np

from memsim.kernels.linux_2_6_14 import memory_hotplug as kernels
from memsim.kernels.linux_2_6_14 import migrate_pages, migration
from memsim.kernels.linux_2_6_14.slowpath import TICK_NS
from memsim.kernels.placement import OPT_BOOT_TYPE
from memsim.kernels.system import S_DIRTY_BACKGROUND, S_TOTAL_MEMORY
from memsim.memory import Memory
from memsim.memory.hotplug import FOREVER_NS, OfflineOutcome, beginning, outcome_of, refusal
from memsim.memory.migrating_2005 import target_of, undisturbed_call
from memsim.memory.obstacles import (
    OF_PAGE,
    Obstacle,
    Reason,
    obstacle_at,
    pinned_pages,
    unmovable_pages,
    why_left,
)
from memsim.memory.pressure import dirty_background, total_memory
from memsim.memory.resizing import take_out
from memsim.memory.standstill import Repetition, look
from memsim.mm import Unmovable

MAX_FAILED_PASSES = 5
"""Passes that may end with an error; one that leaves pages behind does not count."""
MOVED = (migration.MOVED_DIRECT, migration.MOVED_SWAP, migration.FREED_MEANWHILE)
WHY = {migration.FAILED_NO_SWAP: Reason.NO_SWAP, migration.FAILED_MLOCKED: Reason.MLOCKED}
"""What else than what holds a page keeps it where it is, in these kernels."""


class Offlining2005:
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
        self.expires = self.now + timeout_ns
        self.stops_at = FOREVER_NS if signal_at is None else signal_at
        self.tries = self.failed = 0
        self.zone = self.page = -1
        self.is_isolated = self.drains = False
        self.reason = Reason.NONE
        self.call = undisturbed_call(memory, 0, cpu)
        self.taken = 0
        self.repetition = Repetition(memory)

    def step(self, until: int = 0) -> OfflineOutcome | None:
        """Isolate, or else do one pass; return what came of it all once it is over.

        A pass that has moved nothing takes a tick: the next one waits until every CPU has drained
        its lists (flush_scheduled_work). After two that have changed nothing all others that would
        begin before ``until`` (ns), when somebody else may act, are counted at once.
        """
        if not self.is_isolated:
            return self._begin()
        if self.now >= self.expires:
            return self._give_up(-errno.EAGAIN)
        if self.now >= self.stops_at:
            return self._give_up(-errno.EINTR)
        before, began = look(self.memory), self.now
        if self.drains:
            kernels.drain(self.memory.mem, self.memory.tables, self.now)
        self.drains = True
        code = self._pass()
        if code == 0 and self.taken == 0:
            return self._check()
        self.tries += 1
        if code:
            self.failed += 1
            return self._give_up(code) if self.failed == MAX_FAILED_PASSES else None
        still = self._moved() == 0
        self.now += TICK_NS if still else 0
        took, stop = self.now - began, min(until, self.expires, self.stops_at)
        more = self.repetition.passes(before, took, self.now, stop, still)
        self.tries += more
        self.now += more * took
        return None

    def _begin(self) -> OfflineOutcome | None:
        memory = self.memory
        self.reason, self.zone = refusal(memory, self.start, self.end - self.start)
        if self.reason:
            return self._outcome(-errno.EINVAL)
        found = np.zeros(2, np.int64)
        self.types = np.zeros(self.end - self.start >> memory.setup.pageblock_order, np.uint8)
        memory.advance(self.now)
        kernels.isolate_range(
            memory.mem, memory.tables, self.zone, self.start, self.end, self.types, found
        )
        if found[0]:
            self.page, self.reason = int(found[1]), OF_PAGE[Unmovable(int(found[0]))]
            return self._outcome(-errno.EBUSY, self._obstacles())
        self.is_isolated = True
        return None

    def _pass(self) -> int:
        """Take pages off their lists and migrate them; return 0, -EBUSY or -ENOMEM."""
        memory, did = self.memory, np.zeros(kernels.TAKEN_FIELDS, np.int64)
        mem, tables = memory.mem, memory.tables
        self.call = call = undisturbed_call(memory, kernels.OFFLINE_AT_ONCE_PAGES, self.cpu)
        kernels.take_lru_pages(mem, tables, call, self.start, self.end, self.now, did)
        self.taken, self.page, took = did.tolist()
        if self.page >= 0:
            self.now += took
            return -errno.EBUSY
        target = target_of(memory, memory.setup.cpu_node[self.cpu], "other_node", set())
        self.now += kernels.migrate_range(mem, tables, call, target, self.taken, took)
        migrate_pages.end_migration(mem, tables, call)
        untried = call.fate[: self.taken] == migration.NOT_TRIED
        return -errno.ENOMEM if untried.any() else 0

    def _check(self) -> OfflineOutcome:
        """Look a last time, with nothing left on any CPU, whether all is free."""
        memory = self.memory
        kernels.drain(memory.mem, memory.tables, self.now)
        self.page = kernels.first_in_use(memory.mem, self.start, self.end)
        if self.page < self.end:
            return self._give_up(-errno.EBUSY)
        kernels.offline_isolated_pages(memory.mem, self.zone, self.start, self.end)
        unit = memory.setup.pageblock_order
        boot_type = memory.tables.options[OPT_BOOT_TYPE]
        memory.mem.pageblocks[self.start >> unit : self.end >> unit] = boot_type
        take_out(memory, self.zone, self.start, self.end)
        memory.mem.system[S_DIRTY_BACKGROUND] = dirty_background(memory.setup)
        memory.mem.system[S_TOTAL_MEMORY] = total_memory(memory.setup)
        self.page = -1
        return self._outcome(0)

    def _give_up(self, code: int) -> OfflineOutcome:
        memory = self.memory
        obstacles = self._obstacles()
        by_pfn = {obstacle.pfn: obstacle for obstacle in obstacles}
        if self.page in by_pfn:
            self.reason = by_pfn[self.page].reason
        elif code == -errno.ENOMEM:
            self.reason = Reason.NO_MEMORY
        else:
            self.reason = obstacles[0].reason if obstacles else Reason.STAYED
        kernels.undo_isolate_range(
            memory.mem, memory.tables, self.zone, self.start, self.end, self.types
        )
        return self._outcome(code, obstacles)

    def _obstacles(self) -> tuple[Obstacle, ...]:
        """Name the pages that the last pass could not move, then all that never can be."""
        memory, call = self.memory, self.call
        tried = np.flatnonzero(call.passes[: self.taken])
        stayed = tuple(
            obstacle_at(memory, pfn, WHY.get(fate) or why_left(memory, pfn))
            for pfn, fate in zip(call.pages[tried].tolist(), call.fate[tried].tolist(), strict=True)
            if fate not in MOVED
        )
        # Pages that have just been put back wait in a batch, but would not for long.
        known = {obstacle.pfn for obstacle in stayed}
        others = (
            *unmovable_pages(memory, self.zone, self.start, self.end),
            *pinned_pages(memory, self.start, self.end),
        )
        return (
            *stayed,
            *(
                obstacle
                for obstacle in others
                if obstacle.pfn not in known
                and (obstacle.reason != Reason.LRU_BATCH or obstacle.pfn == self.page)
            ),
        )

    def _moved(self) -> int:
        return int(np.count_nonzero(np.isin(self.call.fate[: self.taken], MOVED)))

    def _outcome(self, code: int, obstacles: tuple[Obstacle, ...] = ()) -> OfflineOutcome:
        return outcome_of(
            self.memory,
            self.began,
            start_pfn=self.start,
            nr_pages=self.end - self.start,
            zone=self.zone,
            errno=code,
            reason=self.reason,
            obstacles=obstacles,
            page=self.page,
            pages_left=self.taken - self._moved() if code and self.is_isolated else 0,
            tries=self.tries,
            ended_ns=self.now,
        )


def offline_2005(
    memory: Memory,
    start_pfn: int,
    nr_pages: int,
    timeout_ns: int = FOREVER_NS,
    signal_at: int | None = None,
    cpu: int = 0,
) -> OfflineOutcome:
    """Take [start_pfn, start_pfn + nr_pages) offline on ``cpu``, or find out why it cannot go."""
    attempt = Offlining2005(memory, start_pfn, nr_pages, timeout_ns, signal_at, cpu)
    while (outcome := attempt.step(min(attempt.expires, attempt.stops_at))) is None:
        pass
    return outcome
