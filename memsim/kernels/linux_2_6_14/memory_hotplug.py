"""Taking memory away as in 2007: pageblocks are set apart, then emptied 256 pages at a time.

Source: mm/memory_hotplug.c, mm/page_isolation.c, the patches v7 of July 2007 (spec history-2005
4.2). The caller keeps the budget of retries, and looks for signals and the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, ptr
from memsim.kernels.buddy import ISOLATE, del_page_from_free_list
from memsim.kernels.census import free_order_at, held_order, reserved_order
from memsim.kernels.compact_control import MOVABLE_REQUEST
from memsim.kernels.fallback import move_to_free_list
from memsim.kernels.layout import (
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_LRU,
    Z_NR_FREE_PAGES,
    Z_NR_RESERVED_HIGHATOMIC,
    Mem,
    pageblock_type,
    zone_add,
)
from memsim.kernels.linux_2_6_14.daemons import begin_event
from memsim.kernels.linux_2_6_14.migrate_pages import putback_lru_pages, run_passes
from memsim.kernels.linux_2_6_14.migration import (
    NOT_TRIED,
    ROW_NEXT_TARGET,
    ROW_NR_TARGETS,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_in_flight import spend
from memsim.kernels.linux_2_6_14.slowpath import alloc_pages, drain_all_pages
from memsim.kernels.linux_2_6_14.target_pages import free_targets
from memsim.kernels.linux_2_6_14.vmscan import drain_lru_batches
from memsim.kernels.lru import lru_del
from memsim.kernels.page_alloc import prep_new_page
from memsim.kernels.placement import OPT_PAGE_FLAG, OPT_RESERVE_TYPE, PolicyTables
from memsim.kernels.system import S_SCAN_NS, S_STALL
from memsim.kernels.zonelist import AllocContext
from memsim.mm import Unmovable

OFFLINE_AT_ONCE_PAGES = 256
"""Pages that are collected and migrated at a time."""
TAKEN_PAGES, TAKEN_IN_USE, TAKEN_NS = range(3)
TAKEN_FIELDS = 3
"""What ``take_lru_pages`` says: how many pages it has taken, the page in use that it met on no LRU
list (-1: none), and how long all took."""
NONE = int(Unmovable.NONE)
ISOLATED = int(Unmovable.ISOLATED)
RESERVED = int(Unmovable.RESERVED)


# --- pageblocks ---------------------------------------------------------------------------------


@inline
def next_page(m: Mem, pfn: int) -> int:
    """Return the page behind the free, reserved or allocated block at ``pfn``."""
    order = max(free_order_at(m, pfn), reserved_order(m, pfn))
    state = int(m.state[pfn])
    if order < 0 and state & PAGE_ALLOCATED:
        order = held_order(state)
    return pfn + (1 << max(order, 0))


@helper
def why_not_isolated(m: Mem, start: int) -> tuple[int, int]:
    """Say what keeps a pageblock from being set apart (mm.Unmovable), and which page does."""
    if pageblock_type(m, start) == ISOLATE:
        return ISOLATED, start
    pfn = start
    while pfn < start + (1 << m.pageblock_order):
        if reserved_order(m, pfn) >= 0:
            return RESERVED, pfn
        pfn = next_page(m, pfn)
    return NONE, -1


@helper
def move_freepages_block(m: Mem, z: int, start: int, migratetype: int) -> int:
    """Move the free blocks of a pageblock to a type's list tails; return their pages."""
    moved = 0
    pfn = start
    while pfn < start + (1 << m.pageblock_order):
        order = free_order_at(m, pfn)
        if order >= 0:
            move_to_free_list(m, z, pfn, order, migratetype)
            moved += 1 << order
        pfn = next_page(m, pfn)
    return moved


@inline
def count_reserve(m: Mem, tables: PolicyTables, z: int, migratetype: int, pages: int) -> None:
    """Book pages of a pageblock that joins a policy's own reserve, or leaves it."""
    if migratetype == int(tables.options[OPT_RESERVE_TYPE]):
        zone_add(m, z, Z_NR_RESERVED_HIGHATOMIC, pages)


@helper
def set_migratetype_isolate(m: Mem, tables: PolicyTables, z: int, start: int) -> None:
    """Set a pageblock apart: what is free in it, or is freed from now on, is not given out."""
    size = 1 << m.pageblock_order
    count_reserve(m, tables, z, pageblock_type(m, start), -size)
    m.pageblocks[start >> m.pageblock_order] = ISOLATE
    zone_add(m, z, Z_NR_FREE_PAGES, -move_freepages_block(m, z, start, ISOLATE))


@helper
def unset_migratetype_isolate(
    m: Mem, tables: PolicyTables, z: int, start: int, migratetype: int
) -> None:
    """Give a pageblock back to the type that it was of.

    Where the pages know their types, free ones become memory of users.
    """
    count_reserve(m, tables, z, migratetype, 1 << m.pageblock_order)
    m.pageblocks[start >> m.pageblock_order] = migratetype
    if int(tables.options[OPT_PAGE_FLAG]):
        migratetype = int(tables.type_of_request[MOVABLE_REQUEST])
    zone_add(m, z, Z_NR_FREE_PAGES, move_freepages_block(m, z, start, migratetype))


@kernel
def isolate_range(
    mem: Mem,
    policy: PolicyTables,
    z: int,
    start: int,
    end: int,
    types: NDArray[np.uint8],
    found: NDArray[np.int64],
) -> None:
    """Set the pageblocks of [start, end) apart, ascending, and note in ``types`` what they were.

    ``found`` becomes mm.Unmovable and the page that kept one from it; then all are as before.
    """
    m = pointers(mem)
    tables = pointers(policy)
    kinds, result = ptr(types), ptr(found)
    size = 1 << m.pageblock_order
    why, pfn = NONE, -1
    done = start
    while done < end and why == NONE:
        why, pfn = why_not_isolated(m, done)
        if why == NONE:
            kinds[(done - start) // size] = pageblock_type(m, done)
            set_migratetype_isolate(m, tables, z, done)
            done += size
    if why != NONE:
        for block in range(start, done, size):
            kind = int(kinds[(block - start) // size])
            unset_migratetype_isolate(m, tables, z, block, kind)
    result[0], result[1] = why, pfn


@kernel
def undo_isolate_range(
    mem: Mem, policy: PolicyTables, z: int, start: int, end: int, types: NDArray[np.uint8]
) -> None:
    """Give the pageblocks of [start, end) back as what they were."""
    m = pointers(mem)
    tables = pointers(policy)
    kinds = ptr(types)
    size = 1 << m.pageblock_order
    for block in range(start, end, size):
        unset_migratetype_isolate(m, tables, z, block, int(kinds[(block - start) // size]))


@kernel
def drain(mem: Mem, policy: PolicyTables, now: int) -> None:
    """Let time come to ``now``, then let no page wait on any CPU: for its LRU list, or unused."""
    m = pointers(mem)
    tables = pointers(policy)
    begin_event(m, tables, now)
    drain_lru_batches(m)
    drain_all_pages(m, tables)


@kernel
def first_in_use(mem: Mem, start: int, end: int) -> int:
    """Return the first page of [start, end) that is in no free block, ``end`` if all are."""
    m = pointers(mem)
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        if order < 0:
            return pfn
        pfn += 1 << order
    return end


@kernel
def offline_isolated_pages(mem: Mem, z: int, start: int, end: int) -> None:
    """Take the free blocks of a range, which has nothing else, off their lists."""
    m = pointers(mem)
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        del_page_from_free_list(m, z, pfn, order)
        pfn += 1 << order


# --- pages --------------------------------------------------------------------------------------


@inline
def is_on_lru(m: Mem, pfn: int) -> bool:
    """Say whether a page is a single one on an LRU list."""
    state = int(m.state[pfn])
    return state & (PAGE_ALLOCATED | PAGE_LRU) == PAGE_ALLOCATED | PAGE_LRU and not held_order(
        state
    )


@helper
def scan_lru_pages(m: Mem, start: int, end: int) -> int:
    """Return the first page of [start, end) that is on an LRU list, ``end`` if none is."""
    pfn = start
    while pfn < end and not is_on_lru(m, pfn):
        pfn = next_page(m, pfn)
    spend(m, (pfn - start) * int(m.system[S_SCAN_NS]))
    return pfn


@helper
def isolate_pages(m: Mem, v: Migration, start: int, end: int) -> tuple[int, int]:
    """Take up to 256 pages off their LRU lists; return how many, and the first page that cannot be.

    That is a page in use that is on no such list; -1 if there is none.
    """
    n, in_use = 0, -1
    pfn = start
    while pfn < end and n < OFFLINE_AT_ONCE_PAGES:
        if is_on_lru(m, pfn):
            lru_del(m, pfn)
            m.state[pfn] = int(m.state[pfn]) & ~PAGE_LRU | PAGE_ISOLATED
            v.pages[n] = pfn
            v.fate[n] = NOT_TRIED
            v.pending[n] = n
            n += 1
        elif in_use < 0 and int(m.state[pfn]) & PAGE_ALLOCATED:
            in_use = pfn
        pfn = next_page(m, pfn)
    spend(m, (pfn - start) * int(m.system[S_SCAN_NS]))
    return n, in_use


@kernel
def take_lru_pages(
    mem: Mem,
    policy: PolicyTables,
    call: Migration,
    start: int,
    end: int,
    now: int,
    did: NDArray[np.int64],
) -> None:
    """Take the first pages of [start, end) off their LRU lists, into ``call`` (256 places).

    If a page in use on no such list lies among them all are put back. ``did`` has TAKEN_FIELDS.
    """
    m = pointers(mem)
    tables = pointers(policy)
    v = pointers(call)
    done = ptr(did)
    begin_event(m, tables, now)
    n, in_use = isolate_pages(m, v, scan_lru_pages(m, start, end), end)
    if in_use >= 0:
        putback_lru_pages(m, tables, v, n)
    done[TAKEN_PAGES], done[TAKEN_IN_USE] = n, in_use
    done[TAKEN_NS] = int(m.system[S_STALL])


@helper
def alloc_anywhere(
    m: Mem, tables: PolicyTables, v: Migration, ac: AllocContext, wanted: int
) -> int:
    """Allocate pages to move to, as any request does; return how many there are.

    Unlike Linux: they are allocated before the first page is moved, and no task is killed for them.
    """
    got = 0
    while got < wanted:
        pfn = alloc_pages(m, tables, ac)
        if pfn < 0:
            break
        prep_new_page(m, ac, pfn, 0, 0)
        v.targets[got] = pfn
        got += 1
    v.row[ROW_NEXT_TARGET] = 0
    v.row[ROW_NR_TARGETS] = got
    return got


@kernel
def migrate_range(
    mem: Mem, policy: PolicyTables, call: Migration, target: NDArray[np.int64], n: int, elapsed: int
) -> int:
    """Move the first ``n`` pages of a call anywhere else, ``elapsed`` ns after it began.

    ``target`` is the AllocContext of the pages to move to. Pages that there was no memory for stay
    untried. Returns the ns that have passed since the call began.
    """
    m = pointers(mem)
    tables = pointers(policy)
    v = pointers(call)
    t = ptr(target)
    m.system[S_STALL] = elapsed
    ac = AllocContext(0, int(t[0]), int(t[1]), int(t[2]), int(t[3]), int(t[4]), v.cpu)
    if alloc_anywhere(m, tables, v, ac, n):
        run_passes(m, tables, v, 0, n, 1)
    free_targets(m, tables, v)
    return int(m.system[S_STALL])
