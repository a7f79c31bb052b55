"""Page migration as of 2005: by way of swap, or directly.

Source: Swap Migration V5, Direct Migration V1, Linux 2.6.16 (spec history-2005 3, linux-mm 10.1,
10.2).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14 import migrate_pages as kernels
from memsim.kernels.linux_2_6_14 import migration as M
from memsim.kernels.system import FOREVER, S_WRITEBACK_LENGTH
from memsim.memory import Memory
from memsim.memory.requests import request_row
from memsim.memory.setup import Pressure
from memsim.mm import MAX_PAGE_ORDER, Gfp, Use, gfp_from_text
from memsim.schema import Request

Mode = Literal["direct", "swap"]
Code = Literal["v1", "linux-2.6.16"]
TargetFull = Literal["swap", "enomem", "other_node"]
_CODES: dict[Code, int] = {"v1": M.V1, "linux-2.6.16": M.LINUX_2_6_16}
_FULL: dict[TargetFull, int] = {
    "swap": M.FULL_SWAP,
    "enomem": M.FULL_ENOMEM,
    "other_node": M.FULL_OTHER_NODE,
}
STEPS_KEPT = 1024
COUNTERS = (
    "migrate_writeback_started",
    "migrate_writeback_waited",
    "migrate_queued_writeback_started",
    "migrate_lock_waited",
    "migrate_faults_waited",
    "migrate_fault_wait_model_ns",
    "migrate_wait_model_ns",
    "migrate_swap_slots",
    "migrate_tlb_flushes",
)
"""Names of a call's counters, none of which the kernels of 2005 had."""
STEP_NAMES = (
    "lock page",
    "wait for the lock",
    "wait for writeback",
    "add to swap",
    "write out",
    "release buffers",
    "check references",
    "switch mapping",
    "unmap",
    "check references again",
    "copy early flags",
    "copy data",
    "copy late flags",
    "clear and free the old page",
    "replace swap entries",
    "start queued writeback",
    "unlock page",
    "free",
)


class Fate(IntEnum):
    """What became of a page."""

    NOT_TRIED = M.NOT_TRIED
    """The budget ran out before."""
    MOVED_DIRECT = M.MOVED_DIRECT
    MOVED_SWAP = M.MOVED_SWAP
    """Swapped out, or dropped if it is a clean page of a file; a fault brings it back."""
    FREED_MEANWHILE = M.FREED_MEANWHILE
    FAILED_NO_SWAP = M.FAILED_NO_SWAP
    """For good: there is no swap slot for it."""
    FAILED_LOCKED = M.FAILED_LOCKED
    FAILED_WRITEBACK = M.FAILED_WRITEBACK
    FAILED_DIRTY = M.FAILED_DIRTY
    """It cannot be written."""
    FAILED_BUFFERS = M.FAILED_BUFFERS
    """It has buffers that are not let go."""
    FAILED_MLOCKED = M.FAILED_MLOCKED
    FAILED_PINNED = M.FAILED_PINNED
    """Something holds references to it."""
    FAILED_NO_MEMORY = M.FAILED_NO_MEMORY
    FAILED_SHARED = M.FAILED_SHARED
    """Several processes map it, and only this one's own pages were to be moved."""
    FAILED_NOT_LRU = M.FAILED_NOT_LRU
    """A page of the kernel, or a huge page."""
    ALREADY_THERE = M.ALREADY_THERE
    NOT_IN_MEMORY = M.NOT_IN_MEMORY

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name.lower()


NOT_MIGRATED = (*(f for f in Fate if f.label.startswith("failed")), Fate.NOT_TRIED)


class What(IntEnum):
    """What somebody else does to a page while it is migrated."""

    FAULT = M.FAULT
    WRITE_FAULT = M.WRITE_FAULT
    GET_PAGE = M.GET_PAGE
    PUT_PAGE = M.PUT_PAGE
    LOCK_PAGE = M.LOCK_PAGE
    UNLOCK_PAGE = M.UNLOCK_PAGE
    PUT_BUFFERS = M.PUT_BUFFERS
    """Needs the page's buffers no longer."""
    WRITE_PAGE = M.WRITE_PAGE
    """Wants it written; while it is locked, that is queued."""
    EXIT = M.EXIT


class Disturbance(NamedTuple):
    """Something that happens to a page right before a step of an attempt to migrate it."""

    page: int
    """Its place among the handles."""
    pass_: int
    """Counted from 0; ``EVERY_PASS``."""
    step: int
    """``migration.STEP_*``"""
    what: What


class Touches(NamedTuple):
    """When (ns) processes touch what handles hold, in any order."""

    handle: NDArray[np.int32]
    time: NDArray[np.int64]


NO_TOUCHES = Touches(np.zeros(0, np.int32), np.zeros(0, np.int64))


class Step(NamedTuple):
    """A step of one page's migration."""

    pass_: int
    name: str
    """One of STEP_NAMES."""
    begins_model_ns: int
    """Since the call began."""


@dataclass(frozen=True)
class Migrate2005Outcome:
    """What a call did: arrays have an entry for each handle."""

    fate: NDArray[np.uint8]
    """Fate"""
    passes: NDArray[np.uint8]
    """Attempts."""
    waits: NDArray[np.int32]
    """Times that a lock or the end of a write was waited for."""
    page_model_ns: NDArray[np.int64]
    old_pfn: NDArray[np.int32]
    """-1 for what was not in memory."""
    new_pfn: NDArray[np.int32]
    """-1 for what was not moved directly."""
    model_ns: int
    """Of the whole call."""
    counters: Mapping[str, int]
    """See COUNTERS."""
    errno: int
    """0, -ENODEV: no such node, or no swap; -ENOMEM: a target node is full."""
    why: str
    """A sentence for ``errno``."""
    steps: tuple[Step, ...]
    """Of the page that was watched."""

    @property
    def not_migrated(self) -> int:
        """What migrate_pages returns: pages that failed for good or for now."""
        return int(np.isin(self.fate, NOT_MIGRATED).sum())

    def count(self, fate: Fate) -> int:
        """Count the pages with a fate."""
        return int(np.count_nonzero(self.fate == fate))


def migrate(
    memory: Memory,
    handles: NDArray[np.int32],
    to_nodes: int | NDArray[np.int32],
    *,
    mode: Mode = "direct",
    code: Code = "v1",
    target_full: TargetFull = "swap",
    move_all: bool = False,
    budget_ns: int | None = None,
    cpu: int = 0,
    watch: int = -1,
    touches: Touches = NO_TOUCHES,
    disturbances: Sequence[Disturbance] = (),
) -> Migrate2005Outcome:
    """Migrate what handles hold to a node, or each to one of its own; a kernel of 2005.

    ``mode`` swap leaves it to a later fault where a page comes back, and takes ``to_nodes`` only to
    leave pages alone that are there already. Without ``move_all`` pages that several processes map
    stay. No page is tried after ``budget_ns``. ``watch`` is the place of a handle whose steps are
    kept. ``touches`` and ``disturbances`` happen meanwhile.
    """
    nodes = np.broadcast_to(np.asarray(to_nodes, np.int32), handles.shape).copy()
    wanted = list(dict.fromkeys(np.atleast_1d(to_nodes).tolist()))
    number, why = _refusal(memory, wanted, mode)
    call = M.Migration(
        **_columns(len(handles)),
        **_meanwhile(handles, touches, disturbances, watch),
        **_terms(memory, code, target_full, cpu),
        deadline=FOREVER if budget_ns is None else memory.now + budget_ns,
    )
    elapsed = 0
    if number == 0:
        kernels.isolate_lru_pages(memory.mem, memory.tables, call, handles, nodes, int(move_all))
        sources = _nodes_of(memory, call.pages[call.pages >= 0])
        for node in _emptied_first(memory, wanted, nodes, call.pages):
            target = target_of(memory, node, target_full, sources)
            elapsed = kernels.migrate_pages(
                memory.mem, memory.tables, call, target, nodes, node, int(mode == "direct"), elapsed
            )
        kernels.end_migration(memory.mem, memory.tables, call)
        if np.any(call.fate == Fate.FAILED_NO_MEMORY):
            number, why = -errno.ENOMEM, "the target node has no free page left"
    lines = call.steps.reshape(-1, M.STEP_FIELDS)[: int(call.row[M.ROW_STEPS])].tolist()
    return Migrate2005Outcome(
        fate=call.fate,
        passes=call.passes,
        waits=call.waits,
        page_model_ns=call.model_ns,
        old_pfn=call.pages,
        new_pfn=call.new_pfn,
        model_ns=int(elapsed),
        counters=dict(zip(COUNTERS, call.counts.tolist(), strict=True)),
        errno=number,
        why=why,
        steps=tuple(Step(p, STEP_NAMES[s], at - memory.now) for p, s, at in lines),
    )


def undisturbed_call(memory: Memory, pages: int, cpu: int) -> M.Migration:
    """Return a call of 2.6.16's code for so many pages, wherever to, at which nobody looks on."""
    nobody = np.zeros(0, np.int32)
    return M.Migration(
        **_columns(pages),
        **_meanwhile(nobody, NO_TOUCHES, (), -1),
        **_terms(memory, "linux-2.6.16", "other_node", cpu),
        deadline=FOREVER,
    )


def likely_ns(memory: Memory, pages: int) -> int:
    """Return a time in which a call for so many pages is likely to end: each is written once."""
    p = memory.setup.pressure or Pressure()
    write = max(p.swap_write_ns, p.file_write_ns)
    busy = int(memory.mem.system[S_WRITEBACK_LENGTH]) * write
    return busy + pages * (M.MIGRATE_PASSES * p.scan_ns + p.migrate_ns + _flush_ns(memory) + write)


def _flush_ns(memory: Memory) -> int:
    pressure = memory.setup.pressure or Pressure()
    others = len(memory.setup.cpu_node) - 1
    return pressure.tlb_flush_ns + pressure.tlb_flush_per_cpu_ns * others


def _terms(memory: Memory, code: Code, target_full: TargetFull, cpu: int) -> dict[str, Any]:
    pressure = memory.setup.pressure or Pressure()
    return {
        "code": _CODES[code],
        "target_full": _FULL[target_full],
        "cpu": cpu,
        "copy_ns": pressure.page_copy_ns,
        "bookkeeping_ns": pressure.migrate_ns - pressure.page_copy_ns,
        "flush_ns": _flush_ns(memory),
    }


def _columns(n: int) -> dict[str, Any]:
    return {
        "pages": np.full(n, -1, np.int32),
        "fate": np.full(n, Fate.NOT_TRIED, np.uint8),
        "passes": np.zeros(n, np.uint8),
        "waits": np.zeros(n, np.int32),
        "model_ns": np.zeros(n, np.int64),
        "new_pfn": np.full(n, -1, np.int32),
        "pending": np.zeros(n, np.int32),
        "targets": np.zeros(n, np.int32),
        "counts": np.zeros(M.NR_COUNTS, np.int64),
        "row": np.zeros(M.NR_ROW, np.int64),
    }


def _meanwhile(
    handles: NDArray[np.int32], touches: Touches, others: Sequence[Disturbance], watch: int
) -> dict[str, Any]:
    """Return the fields of a call that say what happens meanwhile, and what is kept of it."""
    first, times = _by_page(handles, touches)
    return {
        "touch_first": first,
        "touch_time": times,
        "disturbances": np.array(others, np.int32).reshape(-1),
        "steps": np.zeros(M.STEP_FIELDS * (STEPS_KEPT if watch >= 0 else 0), np.int64),
        "nr_disturbances": len(others),
        "nr_steps": STEPS_KEPT if watch >= 0 else 0,
        "watched": watch,
        "observed": int(watch >= 0 or len(others) > 0 or len(times) > 0),
        "touched": int(len(times) > 0),
    }


def _by_page(
    handles: NDArray[np.int32], touches: Touches
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the instants at which pages are touched, and where each page's begin."""
    if len(touches.handle) == 0:
        return np.zeros(1, np.int32), np.zeros(0, np.int64)
    place = np.full(int(max(handles.max(initial=-1), touches.handle.max())) + 1, -1)
    place[handles] = np.arange(len(handles))
    of = place[touches.handle]
    order = np.lexsort((touches.time, of))
    order = order[of[order] >= 0]
    first = np.searchsorted(of[order], np.arange(len(handles) + 1))
    return first.astype(np.int32), touches.time[order].astype(np.int64)


def _nodes_of(memory: Memory, pfns: NDArray[np.int32]) -> set[int]:
    pages = np.bincount(memory.mem.zone_of[pfns >> MAX_PAGE_ORDER])
    return {memory.setup.zones[z].node for z in np.flatnonzero(pages).tolist()}


def _emptied_first(
    memory: Memory, wanted: Sequence[int], nodes: NDArray[np.int32], pages: NDArray[np.int32]
) -> list[int]:
    """Order the nodes that pages go to: those first that no page is to leave any more.

    Source: do_migrate_pages.
    """
    left = list(wanted)
    if len(left) == 1:
        return left
    held = pages >= 0
    sources = {node: _nodes_of(memory, pages[held & (nodes == node)]) - {node} for node in left}
    order = []
    while left:
        still = set().union(*(sources[node] for node in left))
        chosen = next((node for node in left if node not in still), left[-1])
        left.remove(chosen)
        order.append(chosen)
    return order


def _refusal(memory: Memory, wanted: Sequence[int], mode: Mode) -> tuple[int, str]:
    """Say why a call fails before it begins: an errno and a sentence."""
    lists = memory.setup.zonelists
    for node in wanted:
        if not 0 <= node < len(lists):
            return -errno.ENODEV, f"node {node} does not exist"
        if not lists[node][1]:
            return -errno.ENODEV, f"node {node} has no memory"
    if mode == "swap" and (memory.setup.pressure is None or not memory.setup.pressure.swap_slots):
        return -errno.ENODEV, "migration by way of swap needs a swap device"
    return 0, ""


def target_of(
    memory: Memory, node: int, target_full: TargetFull, sources: set[int]
) -> NDArray[np.int64]:
    """Say where pages to move to come from: type, highest zone, flags, zonelist, nodes."""
    other = target_full == "other_node"
    gfp = gfp_from_text("GFP_HIGHUSER_MOVABLE")
    request = Request(gfp if other else gfp | Gfp.THISNODE, Use.ANON)
    row = request_row(request, memory.tables, memory.setup.mechanism)
    which = 2 * node + (0 if other else 1)
    nodes = sum(1 << n for n in range(len(memory.setup.zonelists)) if n == node or n not in sources)
    return np.array(
        [
            row[L.R_MIGRATETYPE],
            row[L.R_HIGHEST_ZONE],
            row[L.R_FLAGS],
            which * (memory.mem.nr_zones + 1),
            nodes,
        ],
        np.int64,
    )
