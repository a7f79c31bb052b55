"""Pages that simply move, many at a time: from one CPU list to another, with nothing in the way.

They leave exactly what they leave one by one (``migrate_one``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.buddy import ISOLATE, MOVABLE
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
    Z_VMSTAT,
    Mem,
    page_zone,
    pageblock_type,
    zone_add,
    zone_get,
)
from memsim.kernels.lru import lru_add
from memsim.kernels.migrate_target import NUMA_MISPLACED, TargetRequest, target_context
from memsim.kernels.page_alloc import (
    count_numa,
    count_page_state,
    fast_path_flags,
    may_use_pcplist,
)
from memsim.kernels.pcp import nr_pcp_high, order_to_pindex, pcp_list, pcp_push_head, pcp_row
from memsim.kernels.placement import PolicyTables
from memsim.kernels.runs import MANY_HALVINGS
from memsim.kernels.system import S_MIGRATE_NS, S_NEXT_DUE, book_stall, clock
from memsim.kernels.trace_log import keeps_log
from memsim.kernels.vmstat import PGALLOC, PGFREE
from memsim.kernels.zonelist import next_zone, zone_at_mark, zonelist_zone
from memsim.mm import MIGRATE_PCPTYPES

PREFETCH = 8
"""Pages between asking for a target's cache lines and using them."""
PLAIN = PAGE_LRU | PAGE_ISOLATED
NOT_PLAIN = ORDER_MASK | PAGE_PINNED | PAGE_WRITEBACK


@inline
def just_moves(m: Mem, z: int, pfn: int) -> bool:
    """Say whether a page of a zone can be moved at once and then goes to a CPU's list."""
    state = int(m.state[pfn])
    if state & (PLAIN | NOT_PLAIN) != PLAIN or page_zone(m, pfn) != z:
        return False
    handle = int(m.rmap[pfn])
    held = int(m.page_table[handle]) == pfn + 1
    return not (held and int(m.traits[handle])) and pageblock_type(m, pfn) != ISOLATE


@inline
def move_plain_page(m: Mem, source: int, target: int) -> None:
    """Let a page of a CPU's list take the place of one that can be moved at once."""
    state = int(m.state[source])
    m.state[target] = state & ~(TYPE_MASK | PAGE_ISOLATED) | int(m.state[target]) & TYPE_MASK
    handle = int(m.rmap[source])
    m.rmap[target] = handle
    if int(m.page_table[handle]) == source + 1:
        m.page_table[handle] = target + 1
    if state & PAGE_SWAPCACHE:
        m.swap_slot[target] = m.swap_slot[source]
    count_page_state(m, page_zone(m, source), state, -1)
    count_page_state(m, page_zone(m, target), state, 1)
    lru_add(m, target)


@inline
def room_for_run(m: Mem, row: int, z: int) -> int:
    """Say how many pages a CPU's lists take before they are full, and time allows at once."""
    room = nr_pcp_high(m, z, row) - 1 - int(m.pcps[row + P_COUNT])
    ns = max(int(m.system[S_MIGRATE_NS]), 1)
    time = (int(m.system[S_NEXT_DUE]) - clock(m) - 1) // ns + 1
    return max(min(room, time), 0)


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

    One that needs the CPU's lists refilled or drained, the daemons, or a second look is not.
    """
    first = int(pages[i])
    home = page_zone(m, first)
    if keeps_log(m) or reason == NUMA_MISPLACED or not just_moves(m, home, first):
        return 0
    ac = target_context(m, cpu, want, first, reason)
    alloc_flags = fast_path_flags(m, tables, ac)
    z = zone_at_mark(m, ac, alloc_flags) if may_use_pcplist(tables, ac, alloc_flags) else -1
    if z < 0 or z == home or zone_get(m, z, Z_BOOSTED):
        return 0
    back, row = pcp_row(m, home, cpu), pcp_row(m, z, cpu)
    lst = pcp_list(row, order_to_pindex(ac.migratetype, 0))
    head, length = int(m.pcps[lst]), int(m.pcps[lst + 1])
    offset, mask = int(m.pcps[lst + 2]), int(m.pcps[lst + 3])
    most = min(stop - i, length, room_for_run(m, back, home))
    n = 0
    while n < most and just_moves(m, home, int(pages[i + n])):
        if n + PREFETCH < most:
            coming = int(m.rings[offset + (head + n + PREFETCH & mask)])
            prefetch(m.state, coming)
            prefetch(m.rmap, coming)
        source = int(pages[i + n])
        move_plain_page(m, source, int(m.rings[offset + (head + n & mask)]))
        blocktype = pageblock_type(m, source)
        listtype = blocktype if blocktype < MIGRATE_PCPTYPES else MOVABLE
        m.state[source] = blocktype << TYPE_SHIFT | PAGE_PCP
        pcp_push_head(m, pcp_list(back, listtype), source)
        n += 1
    if n:
        m.pcps[lst], m.pcps[lst + 1] = head + n & mask, length - n
        m.pcps[row + P_COUNT] -= n
        m.pcps[row + P_FREE_FACTOR] >>= min(n, MANY_HALVINGS)
        m.pcps[back + P_COUNT] += n
        count_numa(m, zonelist_zone(m, ac, next_zone(m, ac, 0)), z, cpu, n)
        zone_add(m, z, Z_VMSTAT + PGALLOC, n)
        zone_add(m, home, Z_VMSTAT + PGFREE, n)
        book_stall(m, n * int(m.system[S_MIGRATE_NS]))
    return n
