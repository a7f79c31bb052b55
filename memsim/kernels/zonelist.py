"""The zones that a request may use, in order, and their watermarks.

Source: mm/mmzone.c and mm/page_alloc.c, Linux 6.1.192 (next_zones_zonelist, zone_watermark_fast).
"""

from __future__ import annotations

from typing import NamedTuple

from memsim.kernels._jit import helper, inline
from memsim.kernels.buddy import CMA, HIGHATOMIC
from memsim.kernels.fallback import (
    ALLOC_CMA,
    ALLOC_HIGHATOMIC,
    ALLOC_MIN_RESERVE,
    ALLOC_NOFRAGMENT,
    ALLOC_NON_BLOCK,
    ALLOC_OOM,
    ALLOC_WMARK_MASK,
)
from memsim.kernels.layout import (
    REQ_ATOMIC,
    Z_BOOST,
    Z_LOWMEM_RESERVE,
    Z_NODE,
    Z_NR_FREE_CMA,
    Z_NR_FREE_PAGES,
    Z_NR_RESERVED_HIGHATOMIC,
    Z_TYPE,
    Z_WMARK,
    Mem,
    free_mask,
    zone_get,
)
from memsim.mm import MIGRATE_PCPTYPES, Wmark

WMARK_MIN = int(Wmark.MIN)
ALLOC_RESERVES = ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK | ALLOC_HIGHATOMIC | ALLOC_OOM


class AllocContext(NamedTuple):
    """One request on its way through the zonelist (struct alloc_context)."""

    order: int
    migratetype: int
    highest_zone: int
    flags: int
    """REQ_*."""
    zonelist: int
    """Offset in Mem.zonelists: length, then zones."""
    nodemask: int
    cpu: int


@inline
def next_zone(m: Mem, ac: AllocContext, position: int) -> int:
    """Return the next position of the zonelist that the request may use, -1 at its end."""
    length = int(m.zonelists[ac.zonelist])
    while position < length:
        z = int(m.zonelists[ac.zonelist + 1 + position])
        allowed = ac.nodemask >> zone_get(m, z, Z_NODE) & 1
        if allowed and zone_get(m, z, Z_TYPE) <= ac.highest_zone:
            return position
        position += 1
    return -1


@inline
def zonelist_zone(m: Mem, ac: AllocContext, position: int) -> int:
    """Return the zone at a position of the request's zonelist."""
    return int(m.zonelists[ac.zonelist + 1 + position])


@inline
def zone_unusable_free(m: Mem, z: int, order: int, alloc_flags: int) -> int:
    """Count free pages that the request may not use (spec 5.3 steps 1-3)."""
    unusable = (1 << order) - 1
    if not alloc_flags & ALLOC_RESERVES:
        unusable += zone_get(m, z, Z_NR_RESERVED_HIGHATOMIC)
    if not alloc_flags & ALLOC_CMA:
        unusable += max(zone_get(m, z, Z_NR_FREE_CMA), 0)
    return unusable


@inline
def watermark_ok(
    m: Mem, z: int, ac: AllocContext, mark: int, alloc_flags: int, nr_free: int
) -> bool:
    """Test a zone as if it had ``nr_free`` free pages (__zone_watermark_ok, spec 5.3)."""
    free = nr_free - zone_unusable_free(m, z, ac.order, alloc_flags)
    if alloc_flags & ALLOC_MIN_RESERVE:
        mark -= mark // 2
        if alloc_flags & ALLOC_NON_BLOCK:
            mark -= mark // 4
    if alloc_flags & ALLOC_OOM:
        mark -= mark // 2
    if free <= mark + zone_get(m, z, Z_LOWMEM_RESERVE + ac.highest_zone):
        return False
    if ac.order == 0:
        return True
    return usable_orders(m, z, alloc_flags) >> ac.order != 0


@inline
def usable_orders(m: Mem, z: int, alloc_flags: int) -> int:
    """Return the orders of which a zone has free blocks that these flags may use, as bits."""
    orders = 0
    for migratetype in range(MIGRATE_PCPTYPES):
        orders |= free_mask(m, z, migratetype)
    if alloc_flags & ALLOC_CMA:
        orders |= free_mask(m, z, CMA)
    if alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM):
        orders |= free_mask(m, z, HIGHATOMIC)
    return orders


@helper
def zone_watermark_ok(m: Mem, z: int, ac: AllocContext, mark: int, alloc_flags: int) -> bool:
    """Test a zone against a mark for a request, with all deductions and reserves (spec 5.3)."""
    return watermark_ok(m, z, ac, mark, alloc_flags, max(zone_get(m, z, Z_NR_FREE_PAGES), 0))


@helper
def zone_watermark_ok_with(
    m: Mem, z: int, ac: AllocContext, mark: int, alloc_flags: int, nr_free: int
) -> bool:
    """Test a zone against a mark as if it had ``nr_free`` free pages."""
    return watermark_ok(m, z, ac, mark, alloc_flags, nr_free)


@inline
def zone_watermark_fast(m: Mem, z: int, ac: AllocContext, alloc_flags: int) -> bool:
    """Test a zone's watermark, order 0 first without the full test (spec 5.3)."""
    which = alloc_flags & ALLOC_WMARK_MASK
    boost = zone_get(m, z, Z_BOOST)
    unboosted = zone_get(m, z, Z_WMARK + which)
    free = max(zone_get(m, z, Z_NR_FREE_PAGES), 0)
    if ac.order == 0:
        usable = free - min(free, zone_unusable_free(m, z, 0, alloc_flags))
        if usable > unboosted + boost + zone_get(m, z, Z_LOWMEM_RESERVE + ac.highest_zone):
            return True
    if watermark_ok(m, z, ac, unboosted + boost, alloc_flags, free):
        return True
    atomic = ac.order == 0 and ac.flags & REQ_ATOMIC and boost != 0 and which == WMARK_MIN
    return bool(atomic) and zone_watermark_ok(m, z, ac, unboosted, alloc_flags)


@inline
def zone_at_mark(m: Mem, ac: AllocContext, alloc_flags: int) -> int:
    """Return the first zone that the walk would try to take a block from, -1 if that is unclear."""
    position = next_zone(m, ac, 0)
    local = -1
    while position >= 0:
        z = zonelist_zone(m, ac, position)
        if local < 0:
            local = zone_get(m, z, Z_NODE)
        if alloc_flags & ALLOC_NOFRAGMENT and zone_get(m, z, Z_NODE) != local:
            return -1
        if zone_watermark_fast(m, z, ac, alloc_flags):
            return z
        position = next_zone(m, ac, position + 1)
    return -1
