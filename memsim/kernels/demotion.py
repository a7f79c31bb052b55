"""Demotion: reclaim moves pages to a slower node instead of taking them away.

Source: can_demote, alloc_demote_page, demote_folio_list, mm/vmscan.c; next_demotion_node,
mm/memory-tiers.c, Linux 6.1 (spec 8.1, 8.6).

Unlike Linux: pages are demoted one by one as reclaim meets them, and huge ones are never split for
it.
"""

from __future__ import annotations

from errno import EAGAIN, ENOMEM

from memsim.kernels._jit import helper, inline
from memsim.kernels.compact_control import MIGRATE_ASYNC, MOVABLE_REQUEST
from memsim.kernels.fallback import ALLOC_CMA, ALLOC_KSWAPD
from memsim.kernels.layout import (
    ORDER_MASK,
    ORDER_SHIFT,
    REQ_FS,
    REQ_IO,
    REQ_KSWAPD_RECLAIM,
    REQ_NOMEMALLOC,
    REQ_THISNODE,
    TRAIT_LOCKED,
    Z_NODE,
    Mem,
    zone_get,
)
from memsim.kernels.lru import lru_pages
from memsim.kernels.migrate import MIGRATE_PASSES, free_traced, move_page, prep_target
from memsim.kernels.migrate_obstacle import obstacle, traits_of
from memsim.kernels.page_alloc import fast_path_flags, walk
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swapfile import has_swap_space
from memsim.kernels.system import N_DEMOTION_MASK, N_DEMOTION_NODE, NODE_FIELDS
from memsim.kernels.vmstat import (
    PGDEMOTE_DIRECT,
    PGDEMOTE_KSWAPD,
    PGMIGRATE_FAIL,
    PGMIGRATE_SUCCESS,
    THP_MIGRATION_FAIL,
    THP_MIGRATION_SUCCESS,
)
from memsim.kernels.wakeup import wake_kswapd
from memsim.kernels.zonelist import WMARK_MIN, AllocContext
from memsim.mm import PAGEBLOCK_NR_PAGES, ZoneType

MOVABLE_ZONE = int(ZoneType.MOVABLE)


@inline
def can_demote(m: Mem, node: int) -> bool:
    """Say whether there is a slower node below a node."""
    return int(m.nodes[node * NODE_FIELDS + N_DEMOTION_NODE]) != 0


@inline
def can_reclaim_anon_pages(m: Mem, node: int) -> bool:
    """Say whether anonymous pages of a node have somewhere to go: swap, or a slower node."""
    return has_swap_space(m) or can_demote(m, node)


@helper
def demotion_context(m: Mem, tables: PolicyTables, cpu: int, node: int, order: int) -> AllocContext:
    """Describe the request for a block on the slower node next to a node."""
    at = node * NODE_FIELDS
    kswapd = REQ_KSWAPD_RECLAIM if order == 0 else 0
    return AllocContext(
        order,
        int(tables.type_of_request[MOVABLE_REQUEST]),
        MOVABLE_ZONE,
        REQ_IO | REQ_FS | REQ_NOMEMALLOC | kswapd,
        2 * (int(m.nodes[at + N_DEMOTION_NODE]) - 1) * (m.nr_zones + 1),
        int(m.nodes[at + N_DEMOTION_MASK]),
        cpu,
    )


@helper
def only_first_node(m: Mem, ac: AllocContext) -> AllocContext:
    """Return the context of a request that only its preferred node may serve."""
    flags, zonelist = ac.flags | REQ_THISNODE, ac.zonelist + m.nr_zones + 1
    return AllocContext(ac.order, ac.migratetype, ac.highest_zone, flags, zonelist, -1, ac.cpu)


@helper
def walk_twice(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Serve a request that does not reclaim: at the low mark, then, with kswapd awake, at min."""
    pfn = walk(m, tables, ac, fast_path_flags(m, tables, ac))
    if pfn >= 0:
        return pfn
    kswapd = ALLOC_KSWAPD if ac.flags & REQ_KSWAPD_RECLAIM else 0
    if kswapd:
        for z in range(m.nr_zones):
            if ac.nodemask >> zone_get(m, z, Z_NODE) & 1:
                wake_kswapd(m, z, ac.order, ac.highest_zone)
    return walk(m, tables, ac, WMARK_MIN | ALLOC_CMA | kswapd)


@helper
def alloc_demote_page(m: Mem, tables: PolicyTables, cpu: int, node: int, order: int) -> int:
    """Allocate a block below a node: on the next slower node, else on any; -1 if there is none."""
    ac = demotion_context(m, tables, cpu, node, order)
    pfn = walk(m, tables, only_first_node(m, ac), fast_path_flags(m, tables, ac))
    if pfn < 0:
        pfn = walk_twice(m, tables, ac)
    if pfn >= 0:
        prep_target(m, pfn, order)
    return pfn


@helper
def try_to_demote(m: Mem, tables: PolicyTables, cpu: int, node: int, pfn: int) -> int:
    """Try once to move an isolated block of a node to a slower one; return 0 or a negative errno.

    Source: unmap_and_move, with MIGRATE_ASYNC.
    """
    order = (int(m.state[pfn]) & ORDER_MASK) >> ORDER_SHIFT
    target = alloc_demote_page(m, tables, cpu, node, order)
    if target < 0:
        return -ENOMEM
    code = -EAGAIN if traits_of(m, pfn) & TRAIT_LOCKED else obstacle(m, pfn, MIGRATE_ASYNC)
    if code == 0:
        move_page(m, cpu, pfn, target)
    else:
        free_traced(m, cpu, target)
    return code


@helper
def demote_page(m: Mem, tables: PolicyTables, cpu: int, node: int, pfn: int, kswapd: int) -> bool:
    """Move an isolated block of a node that is to be reclaimed to a slower node, if that works."""
    pages = lru_pages(int(m.state[pfn]))
    code = -EAGAIN
    attempt = 0
    while code == -EAGAIN and attempt < MIGRATE_PASSES:
        code = try_to_demote(m, tables, cpu, node, pfn)
        attempt += 1
    huge = 1 if pages == PAGEBLOCK_NR_PAGES else 0
    m.events[PGMIGRATE_SUCCESS if code == 0 else PGMIGRATE_FAIL] += pages
    m.events[THP_MIGRATION_SUCCESS if code == 0 else THP_MIGRATION_FAIL] += huge
    if code == 0:
        m.events[PGDEMOTE_KSWAPD if kswapd else PGDEMOTE_DIRECT] += pages
    return code == 0
