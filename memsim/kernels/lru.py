"""LRU lists, and the shrinkers' list of reclaimable slab pages: intrusive, doubly linked.

Source: include/linux/mm_inline.h, Linux 6.1. The head is the young end, the tail the old one.
"""

from __future__ import annotations

from memsim.kernels._jit import inline
from memsim.kernels.layout import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    LRU_SLAB,
    LRU_UNEVICTABLE,
    NR_LRU_LISTS,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_SLAB,
    PAGE_UNEVICTABLE,
    Z_LRU,
    Z_NODE,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)


@inline
def folio_lru_list(m: Mem, state: int) -> int:
    """Say which kind of list (LRU_*) a page with this state belongs on."""
    if state & PAGE_SLAB:
        return LRU_SLAB
    if m.lru_per_zone:
        return LRU_ACTIVE_FILE if state & PAGE_ACTIVE else LRU_INACTIVE_FILE
    if state & PAGE_UNEVICTABLE:
        return LRU_UNEVICTABLE
    kind = LRU_INACTIVE_ANON if state & PAGE_ANON else LRU_INACTIVE_FILE
    return kind + (1 if state & PAGE_ACTIVE else 0)


@inline
def lru_head(m: Mem, z: int, kind: int) -> int:
    """Return the entry that is the head of a zone's list, or of its node's list."""
    owner = z if m.lru_per_zone else zone_get(m, z, Z_NODE)
    return m.lru_lists + NR_LRU_LISTS * owner + kind


@inline
def lru_pages(state: int) -> int:
    """Say how many pages the block of a page head has."""
    return 1 << ((state & ORDER_MASK) >> ORDER_SHIFT)


@inline
def page_holder(m: Mem, pfn: int) -> int:
    """Return the handle that holds the block of a page head; -1 for a page of before the start."""
    handle = int(m.rmap[pfn])
    return handle if int(m.page_table[handle]) == pfn + 1 else -1


@inline
def lru_insert(m: Mem, before: int, entry: int) -> None:
    """Put an entry right after another one."""
    after = int(m.next[before])
    m.next[before] = entry
    m.prev[entry] = before
    m.next[entry] = after
    m.prev[after] = entry


@inline
def lru_add(m: Mem, pfn: int) -> None:
    """Put a page at the head of the list that its state names."""
    state = int(m.state[pfn])
    z = page_zone(m, pfn)
    kind = folio_lru_list(m, state)
    lru_insert(m, lru_head(m, z, kind), pfn)
    zone_add(m, z, Z_LRU + kind, lru_pages(state))


@inline
def lru_add_range(m: Mem, first: int, pages: int) -> None:
    """Put single pages that lie side by side and are alike at the head, one after the other."""
    state = int(m.state[first])
    z = page_zone(m, first)
    kind = folio_lru_list(m, state)
    head, last = lru_head(m, z, kind), first + pages - 1
    after = int(m.next[head])
    for pfn in range(first, last + 1):
        m.next[pfn] = pfn - 1
        m.prev[pfn] = pfn + 1
    m.next[head], m.prev[last] = last, head
    m.next[first], m.prev[after] = after, first
    zone_add(m, z, Z_LRU + kind, pages)


@inline
def lru_add_tail(m: Mem, pfn: int) -> None:
    """Put a page at the tail of the list that its state names."""
    state = int(m.state[pfn])
    z = page_zone(m, pfn)
    kind = folio_lru_list(m, state)
    lru_insert(m, int(m.prev[lru_head(m, z, kind)]), pfn)
    zone_add(m, z, Z_LRU + kind, lru_pages(state))


@inline
def lru_del(m: Mem, pfn: int) -> None:
    """Take a page off the list that its state names."""
    state = int(m.state[pfn])
    after = int(m.next[pfn])
    before = int(m.prev[pfn])
    m.next[before] = after
    m.prev[after] = before
    zone_add(m, page_zone(m, pfn), Z_LRU + folio_lru_list(m, state), -lru_pages(state))


@inline
def lru_tail(m: Mem, head: int) -> int:
    """Return the oldest entry of the list with this head; the head itself if it is empty."""
    return int(m.prev[head])
