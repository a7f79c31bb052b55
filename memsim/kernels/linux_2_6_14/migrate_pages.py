"""The passes over a list of pages that are to be migrated, and the pages that they are moved to.

Source: migrate_pages, mm/vmscan.c; migrate_pages_to, mm/mempolicy.c, Direct Migration V1 and Linux
2.6.16 (spec history-2005 3.2, linux-mm 10).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, prefetch, ptr
from memsim.kernels.layout import (
    PAGE_ISOLATED,
    Mem,
)
from memsim.kernels.linux_2_6_14.daemons import begin_event
from memsim.kernels.linux_2_6_14.direct_migration import move_directly
from memsim.kernels.linux_2_6_14.migration import (
    FAILED_LOCKED,
    FAILED_NO_MEMORY,
    FAILED_PINNED,
    FREED_MEANWHILE,
    FULL_SWAP,
    GOES_ON,
    LINUX_2_6_16,
    MIGRATE_PASSES,
    MOVED_DIRECT,
    MOVED_SWAP,
    NOT_TRIED,
    ROW_LAST_LOOK,
    ROW_PLACE,
    STEP_ADD_TO_SWAP,
    STEP_LOCK,
    STEP_UNLOCK,
    STEP_WAIT_ON_WRITEBACK,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_in_flight import (
    lock_page,
    spend,
    step,
    unlock_page,
    wait_on_page_writeback,
)
from memsim.kernels.linux_2_6_14.plain_moves import (
    PREFETCH,
    is_plain,
    is_touched,
    migrate_plain,
    prefetch_pages,
)
from memsim.kernels.linux_2_6_14.swap_migration import (
    free_old_page,
    get_swap_slot,
    isolate_lru_page,
    move_to_lru,
    swap_page,
)
from memsim.kernels.linux_2_6_14.target_pages import alloc_targets, free_targets, targets_left
from memsim.kernels.linux_2_6_14.vmscan import drain_lru_batches
from memsim.kernels.lru import page_holder
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import S_NOW, S_SCAN_NS, S_STALL, clock
from memsim.kernels.trace_log import keeps_log
from memsim.kernels.vmstat import PGMIGRATE_FAIL, PGMIGRATE_SUCCESS
from memsim.kernels.zonelist import AllocContext

MIGRATE_CHUNK_SIZE = 256
"""2.6.16 allocates target pages until there are more than that."""


@inline
def stays_on_list(fate: int) -> bool:
    """Say whether a page is tried again in the next pass."""
    return FAILED_LOCKED <= fate <= FAILED_PINNED


# --- passes -------------------------------------------------------------------------------------


@helper
def free_orphan(m: Mem, tables: PolicyTables, v: Migration, pfn: int) -> int:
    """Free a page whose process has ended meanwhile: nothing but the migration holds it (row 2)."""
    free_old_page(m, tables, v.cpu, pfn)
    return FREED_MEANWHILE


@inline
def migrate_locked(
    m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, direct: int
) -> int:
    """Do with a locked page what is to be done; return its fate."""
    step(m, tables, v, i, pass_, STEP_WAIT_ON_WRITEBACK)
    fate = wait_on_page_writeback(m, tables, v, i, pass_)
    if fate != GOES_ON:
        return fate
    step(m, tables, v, i, pass_, STEP_ADD_TO_SWAP)
    fate = get_swap_slot(m, v, int(v.pages[i]))
    if fate != GOES_ON:
        return fate
    if direct:
        return move_directly(m, tables, v, i, pass_)
    return swap_page(m, tables, v, i, pass_)


@inline
def attempt(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, direct: int) -> int:
    """Try once to migrate a page; return its fate."""
    begin = clock(m)
    pfn = int(v.pages[i])
    v.passes[i] += 1
    v.row[ROW_PLACE] = pfn
    if v.observed:
        v.row[ROW_LAST_LOOK] = begin
    step(m, tables, v, i, pass_, STEP_LOCK)
    spend(m, int(m.system[S_SCAN_NS]))
    if v.observed and page_holder(m, pfn) < 0:
        fate = free_orphan(m, tables, v, pfn)
    else:
        fate = lock_page(m, tables, v, i, pass_)
    if fate == GOES_ON:
        fate = migrate_locked(m, tables, v, i, pass_, direct)
        step(m, tables, v, i, pass_, STEP_UNLOCK)
        unlock_page(m, tables, v, i)
        if v.observed and fate == MOVED_DIRECT and page_holder(m, int(v.new_pfn[i])) < 0:
            fate = free_orphan(m, tables, v, int(v.new_pfn[i]))
    v.model_ns[i] += clock(m) - begin
    return fate


@helper
def run_pass(
    m: Mem, tables: PolicyTables, v: Migration, first: int, stop: int, pass_: int, direct: int
) -> tuple[int, int]:
    """Try each page once that is left in [first, stop) of ``pending``.

    Returns where those begin that are left now, and how many of them were tried. A direct pass ends
    where no target page is left (row 1).
    """
    alone = direct and v.nr_disturbances == 0 and v.watched < 0 and not keeps_log(m)
    at = first
    left = 0
    while at < stop and not (direct and targets_left(v) == 0) and clock(m) <= v.deadline:
        i = int(v.pending[at])
        if alone:
            prefetch_pages(m, v, at, stop)
        if alone and is_plain(m, v, int(v.pages[i])) and not is_touched(m, v, i):
            moved = migrate_plain(m, tables, v, at, stop)
            if moved:
                at += moved
                continue
        fate = attempt(m, tables, v, i, pass_, direct)
        v.fate[i] = fate
        if stays_on_list(fate):
            v.pending[first + left] = i
            left += 1
        at += 1
    for k in range(1, left + 1):
        v.pending[at - k] = v.pending[first + left - k]
    return at - left, left


@helper
def run_passes(
    m: Mem, tables: PolicyTables, v: Migration, first: int, stop: int, direct: int
) -> int:
    """Go over the pages that are left up to eleven times; return where those left then begin."""
    for pass_ in range(MIGRATE_PASSES):
        first, tried = run_pass(m, tables, v, first, stop, pass_, direct)
        if tried == 0 or (direct and targets_left(v) == 0):
            break
    return first


@helper
def give_up(v: Migration, first: int, stop: int) -> None:
    """Leave what has not been tried for want of memory."""
    for at in range(first, stop):
        if int(v.fate[int(v.pending[at])]) == NOT_TRIED:
            v.fate[int(v.pending[at])] = FAILED_NO_MEMORY


@helper
def migrate_pages_to(
    m: Mem, tables: PolicyTables, v: Migration, ac: AllocContext, stop: int
) -> None:
    """Move pages directly: V1 with a target for each at once, 2.6.16 in chunks of up to 257.

    Chunks go on as long as each has used up its targets.
    """
    first = 0
    while first < stop:
        wanted = stop - first
        if v.code == LINUX_2_6_16:
            wanted = min(wanted, MIGRATE_CHUNK_SIZE + 1)
        got = alloc_targets(m, tables, v, ac, wanted)
        if got < wanted and v.target_full != FULL_SWAP:
            free_targets(m, tables, v)
            give_up(v, first, stop)
            return
        first = run_passes(m, tables, v, first, stop, 1)
        if targets_left(v) or clock(m) > v.deadline:
            free_targets(m, tables, v)
            return
        if got < wanted:
            run_passes(m, tables, v, first, stop, 0)
            return


@helper
def putback_lru_pages(m: Mem, tables: PolicyTables, v: Migration, n: int) -> None:
    """Put the pages that were not moved back on their LRU lists."""
    for i in range(n):
        pfn = int(v.pages[i])
        if pfn < 0 or int(v.fate[i]) == MOVED_DIRECT or not int(m.state[pfn]) & PAGE_ISOLATED:
            continue
        if page_holder(m, pfn) < 0:
            v.fate[i] = free_orphan(m, tables, v, pfn)
        else:
            move_to_lru(m, v.cpu, pfn)


@inline
def prefetch_handles(m: Mem, handles: NDArray[np.int32], i: int) -> None:
    """Ask for what isolating the pages behind the ``i``-th will touch."""
    if i + 3 * PREFETCH < len(handles):
        prefetch(m.page_table, int(handles[i + 3 * PREFETCH]))
        prefetch(m.traits, int(handles[i + 2 * PREFETCH]))
        pfn = max(int(m.page_table[int(handles[i + 2 * PREFETCH])]) - 1, 0)
        prefetch(m.state, pfn)
        pfn = max(int(m.page_table[int(handles[i + PREFETCH])]) - 1, 0)
        prefetch(m.state, int(m.next[pfn]))
        prefetch(m.state, int(m.prev[pfn]))


# --- entry points -------------------------------------------------------------------------------


@kernel
def isolate_lru_pages(
    mem: Mem,
    policy: PolicyTables,
    call: Migration,
    handles: NDArray[np.int32],
    nodes: NDArray[np.int32],
    move_all: int,
) -> None:
    """Take what handles hold, and what is not on its node yet, off the LRU lists."""
    m = pointers(mem)
    tables = pointers(policy)
    v = pointers(call)
    begin_event(m, tables, int(m.system[S_NOW]))
    drain_lru_batches(m)
    for i in range(len(handles)):
        prefetch_handles(m, handles, i)
        pfn, fate = isolate_lru_page(m, int(handles[i]), int(nodes[i]), move_all)
        v.pages[i] = pfn
        v.fate[i] = fate


@kernel
def migrate_pages(
    mem: Mem,
    policy: PolicyTables,
    call: Migration,
    target: NDArray[np.int64],
    nodes: NDArray[np.int32],
    node: int,
    direct: int,
    elapsed: int,
) -> int:
    """Migrate the isolated pages that are wanted on a node, ``elapsed`` ns after the call began.

    ``target`` is the AllocContext of the pages to move to. Returns the ns that have passed then.
    """
    m = pointers(mem)
    tables = pointers(policy)
    v = pointers(call)
    t = ptr(target)
    m.system[S_STALL] = elapsed
    count = 0
    for i in range(len(nodes)):
        if int(nodes[i]) == node and int(v.fate[i]) == NOT_TRIED:
            v.pending[count] = i
            count += 1
    if direct:
        ac = AllocContext(0, int(t[0]), int(t[1]), int(t[2]), int(t[3]), int(t[4]), v.cpu)
        migrate_pages_to(m, tables, v, ac, count)
    else:
        run_passes(m, tables, v, 0, count, 0)
    return int(m.system[S_STALL])


@kernel
def end_migration(mem: Mem, policy: PolicyTables, call: Migration) -> None:
    """End a call: put back what was not moved, and count."""
    m = pointers(mem)
    tables = pointers(policy)
    v = pointers(call)
    n = len(call.pages)
    putback_lru_pages(m, tables, v, n)
    for i in range(n):
        fate = int(v.fate[i])
        if fate == MOVED_DIRECT:
            m.events[PGMIGRATE_SUCCESS] += 1
        elif fate != MOVED_SWAP and fate != FREED_MEANWHILE and int(v.passes[i]):
            m.events[PGMIGRATE_FAIL] += 1
    m.system[S_STALL] = 0
