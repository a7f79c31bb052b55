"""Accesses to memory: to pages that are there, and to pages that reclaim has taken.

Source: mm/memory.c (do_swap_page), mm/filemap.c, mm/swap.c (folio_mark_accessed), mm/workingset.c,
Linux 6.1.

Unlike Linux: what is swapped in gives its slot back at once, and a page that comes back soon after
its eviction starts inactive like any other: refaults are counted, and cost what they cost.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.flusher import set_page_dirty
from memsim.kernels.layout import (
    GONE,
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_MAPPED,
    PAGE_RECLAIM,
    PAGE_REFERENCED,
    PAGE_SLAB,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    PAGE_YOUNG,
    Z_NODE,
    Z_NR_MAPPED,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)
from memsim.kernels.lru import lru_add, lru_del, lru_pages, page_holder
from memsim.kernels.lru_balance import lru_note_cost
from memsim.kernels.page_io import KIB_PER_PAGE, SWAP_PLACES, wait_on_page_read
from memsim.kernels.swapfile import swap_free
from memsim.kernels.system import S_FILE_READ_NS, S_SWAP_READ_NS
from memsim.kernels.vmstat import (
    PGACTIVATE,
    PGFAULT,
    PGMAJFAULT,
    PGPGIN,
    PSWPIN,
    WORKINGSET_REFAULT_ANON,
    WORKINGSET_REFAULT_FILE,
)


@helper
def folio_mark_accessed(m: Mem, pfn: int) -> None:
    """Note an access that no page table shows: the second one makes an inactive page active."""
    state = int(m.state[pfn])
    if not state & PAGE_REFERENCED:
        m.state[pfn] = state | PAGE_REFERENCED
    elif not state & (PAGE_ACTIVE | PAGE_UNEVICTABLE):
        m.events[PGACTIVATE] += lru_pages(state)
        if state & PAGE_LRU:
            lru_del(m, pfn)
        m.state[pfn] = state & ~PAGE_REFERENCED | PAGE_ACTIVE
        if state & PAGE_LRU:
            lru_add(m, pfn)


@helper
def dirty_swap_cache(m: Mem, pfn: int) -> None:
    """Let a page that is written to lose its copy in swap, or be written anew."""
    state = int(m.state[pfn])
    if state & PAGE_WRITEBACK:
        m.state[pfn] = (state | PAGE_DIRTY) & ~PAGE_RECLAIM
    else:
        swap_free(m, int(m.swap_slot[pfn]))
        m.state[pfn] = state & ~(PAGE_SWAPCACHE | PAGE_DIRTY | PAGE_RECLAIM)


@helper
def touch_resident(m: Mem, pfn: int, write: int) -> None:
    """Access a page that is in memory: mark it young, or referenced, or active; dirty it.

    Of the kernel's own pages only reclaimable slab takes note of it.
    """
    state = int(m.state[pfn])
    if state & PAGE_SLAB:
        m.state[pfn] = state | PAGE_REFERENCED
    if not state & (PAGE_LRU | PAGE_LRU_PENDING):
        return
    if state & (PAGE_MAPPED | PAGE_ANON):
        m.state[pfn] = state | PAGE_MAPPED | PAGE_YOUNG
        if not state & PAGE_MAPPED:
            zone_add(m, page_zone(m, pfn), Z_NR_MAPPED, lru_pages(state))
            m.events[PGFAULT] += 1
    else:
        folio_mark_accessed(m, pfn)
    if write and state & PAGE_SWAPCACHE:
        dirty_swap_cache(m, pfn)
    elif write and not state & PAGE_ANON:
        set_page_dirty(m, page_holder(m, pfn), pfn)


@helper
def fault_in(m: Mem, handle: int, entry: int, pfn: int, write: int) -> None:
    """Bring back what reclaim has taken (``entry``: its page table entry) into a new page."""
    state = int(m.state[pfn])
    pages = lru_pages(state)
    swapped = entry != GONE
    m.events[PGPGIN] += pages * KIB_PER_PAGE
    m.events[PGMAJFAULT] += 1 if state & PAGE_MAPPED else 0
    if swapped:
        swap_free(m, -entry - 1)
        m.events[PSWPIN] += pages
        m.events[WORKINGSET_REFAULT_ANON] += pages
    elif not state & PAGE_SLAB:
        m.events[WORKINGSET_REFAULT_FILE] += pages
    if not state & PAGE_SLAB:
        lru_note_cost(m, zone_get(m, page_zone(m, pfn), Z_NODE), swapped, pages)
    place = SWAP_PLACES - entry - 1 if swapped else handle
    ns = int(m.system[S_SWAP_READ_NS if swapped else S_FILE_READ_NS])
    wait_on_page_read(m, place, pages, ns)
    if write and not state & (PAGE_ANON | PAGE_SLAB):
        set_page_dirty(m, handle, pfn)
