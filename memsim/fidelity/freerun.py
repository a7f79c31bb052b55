"""Run the requests of a capture from its start state, and infer what no event prints.

Bulk allocations (vmalloc, kernel stacks) print nothing when they take pages; their frees appear.
Where the kernel handed out a page that stands deeper in the predicted per-CPU list, and the pages
above it are freed later without ever having been allocated, those were taken silently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.restore import present_pageblocks, restore
from memsim.mm import OP_FREE, PAGEBLOCK_ORDER, Migratetype, Status, gfp_from_text, gfp_migratetype
from memsim.policies import LINUX_6_1, mobility, none
from memsim.traces import TraceTable
from memsim.traces.capture import CaptureState
from memsim.workloads.replay import TraceRequests

CHUNK = 1 << 15
"""Events between two checkpoints."""
LOG_ROWS = 1 << 18
MAX_SILENT = 256
"""Pages that one bulk allocation is assumed to take at most between two printed events."""
NEVER = -1
"""In place of a handle: the trace does not mention the page again."""


@dataclass(frozen=True)
class Prediction:
    """What memsim says the kernel did (n events)."""

    pfn: NDArray[np.int32]
    status: NDArray[np.uint8]
    log: NDArray[np.int32]
    """(k, LOG_FIELDS); its first column counts events from the start of the run."""
    memory: Memory
    inferred_pages: int
    not_held: int

    def first(self, events: int) -> Prediction:
        """Return the prediction of the first events alone."""
        return replace(
            self,
            pfn=self.pfn[:events],
            status=self.status[:events],
            log=self.log[self.log[:, 0] < events],
        )


def preferred_nodes(trace: TraceTable, state: CaptureState) -> NDArray[np.int8] | None:
    """Read the preferred node of each row from its pfn; None on a machine with one node."""
    if len({zone.node for zone in state.zones}) == 1:
        return None
    nodes = np.full(len(trace), -1, np.int8)
    for zone in state.zones:
        nodes[np.isin(trace.pfn >> PAGEBLOCK_ORDER, present_pageblocks(zone))] = zone.node
    return nodes


def grouping_switch(trace: TraceTable, requests: TraceRequests) -> int | None:
    """Return the event before which grouping by mobility was switched off, None if never.

    From the switch on, requests whose gfp flags are not unmovable print migratetype 0.
    """
    wanted = np.array([int(gfp_migratetype(gfp_from_text(t))) for t in trace.gfp_texts] or [0])
    rows = requests.row
    grouped = wanted[trace.gfp[rows]] != Migratetype.UNMOVABLE
    off = requests.allocs(
        grouped & (trace.migratetype[rows] == Migratetype.UNMOVABLE) & (trace.gfp[rows] >= 0)
    )
    return int(off[0]) if len(off) else None


def begin_run(
    state: CaptureState,
    trace: TraceTable,
    requests: TraceRequests,
    switch: int | None,
    pages: NDArray[np.uint64] | None = None,
) -> FreeRun:
    """Prepare to predict the outcome of all requests; ``switch`` is the event that ends grouping.

    ``pages`` says what each page is at the start (see ``restore``), where that matters.
    """
    grouped: PolicyTables = mobility.Policy().tables(LINUX_6_1)
    ungrouped: PolicyTables = none.Policy().tables(LINUX_6_1)
    tables = ungrouped if state.group_by_mobility_disabled else grouped
    memory = restore(state, tables, pages=pages)
    memory.add_requests(requests.requests)
    memory.add_handles(requests.handles)
    memory.hold(requests.allocations, requests.before)
    memory.keep_log(LOG_ROWS)
    return FreeRun(memory, trace, requests, None if switch is None else (switch, ungrouped))


class FreeRun:
    """A replay under way: the memory, the outcome so far, and what had to be inferred."""

    def __init__(
        self,
        memory: Memory,
        trace: TraceTable,
        requests: TraceRequests,
        switch: tuple[int, PolicyTables] | None = None,
    ) -> None:
        self.memory = memory
        self.requests = requests
        self.switch = switch
        """The event from which on another policy is in force, and which."""
        self.seen = trace.pfn[requests.row]
        self.is_alloc = requests.batch.op < OP_FREE
        self.pfn = np.full(len(self.seen), -1, np.int32)
        self.status = np.zeros(len(self.seen), np.uint8)
        self.log: list[NDArray[np.int32]] = []
        self.done = 0
        self.inferred_pages = 0
        self.wrong: int | None = None
        """The first allocation that is not where it was predicted, and that nothing explains."""
        self.by_page = np.lexsort((np.arange(len(self.seen)), self.seen))
        self.seen_by_page = self.seen[self.by_page]

    def until(self, stop: int) -> None:
        """Carry out events up to ``stop``, going back where silent allocations are inferred."""
        if self.switch is not None and self.done <= self.switch[0] <= stop:
            event, tables = self.switch
            self._until(event)
            self.switch = None
            self.memory.set_policy(tables)
        self._until(stop)

    def _until(self, stop: int) -> None:
        while self.done < stop:
            checkpoint = self.memory.copy() if self.wrong is None else None
            logged = len(self.log)
            begin = self.done
            self._run(min(begin + CHUNK, stop))
            wrong = self._first_wrong(begin)
            if wrong is None or checkpoint is None:
                continue
            self.memory = checkpoint
            del self.log[logged:]
            self.done = begin
            self._run(wrong)
            if not self._take_silently(wrong):
                self.wrong = wrong

    def _run(self, stop: int) -> None:
        batch = self.requests.batch
        while self.done < stop:
            part = slice(self.done, stop)
            outcome = self.memory.run(
                batch.op[part], batch.request[part], batch.cpu[part], batch.handle[part]
            )
            n = len(outcome.pfn)
            self.pfn[self.done : self.done + n] = outcome.pfn
            self.status[self.done : self.done + n] = outcome.status
            self._keep_log(self.done)
            self.done += n

    def keep_log(self) -> NDArray[np.int32]:
        """Keep what was logged besides the requests since the last of them; return it."""
        self._keep_log(self.done)
        return self.log[-1]

    def _keep_log(self, first: int) -> None:
        log = self.memory.take_log()
        log[:, 0] += first
        self.log.append(log)

    def _first_wrong(self, begin: int) -> int | None:
        part = slice(begin, self.done)
        wrong = np.flatnonzero(self.is_alloc[part] & (self.pfn[part] != self.seen[part]))
        return begin + int(wrong[0]) if len(wrong) else None

    def _take_silently(self, event: int) -> bool:
        """Take the pages that stand before the one the kernel handed out; say if that explains it.

        The pages must be ones that the trace frees later without having allocated them.
        """
        trial = self.memory.copy()
        first = trial.add_handles(MAX_SILENT + 1)
        pfns = _take(trial, self.requests, event, first, MAX_SILENT + 1)
        hits = np.flatnonzero(pfns == self.seen[event])
        if len(hits) == 0:
            return False
        taken = pfns[: int(hits[0])]
        later = [self._freed_without_allocation(int(pfn), event) for pfn in taken]
        if any(handle is None for handle in later):
            return False
        first = self.memory.add_handles(len(taken))
        _take(self.memory, self.requests, event, first, len(taken))
        self._keep_log(event)
        self.memory.page_table[first:] = 0
        for pfn, handle in zip(taken, later, strict=True):
            if handle is not None and handle != NEVER:
                self.memory.page_table[handle] = pfn + 1
        self.inferred_pages += len(taken)
        return True

    def events_of(self, pfn: int, first: int) -> NDArray[np.int64]:
        """Return the events that name a page, from event ``first`` on."""
        of_page = slice(*np.searchsorted(self.seen_by_page, [pfn, pfn + 1]))
        events: NDArray[np.int64] = self.by_page[of_page]
        return events[events >= first]

    def _freed_without_allocation(self, pfn: int, event: int) -> int | None:
        """Return the handle of the free that comes next for a page, None if something else does."""
        later = self.events_of(pfn, event + 1)
        if len(later) == 0:
            return NEVER
        handle = int(self.requests.batch.handle[later[0]])
        unknown = not self.is_alloc[later[0]] and handle >= self.requests.allocations
        return handle if unknown else None

    def prediction(self) -> Prediction:
        """Return the outcome of all events."""
        log = (
            np.concatenate(self.log) if self.log else np.zeros((0, trace_log.LOG_FIELDS), np.int32)
        )
        not_held = int(np.count_nonzero(self.status == Status.NOT_HELD))
        return Prediction(self.pfn, self.status, log, self.memory, self.inferred_pages, not_held)


def _take(
    memory: Memory, requests: TraceRequests, event: int, handle: int, count: int
) -> NDArray[np.int32]:
    """Repeat the request of an event under new handles; return the pfns."""
    batch = requests.batch
    outcome = memory.run(
        np.full(count, batch.op[event]),
        np.full(count, batch.request[event]),
        np.full(count, batch.cpu[event]),
        np.arange(handle, handle + count, dtype=np.int32),
    )
    return outcome.pfn


def hold_all(memory: Memory) -> None:
    """Give every page of users that nobody holds a handle, so that it can be followed."""
    wanted = L.PAGE_ALLOCATED | L.PAGE_LRU
    state = memory.mem.state[: memory.nr_pages]
    pfns = np.flatnonzero(state & (wanted | L.ORDER_MASK) == wanted)
    holders = memory.mem.rmap[pfns]
    pfns = pfns[memory.page_table[holders] != pfns + 1]
    first = memory.add_handles(len(pfns))
    memory.page_table[first:] = pfns + 1
    memory.mem.rmap[pfns] = np.arange(first, first + len(pfns))
