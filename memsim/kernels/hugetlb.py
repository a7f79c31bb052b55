"""Huge pages of the hugetlb pool: which they are, and the lists of those that are free.

A free one is allocated, and held by the pool's own handle; ``Mem.next`` links those of a node.
Source: enqueue_huge_page, dequeue_huge_page_node_exact, mm/hugetlb.c, Linux 6.1.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    ORDER_MASK,
    PAGE_ALLOCATED,
    TRAIT_HUGETLB,
    TYPE_MASK,
    Z_NODE,
    Mem,
    page_zone,
    zone_get,
)
from memsim.kernels.lru import page_holder
from memsim.kernels.system import (
    N_HUGETLB_FIRST,
    N_HUGETLB_FREE,
    N_HUGETLB_TOTAL,
    NODE_FIELDS,
    S_HUGETLB_HANDLE,
)

NOBODY = 0
"""Handle of a block that has left the pool: its next owner says who it is."""


@inline
def is_free_huge_page(m: Mem, pfn: int) -> bool:
    """Say whether a head is that of a free huge page of the pool."""
    handle = int(m.system[S_HUGETLB_HANDLE])
    return handle != 0 and int(m.rmap[pfn]) == handle


@helper
def is_huge_page(m: Mem, pfn: int) -> bool:
    """Say whether a head is that of a huge page of the pool, free or in use."""
    if is_free_huge_page(m, pfn):
        return True
    handle = page_holder(m, pfn)
    return handle >= 0 and int(m.traits[handle]) & TRAIT_HUGETLB != 0


@inline
def node_of(m: Mem, pfn: int) -> int:
    """Say where the row of a page's node begins in ``Mem.nodes``."""
    return zone_get(m, page_zone(m, pfn), Z_NODE) * NODE_FIELDS


@helper
def enqueue_huge_page(m: Mem, pfn: int) -> None:
    """Put a huge page that nobody uses at the head of its node's list."""
    row = node_of(m, pfn)
    m.state[pfn] = int(m.state[pfn]) & (TYPE_MASK | ORDER_MASK) | PAGE_ALLOCATED
    m.rmap[pfn] = m.system[S_HUGETLB_HANDLE]
    m.next[pfn] = int(m.nodes[row + N_HUGETLB_FIRST]) - 1
    m.nodes[row + N_HUGETLB_FIRST] = pfn + 1
    m.nodes[row + N_HUGETLB_FREE] += 1


@helper
def dequeue_huge_page(m: Mem, node: int) -> int:
    """Take the first huge page off a node's list; -1 if there is none."""
    row = node * NODE_FIELDS
    pfn = int(m.nodes[row + N_HUGETLB_FIRST]) - 1
    if pfn >= 0:
        m.nodes[row + N_HUGETLB_FIRST] = int(m.next[pfn]) + 1
        m.nodes[row + N_HUGETLB_FREE] -= 1
    return pfn


@helper
def remove_huge_page(m: Mem, pfn: int) -> None:
    """Take a free huge page out of the pool, wherever it stands on its node's list."""
    row = node_of(m, pfn)
    after = int(m.next[pfn])
    at = int(m.nodes[row + N_HUGETLB_FIRST]) - 1
    if at == pfn:
        m.nodes[row + N_HUGETLB_FIRST] = after + 1
    else:
        while int(m.next[at]) != pfn:
            at = int(m.next[at])
        m.next[at] = after
    m.rmap[pfn] = NOBODY
    m.nodes[row + N_HUGETLB_FREE] -= 1
    m.nodes[row + N_HUGETLB_TOTAL] -= 1


@helper
def count_moved_huge_page(m: Mem, source: int, target: int) -> None:
    """Book a huge page of the pool that now has another block, which was not the pool's."""
    m.nodes[node_of(m, source) + N_HUGETLB_TOTAL] -= 1
    m.nodes[node_of(m, target) + N_HUGETLB_TOTAL] += 1
