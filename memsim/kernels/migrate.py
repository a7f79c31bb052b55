"""Moving a page: what it is and who holds it go with it.

Source: mm/migrate.c, Linux 6.1.192 (spec 8.2-8.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    BUFFERS_AT_HAND,
    PAGE_ALLOCATED,
    PAGE_ISOLATED,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    TYPE_MASK,
    Mem,
    page_zone,
)
from memsim.kernels.lru import lru_add, lru_del
from memsim.kernels.page_alloc import count_page_state, free_pages
from memsim.kernels.system import S_BUFFERS_LET_GO
from memsim.kernels.trace_log import LOG_FREE, log_event

MIGRATE_PASSES = 10


@inline
def isolate_lru_page(m: Mem, pfn: int) -> None:
    """Take a page off its LRU list, to be moved."""
    lru_del(m, pfn)
    m.state[pfn] |= PAGE_ISOLATED


@inline
def putback_lru_page(m: Mem, pfn: int) -> None:
    """Put a page that was not moved back on its LRU list, at the head."""
    m.state[pfn] &= ~PAGE_ISOLATED
    lru_add(m, pfn)


@inline
def free_traced(m: Mem, cpu: int, pfn: int) -> None:
    """Free a single page that the kernel itself no longer needs."""
    log_event(m, LOG_FREE, pfn, 0, 0)
    free_pages(m, cpu, pfn)


@inline
def let_buffers_go(m: Mem, pfn: int) -> None:
    """Forget that a page of a file is pinned by its buffers."""
    m.swap_slot[pfn] = 0
    m.state[pfn] &= ~PAGE_PINNED


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
    state = int(m.state[source])
    if state & (PAGE_PINNED | PAGE_WRITEBACK):
        return False
    m.state[target] = state & ~(TYPE_MASK | PAGE_ISOLATED) | int(m.state[target]) & TYPE_MASK
    handle = int(m.rmap[source])
    m.rmap[target] = handle
    if int(m.page_table[handle]) == source + 1:
        m.page_table[handle] = target + 1
    if state & PAGE_SWAPCACHE:
        m.swap_slot[target] = m.swap_slot[source]
    count_page_state(m, page_zone(m, source), state, -1)
    count_page_state(m, page_zone(m, target), state, 1)
    lru_add(m, target)
    m.state[source] = state & TYPE_MASK | PAGE_ALLOCATED
    free_traced(m, cpu, source)
    return True
