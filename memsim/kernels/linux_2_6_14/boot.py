"""Entry point that fills the free lists at boot."""

from __future__ import annotations

from memsim.kernels._jit import ctz, kernel, pointers
from memsim.kernels.layout import Mem, pageblock_type
from memsim.kernels.linux_2_6_14.fallback import free_one_page
from memsim.kernels.linux_2_6_14.grouping import reserve_pageblocks
from memsim.kernels.linux_2_6_14.pcp import free_hot_cold_page
from memsim.kernels.placement import PolicyTables


@kernel
def free_boot_pages(
    mem: Mem, policy: PolicyTables, z: int, start: int, end: int, word: int
) -> None:
    """Free [start, end) ascending: whole words to the buddy lists, other pages through CPU 0.

    A word is an aligned group of ``word`` pages, a power of two, which may be one page; 0: every
    page goes through CPU 0.
    Source: free_all_bootmem_core, mm/bootmem.c, 2.6.14 (spec 3.2).
    """
    m = pointers(mem)
    tables = pointers(policy)
    largest = 1 << m.max_page_order
    while start < end:
        migratetype = pageblock_type(m, start)
        # The words of a free block of the largest order end up as that block, whatever is around.
        size = largest
        while word and size > 1 and (start & (size - 1) or start + size > end):
            size = word if size > word else 1
        if word and (size > 1 or word == 1):
            free_one_page(m, z, start, ctz(size), migratetype)
            start += size
        else:
            free_hot_cold_page(m, tables, z, 0, start, migratetype, 0)
            start += 1


@kernel
def setup_zone_migrate_reserve(mem: Mem, z: int) -> None:
    """Set pageblocks of a zone aside, as its min mark asks for.

    Source: setup_zone_migrate_reserve, mm/page_alloc.c, 2.6.21-rc6-mm1 (spec 7.1).
    """
    reserve_pageblocks(pointers(mem), z)
