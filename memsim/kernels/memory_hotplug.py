"""Taking memory offline, and bringing it online: one pass at a time.

Source: mm/memory_hotplug.c, Linux 6.1 (offline_pages, scan_movable_pages, do_migrate_range,
online_pages_range; spec 9.2 and 2.6). Pages are moved in between (kernels/migration.py), and the
caller looks for signals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, ptr
from memsim.kernels.buddy import ISOLATE, del_page_from_free_list, free_one_page
from memsim.kernels.census import free_order_at, held_order, reserved_order
from memsim.kernels.compact_control import MOVABLE_REQUEST
from memsim.kernels.layout import (
    P_BATCH,
    P_HIGH,
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PCP,
    Z_NR_ISOLATE_PAGEBLOCK,
    Mem,
    zone_add,
)
from memsim.kernels.migrate import isolate_hugetlb, isolate_lru_page
from memsim.kernels.migrate_pages import is_hugetlb
from memsim.kernels.page_isolation import (
    start_isolate_page_range,
    test_pages_isolated,
    undo_isolate_page_range,
    why_unmovable,
)
from memsim.kernels.pcp import pcp_row
from memsim.kernels.pcp_free import drain_pages_zone
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.system import (
    S_BUFFERS_LET_GO,
    S_LRU_CACHE_DISABLED,
    S_SCAN_NS,
    book_stall,
)
from memsim.mm import MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES

COLLECTED_FIRST, COLLECTED_PAGES = range(2)
COLLECTED_FIELDS = 2
"""What ``collect_movable_pages`` says: the page it began with, -1 if nothing is left to move, and
how many it has taken."""


@inline
def undo_type(tables: PolicyTables) -> int:
    """Return the type that pageblocks get, whatever they were: that of memory of users."""
    return int(tables.type_of_request[MOVABLE_REQUEST])


@helper
def zone_pcp_disable(m: Mem, z: int, cpu: int) -> None:
    """Let the CPUs keep no pages of a zone; ``cpu`` drains their lists."""
    for owner in range(m.nr_cpus):
        row = pcp_row(m, z, owner)
        m.pcps[row + P_HIGH] = 0
        m.pcps[row + P_BATCH] = 1
    for owner in range(m.nr_cpus):
        drain_pages_zone(m, z, owner, cpu)


@helper
def lru_cache_disable(m: Mem) -> None:
    """Let pages enter LRU lists at once from now on, and those that wait now.

    No CPU keeps buffers at hand any longer either (invalidate_bh_lrus).
    """
    m.system[S_LRU_CACHE_DISABLED] += 1
    m.system[S_BUFFERS_LET_GO] = 1
    for cpu in range(m.nr_cpus):
        lru_add_drain(m, cpu)


@inline
def lru_cache_enable(m: Mem) -> None:
    """Let pages wait in batches again, once nobody minds."""
    m.system[S_LRU_CACHE_DISABLED] -= 1


@kernel
def isolate_range(
    mem: Mem,
    policy: PolicyTables,
    z: int,
    cpu: int,
    start: int,
    end: int,
    found: NDArray[np.int64],
) -> None:
    """Isolate [start, end) after emptying all per-CPU lists; write mm.Unmovable and the page.

    If it fails, ``undo_offline`` need not follow.
    """
    m = pointers(mem)
    tables = pointers(policy)
    zone_pcp_disable(m, z, cpu)
    lru_cache_disable(m)
    why, pfn = start_isolate_page_range(m, z, cpu, start, end, undo_type(tables))
    if why:
        lru_cache_enable(m)
    found[0], found[1] = why, pfn


@inline
def can_be_moved(m: Mem, pfn: int) -> bool:
    """Say whether a page heads a block on an LRU list, or a huge page of the hugetlb pool."""
    state = int(m.state[pfn])
    if state & (PAGE_ALLOCATED | PAGE_ISOLATED) != PAGE_ALLOCATED:
        return False
    return state & PAGE_LRU != 0 or is_hugetlb(m, pfn)


@inline
def next_page(m: Mem, pfn: int) -> int:
    """Return the page behind the free or allocated block at ``pfn``."""
    order = free_order_at(m, pfn)
    if order >= 0:
        return pfn + (1 << order)
    state = int(m.state[pfn])
    return pfn + (1 << held_order(state) if state & PAGE_ALLOCATED else 1)


@helper
def scan_movable_pages(m: Mem, start: int, end: int) -> int:
    """Return the first page of [start, end) that can be moved, -1 if there is none."""
    pfn = start
    while pfn < end:
        if can_be_moved(m, pfn):
            book_stall(m, (pfn - start) * int(m.system[S_SCAN_NS]))
            return pfn
        pfn = next_page(m, pfn)
    book_stall(m, (end - start) * int(m.system[S_SCAN_NS]))
    return -1


@helper
def isolate_movable_pages(m: Mem, start: int, end: int, pages: NDArray[np.int32]) -> int:
    """Take all pages of [start, end) that can be moved off their lists; return how many."""
    n = 0
    pfn = start
    while pfn < end:
        after = next_page(m, pfn)
        if can_be_moved(m, pfn):
            if int(m.state[pfn]) & PAGE_LRU:
                isolate_lru_page(m, pfn)
            else:
                isolate_hugetlb(m, pfn)
            pages[n] = pfn
            n += 1
        pfn = after
    book_stall(m, (end - start) * int(m.system[S_SCAN_NS]))
    return n


@kernel
def collect_movable_pages(
    mem: Mem, start: int, end: int, pages: NDArray[np.int32], did: NDArray[np.int64]
) -> None:
    """Find the first page of [start, end) that can be moved, and take it and all behind it.

    Off their LRU lists, that is, into ``pages`` (at least end - start), ascending. ``did`` is of
    COLLECTED_FIELDS; what it takes is added to S_STALL.
    """
    m = pointers(mem)
    done = ptr(did)
    first = scan_movable_pages(m, start, end)
    done[COLLECTED_FIRST] = first
    done[COLLECTED_PAGES] = isolate_movable_pages(m, first, end, ptr(pages)) if first >= 0 else 0


@kernel
def first_not_free(mem: Mem, start: int, end: int) -> int:
    """Return the first page of an isolated range that is in no free block, ``end`` if all are."""
    return test_pages_isolated(pointers(mem), start, end)


@kernel
def undo_offline(mem: Mem, policy: PolicyTables, z: int, cpu: int, start: int, end: int) -> None:
    """Give an isolated range back to the allocator, all of it as memory of users."""
    m = pointers(mem)
    lru_cache_enable(m)
    undo_isolate_page_range(m, z, cpu, start, end, undo_type(pointers(policy)))


@kernel
def offline_isolated_pages(mem: Mem, z: int, start: int, end: int) -> None:
    """Take the free blocks of an isolated range, which has nothing else, off their lists."""
    m = pointers(mem)
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        del_page_from_free_list(m, z, pfn, order)
        pfn += 1 << order
    zone_add(m, z, Z_NR_ISOLATE_PAGEBLOCK, -((end - start) // PAGEBLOCK_NR_PAGES))
    lru_cache_enable(m)


@kernel
def online_range(mem: Mem, policy: PolicyTables, z: int, cpu: int, start: int, end: int) -> None:
    """Free the pages of [start, end), whose pageblocks are isolated, then let them be allocated.

    Blocks of the largest order, each to the tail: new memory is used last.
    """
    m = pointers(mem)
    for pfn in range(start, end, 1 << MAX_PAGE_ORDER):
        free_one_page(m, z, cpu, pfn, MAX_PAGE_ORDER, ISOLATE, True)
    zone_add(m, z, Z_NR_ISOLATE_PAGEBLOCK, (end - start) // PAGEBLOCK_NR_PAGES)
    undo_isolate_page_range(m, z, cpu, start, end, undo_type(pointers(policy)))


@kernel
def find_obstacles(
    mem: Mem,
    z: int,
    start: int,
    end: int,
    pfns: NDArray[np.int32],
    sizes: NDArray[np.int32],
    why: NDArray[np.uint8],
) -> int:
    """Write every page of [start, end) that cannot be isolated, and mm.Unmovable; return how many.

    Of a larger block the first page, and the block's pages. All arrays have ``end - start`` places.
    """
    m = pointers(mem)
    found, extent, reasons = ptr(pfns), ptr(sizes), ptr(why)
    n = 0
    pfn = start
    while pfn < end:
        reason, pages = why_unmovable(m, z, pfn)
        if reason:
            found[n] = pfn
            extent[n] = pages
            reasons[n] = reason
            n += 1
        pfn += pages
    return n


@kernel
def has_holes(mem: Mem, start: int, end: int) -> bool:
    """Say whether some page of [start, end) is neither free nor anybody's nor reserved."""
    m = pointers(mem)
    pfn = start & -(1 << MAX_PAGE_ORDER)
    while pfn < end:
        free, held = free_order_at(m, pfn), int(m.state[pfn])
        order = max(free, reserved_order(m, pfn))
        if order < 0 and held & (PAGE_ALLOCATED | PAGE_PCP):
            order = held_order(held)
        if order < 0 and pfn >= start:
            return True
        pfn += 1 << max(order, 0)
    return False
