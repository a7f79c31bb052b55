"""Accesses to memory: to pages that are there, and to pages that reclaim has taken.

Source: mm/memory.c, mm/filemap.c, mm/swap.c (mark_page_accessed), Linux 2.6.14 (spec 6.1, 6.8).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.flusher import set_page_dirty
from memsim.kernels.layout import (
    GONE,
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    PAGE_MAPPED,
    PAGE_REFERENCED,
    PAGE_SLAB,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    PAGE_YOUNG,
    REQ_SLAB,
    Z_NR_MAPPED,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.linux_2_6_14.daemons import io_schedule_timeout
from memsim.kernels.linux_2_6_14.kswapd import CONGESTION_WAIT_NS
from memsim.kernels.linux_2_6_14.page_reclaim import activate
from memsim.kernels.linux_2_6_14.slowpath import alloc_pages
from memsim.kernels.linux_2_6_14.writeback import too_much_dirty
from memsim.kernels.lru import lru_pages
from memsim.kernels.page_alloc import prep_new_page
from memsim.kernels.page_io import KIB_PER_PAGE, SWAP_PLACES, wait_on_page_read
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swapfile import swap_free
from memsim.kernels.system import (
    S_FILE_READ_NS,
    S_PAGE_CLUSTER,
    S_PRESSURE,
    S_SWAP_FREE,
    S_SWAP_READ_NS,
    S_SWAP_SLOTS,
)
from memsim.kernels.vmstat import PGFAULT, PGMAJFAULT, PGPGIN, PSWPIN
from memsim.kernels.zonelist import AllocContext

MAX_DIRTY_WAITS = 10


@inline
def mark_page_accessed(m: Mem, pfn: int) -> None:
    """Remember an access that no page table does; the second one activates an inactive page."""
    state = int(m.state[pfn])
    if state & PAGE_REFERENCED and state & PAGE_LRU and not state & PAGE_ACTIVE:
        m.state[pfn] = state & ~PAGE_REFERENCED
        activate(m, pfn)
    else:
        m.state[pfn] = state | PAGE_REFERENCED


@inline
def vm_swap_full(m: Mem) -> bool:
    """Say whether slots have become so few that a page gives its own back once it is used."""
    return 2 * int(m.system[S_SWAP_FREE]) < int(m.system[S_SWAP_SLOTS])


@helper
def map_page(m: Mem, pfn: int) -> None:
    """Put a page that is in memory into the page table (a minor fault)."""
    state = int(m.state[pfn])
    m.events[PGFAULT] += 1
    zone_add(m, page_zone(m, pfn), Z_NR_MAPPED, lru_pages(state))
    m.state[pfn] = state | PAGE_MAPPED | PAGE_YOUNG
    if state & PAGE_SWAPCACHE and not state & PAGE_WRITEBACK and vm_swap_full(m):
        remove_exclusive_swap_page(m, pfn)


@helper
def remove_exclusive_swap_page(m: Mem, pfn: int) -> None:
    """Give a page's swap slot back; its content is nowhere else then."""
    swap_free(m, int(m.swap_slot[pfn]))
    m.state[pfn] = int(m.state[pfn]) & ~PAGE_SWAPCACHE | PAGE_DIRTY


@helper
def balance_dirty_pages(m: Mem, tables: PolicyTables) -> None:
    """Let whoever makes pages dirty wait while too many are.

    Unlike Linux: a writer waits no longer than a second, and leaves the writing to the flusher.
    """
    for _ in range(MAX_DIRTY_WAITS):
        if int(m.system[S_PRESSURE]) == 0 or not too_much_dirty(m):
            return
        io_schedule_timeout(m, tables, CONGESTION_WAIT_NS)


@helper
def write_to(m: Mem, tables: PolicyTables, handle: int, pfn: int) -> None:
    """Make a page of a process or a file dirty; one in the swap cache keeps its slot."""
    state = int(m.state[pfn])
    if state & PAGE_ANON:
        m.state[pfn] = state | PAGE_DIRTY
    elif state & (PAGE_LRU | PAGE_LRU_PENDING):
        set_page_dirty(m, handle, pfn)
        balance_dirty_pages(m, tables)


@inline
def touch_resident(
    m: Mem, tables: PolicyTables, handle: int, pfn: int, page: int, write: int
) -> None:
    """Access a page that is in memory; ``page`` says how (R_PAGE): through a page table or not."""
    state = int(m.state[pfn])
    if state & PAGE_MAPPED:
        m.state[pfn] = state | PAGE_YOUNG
    elif state & (PAGE_ANON | PAGE_SLAB) or not page & PAGE_MAPPED:
        touch_unmapped(m, pfn)
    else:
        map_page(m, pfn)
    if write:
        write_to(m, tables, handle, pfn)


@helper
def touch_unmapped(m: Mem, pfn: int) -> None:
    """Access a page that is in no page table."""
    state = int(m.state[pfn])
    if state & PAGE_ANON:
        map_page(m, pfn)
    elif state & PAGE_SLAB:
        m.state[pfn] = state | PAGE_REFERENCED
    else:
        mark_page_accessed(m, pfn)


# --- pages that are not in memory ----------------------------------------------------------------


@helper
def read_swap_cache(m: Mem, tables: PolicyTables, ac: AllocContext, slot: int, page: int) -> bool:
    """Read a slot into a new page of the swap cache; say whether there was a page for it."""
    handle = int(m.swap_map[slot]) - 1
    if int(m.page_table[handle]) != -1 - slot:
        return True
    pfn = alloc_pages(m, tables, ac)
    if pfn < 0:
        return False
    prep_new_page(m, ac, pfn, page & ~(PAGE_MAPPED | PAGE_YOUNG), handle)
    m.state[pfn] |= PAGE_SWAPCACHE
    m.swap_slot[pfn] = slot
    m.page_table[handle] = pfn + 1
    read_swap_slot(m, slot)
    return True


@inline
def read_swap_slot(m: Mem, slot: int) -> None:
    """Read a page from swap."""
    m.events[PSWPIN] += 1
    m.events[PGPGIN] += KIB_PER_PAGE
    wait_on_page_read(m, SWAP_PLACES + slot, 1, int(m.system[S_SWAP_READ_NS]))


@helper
def swapin_readahead(
    m: Mem, tables: PolicyTables, ac: AllocContext, slot: int, page: int, below: bool
) -> None:
    """Read the slots of a slot's group that stand below it, or all of the group, up to a free one.

    Unlike Linux: no task is killed for a page that is read ahead.
    """
    cluster = int(m.system[S_PAGE_CLUSTER])
    first = slot // cluster * cluster
    last = min(first + cluster, int(m.system[S_SWAP_SLOTS]))
    for other in range(first, slot if below else last):
        owner = int(m.swap_map[other])
        if owner == 0:
            return
        if owner > 0 and other != slot and not read_swap_cache(m, tables, ac, other, page):
            return


@helper
def read_below(m: Mem, tables: PolicyTables, ac: AllocContext, entry: int, page: int) -> None:
    """Read what stands below the slot that is to be read, if a slot it is (``entry``)."""
    if entry < 0 and entry != GONE:
        swapin_readahead(m, tables, ac, -1 - entry, page, True)


@helper
def fault_in(m: Mem, ac: AllocContext, handle: int, entry: int, pfn: int, page: int) -> None:
    """Fill a new page with what reclaim had taken (``entry``: its page table entry)."""
    if page & PAGE_MAPPED:
        m.events[PGMAJFAULT] += 1
    if entry != GONE:
        m.state[pfn] |= PAGE_SWAPCACHE
        m.swap_slot[pfn] = -1 - entry
        read_swap_slot(m, -1 - entry)
        if vm_swap_full(m):
            remove_exclusive_swap_page(m, pfn)
    elif not ac.flags & REQ_SLAB:
        m.events[PGPGIN] += KIB_PER_PAGE << ac.order
        wait_on_page_read(m, handle, 1 << ac.order, int(m.system[S_FILE_READ_NS]))


@helper
def finish_fault(
    m: Mem, tables: PolicyTables, ac: AllocContext, handle: int, entry: int, page: int, write: int
) -> None:
    """See to what comes with a new page: its content, who writes to it, what is read ahead."""
    pfn = int(m.page_table[handle]) - 1
    if entry < 0:
        fault_in(m, ac, handle, entry, pfn, page)
    if page & PAGE_DIRTY:
        balance_dirty_pages(m, tables)
    elif write:
        write_to(m, tables, handle, pfn)
    if entry < 0 and entry != GONE:
        swapin_readahead(m, tables, ac, -1 - entry, page, False)
