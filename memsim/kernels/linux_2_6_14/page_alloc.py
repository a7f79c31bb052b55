"""The allocation path: watermarks, the walk over the zonelist, freeing.

Source: mm/page_alloc.c, Linux 2.6.14 (spec 2.2, 5). The path goes as far as a request that may
not reclaim; one that would reclaim ends with Status.NEEDS_RECLAIM.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    ORDER_MASK,
    ORDER_SHIFT,
    REQ_COLD,
    REQ_DIRECT_RECLAIM,
    REQ_HIGH,
    REQ_MEMALLOC,
    REQ_NOMEMALLOC,
    Z_LOWMEM_RESERVE,
    Z_NR_FREE,
    Z_NR_FREE_PAGES,
    Z_TYPE,
    Z_VMSTAT,
    Z_WMARK,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)
from memsim.kernels.linux_2_6_14.fallback import free_one_page, free_type, rmqueue_locked
from memsim.kernels.linux_2_6_14.pcp import free_hot_cold_page, rmqueue_pcplist
from memsim.kernels.page_alloc import WOULD_RECLAIM, free_pages_prepare, zone_statistics
from memsim.kernels.placement import PolicyTables
from memsim.kernels.vmstat import (
    KSWAPD_WAKEUPS,
    PGFREE,
    SLOWPATH,
)
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone
from memsim.mm import Wmark, ZoneType2005

LOWEST_ZONE = int(ZoneType2005.DMA)
"""The class zone that nothing is kept from."""
WMARK_MIN = int(Wmark.MIN)
WMARK_LOW = int(Wmark.LOW)
ALLOC_WMARK_MASK = 0x3
ALLOC_HARDER = 1 << 2
ALLOC_HIGH = 1 << 3
ALLOC_NO_WATERMARKS = 1 << 4


@inline
def zone_watermark_ok(m: Mem, z: int, order: int, classzone: int, alloc_flags: int) -> bool:
    """Test a zone's free pages against a mark, order by order (spec 2.2).

    ``classzone`` is the type of the first zone that the request may use.
    """
    free = zone_get(m, z, Z_NR_FREE_PAGES) - (1 << order) + 1
    mark = zone_get(m, z, Z_WMARK + (alloc_flags & ALLOC_WMARK_MASK))
    if alloc_flags & ALLOC_HIGH:
        mark -= mark // 2
    if alloc_flags & ALLOC_HARDER:
        mark -= mark // 4
    if free <= mark + zone_get(m, z, Z_LOWMEM_RESERVE + classzone):
        return False
    for smaller in range(order):
        free -= zone_get(m, z, Z_NR_FREE + smaller) << smaller
        mark //= 2
        if free <= mark:
            return False
    return True


@inline
def buffered_rmqueue(m: Mem, tables: PolicyTables, z: int, ac: AllocContext) -> int:
    """Take a block from a zone: single pages from a per-CPU list; -1 if it has none."""
    if ac.order == 0:
        cold = 1 if ac.flags & REQ_COLD else 0
        return rmqueue_pcplist(m, tables, z, ac.cpu, ac.migratetype, cold)
    pfn = rmqueue_locked(m, tables, z, ac.order, ac.migratetype)
    if pfn >= 0:
        zone_add(m, z, Z_NR_FREE_PAGES, -(1 << ac.order))
    return pfn


@inline
def get_page_from_freelist(
    m: Mem, tables: PolicyTables, ac: AllocContext, first: int, alloc_flags: int
) -> int:
    """Walk the zonelist from its ``first`` allowed zone to one above its mark that has a block."""
    preferred = zonelist_zone(m, ac, first)
    classzone = zone_get(m, preferred, Z_TYPE)
    position = first
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        if alloc_flags & ALLOC_NO_WATERMARKS or zone_watermark_ok(
            m, z, ac.order, classzone, alloc_flags
        ):
            pfn = buffered_rmqueue(m, tables, z, ac)
            if pfn >= 0:
                zone_statistics(m, preferred, z, ac.cpu)
                return pfn
        position = next_zone(m, ac, position + 1)
    return -1


@helper
def walk_again(m: Mem, tables: PolicyTables, ac: AllocContext, first: int, alloc_flags: int) -> int:
    """Walk the zonelist in the slow path, whose several walks share this one copy of the code."""
    return get_page_from_freelist(m, tables, ac, first, alloc_flags)


@helper
def wakeup_kswapd(m: Mem, z: int, order: int) -> None:
    """Wake kswapd for a zone, unless it is above its low mark without any reserve (spec 6.7)."""
    if not zone_watermark_ok(m, z, order, LOWEST_ZONE, WMARK_LOW):
        m.events[KSWAPD_WAKEUPS] += 1


@helper
def alloc_pages_slowpath(m: Mem, tables: PolicyTables, ac: AllocContext, first: int) -> int:
    """Wake kswapd and try again at the min mark; -1 for failure, or WOULD_RECLAIM (spec 5, 2-5)."""
    m.events[SLOWPATH] += 1
    position = first
    while position >= 0:
        wakeup_kswapd(m, zonelist_zone(m, ac, position), ac.order)
        position = next_zone(m, ac, position + 1)
    alloc_flags = WMARK_MIN
    if not ac.flags & REQ_DIRECT_RECLAIM:
        alloc_flags |= ALLOC_HARDER
    if ac.flags & REQ_HIGH:
        alloc_flags |= ALLOC_HIGH
    pfn = walk_again(m, tables, ac, first, alloc_flags)
    if pfn >= 0:
        return pfn
    if ac.flags & REQ_MEMALLOC:
        if ac.flags & REQ_NOMEMALLOC:
            return -1
        return walk_again(m, tables, ac, first, ALLOC_NO_WATERMARKS)
    return WOULD_RECLAIM if ac.flags & REQ_DIRECT_RECLAIM else -1


@inline
def alloc_pages(m: Mem, tables: PolicyTables, ac: AllocContext) -> int:
    """Serve a request (__alloc_pages, spec 5); a pfn, -1 if there is no page, or WOULD_RECLAIM."""
    first = next_zone(m, ac, 0)
    if first < 0 or ac.order > m.max_page_order:
        return -1
    pfn = get_page_from_freelist(m, tables, ac, first, WMARK_LOW)
    if pfn < 0:
        pfn = alloc_pages_slowpath(m, tables, ac, first)
    return pfn


@inline
def free_pages(m: Mem, tables: PolicyTables, cpu: int, pfn: int, cold: int) -> None:
    """Free a block: single pages to the CPU's lists, larger blocks to the buddy lists."""
    order = (int(m.state[pfn]) & ORDER_MASK) >> ORDER_SHIFT
    z = page_zone(m, pfn)
    migratetype = free_type(m, tables, pfn)
    free_pages_prepare(m, pfn, order)
    zone_add(m, z, Z_VMSTAT + PGFREE, 1 << order)
    if order == 0:
        free_hot_cold_page(m, tables, z, cpu, pfn, migratetype, cold)
    else:
        free_one_page(m, z, pfn, order, migratetype)
