"""Where a page is moved to: a page that is allocated for it.

Source: alloc_migration_target, mm/migrate.c, and its callers' flags, Linux 6.1.192 (spec 8.6).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline
from memsim.kernels.hugetlb import is_huge_page
from memsim.kernels.hugetlb_pool import dequeue_huge_page_nodemask
from memsim.kernels.layout import (
    MOBILITY_MASK,
    MOBILITY_SHIFT,
    ORDER_MASK,
    ORDER_SHIFT,
    R_FLAGS,
    R_HIGHEST_ZONE,
    R_MIGRATETYPE,
    R_NODE,
    R_NODEMASK,
    R_PAGE,
    REQ_DIRECT_RECLAIM,
    REQ_FS,
    REQ_HUGE_FAULT,
    REQ_IO,
    REQ_KSWAPD_RECLAIM,
    REQ_LRU,
    REQ_NOMEMALLOC,
    REQ_SLAB,
    REQ_THISNODE,
    Z_BOOST,
    Z_NODE,
    Z_TYPE,
    Z_WMARK,
    Mem,
    page_zone,
    zone_get,
)
from memsim.kernels.migrate import prep_target
from memsim.kernels.page_alloc import fast_path_flags, walk
from memsim.kernels.placement import PolicyTables
from memsim.kernels.slowpath import WMARK_HIGH, alloc_pages_slowpath
from memsim.kernels.zonelist import AllocContext, zone_watermark_ok
from memsim.mm import PAGEBLOCK_ORDER, MigrateReason, Migratetype, ZoneType

LONGTERM_PIN = int(MigrateReason.LONGTERM_PIN)
NUMA_MISPLACED = int(MigrateReason.NUMA_MISPLACED)
MOVABLE_ZONE = int(ZoneType.MOVABLE)
MOVABLE_TYPE = int(Migratetype.MOVABLE)
RECLAIM = REQ_DIRECT_RECLAIM | REQ_KSWAPD_RECLAIM
TRANSHUGE_LIGHT = REQ_IO | REQ_FS | REQ_NOMEMALLOC
NOT_OF_A_TARGET = REQ_LRU | REQ_SLAB | REQ_HUGE_FAULT


class TargetRequest(NamedTuple):
    """What targets are asked for with (struct migration_target_control)."""

    migratetype: int
    movable: bool
    """The request is for movable memory, and so may be served by Movable."""
    highest_zone: int
    flags: int
    """REQ_*."""
    node: int
    """Whose zonelist is walked; -1: that of the source's node."""
    nodemask: int


@inline
def target_request(rq: NDArray[np.int64]) -> TargetRequest:
    """Read a request row (R_*)."""
    return TargetRequest(
        int(rq[R_MIGRATETYPE]),
        (int(rq[R_PAGE]) & MOBILITY_MASK) >> MOBILITY_SHIFT == MOVABLE_TYPE,
        int(rq[R_HIGHEST_ZONE]),
        int(rq[R_FLAGS]),
        int(rq[R_NODE]),
        int(rq[R_NODEMASK]),
    )


@inline
def target_flags(flags: int, order: int, reason: int) -> int:
    """Say with which flags a target is asked for: a large one as a huge page is (GFP_TRANSHUGE)."""
    kept = flags & ~NOT_OF_A_TARGET
    if order == 0:
        return kept
    direct = 0 if reason == NUMA_MISPLACED else REQ_DIRECT_RECLAIM
    return kept & ~RECLAIM | TRANSHUGE_LIGHT | direct


@inline
def target_highest_zone(want: TargetRequest, order: int, source_type: int, reason: int) -> int:
    """Say up to which zone a target may lie: what lies in Movable may stay there, if it may move.

    Nothing that is to be pinned for long goes to Movable.
    """
    stays_movable = want.movable and source_type == MOVABLE_ZONE
    if reason != LONGTERM_PIN and (order > 0 or stays_movable):
        return MOVABLE_ZONE
    return want.highest_zone


@inline
def target_context(m: Mem, cpu: int, want: TargetRequest, source: int, reason: int) -> AllocContext:
    """Describe the request for a block to which another one is to be moved."""
    order = (int(m.state[source]) & ORDER_MASK) >> ORDER_SHIFT
    z = page_zone(m, source)
    node = want.node if want.node >= 0 else zone_get(m, z, Z_NODE)
    flags = target_flags(want.flags, order, reason)
    which = 2 * node + (1 if flags & REQ_THISNODE else 0)
    return AllocContext(
        order,
        want.migratetype,
        target_highest_zone(want, order, zone_get(m, z, Z_TYPE), reason),
        flags,
        which * (m.nr_zones + 1),
        want.nodemask,
        cpu,
    )


@helper
def stays_balanced(m: Mem, node: int, pages: int) -> bool:
    """Say whether some zone of a node would still be above its high mark with ``pages`` less.

    Source: migrate_balanced_pgdat.
    """
    single = AllocContext(0, 0, 0, 0, 0, -1, 0)
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            mark = zone_get(m, z, Z_WMARK + WMARK_HIGH) + zone_get(m, z, Z_BOOST) + pages
            if zone_watermark_ok(m, z, single, mark, 0):
                return True
    return False


@helper
def alloc_page_of(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Serve a request for a target; a negative number if there is none.

    Unlike Linux: nobody is killed to make room for a page that is to be moved.
    """
    pfn = walk(m, tables, ac, fast_path_flags(m, tables, ac))
    return pfn if pfn >= 0 else alloc_pages_slowpath(m, tables, ac)


@helper
def alloc_migration_target(
    m: Mem, tables: PolicyTables, cpu: int, want: TargetRequest, source: int, reason: int
) -> int:
    """Allocate a block to which the block at ``source`` is to be moved; -1 if there is none.

    For a huge page of the pool a free one is taken, and only without any a new block.
    """
    ac = target_context(m, cpu, want, source, reason)
    if reason == NUMA_MISPLACED and not stays_balanced(m, want.node, 1 << ac.order):
        return -1
    if ac.order == PAGEBLOCK_ORDER and is_huge_page(m, source):
        pfn = dequeue_huge_page_nodemask(m, ac)
        if pfn >= 0:
            return pfn
    pfn = alloc_page_of(m, tables, ac)
    if pfn >= 0:
        prep_target(m, pfn, ac.order)
    return max(pfn, -1)
