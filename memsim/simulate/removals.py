"""Events that take memory blocks away while workloads run on."""

from __future__ import annotations

import errno as names_of
from collections import deque
from typing import NamedTuple

from memsim.memory import Memory, hotplug
from memsim.memory.hotplug import OfflineOutcome, Offlining
from memsim.memory.hotplug_2005 import Offlining2005
from memsim.memory.obstacles import Reason
from memsim.mm import MAX_PAGE_ORDER, PAGE_SIZE
from memsim.scenario.event import Event
from memsim.schema import Removal


class Removed(NamedTuple):
    """What became of a block, and all that stood in its way."""

    row: Removal
    outcome: OfflineOutcome


class Removals:
    """The blocks that are to go, one after the other, while the workloads run on."""

    def __init__(self, memory: Memory, block_size: int) -> None:
        self.memory = memory
        self.block_pages = block_size // PAGE_SIZE
        self.done: list[Removed] = []
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._attempt: Offlining | Offlining2005 | None = None
        self._current = ("", 0, 0)

    def begin(self, event: Event, name: str) -> None:
        """Let the blocks of an event go after those that are on their way already."""
        blocks = self.blocks(event)
        if event.order == "high-to-low":
            blocks = blocks[::-1]
        self._waiting += [(name, block, event.timeout) for block in blocks]

    @property
    def is_busy(self) -> bool:
        """Blocks are on their way, or waiting for their turn."""
        return self._attempt is not None or bool(self._waiting)

    def blocks(self, event: Event) -> tuple[int, ...]:
        """Return the numbers of the blocks that an event is about, ascending."""
        if event.node is None:
            return event.blocks
        return hotplug.node_blocks(self.memory, event.node, self.block_pages)

    def go_on(self, until: int) -> int | None:
        """Do the next thing that is due now; return when to go on, None when all is done.

        Nobody else acts before ``until`` (ns).
        """
        while True:
            if self._attempt is None:
                if not self._waiting:
                    return None
                self._current = self._waiting.popleft()
                self._start()
            assert self._attempt is not None
            outcome = self._attempt.step(until)
            if outcome is not None:
                self._end(outcome)
                continue
            if self._attempt.now > self.memory.now:
                return self._attempt.now

    def stop(self) -> None:
        """End what is going on, as a signal does, and forget what has not begun."""
        self._waiting.clear()
        if self._attempt is not None:
            self._attempt.stops_at = self._attempt.now
            while (outcome := self._attempt.step()) is None:
                pass
            self._end(outcome)

    def _start(self) -> None:
        _, block, timeout = self._current
        start, pages = hotplug.block_range(block, self.block_pages)
        old = self.memory.setup.mechanism == "linux-2.6.14"
        begin = Offlining2005 if old else Offlining
        self._attempt = begin(self.memory, start, pages, timeout)

    def _end(self, outcome: OfflineOutcome) -> None:
        name, block, _ = self._current
        self.done.append(Removed(row_of(self.memory, name, block, outcome), outcome))
        self._attempt = None


def row_of(memory: Memory, event: str, block: int, outcome: OfflineOutcome) -> Removal:
    """Return what the table says of an attempt to take a block offline."""
    zones = memory.setup.zones
    number = outcome.zone
    if number < 0:
        number = int(memory.mem.zone_of[outcome.start_pfn >> MAX_PAGE_ORDER])
    zone = zones[number] if number < len(zones) else None
    return Removal(
        time_ns=outcome.began_ns,
        event=event,
        block=block,
        zone=f"node{zone.node} {zone.name}" if zone else "",
        result="offline" if outcome.removed or outcome.reason == Reason.OFFLINE else "online",
        errno=names_of.errorcode.get(-outcome.errno, "") if outcome.errno else "",
        reason=str(outcome.reason),
        page=outcome.page,
        obstacles=sum(obstacle.pages for obstacle in outcome.obstacles),
        pages_moved=outcome.pages_migrated,
        pages_left=outcome.pages_left,
        tries=outcome.tries,
        offline_model_ns=outcome.ended_ns - outcome.began_ns,
    )
