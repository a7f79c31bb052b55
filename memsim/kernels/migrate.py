"""Moving a page: what it is and who holds it go with it.

Source: mm/migrate.c, Linux 6.1.192 (spec 8.2-8.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.hugetlb import (
    count_moved_huge_page,
    enqueue_huge_page,
    is_free_huge_page,
    is_huge_page,
)
from memsim.kernels.layout import (
    BUFFERS_AT_HAND,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    TYPE_MASK,
    Z_VMSTAT,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.lru import lru_add, lru_del, lru_pages
from memsim.kernels.page_alloc import count_page_state, free_pages
from memsim.kernels.system import S_BUFFERS_LET_GO, S_HUGETLB_ISOLATED
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import PGALLOC
from memsim.mm import PAGEBLOCK_NR_PAGES

MIGRATE_PASSES = 10


@inline
def isolate_lru_page(m: Mem, pfn: int) -> None:
    """Take a page off its LRU list, to be moved."""
    lru_del(m, pfn)
    m.state[pfn] |= PAGE_ISOLATED


@inline
def isolate_hugetlb(m: Mem, pfn: int) -> None:
    """Take a block of the hugetlb pool, which is on no list, to be moved."""
    m.system[S_HUGETLB_ISOLATED] = 1
    m.state[pfn] |= PAGE_ISOLATED


@inline
def putback_lru_page(m: Mem, pfn: int) -> None:
    """Put a page that was not moved back on its LRU list, at the head."""
    m.state[pfn] &= ~PAGE_ISOLATED
    lru_add(m, pfn)


@inline
def free_traced(m: Mem, cpu: int, pfn: int) -> None:
    """Free a block that the kernel itself no longer needs."""
    log_event(m, LOG_FREE, pfn, (int(m.state[pfn]) & ORDER_MASK) >> ORDER_SHIFT, 0)
    free_pages(m, cpu, pfn)


@helper
def put_target(m: Mem, cpu: int, pfn: int) -> None:
    """Give a block back to which nothing has been moved."""
    if is_free_huge_page(m, pfn):
        enqueue_huge_page(m, pfn)
    else:
        free_traced(m, cpu, pfn)


@inline
def let_buffers_go(m: Mem, pfn: int) -> None:
    """Forget that a page of a file is pinned by its buffers."""
    m.swap_slot[pfn] = 0
    m.state[pfn] &= ~PAGE_PINNED


@inline
def prep_target(m: Mem, pfn: int, order: int) -> None:
    """Mark a block allocated to which another one is to be moved."""
    m.state[pfn] = int(m.state[pfn]) & TYPE_MASK | PAGE_ALLOCATED | order << ORDER_SHIFT
    zone_add(m, page_zone(m, pfn), Z_VMSTAT + PGALLOC, 1 << order)


@inline
def take_place(m: Mem, source: int, state: int, target: int) -> None:
    """Let a block become what an isolated one is, held by whoever holds that."""
    m.state[target] = state & ~(TYPE_MASK | PAGE_ISOLATED) | int(m.state[target]) & TYPE_MASK
    handle = int(m.rmap[source])
    m.rmap[target] = handle
    if int(m.page_table[handle]) == source + 1:
        m.page_table[handle] = target + 1
    if state & PAGE_SWAPCACHE:
        m.swap_slot[target] = m.swap_slot[source]


@helper
def move_page(m: Mem, cpu: int, source: int, target: int) -> None:
    """Let an isolated block change places with an allocated one of its order, which it then frees.

    Source: folio_migrate_mapping, folio_migrate_flags, remove_migration_ptes.
    """
    state = int(m.state[source])
    pages = lru_pages(state)
    of_pool = pages == PAGEBLOCK_NR_PAGES and is_huge_page(m, source)
    target_of_pool = of_pool and is_free_huge_page(m, target)
    take_place(m, source, state, target)
    count_page_state(m, page_zone(m, source), state, -pages)
    count_page_state(m, page_zone(m, target), state, pages)
    if state & PAGE_LRU:
        for page in range(target + 1, target + pages):
            m.state[page] |= PAGE_LRU
        lru_add(m, target)
    kept = TYPE_MASK | ORDER_MASK | PAGE_LRU | PAGE_ISOLATED
    m.state[source] = state & kept | PAGE_ALLOCATED
    if target_of_pool:
        enqueue_huge_page(m, source)
        return
    if of_pool:
        count_moved_huge_page(m, source, target)
    free_traced(m, cpu, source)


@helper
def migrate_page(m: Mem, cpu: int, source: int, target: int) -> bool:
    """Move an isolated page of order 0 to a free page that its caller has taken.

    False if something still needs it where it is (-EAGAIN): a pin, or a write. Source:
    __unmap_and_move and move_to_new_folio. Unlike Linux: nobody waits for a write to end, a page
    that is being written just fails in every pass.
    """
    if int(m.swap_slot[source]) == BUFFERS_AT_HAND:
        m.system[S_BUFFERS_LET_GO] = 1
        let_buffers_go(m, source)
    if int(m.state[source]) & (PAGE_PINNED | PAGE_WRITEBACK):
        return False
    move_page(m, cpu, source, target)
    return True
