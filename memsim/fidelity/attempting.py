"""Ask for blocks of one order until none is to be had, and give them back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels.kcompactd import N_KCOMPACTD_WORK, WORK_PROACTIVE
from memsim.kernels.system import (
    FOREVER,
    N_KCOMPACTD_DUE,
    N_KCOMPACTD_HIGHEST_ZONE,
    N_KCOMPACTD_ORDER,
    N_PROACTIVE_DUE,
    NODE_FIELDS,
    PROACTIVE_INTERVAL_NS,
    S_NEXT_DUE,
)
from memsim.kernels.vmstat import COMPACT_MIGRATED, STALL_MODEL_NS
from memsim.memory import Memory
from memsim.mm import OP_FREE, Gfp, Status, Use, ZoneType, gfp_from_text
from memsim.schema import Request

HUGETLB = "hugetlb"
HUGETLB_GFP = gfp_from_text(
    "GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_RETRY_MAYFAIL|__GFP_COMP|__GFP_THISNODE"
)
"""What capture ``frag`` shows a write to nr_hugepages to ask for."""
BASES = {
    "kernel": gfp_from_text("GFP_KERNEL"),
    "movable": gfp_from_text("GFP_HIGHUSER_MOVABLE"),
    "nowait": gfp_from_text("GFP_NOWAIT"),
    "atomic": gfp_from_text("GFP_ATOMIC"),
}
MODIFIERS = {
    "noretry": Gfp.NORETRY,
    "nowarn": Gfp.NOWARN,
    "nomemalloc": Gfp.NOMEMALLOC,
}
FAULT = Request(gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO"), Use.ANON, lru=True)
OF_KERNEL = Request(gfp_from_text("GFP_KERNEL"), Use.KERNEL)
BUNCH = 4096
"""Attempts made at once where one too many does nothing."""


def request_of_step(label: str, text: str) -> Request:
    """Read a step's request, as ``movable+noretry+nowarn``; raises ValueError for unknown words."""
    if label == HUGETLB:
        return Request(HUGETLB_GFP, Use.KERNEL)
    base, *words = text.split("+")
    if base not in BASES:
        raise ValueError(f'unknown gfp "{text}"')
    gfp = BASES[base]
    for word in words:
        if word == "noreclaim":
            gfp &= ~Gfp.RECLAIM
        elif word in MODIFIERS:
            gfp |= MODIFIERS[word]
        else:
            raise ValueError(f'unknown gfp "{text}"')
    return Request(gfp, Use.KERNEL)


class Attempts:
    """A memory that is asked for blocks, as a kernel module asks: they are on no LRU list.

    One process asks: it makes its next request when the one before, with all its stalls, is done.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.now = memory.now

    def wait_until(self, now: int) -> None:
        """Let time come to ``now``, if it has not yet; daemons see it at the next request."""
        self.now = max(self.now, now)

    def pause(self, ns: int) -> None:
        """Let nobody ask for a while; kcompactd goes on with its work, but begins no round."""
        self.now += ns
        if not self.is_compacting_proactively:
            due = self._daemons[:, N_PROACTIVE_DUE]
            late = (due < self.now) & (due != FOREVER)
            due[late] += -((due[late] - self.now) // PROACTIVE_INTERVAL_NS) * PROACTIVE_INTERVAL_NS

    def put_off_kcompactd(self) -> None:
        """Let proactive compaction look at no score until kcompactd has worked."""
        self._daemons[:, N_PROACTIVE_DUE] = FOREVER

    def wake_kcompactd(self, order: int) -> None:
        """Let kcompactd work for requests of the kernel of an order, as if kswapd had woken it."""
        rows = self._daemons[:-1]
        rows[:, N_KCOMPACTD_ORDER] = order
        rows[:, N_KCOMPACTD_HIGHEST_ZONE] = int(ZoneType.NORMAL)
        rows[:, N_KCOMPACTD_DUE] = self.memory.mem.system[S_NEXT_DUE] = self.now
        self.memory.advance(self.now)

    def compact_proactively(self, pages: int | None, left: int = 0) -> None:
        """Let proactive compaction begin, and pass time until it has ended or moved ``pages``.

        Without ``pages`` it may have that many ``left`` to move that it would move undisturbed.
        """
        self.memory.advance(self.now)
        if pages is None and left:
            pages = max(self._pages_of_a_round() - left, 0)
        moved = int(self.memory.mem.events[COMPACT_MIGRATED])
        self.memory.compact_proactively()
        while self.is_compacting_proactively:
            done = int(self.memory.mem.events[COMPACT_MIGRATED]) - moved
            if pages is not None and done >= pages:
                return
            self._step_proactively()

    def _pages_of_a_round(self) -> int:
        twin = Attempts(self.memory.copy())
        twin.now = self.now
        before = int(twin.memory.mem.events[COMPACT_MIGRATED])
        twin.compact_proactively(None)
        return int(twin.memory.mem.events[COMPACT_MIGRATED]) - before

    def finish_proactive_round(self) -> None:
        """Pass time until proactive compaction has ended, if it is at work."""
        while self.is_compacting_proactively:
            self._step_proactively()

    def _step_proactively(self) -> None:
        self.now = max(self.now, int(self._daemons[:, N_PROACTIVE_DUE].min()))
        self.memory.advance(self.now)

    @property
    def expects_kcompactd(self) -> bool:
        """It is known when proactive compaction looks at the scores next."""
        return bool((self._daemons[:-1, N_PROACTIVE_DUE] != FOREVER).any())

    @property
    def is_compacting_proactively(self) -> bool:
        """kcompactd is in the middle of a proactive round."""
        return bool((self._daemons[:, N_KCOMPACTD_WORK] == WORK_PROACTIVE).any())

    @property
    def _daemons(self) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self.memory.mem.nodes.reshape(-1, NODE_FIELDS)
        return rows

    def take(self, faults: int, others: int) -> None:
        """Let somebody else take single pages and keep them: by faults, and for the kernel."""
        for request, pages in ((FAULT, faults), (OF_KERNEL, others)):
            row = self.memory.add_requests((request,))
            first = len(self.memory.page_table)
            self.memory.add_handles(pages)
            self._run(np.zeros(pages, np.int64), row, first + np.arange(pages))

    def compact_memory(self) -> None:
        """Write to /proc/sys/vm/compact_memory."""
        self.memory.compact_memory()

    def blocks(self, request: Request, order: int) -> int:
        """Count the blocks to be had before the first failure; all are given back."""
        row = self.memory.add_requests((request,))
        bunch = 1 if request.gfp & Gfp.RECLAIM else BUNCH
        first = len(self.memory.page_table)
        got, failed = 0, False
        while not failed:
            handle = first + got
            if handle + bunch > len(self.memory.page_table):
                self.memory.add_handles(BUNCH)
            status = self._run(np.full(bunch, order), row, np.arange(handle, handle + bunch))
            served = int(np.count_nonzero(status == Status.OK))
            failed = served < bunch
            got += served
        held = np.arange(first, first + got)
        self._run(np.full(got, order | OP_FREE), row, held)
        return got

    def _run(
        self, op: NDArray[np.int64], row: int, handles: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        n = len(op)
        stalled = int(self.memory.mem.events[STALL_MODEL_NS])
        outcome = self.memory.run(
            op.astype(np.uint8),
            np.full(n, row, np.uint16),
            np.zeros(n, np.uint16),
            handles.astype(np.int32),
            np.full(n, self.now, np.int64),
        )
        self.now += int(self.memory.mem.events[STALL_MODEL_NS]) - stalled
        return outcome.status
