"""Migration by way of swap: a page is evicted, and a later fault brings it back where it is wanted.

Source: isolate_lru_page, swap_page, mm/vmscan.c, Swap Migration V5 and Linux 2.6.16 (spec linux-mm
10.1, history-2005 3.2).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    ORDER_MASK,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_RECLAIM,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_YOUNG,
    TRAIT_BUFFERS,
    TRAIT_BUFFERS_IN_USE,
    TRAIT_HUGETLB,
    TRAIT_SHARED,
    Z_NODE,
    Z_NR_MAPPED,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)
from memsim.kernels.linux_2_6_14.migration import (
    ALREADY_THERE,
    FAILED_BUFFERS,
    FAILED_DIRTY,
    FAILED_MLOCKED,
    FAILED_NO_SWAP,
    FAILED_NOT_LRU,
    FAILED_PINNED,
    FAILED_SHARED,
    FAILED_WRITEBACK,
    GOES_ON,
    MIGRATE_SWAP_SLOTS,
    MIGRATE_TLB_FLUSHES,
    MOVED_SWAP,
    NOT_IN_MEMORY,
    NOT_TRIED,
    ROW_REFERENCES,
    STEP_CHECK_REFERENCES,
    STEP_FREE,
    STEP_RELEASE_BUFFERS,
    STEP_UNMAP,
    STEP_WRITE_OUT,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_alloc import free_pages
from memsim.kernels.linux_2_6_14.page_in_flight import (
    begin_write,
    can_be_written,
    spend,
    step,
)
from memsim.kernels.linux_2_6_14.page_reclaim import remove_mapping
from memsim.kernels.lru import lru_del
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import folio_add_lru
from memsim.kernels.swapfile import add_to_swap
from memsim.kernels.system import S_RECLAIM_NS
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import NR_VMSCAN_WRITE


@inline
def isolate_lru_page(m: Mem, handle: int, node: int, move_all: int) -> tuple[int, int]:
    """Take what a handle holds off its LRU list; return the page, -1 for none, and its fate."""
    pfn = int(m.page_table[handle]) - 1
    if pfn < 0:
        return -1, NOT_IN_MEMORY
    state, traits = int(m.state[pfn]), int(m.traits[handle])
    if zone_get(m, page_zone(m, pfn), Z_NODE) == node:
        return pfn, ALREADY_THERE
    if not state & PAGE_LRU or state & ORDER_MASK or traits & TRAIT_HUGETLB:
        return pfn, FAILED_NOT_LRU
    if traits & TRAIT_SHARED and not move_all:
        return pfn, FAILED_SHARED
    lru_del(m, pfn)
    m.state[pfn] = state & ~PAGE_LRU | PAGE_ISOLATED
    return pfn, NOT_TRIED


@inline
def move_to_lru(m: Mem, cpu: int, pfn: int) -> None:
    """Let a page that is no longer isolated, or a new one, wait for its LRU list."""
    m.state[pfn] &= ~PAGE_ISOLATED
    folio_add_lru(m, cpu, pfn, 0)


@inline
def free_old_page(m: Mem, tables: PolicyTables, cpu: int, pfn: int) -> None:
    """Free a page that nothing refers to any more."""
    log_event(m, LOG_FREE, pfn, 0, 0)
    free_pages(m, tables, cpu, pfn, 0)


@helper
def get_swap_slot(m: Mem, v: Migration, pfn: int) -> int:
    """Give an anonymous page a place in swap, and with it in the swap cache (row 5)."""
    state = int(m.state[pfn])
    if not state & PAGE_ANON or state & PAGE_SWAPCACHE:
        return GOES_ON
    if not add_to_swap(m, pfn):
        return FAILED_NO_SWAP
    v.counts[MIGRATE_SWAP_SLOTS] += 1
    return GOES_ON


@inline
def try_to_unmap(m: Mem, v: Migration, pfn: int) -> int:
    """Take a page out of all page tables, however young it is; a page locked by mlock stays."""
    state = int(m.state[pfn])
    if state & PAGE_UNEVICTABLE:
        return FAILED_MLOCKED
    if state & PAGE_MAPPED:
        m.state[pfn] = state & ~(PAGE_MAPPED | PAGE_YOUNG)
        zone_add(m, page_zone(m, pfn), Z_NR_MAPPED, -1)
        v.counts[MIGRATE_TLB_FLUSHES] += 1
        spend(m, v.flush_ns)
    return GOES_ON


@inline
def references_remain(m: Mem, v: Migration, pfn: int) -> bool:
    """Say whether anything but the mapping and the migrating process holds a page."""
    return bool(int(m.state[pfn]) & (PAGE_PINNED | PAGE_MAPPED) or int(v.row[ROW_REFERENCES]))


@helper
def write_out(m: Mem, tables: PolicyTables, v: Migration, pfn: int) -> int:
    """Start to write a dirty page; the next pass finds out what became of that.

    Source: pageout.
    """
    if int(m.state[pfn]) & PAGE_PINNED or int(v.row[ROW_REFERENCES]):
        return FAILED_PINNED
    if not can_be_written(m, pfn):
        return FAILED_DIRTY
    m.state[pfn] |= PAGE_RECLAIM
    begin_write(m, tables, v, pfn)
    m.events[NR_VMSCAN_WRITE] += 1
    return FAILED_WRITEBACK


@inline
def try_to_release_page(m: Mem, pfn: int) -> bool:
    """Drop a page's buffers; say whether it has none any more."""
    handle = int(m.rmap[pfn])
    if int(m.traits[handle]) & TRAIT_BUFFERS_IN_USE:
        return False
    m.traits[handle] = int(m.traits[handle]) & ~TRAIT_BUFFERS
    return True


@helper
def swap_page(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """Evict a locked page: unmap it, write it if it is dirty, free it; anything less is retried."""
    pfn = int(v.pages[i])
    step(m, tables, v, i, pass_, STEP_UNMAP)
    spend(m, int(m.system[S_RECLAIM_NS]))
    fate = try_to_unmap(m, v, pfn)
    if fate != GOES_ON:
        return fate
    step(m, tables, v, i, pass_, STEP_WRITE_OUT)
    if int(m.state[pfn]) & PAGE_DIRTY:
        return write_out(m, tables, v, pfn)
    step(m, tables, v, i, pass_, STEP_RELEASE_BUFFERS)
    if not try_to_release_page(m, pfn):
        return FAILED_BUFFERS
    step(m, tables, v, i, pass_, STEP_CHECK_REFERENCES)
    if references_remain(m, v, pfn):
        return FAILED_PINNED
    # Nobody comes between the check and the removal: both are made under the tree lock.
    remove_mapping(m, pfn)
    step(m, tables, v, i, pass_, STEP_FREE)
    free_old_page(m, tables, v.cpu, pfn)
    return MOVED_SWAP
