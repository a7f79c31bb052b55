"""One system call that moves pages: what it tries, and what became of each page.

Source: migrate_pages, mm/migrate.c, Linux 6.1.192 (spec 8.3, 8.8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import migration
from memsim.kernels.system import S_SPARE_END, S_SPARE_HANDLE
from memsim.kernels.trace_log import LOG_ONLY
from memsim.memory import Memory
from memsim.memory.requests import request_row
from memsim.mm import MigrateMode, MigrateReason
from memsim.schema import Request

UNTOUCHED = -9999
"""In place of a page's status: the call wrote none."""
MOST_ATTEMPTS = 64
"""At a page: ten passes, and ten more for one of those that a huge page was split into."""
Handles = NDArray[np.int32]
Bytes = NDArray[np.int8]


class Attempt(NamedTuple):
    """One attempt to move a page."""

    pass_: int
    target: int
    """The page frame allocated for it; -1 if there was none."""
    code: int
    """0: it has moved; or a negative errno."""
    ended_ns: int
    """Simulated time since the call began."""


class Watched(NamedTuple):
    """What was tried with one page, in ns since the call began."""

    began_ns: int
    """Its list's turn came."""
    attempts: tuple[Attempt, ...]
    ended_ns: int
    """All of its list had moved, or was put back."""


@dataclass(frozen=True)
class MigrateOutcome:
    """What a call said, and what became of every page that it tried to move."""

    ret: int
    """What the call returns: 0, the number of pages that stayed, or -1."""
    errno: int
    """Why it returned -1, else 0."""
    status: NDArray[np.int32]
    """Per page that was asked for: its node, a negative errno, or UNTOUCHED."""
    handles: NDArray[np.int32]
    """The pages that were taken off their lists to be moved, in order; each one's fate follows."""
    codes: NDArray[np.int8]
    """0: moved. A negative errno: stayed. 1: the call ended before the page's turn."""
    tries: NDArray[np.int8]
    """Attempts at it; negative for a huge page that was split."""
    sources: NDArray[np.int32]
    """Page frames that they were on."""
    targets: NDArray[np.int32]
    """Page frames that they are on now; -1 for what reclaim has taken meanwhile."""
    split: NDArray[np.int32]
    """(n, 2) handle of a huge page that was split, and the first of those that its other pages
    have got, in ascending order."""
    counters: Mapping[str, int]
    """By how much the counters of Memory.vmstat have changed; those that have."""
    took_ns: int
    """Simulated time that the caller has spent."""
    watched: Watched | None = None


class Call:
    """One system call on its way: what it has tried so far."""

    def __init__(self, memory: Memory, cpu: int, watch: int = -1) -> None:
        """``watch`` is the place of a page among those that are to be moved, -1 for none."""
        self.memory, self.cpu = memory, cpu
        self._watch = watch
        self._watched: Watched | None = None
        self._before = memory.vmstat()
        self._tried: list[tuple[Handles, Bytes, Bytes, Handles]] = []
        self._split: list[tuple[int, int]] = []
        migration.begin_call(memory.mem, memory.tables, memory.now)

    def isolate(self, handles: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Take pages off their LRU lists; say of each whether that was possible."""
        taken = np.zeros(len(handles), np.uint8)
        migration.isolate_pages(self.memory.mem, pfns_of(self.memory, handles), taken)
        return taken.astype(bool)

    def migrate(
        self, handles: NDArray[np.int32], request: Request, mode: MigrateMode, reason: MigrateReason
    ) -> int:
        """Move isolated pages and put back those that stay; return what the kernel's call does."""
        row = request_row(request, self.memory.tables, self.memory.setup.mechanism)
        pfns = pfns_of(self.memory, handles)
        codes, tries = np.zeros((2, len(pfns)), np.int8)
        spare = keep_spare_handles(self.memory, pfns)
        orders = _orders(self.memory, pfns)
        place = self._watch - sum(len(handles) for handles, *_ in self._tried)
        with self._watching(int(pfns[place]) if 0 <= place < len(pfns) else -1):
            result = migration.migrate_list(
                self.memory.mem,
                self.memory.tables,
                np.array(row, np.int64),
                pfns,
                self.cpu,
                int(mode),
                int(reason),
                codes,
                tries,
            )
        for i in np.flatnonzero(tries < 0):
            self._split.append((int(handles[i]), spare))
            spare += (1 << int(orders[i])) - 1
        self._tried.append((handles, codes, tries, pfns))
        return int(result)

    @contextmanager
    def _watching(self, pfn: int) -> Iterator[None]:
        """Keep what is tried with a page meanwhile, in place of any other log; -1: of none."""
        if pfn < 0:
            yield
            return
        memory = self.memory
        kept = memory.mem.log, memory.mem.log_cursor
        memory.keep_log(MOST_ATTEMPTS)
        memory.mem.log_cursor[LOG_ONLY] = pfn + 1
        began = self._time_spent()
        yield
        attempts = tuple(
            Attempt(pass_, target, code, 1000 * micros + nanos)
            for target, pass_, code, micros, nanos in memory.take_log()[:, 3:].tolist()
        )
        self._watched = Watched(began, attempts, self._time_spent())
        memory.mem = memory.mem._replace(log=kept[0], log_cursor=kept[1])

    def _time_spent(self) -> int:
        return int(migration.time_spent(self.memory.mem))

    def outcome(self, result: int, status: NDArray[np.int32]) -> MigrateOutcome:
        """End the call: ``result`` is what it returns, or a negative errno."""
        nothing, none_tried = np.zeros(0, np.int32), np.zeros(0, np.int8)
        tried = self._tried or [(nothing, none_tried, none_tried, nothing)]
        handles, codes, tries, pfns = (
            np.concatenate(column) for column in zip(*tried, strict=True)
        )
        after = self.memory.vmstat()
        changed = {name: after[name] - self._before[name] for name in after}
        return MigrateOutcome(
            ret=-1 if result < 0 else result,
            errno=-min(result, 0),
            status=status,
            handles=handles,
            codes=codes,
            tries=tries,
            sources=pfns,
            targets=np.maximum(self.memory.page_table[handles], 0) - 1,
            split=np.array(self._split, np.int32).reshape(-1, 2),
            counters={name: change for name, change in changed.items() if change},
            took_ns=self._time_spent(),
            watched=self._watched,
        )


def keep_spare_handles(memory: Memory, pfns: NDArray[np.int32]) -> int:
    """Keep handles at hand for the pages of blocks that may be split; return the first of them."""
    system = memory.mem.system
    wanted = int(((1 << _orders(memory, pfns)) - 1).sum())
    if int(system[S_SPARE_END] - system[S_SPARE_HANDLE]) < wanted:
        system[S_SPARE_HANDLE] = memory.add_handles(wanted)
        system[S_SPARE_END] = system[S_SPARE_HANDLE] + wanted
    return int(system[S_SPARE_HANDLE])


def pfns_of(memory: Memory, handles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the page frames of pages that are in memory."""
    pfns: NDArray[np.int32] = (memory.page_table[handles] - 1).astype(np.int32)
    return pfns


def _orders(memory: Memory, pfns: NDArray[np.int32]) -> NDArray[np.int32]:
    orders: NDArray[np.int32] = (memory.mem.state[pfns] & L.ORDER_MASK) >> L.ORDER_SHIFT
    return orders
