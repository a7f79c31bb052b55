"""The system calls that move a process's pages between nodes, and pinning.

Source: mm/migrate.c (do_pages_move, do_pages_stat), mm/mempolicy.c (do_migrate_pages, do_mbind),
mm/gup.c (migrate_longterm_unpinnable_pages), Linux 6.1.192 (spec 8.8).

All of them act on a Memory at its present instant. A handle stands for an address: the same one
again stands for another address within the same huge page. Of the page at place ``watch`` among
those that are taken off their lists each attempt is kept.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.migrate_call import UNTOUCHED, Call, MigrateOutcome, pfns_of
from memsim.mm import (
    MAX_PAGE_ORDER,
    PAGEBLOCK_ORDER,
    MigrateMode,
    MigrateReason,
    Migratetype,
    Use,
    ZoneType,
    gfp_from_text,
)
from memsim.schema import Request

NOT_PRESENT = -errno.ENOENT
MOVE_GFP = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_THISNODE")
MBIND_GFP = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_RETRY_MAYFAIL")
PIN_GFP = gfp_from_text("GFP_USER|__GFP_NOWARN")


def query(memory: Memory, handles: ArrayLike) -> NDArray[np.int32]:
    """Say on which node each handle's page is, -ENOENT where it is not in memory (spec 8.8)."""
    entries = memory.page_table[np.asarray(handles, np.int32)]
    nodes = np.array([zone.node for zone in memory.setup.zones], np.int32)
    zones = memory.mem.zone_of[np.maximum(entries, 1) - 1 >> MAX_PAGE_ORDER]
    # Page 0 of a machine whose first 4 MiB are a hole has no zone.
    known = nodes[np.minimum(zones, len(nodes) - 1)]
    return np.where(entries > 0, known, NOT_PRESENT).astype(np.int32)


def has_memory(memory: Memory, node: int) -> bool:
    """Say whether a node exists and has memory."""
    return any(zone.node == node and zone.managed for zone in memory.setup.zones)


# --- move_pages --------------------------------------------------------------------------------


def move_pages(
    memory: Memory,
    handles: ArrayLike,
    nodes: ArrayLike,
    *,
    move_all: bool = False,
    cpu: int = 0,
    watch: int = -1,
) -> MigrateOutcome:
    """Move each page to its node (one for all, or one per page), as move_pages(2) does (spec 8.8).

    With ``move_all`` also pages that several processes have mapped. The status of a batch that
    failed stays untouched; the call then ends, and returns how many pages have not moved, or -1.
    """
    wanted = np.asarray(handles, np.int32)
    targets = np.broadcast_to(np.asarray(nodes, np.int64), wanted.shape)
    call = Call(memory, cpu, watch)
    status = np.full(len(wanted), UNTOUCHED, np.int32)
    batch = _Batch(call, status)
    for i, (handle, node) in enumerate(zip(wanted, targets.tolist(), strict=True)):
        if not has_memory(memory, node):
            failed = batch.flush(i)
            return call.outcome(failed if failed < 0 else -errno.ENODEV, status)
        if batch.node not in (node, None) and (failed := batch.flush(i)):
            return call.outcome(failed, status)
        code = _queue(call, wanted[: i + 1], node, move_all)
        if code == 1:
            batch.add(i, int(handle), node)
            continue
        status[i] = code or node
        if failed := batch.flush(i):
            return call.outcome(failed, status)
    return call.outcome(batch.flush(len(wanted)), status)


class _Batch:
    """Pages with the same target node that are moved together."""

    def __init__(self, call: Call, status: NDArray[np.int32]) -> None:
        self.call, self.status = call, status
        self.node: int | None = None
        self._start = 0
        self._handles: list[int] = []

    def add(self, i: int, handle: int, node: int) -> None:
        """Queue the i-th page."""
        if self.node is None:
            self.node, self._start = node, i
        self._handles.append(handle)

    def flush(self, i: int) -> int:
        """Move what is queued, all before the i-th page; return 0, or what the call returns."""
        if self.node is None:
            return 0
        pages, node = np.array(self._handles, np.int32), self.node
        self.node, self._handles = None, []
        request = Request(MOVE_GFP, Use.ANON, preferred=node)
        result = self.call.migrate(pages, request, MigrateMode.SYNC, MigrateReason.SYSCALL)
        if result == 0:
            self.status[self._start : i] = node
        return result + len(self.status) - i if result > 0 else result


def _queue(call: Call, asked: NDArray[np.int32], node: int, move_all: bool) -> int:
    """Take the last of the pages asked for off its list: 1; 0: on its node; or a negative errno."""
    handle, memory = asked[-1:], call.memory
    present = int(query(memory, handle)[0])
    if present in (node, NOT_PRESENT):
        return 0 if present == node else present
    traits = int(memory.mem.traits[handle[0]])
    if traits & L.TRAIT_SHARED and not move_all:
        return -errno.EACCES
    if traits & L.TRAIT_HUGETLB and handle[0] in asked[-2:-1]:
        return -errno.EACCES
    return 1 if call.isolate(handle)[0] else -errno.EBUSY


# --- migrate_pages and mbind -------------------------------------------------------------------


def migrate_pages(
    memory: Memory,
    handles: ArrayLike,
    old: Sequence[int],
    new: Sequence[int],
    *,
    move_all: bool = False,
    cpu: int = 0,
    watch: int = -1,
) -> MigrateOutcome:
    """Move all pages of a process from old nodes to new ones, as migrate_pages(2) does (spec 8.8).

    ``handles`` are all that it has, by ascending address.
    """
    mine = np.asarray(handles, np.int32)
    call = Call(memory, cpu, watch)
    stayed = 0
    for source, target in node_pairs(old, new):
        chosen = mine[_may_take(memory, mine, move_all) & (query(memory, mine) == source)]
        taken = chosen[call.isolate(chosen)]
        if len(taken) == 0:
            continue
        request = Request(MOVE_GFP, Use.ANON, preferred=target)
        result = call.migrate(taken, request, MigrateMode.SYNC, MigrateReason.SYSCALL)
        if result < 0:
            return call.outcome(result, _untouched(mine))
        stayed += result
    return call.outcome(stayed, _untouched(mine))


def node_pairs(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Say which node's pages go where, in order: nodes keep their relative position (spec 8.8).

    A node from which nothing is left to be moved is emptied before pages come to it, where that is
    possible. Source: do_migrate_pages.
    """
    sources, targets = sorted(set(old)), sorted(set(new))
    same_size = len(sources) == len(targets)
    goes_to = {node: targets[i % len(targets)] for i, node in enumerate(sources)}
    left = [n for n in sources if goes_to[n] != n and (same_size or n not in targets)]
    waiting = list(sources)
    pairs = []
    while left:
        free = [n for n in left if goes_to[n] not in waiting]
        node = free[0] if free else left[-1]
        left.remove(node)
        waiting.remove(node)
        pairs.append((node, goes_to[node]))
    return pairs


def mbind(
    memory: Memory,
    handles: ArrayLike,
    nodes: Sequence[int],
    *,
    strict: bool = False,
    move_all: bool = False,
    cpu: int = 0,
    watch: int = -1,
) -> MigrateOutcome:
    """Bind pages to nodes and move there those that are elsewhere, as mbind(2) does (spec 8.8).

    With ``strict`` the call fails (EIO) if a page that may be moved stays; without, it is silent.
    """
    mine = np.asarray(handles, np.int32)
    call = Call(memory, cpu, watch)
    elsewhere = ~np.isin(query(memory, mine), [*nodes, NOT_PRESENT])
    chosen = mine[_may_take(memory, mine, move_all) & elsewhere]
    took = call.isolate(chosen)
    result = 0
    if took.any():
        near = int(memory.setup.cpu_node[cpu])
        request = Request(MBIND_GFP, Use.ANON, nodes=tuple(nodes), preferred=near)
        result = call.migrate(
            chosen[took], request, MigrateMode.SYNC, MigrateReason.MEMPOLICY_MBIND
        )
    failed = strict and (result != 0 or not took.all())
    return call.outcome(-errno.EIO if failed else 0, _untouched(mine))


def _may_take(memory: Memory, handles: NDArray[np.int32], move_all: bool) -> NDArray[np.bool_]:
    """Say which pages are in memory and not mapped by others, whom nobody asked."""
    shared = memory.mem.traits[handles] & L.TRAIT_SHARED != 0
    may: NDArray[np.bool_] = (memory.page_table[handles] > 0) & (move_all | ~shared)
    return may


def _untouched(handles: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.full(len(handles), UNTOUCHED, np.int32)


# --- pins --------------------------------------------------------------------------------------


def pin(
    memory: Memory, handles: ArrayLike, *, long_term: bool = False, cpu: int = 0
) -> MigrateOutcome:
    """Hold references to pages so that they cannot go; for long, out of Movable and CMA first.

    If one of them cannot be moved out, none is pinned (ENOMEM; spec 8.8).
    """
    mine = np.asarray(handles, np.int32)
    call = Call(memory, cpu)
    present = mine[memory.page_table[mine] > 0]
    while long_term:
        chosen = np.unique(present[_in_the_way(memory, present)])
        if len(chosen) == 0:
            break
        taken = chosen[call.isolate(chosen)]
        request = Request(PIN_GFP, Use.ANON)
        if len(taken) == 0 or call.migrate(
            taken, request, MigrateMode.SYNC, MigrateReason.LONGTERM_PIN
        ):
            return call.outcome(-errno.ENOMEM, _untouched(mine))
        present = mine[memory.page_table[mine] > 0]
    memory.mem.state[pfns_of(memory, present)] |= L.PAGE_PINNED
    return call.outcome(0, _untouched(mine))


def unpin(memory: Memory, handles: ArrayLike) -> None:
    """Let go of the references that ``pin`` holds."""
    mine = np.asarray(handles, np.int32)
    memory.mem.state[pfns_of(memory, mine[memory.page_table[mine] > 0])] &= ~L.PAGE_PINNED


def _in_the_way(memory: Memory, handles: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Say which pages lie where nothing may be pinned for long."""
    pfns = pfns_of(memory, handles)
    movable = np.array([zone.zone_type == ZoneType.MOVABLE for zone in memory.setup.zones])
    cma = memory.mem.pageblocks[pfns >> PAGEBLOCK_ORDER] == Migratetype.CMA
    there: NDArray[np.bool_] = movable[memory.mem.zone_of[pfns >> MAX_PAGE_ORDER]] | cma
    return there
