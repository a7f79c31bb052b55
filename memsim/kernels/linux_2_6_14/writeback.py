"""How much may be dirty or under way to the device before somebody has to wait.

Source: mm/page-writeback.c, Linux 2.6.14 (spec 6.2 rule 3, 6.8). The device and the flusher are
those of ``memsim.kernels``.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    Z_NR_DIRTY,
    Z_NR_MAPPED,
    Z_NR_WRITEBACK,
    ZONE_FIELDS,
    Mem,
)
from memsim.kernels.system import S_TOTAL_MEMORY

VM_DIRTY_RATIO = 40
LEAST_DIRTY_RATIO = 5


@inline
def nr_pages_of(m: Mem, field: int) -> int:
    """Sum a field of all zones."""
    total = 0
    for z in range(m.nr_zones):
        total += int(m.zones[z * ZONE_FIELDS + field])
    return total


@helper
def dirty_limit(m: Mem) -> int:
    """Return the dirty pages from which on writers wait (get_dirty_limits)."""
    total = max(int(m.system[S_TOTAL_MEMORY]), 1)
    unmapped = 100 - nr_pages_of(m, Z_NR_MAPPED) * 100 // total
    return max(min(VM_DIRTY_RATIO, unmapped // 2), LEAST_DIRTY_RATIO) * total // 100


@helper
def too_much_writeback(m: Mem) -> bool:
    """Say whether reclaim has to wait for the device (throttle_vm_writeout)."""
    limit = dirty_limit(m)
    return nr_pages_of(m, Z_NR_WRITEBACK) > limit + limit // 10


@helper
def too_much_dirty(m: Mem) -> bool:
    """Say whether whoever makes pages dirty has to wait (balance_dirty_pages)."""
    return nr_pages_of(m, Z_NR_DIRTY) + nr_pages_of(m, Z_NR_WRITEBACK) > dirty_limit(m)
