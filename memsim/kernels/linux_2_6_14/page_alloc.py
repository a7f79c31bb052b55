"""The allocation path: watermarks, the walk over the zonelist, freeing.

Source: mm/page_alloc.c, Linux 2.6.14 (spec 2.2, 5 step 1).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    ORDER_MASK,
    ORDER_SHIFT,
    REQ_COLD,
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
from memsim.kernels.page_alloc import free_pages_prepare, zone_statistics
from memsim.kernels.placement import PolicyTables
from memsim.kernels.vmstat import (
    PGFREE,
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
def mark_of(m: Mem, z: int, alloc_flags: int) -> int:
    """Return the mark that these flags name, lowered as they say."""
    mark = zone_get(m, z, Z_WMARK + (alloc_flags & ALLOC_WMARK_MASK))
    if alloc_flags & ALLOC_HIGH:
        mark -= mark // 2
    if alloc_flags & ALLOC_HARDER:
        mark -= mark // 4
    return mark


@helper
def has_pages(m: Mem, z: int, order: int, classzone: int, alloc_flags: int) -> bool:
    """Say whether a zone has the pages for a request, in whatever pieces."""
    free = zone_get(m, z, Z_NR_FREE_PAGES) - (1 << order) + 1
    return free > mark_of(m, z, alloc_flags) + zone_get(m, z, Z_LOWMEM_RESERVE + classzone)


@inline
def zone_watermark_ok(m: Mem, z: int, order: int, classzone: int, alloc_flags: int) -> bool:
    """Test a zone's free pages against a mark, order by order (spec 2.2).

    ``classzone`` is the type of the first zone that the request may use.
    """
    free = zone_get(m, z, Z_NR_FREE_PAGES) - (1 << order) + 1
    mark = mark_of(m, z, alloc_flags)
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
