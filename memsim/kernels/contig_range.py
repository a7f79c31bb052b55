"""Taking a range of pages, whichever it is: what is in it is dropped or moved away.

Source: alloc_contig_range, mm/page_alloc.c; isolate_migratepages_range, mm/compaction.c, Linux 6.1
(spec 9.6). Pages are moved in between (kernels/migration.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, ptr
from memsim.kernels.buddy import del_page_from_free_list, free_one_page
from memsim.kernels.census import free_order_at
from memsim.kernels.compaction_fast import CLUSTER
from memsim.kernels.layout import (
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    TRAIT_BUFFERS_IN_USE,
    TYPE_SHIFT,
    Mem,
    pageblock_type,
)
from memsim.kernels.lru import lru_pages, page_holder
from memsim.kernels.memory_hotplug import lru_cache_disable, lru_cache_enable, next_page
from memsim.kernels.migrate import isolate_lru_page
from memsim.kernels.page_isolation import (
    start_isolate_page_range,
    test_pages_isolated,
    undo_isolate_page_range,
)
from memsim.kernels.pcp_free import drain_pages_zone
from memsim.kernels.shrink_list import free_reclaimed_page
from memsim.kernels.system import S_RECLAIM_NS, S_SCAN_NS, book_stall
from memsim.mm import MAX_PAGE_ORDER

TAKEN_NEXT, TAKEN_PAGES = range(2)
TAKEN_FIELDS = 2
"""What ``isolate_migratepages_range`` says: where to go on, and how many blocks it has taken."""


@kernel
def isolate_contig_range(
    mem: Mem, z: int, cpu: int, start: int, end: int, migratetype: int, found: NDArray[np.int64]
) -> None:
    """Isolate whole pageblocks [start, end), then empty the zone's per-CPU lists once.

    Writes mm.Unmovable and the page; after a failure all is given back already.
    """
    m = pointers(mem)
    why, pfn = start_isolate_page_range(m, z, cpu, start, end, migratetype)
    found[0], found[1] = why, pfn
    if why == 0:
        for owner in range(m.nr_cpus):
            drain_pages_zone(m, z, owner, cpu)
        lru_cache_disable(m)


@inline
def may_be_taken(m: Mem, pfn: int) -> bool:
    """Say whether a page is on an LRU list, and not one of anonymous memory with references."""
    state = int(m.state[pfn])
    if state & (PAGE_ALLOCATED | PAGE_LRU | PAGE_ISOLATED) != PAGE_ALLOCATED | PAGE_LRU:
        return False
    pinned = state & (PAGE_ANON | PAGE_PINNED) == PAGE_ANON | PAGE_PINNED
    return not pinned or state & PAGE_SWAPCACHE != 0


@kernel
def isolate_migratepages_range(
    mem: Mem, start: int, end: int, pages: NDArray[np.int32], did: NDArray[np.int64]
) -> None:
    """Take pages of [start, end) off their lists until there are 32, the last one first in order.

    ``pages`` has room for 32; ``did`` is of TAKEN_FIELDS.
    """
    m = pointers(mem)
    listed = ptr(pages)
    pfn = start
    n = 0
    taken = 0
    while pfn < end and taken < CLUSTER:
        after = next_page(m, pfn)
        if may_be_taken(m, pfn):
            isolate_lru_page(m, pfn)
            taken += lru_pages(int(m.state[pfn]))
            for i in range(n, 0, -1):
                listed[i] = listed[i - 1]
            listed[0] = pfn
            n += 1
        pfn = after
    book_stall(m, (min(pfn, end) - start) * int(m.system[S_SCAN_NS]))
    did[TAKEN_NEXT], did[TAKEN_PAGES] = min(pfn, end), n


@inline
def is_clean_file_page(m: Mem, pfn: int) -> bool:
    """Say whether an isolated page can just be dropped: a file has its content, nobody holds it."""
    state = int(m.state[pfn])
    holder = page_holder(m, pfn)
    kept = PAGE_ANON | PAGE_DIRTY | PAGE_WRITEBACK | PAGE_UNEVICTABLE | PAGE_PINNED
    return not state & kept and (holder < 0 or not int(m.traits[holder]) & TRAIT_BUFFERS_IN_USE)


@kernel
def reclaim_clean_pages(mem: Mem, cpu: int, pages: NDArray[np.int32], count: int) -> int:
    """Drop isolated blocks that files have; return how many are left, in front."""
    m = pointers(mem)
    listed = ptr(pages)
    left = 0
    for i in range(count):
        pfn = int(listed[i])
        if is_clean_file_page(m, pfn):
            book_stall(m, lru_pages(int(m.state[pfn])) * int(m.system[S_RECLAIM_NS]))
            free_reclaimed_page(m, cpu, pfn)
        else:
            listed[left] = pfn
            left += 1
    return left


@helper
def free_block_around(m: Mem, start: int) -> int:
    """Return the first page of the free block that holds ``start``; ``start`` if there is none."""
    for order in range(MAX_PAGE_ORDER + 1):
        head = start >> order << order
        free = free_order_at(m, head)
        if free >= 0:
            return head if head + (1 << free) > start else start
    return start


@helper
def free_contig_pages(m: Mem, z: int, cpu: int, start: int, end: int) -> None:
    """Free the pages [start, end) one by one, each to the lists of its pageblock."""
    for pfn in range(start, end):
        free_one_page(m, z, cpu, pfn, 0, pageblock_type(m, pfn), False)


@kernel
def take_contig_range(mem: Mem, z: int, cpu: int, start: int, end: int, migratetype: int) -> int:
    """Take the pages [start, end) if all are free now; return the first that is not, or ``end``.

    Each is allocated by itself; parts of free blocks that stick out are freed again.
    """
    m = pointers(mem)
    outer = free_block_around(m, start)
    stop = test_pages_isolated(m, outer, end)
    if stop < end:
        return stop
    pfn = outer
    while pfn < end:
        order = free_order_at(m, pfn)
        del_page_from_free_list(m, z, pfn, order)
        pfn += 1 << order
    for page in range(start, end):
        m.state[page] = migratetype << TYPE_SHIFT | PAGE_ALLOCATED
    free_contig_pages(m, z, cpu, outer, start)
    free_contig_pages(m, z, cpu, end, pfn)
    return end


@kernel
def undo_contig_range(mem: Mem, z: int, cpu: int, start: int, end: int, migratetype: int) -> None:
    """Give whole pageblocks [start, end) back to the allocator as ones of a type."""
    m = pointers(mem)
    lru_cache_enable(m)
    undo_isolate_page_range(m, z, cpu, start, end, migratetype)
