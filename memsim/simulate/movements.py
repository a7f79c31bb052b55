"""Events that move a workload's pages between nodes, or hold them where they are."""

from __future__ import annotations

import errno as names_of
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.memory import Memory, migrating, migrating_2005
from memsim.memory.migrate_call import MigrateOutcome
from memsim.memory.migrating_2005 import Fate, Migrate2005Outcome, Touches
from memsim.mm import WhyStayed
from memsim.scenario.event import Event
from memsim.schema import Migration

NOT_TRIED = 1
"""Code of a page whose turn did not come."""
WHY_2005 = {
    Fate.NOT_TRIED: WhyStayed.NOT_TRIED,
    Fate.FAILED_NO_SWAP: WhyStayed.NO_SWAP,
    Fate.FAILED_LOCKED: WhyStayed.LOCKED,
    Fate.FAILED_WRITEBACK: WhyStayed.WRITEBACK,
    Fate.FAILED_DIRTY: WhyStayed.NO_OPERATION,
    Fate.FAILED_BUFFERS: WhyStayed.BUFFERS,
    Fate.FAILED_MLOCKED: WhyStayed.LOCKED,
    Fate.FAILED_PINNED: WhyStayed.PINNED,
    Fate.FAILED_NO_MEMORY: WhyStayed.NO_MEMORY,
    Fate.FAILED_SHARED: WhyStayed.SHARED,
    Fate.FAILED_NOT_LRU: WhyStayed.NOT_ON_LRU,
}


class Moved(NamedTuple):
    """What became of the pages of one call."""

    row: Migration
    outcome: MigrateOutcome | Migrate2005Outcome
    handles: NDArray[np.int32]
    """Of the pages that were to move, in the order in which the outcome has them."""
    why: NDArray[np.int8]
    """mm.WhyStayed of each; -1 for what has moved."""


def move(
    memory: Memory,
    event: Event,
    handles: NDArray[np.int32],
    where: Migration,
    touches: Callable[[int], Touches],
    *,
    watch: int = -1,
) -> Moved:
    """Carry out ``migrate_pages``, ``move_pages`` or ``mbind`` on all that a workload has.

    ``where`` is the row of the table so far: when, by which event, whose pages. ``touches`` gives
    the accesses that are to come up to an instant. Of the page at place ``watch`` the steps are
    kept.
    """
    user = user_pages(memory, handles)
    if memory.setup.mechanism == "linux-2.6.14":
        return _move_2005(memory, event, user, where, touches, watch)
    wanted = user[_is_elsewhere(memory, user, event)]
    shared = memory.mem.traits[wanted] & L.TRAIT_SHARED != 0
    if event.do == "migrate_pages":
        done = migrating.migrate_pages(
            memory, wanted, event.from_, event.to, move_all=event.move_all, watch=watch
        )
    elif event.do == "move_pages":
        done = migrating.move_pages(
            memory, wanted, event.to[0], move_all=event.move_all, watch=watch
        )
    else:
        done = migrating.mbind(
            memory, wanted, event.to, strict=event.strict, move_all=event.move_all, watch=watch
        )
    pages = block_pages(memory, wanted)
    moved = done.counters.get("pgmigrate_success", 0)
    pairs = zip(done.handles.tolist(), done.codes.tolist(), strict=True)
    why = np.array([why_stayed(memory, h, code) if code else -1 for h, code in pairs], np.int8)
    stayed = _by_reason(why, block_pages(memory, done.handles))
    if not event.move_all:
        stayed[WhyStayed.SHARED] += int(pages[shared].sum())
    attempted = int(pages.sum()) + 511 * len(done.split)
    stayed[WhyStayed.NOT_ON_LRU] += attempted - moved - int(stayed.sum())
    row = where._replace(
        attempted=attempted,
        moved_direct=moved,
        stayed=tuple(stayed.tolist()),
        passes=int(np.abs(done.tries).max(initial=0)),
        result=done.ret,
        errno=_name(done.errno),
        migrate_model_ns=done.took_ns,
    )
    return Moved(row, done, done.handles, why)


def _by_reason(why: NDArray[np.int8], pages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count pages by WhyStayed; ``why`` is -1 for what has moved."""
    left = why >= 0
    return np.bincount(why[left], pages[left], len(WhyStayed)).astype(np.int64)


def why_stayed(memory: Memory, handle: int, code: int) -> WhyStayed:
    """Say why a page stayed that a call of 6.1 gave this code, by what its state shows now."""
    if code == NOT_TRIED:
        return WhyStayed.NOT_TRIED
    if code == -names_of.ENOMEM:
        return WhyStayed.NO_MEMORY
    pfn = int(memory.page_table[handle]) - 1
    state, traits = int(memory.mem.state[max(pfn, 0)]), int(memory.mem.traits[handle])
    buffers = int(memory.mem.swap_slot[max(pfn, 0)]) < 0
    for holds, why in (
        (state & L.PAGE_PINNED and not buffers, WhyStayed.PINNED),
        (buffers or traits & L.TRAIT_BUFFERS_IN_USE, WhyStayed.BUFFERS),
        (state & L.PAGE_WRITEBACK, WhyStayed.WRITEBACK),
        (traits & (L.TRAIT_NO_MIGRATE_OP | L.TRAIT_RAMFS), WhyStayed.NO_OPERATION),
        (traits & L.TRAIT_LOCKED, WhyStayed.LOCKED),
    ):
        if holds:
            return why
    return WhyStayed.NOT_ON_LRU


def _move_2005(
    memory: Memory,
    event: Event,
    user: NDArray[np.int32],
    where: Migration,
    touches: Callable[[int], Touches],
    watch: int,
) -> Moved:
    nodes = migrating.query(memory, user)
    goes_to = dict(migrating.node_pairs(event.from_, event.to))
    wanted = np.isin(nodes, [*goes_to])
    mine = user[wanted]
    to = np.array([goes_to[node] for node in nodes[wanted].tolist()], np.int32)
    done = migrating_2005.migrate(
        memory,
        mine,
        to,
        mode=event.mode,
        code=event.code,
        target_full=event.target_full,
        move_all=event.move_all,
        watch=watch if watch < len(mine) else -1,
        touches=touches(memory.now + migrating_2005.likely_ns(memory, len(mine))),
    )
    why = np.array([WHY_2005.get(Fate(fate), -1) for fate in done.fate.tolist()], np.int8)
    stayed = _by_reason(why, np.ones(len(why), np.int64))
    row = where._replace(
        mode=event.mode,
        attempted=len(mine) - done.count(Fate.ALREADY_THERE) - done.count(Fate.NOT_IN_MEMORY),
        moved_direct=done.count(Fate.MOVED_DIRECT) + done.count(Fate.FREED_MEANWHILE),
        moved_swap=done.count(Fate.MOVED_SWAP),
        stayed=tuple(stayed.tolist()),
        passes=int(done.passes.max(initial=0)),
        waits=int(done.waits.sum()),
        result=-1 if done.errno else done.not_migrated,
        errno=_name(done.errno),
        migrate_model_ns=done.model_ns,
        faults_waited=done.counters["migrate_faults_waited"],
        fault_wait_model_ns=done.counters["migrate_fault_wait_model_ns"],
    )
    return Moved(row, done, mine, why)


def user_pages(memory: Memory, handles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the handles whose pages are in memory and a user's: on an LRU list, or hugetlb."""
    held = handles[memory.page_table[handles] > 0]
    state = memory.mem.state[memory.page_table[held] - 1]
    on_list = state & (L.PAGE_LRU | L.PAGE_LRU_PENDING) != 0
    user: NDArray[np.int32] = held[on_list | (memory.mem.traits[held] & L.TRAIT_HUGETLB != 0)]
    return user


def block_pages(memory: Memory, handles: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many pages each handle's block has, 1 for what is not in memory."""
    pfns = memory.page_table[handles] - 1
    orders = (memory.mem.state[np.maximum(pfns, 0)] & L.ORDER_MASK) >> L.ORDER_SHIFT
    return np.where(pfns >= 0, 1 << orders.astype(np.int64), 1)


def _is_elsewhere(memory: Memory, handles: NDArray[np.int32], event: Event) -> NDArray[np.bool_]:
    nodes = migrating.query(memory, handles)
    there = ~np.isin(nodes, event.to)
    chosen: NDArray[np.bool_] = there & np.isin(nodes, event.from_) if event.from_ else there
    return chosen


def _name(number: int) -> str:
    return names_of.errorcode.get(abs(number), "") if number else ""


def pin_pages(memory: Memory, handles: NDArray[np.int32], *, long_term: bool) -> None:
    """Give pages references that no page table explains; what cannot be pinned stays without."""
    held = user_pages(memory, handles)
    if memory.setup.mechanism == "linux-2.6.14":
        memory.mem.state[memory.page_table[held] - 1] |= L.PAGE_PINNED
    else:
        migrating.pin(memory, held, long_term=long_term)
