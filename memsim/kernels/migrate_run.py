"""Pages that simply move, many at a time: from one CPU list to another, with nothing in the way.

They leave exactly what they leave one by one (``migrate_one``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.buddy import ISOLATE
from memsim.kernels.layout import (
    ORDER_MASK,
    P_COUNT,
    P_FREE_FACTOR,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PCP,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    TYPE_MASK,
    TYPE_SHIFT,
    Z_BOOSTED,
    Z_LRU,
    Z_VMSTAT,
    Mem,
    free_mask,
    page_zone,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.kernels.lru import folio_lru_list, lru_add_range, lru_head
from memsim.kernels.migrate import take_place
from memsim.kernels.migrate_target import NUMA_MISPLACED, TargetRequest, target_context
from memsim.kernels.page_alloc import (
    count_numa,
    count_page_state,
    fast_path_flags,
    may_use_pcplist,
    wake_if_boosted,
)
from memsim.kernels.pcp import (
    freed_pindex,
    order_to_pindex,
    pcp_list,
    pcp_peek,
    pcp_pop_range,
    pcp_push_each,
    pcp_push_range,
    pcp_row,
    rmqueue_bulk,
)
from memsim.kernels.pcp_free import (
    free_pcppages_bulk,
    nr_pcp_free,
    nr_pcp_high,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.runs import MANY_HALVINGS
from memsim.kernels.system import S_MIGRATE_NS, S_NEXT_DUE, S_NO_TRAITS, book_stall, clock
from memsim.kernels.trace_log import keeps_log
from memsim.kernels.vmstat import PGALLOC, PGFREE
from memsim.kernels.zonelist import AllocContext, next_zone, zone_at_mark, zonelist_zone
from memsim.mm import PAGEBLOCK_NR_PAGES

PREFETCH = 24
"""Pages between asking for what is to be touched and touching it."""
NEXT_RUN = 64
"""Pages that a CPU's list is refilled with, about: those behind them are looked at first."""
RANGE = 4
"""Pages from which on a range is worth its own loops."""
PLAIN = PAGE_LRU | PAGE_ISOLATED
NOT_PLAIN = ORDER_MASK | PAGE_PINNED | PAGE_WRITEBACK


class Run(NamedTuple):
    """Between which lists of a CPU pages change places."""

    home: int
    """Zone that they leave."""
    z: int
    """Zone that they go to."""
    blocktype: int
    """Of the pageblocks that they leave."""
    freed: int
    """List that they are freed to."""
    lst: int
    """List that targets come from."""


@inline
def prefetch_sources(m: Mem, pages: NDArray[np.int32], i: int, stop: int) -> None:
    """Ask for what moving coming blocks will touch: the page, who holds it, what he knows of it."""
    if i + 2 * PREFETCH < stop:
        coming = int(pages[i + 2 * PREFETCH])
        if coming != int(pages[i + 2 * PREFETCH - 1]) + 1:
            prefetch(m.state, coming)
        handle = int(m.rmap[int(pages[i + PREFETCH])])
        prefetch(m.page_table, handle)
        if int(m.system[S_NO_TRAITS]) == 0:
            prefetch(m.traits, handle)


@inline
def has_traits(m: Mem, handle: int) -> bool:
    """Say whether a handle has traits; where none has any, without a look at its cache line."""
    return int(m.system[S_NO_TRAITS]) == 0 and int(m.traits[handle]) != 0


@inline
def just_moves(m: Mem, home: int, blocktype: int, pfn: int, state: int) -> bool:
    """Say whether a page can be moved at once, and is of a zone and of pageblocks of a type."""
    if state & (PLAIN | NOT_PLAIN) != PLAIN:
        return False
    if page_zone(m, pfn) != home or pageblock_type(m, pfn) != blocktype:
        return False
    handle = int(m.rmap[pfn])
    return not (has_traits(m, handle) and int(m.page_table[handle]) == pfn + 1)


@inline
def refill(m: Mem, tables: PolicyTables, z: int, ac: AllocContext, alloc_flags: int) -> bool:
    """Refill the list that targets come from, if the zone has a free page of the type."""
    if free_mask(m, z, ac.migratetype) == 0:
        return False
    rmqueue_bulk(m, tables, z, ac.cpu, 0, ac.migratetype, alloc_flags)
    wake_if_boosted(m, z, alloc_flags)
    return True


@inline
def most_at_once(m: Mem, run: Run, cpu: int) -> int:
    """Say how many pages can go until a list is empty or full, or something else is due.

    One can: whatever is due by now has been done before.
    """
    back = pcp_row(m, run.home, cpu)
    room = nr_pcp_high(m, run.home, back) - int(m.pcps[back + P_COUNT])
    ns = max(int(m.system[S_MIGRATE_NS]), 1)
    time = (int(m.system[S_NEXT_DUE]) - clock(m) - 1) // ns + 1
    return min(max(min(room, time), 1), int(m.pcps[run.lst + 1]))


@inline
def range_length(m: Mem, run: Run, pages: NDArray[np.int32], i: int, most: int) -> int:
    """Count the pages from ``pages[i]`` on that lie side by side and are alike, held in a row.

    So do their targets, and no swap slot goes with them. The first one can be moved.
    """
    head, ring, mask = int(m.pcps[run.lst]), int(m.pcps[run.lst + 2]), int(m.pcps[run.lst + 3])
    source, target = int(pages[i]), int(m.rings[ring + head])
    handle, state, kind = int(m.rmap[source]), int(m.state[source]), int(m.state[target])
    if state & PAGE_SWAPCACHE:
        return 1
    most = min(most, PAGEBLOCK_NR_PAGES - source % PAGEBLOCK_NR_PAGES)
    n = 0
    while (
        n < most
        and int(pages[i + n]) == source + n
        and int(m.rings[ring + (head + n & mask)]) == target + n
        and int(m.state[source + n]) == state
        and int(m.state[target + n]) == kind
        and int(m.rmap[source + n]) == handle + n
        and int(m.page_table[handle + n]) == source + n + 1
        and not has_traits(m, handle + n)
    ):
        n += 1
    return n


@inline
def range_goes(m: Mem, run: Run, source: int, n: int) -> None:
    """Let a range of pages go (``range_length``)."""
    target = pcp_pop_range(m, run.lst, n)
    handle, state = int(m.rmap[source]), int(m.state[source])
    kept = state & ~(TYPE_MASK | PAGE_ISOLATED) | int(m.state[target]) & TYPE_MASK
    for i in range(n):
        m.state[target + i] = kept
    for i in range(n):
        m.rmap[target + i] = handle + i
    for i in range(n):
        m.page_table[handle + i] = target + i + 1
    for i in range(n):
        m.state[source + i] = run.blocktype << TYPE_SHIFT | PAGE_PCP
    lru_add_range(m, target, n)
    pcp_push_range(m, run.freed, source, n)


@inline
def alike_length(m: Mem, run: Run, pages: NDArray[np.int32], i: int, most: int) -> int:
    """Count the pages from ``pages[i]`` on that can be moved and are in the first one's state."""
    state = int(m.state[int(pages[i])])
    n = 0
    while (
        n < most
        and int(m.state[int(pages[i + n])]) == state
        and just_moves(m, run.home, run.blocktype, int(pages[i + n]), state)
    ):
        n += 1
    return n


@inline
def singles_go(m: Mem, run: Run, pages: NDArray[np.int32], i: int, n: int, stop: int) -> None:
    """Let pages go that lie anywhere (``alike_length``)."""
    state = int(m.state[int(pages[i])])
    head = lru_head(m, run.z, folio_lru_list(m, state))
    top = int(m.next[head])
    for k in range(n):
        prefetch_sources(m, pages, i + k + NEXT_RUN, stop)
        source, target = int(pages[i + k]), pcp_peek(m, run.lst, k)
        take_place(m, source, state, target)
        m.state[source] = run.blocktype << TYPE_SHIFT | PAGE_PCP
        m.next[target], m.prev[top] = top, target
        top = target
    m.next[head], m.prev[top] = top, head
    zone_add(m, run.z, Z_LRU + folio_lru_list(m, state), n)
    pcp_pop_range(m, run.lst, n)
    pcp_push_each(m, run.freed, pages, i, n)


@inline
def pages_go(m: Mem, run: Run, pages: NDArray[np.int32], i: int, most: int, stop: int) -> int:
    """Let up to ``most`` pages from ``pages[i]`` on go, the first of which can; return how many."""
    state = int(m.state[int(pages[i])])
    n = range_length(m, run, pages, i, most)
    if n < RANGE:
        n = alike_length(m, run, pages, i, most)
        singles_go(m, run, pages, i, n, stop)
    else:
        range_goes(m, run, int(pages[i]), n)
    count_page_state(m, run.home, state, -n)
    count_page_state(m, run.z, state, n)
    return n


@inline
def book_run(m: Mem, run: Run, ac: AllocContext, n: int) -> None:
    """Book pages that have gone, and drain the lists that they have filled."""
    row, back = pcp_row(m, run.z, ac.cpu), pcp_row(m, run.home, ac.cpu)
    m.pcps[row + P_COUNT] -= n
    m.pcps[row + P_FREE_FACTOR] >>= min(n, MANY_HALVINGS)
    m.pcps[back + P_COUNT] += n
    count_numa(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), run.z, ac.cpu, n)
    zone_add(m, run.z, Z_VMSTAT + PGALLOC, n)
    zone_add(m, run.home, Z_VMSTAT + PGFREE, n)
    high = nr_pcp_high(m, run.home, back)
    if int(m.pcps[back + P_COUNT]) >= high:
        pages = nr_pcp_free(m, back, high, False)
        free_pcppages_bulk(m, run.home, back, ac.cpu, pages, freed_pindex(run.blocktype, 0))
    book_stall(m, n * int(m.system[S_MIGRATE_NS]))


@helper
def run_of_moves(
    m: Mem,
    tables: PolicyTables,
    want: TargetRequest,
    pages: NDArray[np.int32],
    i: int,
    stop: int,
    cpu: int,
    reason: int,
) -> int:
    """Move the pages from ``pages[i]`` on up to one that is not so simple; return how many.

    One that needs the daemons, another zone, or a second look is not.
    """
    if keeps_log(m) or reason == NUMA_MISPLACED:
        return 0
    home = page_zone(m, int(pages[i]))
    ac = target_context(m, cpu, want, int(pages[i]), reason)
    alloc_flags = fast_path_flags(m, tables, ac)
    if ac.order or not may_use_pcplist(tables, ac, alloc_flags):
        return 0
    at = i
    while at < stop and int(m.system[S_NEXT_DUE]) > clock(m):
        pfn = int(pages[at])
        blocktype = pageblock_type(m, pfn)
        if blocktype == ISOLATE or not just_moves(m, home, blocktype, pfn, int(m.state[pfn])):
            break
        z = zone_at_mark(m, ac, alloc_flags)
        if z < 0 or z == home or zone_get(m, z, Z_BOOSTED):
            break
        freed = pcp_list(pcp_row(m, home, cpu), freed_pindex(blocktype, 0))
        lst = pcp_list(pcp_row(m, z, cpu), order_to_pindex(ac.migratetype, 0))
        run = Run(home, z, blocktype, freed, lst)
        most = stop - at
        if int(m.pcps[lst + 1]) == 0:
            if not refill(m, tables, z, ac, alloc_flags):
                break
            # With what the list has got the zone may be below its mark: then one page goes there.
            most = most if zone_at_mark(m, ac, alloc_flags) == z else 1
        n = pages_go(m, run, pages, at, min(most_at_once(m, run, cpu), most), stop)
        book_run(m, run, ac, n)
        at += n
    return at - i
