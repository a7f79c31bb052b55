"""The fast path of allocation, the walk over the zonelist, and freeing.

Source: mm/page_alloc.c, Linux 6.1.192.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import (
    HIGHATOMIC,
    ISOLATE,
    MOVABLE,
    free_one_page,
    mod_zone_freepage_state,
    pcp_allowed_order,
    rmqueue_smallest,
)
from memsim.kernels.fallback import (
    ALLOC_CMA,
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    move_freepages,
    pageblock_range,
    rmqueue_locked,
)
from memsim.kernels.flusher import account_page_dirtied
from memsim.kernels.layout import (
    NUMA_FOREIGN,
    NUMA_HIT,
    NUMA_LOCAL,
    NUMA_MISS,
    NUMA_OTHER,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_MAPPED,
    PAGE_SLAB,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    REQ_KSWAPD_RECLAIM,
    REQ_LRU,
    REQ_NO_CMA,
    REQ_SLAB,
    TYPE_MASK,
    Z_BOOSTED,
    Z_MANAGED,
    Z_NODE,
    Z_NOFRAGMENT,
    Z_NR_DIRTY,
    Z_NR_MAPPED,
    Z_NR_RESERVED_HIGHATOMIC,
    Z_NR_WRITEBACK,
    Z_NUMA,
    Z_TYPE,
    Z_VMSTAT,
    Mem,
    page_type,
    page_zone,
    pageblock_type,
    zone_add,
    zone_get,
    zone_set,
)
from memsim.kernels.lru import lru_add, lru_del, lru_pages
from memsim.kernels.page_io import forget_write
from memsim.kernels.pcp import rmqueue_pcplist
from memsim.kernels.pcp_free import free_unref_page_commit
from memsim.kernels.placement import OPT_CMA, OPT_HIGHATOMIC, OPT_NOFRAGMENT, PolicyTables
from memsim.kernels.swap import folio_add_lru, lru_add_drain_page
from memsim.kernels.swapfile import swap_free
from memsim.kernels.vmstat import (
    HIGHATOMIC_RESERVED_BLOCKS,
    KSWAPD_WAKEUPS,
    PGALLOC,
    PGFAULT,
    PGFREE,
)
from memsim.kernels.wakeup import wake_kswapd
from memsim.kernels.zonelist import (
    AllocContext,
    next_zone,
    zone_watermark_fast,
    zonelist_zone,
)
from memsim.mm import (
    MIGRATE_PCPTYPES,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Wmark,
)

WMARK_LOW = int(Wmark.LOW)
KEPT_BY_CONTENT = PAGE_DIRTY | PAGE_WRITEBACK | PAGE_SWAPCACHE
"""What makes a page part of accounts of what is on disk."""
WOULD_RECLAIM = -2
"""In place of a pfn: nothing was found, and the request goes on to reclaim or compaction."""
NEEDS_OOM_KILL = -3
"""In place of a pfn: the batch stops for Python to name a victim; then the event comes again."""


@helper
def rmqueue_buddy(m: Mem, tables: PolicyTables, z: int, ac: AllocContext, alloc_flags: int) -> int:
    """Take a block straight from the buddy lists; the high-atomic reserve first or last."""
    pfn = -1
    if alloc_flags & ALLOC_HIGHATOMIC:
        pfn = rmqueue_smallest(m, z, ac.order, HIGHATOMIC)
    if pfn < 0:
        pfn = rmqueue_locked(m, tables, z, ac.order, ac.migratetype, alloc_flags)
    if pfn < 0 and alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK):
        pfn = rmqueue_smallest(m, z, ac.order, HIGHATOMIC)
    if pfn >= 0:
        mod_zone_freepage_state(m, z, ac.cpu, -(1 << ac.order), page_type(m, pfn))
    return pfn


@inline
def may_use_pcplist(tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> bool:
    """Say whether a request goes to the per-CPU lists first."""
    without_cma = (
        ac.migratetype == MOVABLE
        and int(tables.options[OPT_CMA]) != 0
        and not alloc_flags & ALLOC_CMA
    )
    return pcp_allowed_order(ac.order) and not without_cma


@inline
def wake_if_boosted(m: Mem, z: int, alloc_flags: int) -> None:
    """Wake kswapd where a fallback has boosted the zone's watermarks."""
    if alloc_flags & ALLOC_KSWAPD and zone_get(m, z, Z_BOOSTED):
        zone_set(m, z, Z_BOOSTED, 0)
        m.events[KSWAPD_WAKEUPS] += 1
        wake_kswapd(m, z, 0, zone_get(m, z, Z_TYPE))


@inline
def rmqueue(m: Mem, tables: PolicyTables, z: int, ac: AllocContext, alloc_flags: int) -> int:
    """Take a block from a zone: per-CPU list, then buddy lists; -1 if it has none."""
    pfn = -1
    if may_use_pcplist(tables, ac, alloc_flags):
        pfn = rmqueue_pcplist(m, tables, z, ac.cpu, ac.order, ac.migratetype, alloc_flags)
    if pfn < 0:
        pfn = rmqueue_buddy(m, tables, z, ac, alloc_flags)
    wake_if_boosted(m, z, alloc_flags)
    return pfn


@helper
def reserve_highatomic_pageblock(m: Mem, z: int, pfn: int) -> None:
    """Set the pageblock of a high-atomic allocation aside for its like (spec 3.9)."""
    limit = zone_get(m, z, Z_MANAGED) // 100 + PAGEBLOCK_NR_PAGES
    if zone_get(m, z, Z_NR_RESERVED_HIGHATOMIC) >= limit:
        return
    if pageblock_type(m, pfn) >= MIGRATE_PCPTYPES:
        return
    zone_add(m, z, Z_NR_RESERVED_HIGHATOMIC, PAGEBLOCK_NR_PAGES)
    zone_add(m, z, Z_VMSTAT + HIGHATOMIC_RESERVED_BLOCKS, 1)
    m.pageblocks[pfn >> PAGEBLOCK_ORDER] = HIGHATOMIC
    start, end = pageblock_range(m, z, pfn)
    move_freepages(m, z, start, end, HIGHATOMIC)


@inline
def count_numa(m: Mem, preferred: int, z: int, cpu: int, count: int) -> None:
    """Count where ``count`` allocations were served (spec 5.7)."""
    node = zone_get(m, z, Z_NODE)
    if node == zone_get(m, preferred, Z_NODE):
        zone_add(m, z, Z_NUMA + NUMA_HIT, count)
    else:
        zone_add(m, z, Z_NUMA + NUMA_MISS, count)
        zone_add(m, preferred, Z_NUMA + NUMA_FOREIGN, count)
    zone_add(m, z, Z_NUMA + (NUMA_LOCAL if node == int(m.cpu_node[cpu]) else NUMA_OTHER), count)


@inline
def zone_statistics(m: Mem, preferred: int, z: int, cpu: int) -> None:
    """Count where an allocation was served."""
    count_numa(m, preferred, z, cpu, 1)


@inline
def get_page_from_freelist(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk the zonelist and take a block from the first zone above its mark (spec 5.4)."""
    first = next_zone(m, ac, 0)
    if first < 0:
        return -1
    preferred = zonelist_zone(m, ac, first)
    local = zone_get(m, preferred, Z_NODE)
    position = first
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        if alloc_flags & ALLOC_NOFRAGMENT and zone_get(m, z, Z_NODE) != local:
            alloc_flags &= ~ALLOC_NOFRAGMENT
            position = first
            continue
        if alloc_flags & ALLOC_NO_WATERMARKS or zone_watermark_fast(m, z, ac, alloc_flags):
            pfn = rmqueue(m, tables, z, ac, alloc_flags)
            if pfn >= 0:
                zone_statistics(m, preferred, z, ac.cpu)
                if alloc_flags & ALLOC_HIGHATOMIC and int(tables.options[OPT_HIGHATOMIC]):
                    reserve_highatomic_pageblock(m, z, pfn)
                return pfn
        position = next_zone(m, ac, position + 1)
        if position < 0 and alloc_flags & ALLOC_NOFRAGMENT:
            alloc_flags &= ~ALLOC_NOFRAGMENT
            position = first
    return -1


@helper
def walk(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
    """Walk the zonelist where that is rare: all those places share this one copy of the code."""
    return get_page_from_freelist(m, tables, ac, alloc_flags)


@inline
def fast_path_flags(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Build the fast path's flags from a request: low mark, no fragmentation (spec 5.4)."""
    alloc_flags = WMARK_LOW
    if ac.flags & REQ_KSWAPD_RECLAIM:
        alloc_flags |= ALLOC_KSWAPD
    if ac.migratetype == MOVABLE and not ac.flags & REQ_NO_CMA:
        alloc_flags |= ALLOC_CMA
    first = next_zone(m, ac, 0)
    if (
        int(tables.options[OPT_NOFRAGMENT])
        and first >= 0
        and zone_get(m, zonelist_zone(m, ac, first), Z_NOFRAGMENT)
    ):
        alloc_flags |= ALLOC_NOFRAGMENT
    return alloc_flags


@inline
def count_page_state(m: Mem, z: int, state: int, pages: int) -> None:
    """Count what a page's state says in its zone; ``pages`` is negative where it goes."""
    if state & PAGE_MAPPED:
        zone_add(m, z, Z_NR_MAPPED, pages)
    if not state & KEPT_BY_CONTENT:
        return
    zone_add(m, z, Z_NR_DIRTY, pages if state & PAGE_DIRTY and not state & PAGE_ANON else 0)
    zone_add(m, z, Z_NR_WRITEBACK, pages if state & PAGE_WRITEBACK else 0)


@inline
def prep_new_page(m: Mem, ac: AllocContext, pfn: int, page: int, handle: int) -> None:
    """Mark a block allocated, give it its state (R_PAGE), remember who holds it."""
    kept = int(m.state[pfn]) & TYPE_MASK
    m.state[pfn] = kept | PAGE_ALLOCATED | ac.order << ORDER_SHIFT | page
    m.rmap[pfn] = handle
    z = page_zone(m, pfn)
    zone_add(m, z, Z_VMSTAT + PGALLOC, 1 << ac.order)
    if page & PAGE_MAPPED:
        zone_add(m, z, Z_NR_MAPPED, 1 << ac.order)
        m.events[PGFAULT] += 1
    if page & PAGE_DIRTY:
        zone_add(m, z, Z_NR_DIRTY, 0 if page & PAGE_ANON else 1 << ac.order)
        account_page_dirtied(m, handle, 1 << ac.order)
    if ac.flags & REQ_LRU:
        folio_add_lru(m, ac.cpu, pfn, ac.order)
    elif ac.flags & REQ_SLAB:
        m.state[pfn] |= PAGE_SLAB
        lru_add(m, pfn)


@helper
def forget_content(m: Mem, pfn: int) -> None:
    """Take what a page that is about to be freed has on disk, or not yet, out of all accounts."""
    state = int(m.state[pfn])
    count_page_state(m, page_zone(m, pfn), state & ~PAGE_MAPPED, -lru_pages(state))
    if state & PAGE_WRITEBACK:
        forget_write(m, pfn)
    if state & PAGE_SWAPCACHE:
        swap_free(m, int(m.swap_slot[pfn]))


@inline
def forget_page(m: Mem, z: int, pfn: int, state: int) -> None:
    """Take a page that is about to be freed out of all accounts but the LRU lists'."""
    if state & PAGE_MAPPED:
        zone_add(m, z, Z_NR_MAPPED, -lru_pages(state))
    if state & KEPT_BY_CONTENT:
        forget_content(m, pfn)


@inline
def free_pages_prepare(m: Mem, pfn: int, order: int) -> None:
    """Forget what the pages of a block were."""
    state = int(m.state[pfn])
    if state & PAGE_LRU_PENDING:
        lru_add_drain_page(m, pfn)
        state = int(m.state[pfn])
    if state & (PAGE_LRU | PAGE_SLAB) and not state & PAGE_ISOLATED:
        lru_del(m, pfn)
    forget_page(m, page_zone(m, pfn), pfn, state)
    if order > 0 and state & PAGE_LRU:
        for page in range(pfn, pfn + (1 << order)):
            m.state[page] = 0
    m.state[pfn] = 0


@inline
def free_pages(m: Mem, cpu: int, pfn: int) -> None:
    """Free a block to the CPU's lists or, by order or type, to the buddy lists (spec 4.4)."""
    order = (int(m.state[pfn]) & ORDER_MASK) >> ORDER_SHIFT
    z = page_zone(m, pfn)
    blocktype = pageblock_type(m, pfn)
    free_pages_prepare(m, pfn, order)
    zone_add(m, z, Z_VMSTAT + PGFREE, 1 << order)
    if pcp_allowed_order(order) and blocktype != ISOLATE:
        free_unref_page_commit(m, z, cpu, pfn, order, blocktype)
    else:
        free_one_page(m, z, cpu, pfn, order, blocktype, False)
