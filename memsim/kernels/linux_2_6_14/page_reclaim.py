"""What reclaim does with one page.

Source: shrink_list, pageout, mm/vmscan.c, Linux 2.6.14 (spec 6.5).
"""

from __future__ import annotations

from typing import NamedTuple

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    GONE,
    ORDER_MASK,
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_RECLAIM,
    PAGE_REFERENCED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    PAGE_YOUNG,
    REQ_FS,
    REQ_IO,
    Z_NR_MAPPED,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.linux_2_6_14.page_alloc import free_pages
from memsim.kernels.lru import lru_add, lru_del, lru_pages, page_holder
from memsim.kernels.page_io import device_congested, write_page, writes_end
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swapfile import add_to_swap
from memsim.kernels.system import S_OWN_2005, S_RECLAIM_NS, clock
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import (
    NR_VMSCAN_WRITE,
    PGACTIVATE,
    PGSTEAL_ANON,
    PGSTEAL_DIRECT,
    PGSTEAL_FILE,
    PGSTEAL_KSWAPD,
)
from memsim.mm import SWAP_CLUSTER_MAX

KEEP, ACTIVATE, FREE = range(3)
S_COST = S_OWN_2005 + 6
"""Nanoseconds that reclaim has worked in this step."""


class ScanControl(NamedTuple):
    """Who reclaims, and how (struct scan_control)."""

    order: int
    """Of the block wanted, where reclaim is lumpy, else 0."""
    flags: int
    """REQ_IO, REQ_FS: what reclaim may do."""
    priority: int
    kswapd: int
    cpu: int


@inline
def page_referenced(m: Mem, pfn: int) -> bool:
    """Say whether a page was accessed since this was last asked, and forget it."""
    state = int(m.state[pfn])
    m.state[pfn] = state & ~(PAGE_REFERENCED | PAGE_YOUNG)
    return bool(state & PAGE_REFERENCED or (state & PAGE_MAPPED and state & PAGE_YOUNG))


@inline
def try_to_unmap(m: Mem, pfn: int) -> None:
    """Take a page out of the page table; its holder keeps it."""
    state = int(m.state[pfn])
    m.state[pfn] = state & ~(PAGE_MAPPED | PAGE_YOUNG)
    zone_add(m, page_zone(m, pfn), Z_NR_MAPPED, -lru_pages(state))
    m.system[S_COST] += int(m.system[S_RECLAIM_NS])


@inline
def may_enter_fs(state: int, flags: int) -> bool:
    """Say whether the reclaimer may write a page: swap needs only IO."""
    return bool(flags & REQ_FS or (state & PAGE_SWAPCACHE and flags & REQ_IO))


@helper
def pageout(m: Mem, pfn: int, sc: ScanControl) -> None:
    """Start to write a dirty page, so that it can be freed afterwards.

    Unlike Linux: kswapd leaves the page before it sleeps for a place in the device's queue.
    """
    if int(m.state[pfn]) & PAGE_PINNED:
        return
    if device_congested(m):
        if sc.kswapd:
            until = writes_end(m, SWAP_CLUSTER_MAX) - clock(m)
            m.system[S_COST] = max(int(m.system[S_COST]), until)
        return
    m.state[pfn] |= PAGE_RECLAIM
    write_page(m, pfn)
    m.events[NR_VMSCAN_WRITE] += 1


@helper
def remove_mapping(m: Mem, pfn: int) -> None:
    """Let a page's holder know where its content is now."""
    state = int(m.state[pfn])
    holder = page_holder(m, pfn)
    if holder >= 0:
        m.page_table[holder] = -1 - int(m.swap_slot[pfn]) if state & PAGE_SWAPCACHE else GONE
    m.state[pfn] = state & ~PAGE_SWAPCACHE


@helper
def free_reclaimed(m: Mem, tables: PolicyTables, pfn: int, sc: ScanControl) -> int:
    """Free a clean page that nothing refers to; return the pages freed."""
    state = int(m.state[pfn])
    pages = lru_pages(state)
    remove_mapping(m, pfn)
    m.events[PGSTEAL_KSWAPD if sc.kswapd else PGSTEAL_DIRECT] += pages
    m.events[PGSTEAL_ANON if state & PAGE_ANON else PGSTEAL_FILE] += pages
    m.system[S_COST] += int(m.system[S_RECLAIM_NS]) * pages
    log_event(m, LOG_FREE, pfn, 0, 0)
    free_pages(m, tables, sc.cpu, pfn, 1)
    return pages


@helper
def activate(m: Mem, pfn: int) -> None:
    """Move an inactive page to the head of the active list."""
    lru_del(m, pfn)
    m.state[pfn] |= PAGE_ACTIVE
    lru_add(m, pfn)
    m.events[PGACTIVATE] += lru_pages(int(m.state[pfn]))


@inline
def keep(m: Mem, pfn: int) -> None:
    """Move a page to the head of its list."""
    lru_del(m, pfn)
    lru_add(m, pfn)


@helper
def unmapped_and_clean(m: Mem, pfn: int, sc: ScanControl, referenced: bool) -> int:
    """Bring a page as near to being free as can be: KEEP, ACTIVATE or FREE (rows 4 to 11)."""
    state = int(m.state[pfn])
    needs_slot = state & PAGE_ANON and not state & PAGE_SWAPCACHE
    # Unlike Linux: larger blocks of anonymous pages, which 2.6.14 has none of, are not swapped out.
    if needs_slot and (state & ORDER_MASK or not add_to_swap(m, pfn)):
        return ACTIVATE
    if state & PAGE_MAPPED:
        if state & PAGE_UNEVICTABLE:
            return ACTIVATE
        try_to_unmap(m, pfn)
    state = int(m.state[pfn])
    if state & PAGE_DIRTY:
        if not referenced and may_enter_fs(state, sc.flags):
            pageout(m, pfn, sc)
        return KEEP
    return KEEP if state & PAGE_PINNED else FREE


@helper
def shrink_page(m: Mem, tables: PolicyTables, pfn: int, sc: ScanControl) -> int:
    """Free, activate or keep an inactive page; return the pages freed, -1 if it was activated."""
    state = int(m.state[pfn])
    outcome = KEEP
    if not state & PAGE_WRITEBACK:
        referenced = page_referenced(m, pfn)
        outcome = ACTIVATE
        if not (referenced and state & (PAGE_MAPPED | PAGE_SWAPCACHE)):
            outcome = unmapped_and_clean(m, pfn, sc, referenced)
    if outcome == FREE:
        return free_reclaimed(m, tables, pfn, sc)
    if outcome == ACTIVATE:
        activate(m, pfn)
        return -1
    keep(m, pfn)
    return 0
