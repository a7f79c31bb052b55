"""The pool of huge pages: filled, used, given back, and emptied where memory is to go.

Source: mm/hugetlb.c, Linux 6.1 (alloc_pool_huge_page, dequeue_huge_page_nodemask, free_huge_page,
dissolve_free_huge_pages; spec linux-mm 8.6, 9.2 step 6d).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, ptr
from memsim.kernels.census import free_order_at, held_order
from memsim.kernels.hugetlb import (
    dequeue_huge_page,
    enqueue_huge_page,
    is_free_huge_page,
    node_of,
    remove_huge_page,
)
from memsim.kernels.layout import PAGE_ALLOCATED, Z_NODE, Mem, zone_get
from memsim.kernels.migrate import free_traced
from memsim.kernels.system import (
    N_HUGETLB_FREE,
    N_HUGETLB_TOTAL,
    NODE_FIELDS,
    S_HUGETLB_RESERVED,
)
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone
from memsim.mm import PAGEBLOCK_ORDER, ZoneType

MOVABLE_ZONE = int(ZoneType.MOVABLE)


@helper
def dequeue_huge_page_nodemask(m: Mem, ac: AllocContext) -> int:
    """Take a free huge page of the first allowed node that has one; -1 if there is none."""
    position = next_zone(m, ac, 0)
    last = -1
    while position >= 0:
        node = zone_get(m, zonelist_zone(m, ac, position), Z_NODE)
        pfn = dequeue_huge_page(m, node) if node != last else -1
        if pfn >= 0:
            return pfn
        last = node
        position = next_zone(m, ac, position + 1)
    return -1


@inline
def free_huge_pages(m: Mem) -> int:
    """Count the free huge pages of all nodes."""
    free = 0
    for node in range(m.nr_nodes):
        free += int(m.nodes[node * NODE_FIELDS + N_HUGETLB_FREE])
    return free


@kernel
def add_to_pool(mem: Mem, heads: NDArray[np.int32]) -> None:
    """Let blocks of order 9, which nobody holds, be free huge pages of the pool."""
    m = pointers(mem)
    pfns = ptr(heads)
    for i in range(len(heads)):
        enqueue_huge_page(m, int(pfns[i]))
        m.nodes[node_of(m, int(pfns[i])) + N_HUGETLB_TOTAL] += 1


@kernel
def fault_huge_pages(
    mem: Mem, handles: NDArray[np.int32], node: int, nodemask: int, cpu: int
) -> int:
    """Let each handle hold a huge page of the pool, from ``node`` first; return how many do.

    They come out of what has been reserved.
    """
    m = pointers(mem)
    wanted = ptr(handles)
    zonelist = 2 * node * (m.nr_zones + 1)
    ac = AllocContext(PAGEBLOCK_ORDER, 0, MOVABLE_ZONE, 0, zonelist, nodemask, cpu)
    for i in range(len(handles)):
        pfn = dequeue_huge_page_nodemask(m, ac)
        if pfn < 0:
            return i
        handle = int(wanted[i])
        m.rmap[pfn] = handle
        m.page_table[handle] = pfn + 1
        m.system[S_HUGETLB_RESERVED] -= 1
    return len(handles)


@kernel
def give_back_huge_pages(mem: Mem, handles: NDArray[np.int32]) -> None:
    """Give what handles hold back to the pool."""
    m = pointers(mem)
    held = ptr(handles)
    for i in range(len(handles)):
        pfn = int(m.page_table[int(held[i])]) - 1
        if pfn >= 0:
            m.page_table[int(held[i])] = 0
            enqueue_huge_page(m, pfn)


@kernel
def dissolve_free_huge_pages(mem: Mem, cpu: int, start: int, end: int) -> int:
    """Free the huge pages of [start, end) that nobody uses; return the first that must stay, or -1.

    Those that somebody has reserved but not used yet must.
    """
    m = pointers(mem)
    pfn = start
    while pfn < end:
        order = free_order_at(m, pfn)
        if order < 0 and int(m.state[pfn]) & PAGE_ALLOCATED:
            order = held_order(int(m.state[pfn]))
            if order == PAGEBLOCK_ORDER and is_free_huge_page(m, pfn):
                if free_huge_pages(m) <= int(m.system[S_HUGETLB_RESERVED]):
                    return pfn
                remove_huge_page(m, pfn)
                free_traced(m, cpu, pfn)
        pfn += 1 << max(order, 0)
    return -1
