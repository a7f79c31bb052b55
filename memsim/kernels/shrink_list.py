"""Reclaim, list by list: aging active pages, and what becomes of the oldest inactive ones.

Source: mm/vmscan.c, Linux 6.1 (isolate_lru_folios, shrink_active_list, shrink_inactive_list,
shrink_folio_list; spec 7.2, 7.3).

Unlike Linux: pages are not locked, nothing is executable in a file, and a huge page is swapped out
as a whole or not at all.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.demotion import can_demote, demote_page
from memsim.kernels.flusher import wakeup_flusher_threads
from memsim.kernels.layout import (
    BUFFERS_AT_HAND,
    BUFFERS_IN_USE,
    GONE,
    LRU_INACTIVE_ANON,
    NR_LRU_LISTS,
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_RECLAIM,
    PAGE_REFERENCED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    PAGE_YOUNG,
    PRIVATE_ISOLATED,
    PRIVATE_SKIPPED,
    Z_NR_ISOLATED,
    Z_NR_MAPPED,
    Z_TYPE,
    Mem,
    page_zone,
    zone_add,
    zone_get,
)
from memsim.kernels.lru import lru_add, lru_del, lru_insert, lru_pages, lru_tail, page_holder
from memsim.kernels.lru_balance import lru_note_cost
from memsim.kernels.migrate import let_buffers_go
from memsim.kernels.page_alloc import free_pages
from memsim.kernels.page_io import device_congested, write_page
from memsim.kernels.placement import PolicyTables
from memsim.kernels.scan_control import (
    SC_COST,
    SC_CPU,
    SC_DEMOTE,
    SC_FILE_TAKEN,
    SC_HIGHEST_ZONE,
    SC_IMMEDIATE,
    SC_KSWAPD,
    SC_MAY_FS,
    SC_MAY_IO,
    SC_MAY_WRITE,
    SC_NODE,
    SC_PAGEOUT,
    SC_RECLAIMED,
    SC_SCANNED,
    SC_TAKEN,
    SC_UNQUEUED_DIRTY,
    SC_WRITEBACK,
    sc_add,
    sc_get,
    sc_set,
)
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.swapfile import add_to_swap
from memsim.kernels.system import (
    N_PGDAT_DIRTY,
    N_PGDAT_WRITEBACK,
    NODE_FIELDS,
    S_BUFFERS_LET_GO,
    S_MIGRATE_NS,
    S_RECLAIM_NS,
    S_SCAN_NS,
)
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import (
    NR_VMSCAN_IMMEDIATE_RECLAIM,
    NR_VMSCAN_WRITE,
    PGACTIVATE,
    PGDEACTIVATE,
    PGREFILL,
    PGSCAN_ANON,
    PGSCAN_DIRECT,
    PGSCAN_FILE,
    PGSCAN_KSWAPD,
    PGSKIP,
    PGSTEAL_ANON,
    PGSTEAL_DIRECT,
    PGSTEAL_FILE,
    PGSTEAL_KSWAPD,
)

SWAP_CLUSTER_MAX = 32
"""Pages that are isolated and handled together."""
RECLAIM, RECLAIM_CLEAN, KEEP, ACTIVATE, DEMOTE = range(5)
"""What is to become of a page; RECLAIM_CLEAN: reclaimed unless it is dirty. DEMOTE: to be moved to
a slower node."""


@inline
def private_head(m: Mem, which: int) -> int:
    """Return the head of one of reclaim's own lists (PRIVATE_*)."""
    owners = m.nr_zones if m.lru_per_zone else m.nr_nodes
    return m.lru_lists + NR_LRU_LISTS * owners + which


@inline
def mod_isolated(m: Mem, pfn: int, sign: int) -> None:
    """Count a page into, or out of, its zone's isolated pages."""
    state = int(m.state[pfn])
    file = 0 if state & PAGE_ANON else 1
    zone_add(m, page_zone(m, pfn), Z_NR_ISOLATED + file, sign * lru_pages(state))


@inline
def isolate_page(m: Mem, pfn: int) -> None:
    """Take a page off its LRU list."""
    lru_del(m, pfn)
    m.state[pfn] |= PAGE_ISOLATED
    mod_isolated(m, pfn, 1)


@inline
def putback_page(m: Mem, pfn: int) -> None:
    """Put an isolated page at the head of the list that its state names."""
    mod_isolated(m, pfn, -1)
    m.state[pfn] &= ~PAGE_ISOLATED
    lru_add(m, pfn)


@inline
def unlink_private(m: Mem, entry: int) -> None:
    """Take an entry off a private list, which no zone counts."""
    after, before = int(m.next[entry]), int(m.prev[entry])
    m.next[before] = after
    m.prev[after] = before


@inline
def prefetch_isolation(m: Mem, pfn: int) -> None:
    """Ask for what freeing a page of an LRU list will touch, and isolating the next older one."""
    prefetch(m.page_table, int(m.rmap[pfn]))
    older = int(m.prev[pfn])
    prefetch(m.state, older)


@helper
def isolate_lru_pages(m: Mem, sc: int, kind: int, nr_to_scan: int) -> int:
    """Move the oldest pages of a list to the private list of isolated ones; return how many.

    Pages of zones above the request's are passed over and go to the list's head.
    """
    head = m.lru_lists + NR_LRU_LISTS * sc_get(m, sc, SC_NODE) + kind
    isolated, skipped = private_head(m, PRIVATE_ISOLATED), private_head(m, PRIVATE_SKIPPED)
    taken, passed = 0, 0
    while taken < nr_to_scan:
        pfn = lru_tail(m, head)
        if pfn == head:
            break
        prefetch_isolation(m, pfn)
        pages = lru_pages(int(m.state[pfn]))
        if zone_get(m, page_zone(m, pfn), Z_TYPE) > sc_get(m, sc, SC_HIGHEST_ZONE):
            lru_del(m, pfn)
            lru_insert(m, skipped, pfn)
            passed += pages
        else:
            isolate_page(m, pfn)
            lru_insert(m, isolated, pfn)
            taken += pages
    pfn = lru_tail(m, skipped)
    while pfn != skipped:
        unlink_private(m, pfn)
        lru_add(m, pfn)
        pfn = lru_tail(m, skipped)
    m.events[PGSKIP] += passed
    sc_add(m, sc, SC_COST, (taken + passed) * int(m.system[S_SCAN_NS]))
    return taken


@helper
def shrink_active_list(m: Mem, sc: int, kind: int, nr_to_scan: int) -> None:
    """Move the oldest active pages to the head of the inactive list (spec 7.2)."""
    lru_add_drain(m, sc_get(m, sc, SC_CPU))
    taken = isolate_lru_pages(m, sc, kind, nr_to_scan)
    isolated = private_head(m, PRIVATE_ISOLATED)
    pfn = lru_tail(m, isolated)
    while pfn != isolated:
        unlink_private(m, pfn)
        state = int(m.state[pfn])
        m.state[pfn] = state & ~(PAGE_ACTIVE | PAGE_YOUNG)
        m.events[PGDEACTIVATE] += 0 if state & PAGE_UNEVICTABLE else lru_pages(state)
        putback_page(m, pfn)
        pfn = lru_tail(m, isolated)
    m.events[PGREFILL] += taken


@inline
def page_check_references(m: Mem, pfn: int) -> int:
    """Look at, and forget, the accesses to a page; say what they make of it (spec 7.3)."""
    state = int(m.state[pfn])
    m.state[pfn] = state & ~(PAGE_YOUNG | PAGE_REFERENCED)
    if state & PAGE_MAPPED and state & PAGE_YOUNG:
        m.state[pfn] |= PAGE_REFERENCED
        return ACTIVATE if state & PAGE_REFERENCED else KEEP
    if state & PAGE_REFERENCED and not state & PAGE_ANON:
        return RECLAIM_CLEAN
    return RECLAIM


@inline
def unmap_anon(m: Mem, pfn: int) -> None:
    """Take an anonymous page out of its page table; an access finds it in the swap cache."""
    state = int(m.state[pfn])
    if state & PAGE_MAPPED and state & PAGE_ANON:
        m.state[pfn] = state & ~PAGE_MAPPED
        zone_add(m, page_zone(m, pfn), Z_NR_MAPPED, -lru_pages(state))


@inline
def under_writeback(m: Mem, sc: int, pfn: int, pages: int) -> int:
    """Say what becomes of a page that is being written: it is to come back when that has ended."""
    state = int(m.state[pfn])
    node = sc_get(m, sc, SC_NODE) * NODE_FIELDS
    if sc_get(m, sc, SC_KSWAPD) and state & PAGE_RECLAIM and int(m.nodes[node + N_PGDAT_WRITEBACK]):
        sc_add(m, sc, SC_IMMEDIATE, pages)
    else:
        m.state[pfn] = state | PAGE_RECLAIM
        sc_add(m, sc, SC_WRITEBACK, pages)
    return ACTIVATE


@inline
def may_write_file(m: Mem, sc: int, state: int) -> bool:
    """Say whether reclaim itself writes a dirty page of a file."""
    node = sc_get(m, sc, SC_NODE) * NODE_FIELDS
    flagged = int(m.nodes[node + N_PGDAT_DIRTY]) != 0
    return sc_get(m, sc, SC_KSWAPD) != 0 and flagged and state & PAGE_RECLAIM != 0


@helper
def pageout(m: Mem, sc: int, pfn: int, references: int, pages: int) -> int:
    """Write a dirty page if this reclaimer may; it is kept until it is clean."""
    state = int(m.state[pfn])
    if not state & PAGE_ANON and not may_write_file(m, sc, state):
        m.events[NR_VMSCAN_IMMEDIATE_RECLAIM] += pages
        m.state[pfn] = state | PAGE_RECLAIM
        return ACTIVATE
    may_enter = SC_MAY_IO if state & PAGE_ANON else SC_MAY_FS
    may_write = sc_get(m, sc, may_enter) and sc_get(m, sc, SC_MAY_WRITE)
    if references == RECLAIM_CLEAN or not may_write or device_congested(m):
        return KEEP
    m.events[NR_VMSCAN_WRITE] += pages
    m.state[pfn] |= PAGE_RECLAIM
    write_page(m, pfn)
    sc_add(m, sc, SC_PAGEOUT, pages)
    return KEEP


@inline
def pinned_by_buffers(m: Mem, pfn: int) -> bool:
    """Say whether a file's page cannot go because of its buffers, which may have been let go."""
    why = int(m.swap_slot[pfn])
    if why == BUFFERS_AT_HAND and int(m.system[S_BUFFERS_LET_GO]):
        let_buffers_go(m, pfn)
    return why == BUFFERS_IN_USE or int(m.swap_slot[pfn]) == BUFFERS_AT_HAND


@inline
def page_fate(m: Mem, sc: int, pfn: int) -> int:
    """Decide about an isolated inactive page; RECLAIM: it can be freed now (spec 7.3)."""
    state = int(m.state[pfn])
    pages = lru_pages(state)
    sc_add(m, sc, SC_SCANNED, pages)
    if state & PAGE_UNEVICTABLE:
        return KEEP
    if state & PAGE_WRITEBACK:
        return under_writeback(m, sc, pfn, pages)
    if state & PAGE_DIRTY and not state & PAGE_ANON:
        sc_add(m, sc, SC_UNQUEUED_DIRTY, pages)
    references = page_check_references(m, pfn)
    if references in (KEEP, ACTIVATE):
        return references
    if sc_get(m, sc, SC_DEMOTE):
        return DEMOTE
    if state & PAGE_PINNED and pinned_by_buffers(m, pfn):
        return ACTIVATE
    if int(m.state[pfn]) & PAGE_PINNED:
        return KEEP
    if state & PAGE_ANON and not state & PAGE_SWAPCACHE:
        if not sc_get(m, sc, SC_MAY_IO) or device_congested(m):
            return KEEP
        if not add_to_swap(m, pfn):
            return ACTIVATE
    unmap_anon(m, pfn)
    if int(m.state[pfn]) & PAGE_DIRTY:
        return pageout(m, sc, pfn, references, pages)
    return RECLAIM


@helper
def free_reclaimed_page(m: Mem, cpu: int, pfn: int) -> None:
    """Free a page whose content is on disk; whoever held it remembers where."""
    state = int(m.state[pfn])
    handle = page_holder(m, pfn)
    if handle >= 0:
        m.page_table[handle] = -(int(m.swap_slot[pfn]) + 1) if state & PAGE_SWAPCACHE else GONE
    m.state[pfn] = state & ~PAGE_SWAPCACHE
    log_event(m, LOG_FREE, pfn, (state & ORDER_MASK) >> ORDER_SHIFT, 0)
    free_pages(m, cpu, pfn)


@inline
def count_reclaim(m: Mem, sc: int, kind: int, taken: int, reclaimed: int) -> None:
    """Count what a batch of inactive pages came to."""
    anon = kind == LRU_INACTIVE_ANON
    kswapd = sc_get(m, sc, SC_KSWAPD)
    m.events[PGSCAN_KSWAPD if kswapd else PGSCAN_DIRECT] += taken
    m.events[PGSCAN_ANON if anon else PGSCAN_FILE] += taken
    m.events[PGSTEAL_KSWAPD if kswapd else PGSTEAL_DIRECT] += reclaimed
    m.events[PGSTEAL_ANON if anon else PGSTEAL_FILE] += reclaimed
    sc_add(m, sc, SC_TAKEN, taken)
    sc_add(m, sc, SC_FILE_TAKEN, 0 if anon else taken)
    sc_add(m, sc, SC_RECLAIMED, reclaimed)
    sc_add(m, sc, SC_COST, reclaimed * int(m.system[S_RECLAIM_NS]))


@helper
def demote_or_reclaim(m: Mem, tables: PolicyTables, sc: int, pfn: int) -> int:
    """Move an isolated page to a slower node: DEMOTE; else say what becomes of it instead."""
    node, cpu = sc_get(m, sc, SC_NODE), sc_get(m, sc, SC_CPU)
    pages = lru_pages(int(m.state[pfn]))
    mod_isolated(m, pfn, -1)
    if demote_page(m, tables, cpu, node, pfn, sc_get(m, sc, SC_KSWAPD)):
        sc_add(m, sc, SC_COST, pages * int(m.system[S_MIGRATE_NS]))
        return DEMOTE
    mod_isolated(m, pfn, 1)
    sc_set(m, sc, SC_DEMOTE, 0)
    fate = page_fate(m, sc, pfn)
    sc_set(m, sc, SC_DEMOTE, 1)
    return fate


@helper
def shrink_page_list(m: Mem, tables: PolicyTables, sc: int) -> int:
    """Free the isolated pages, oldest first, or put them back; return the pages freed."""
    isolated = private_head(m, PRIVATE_ISOLATED)
    sc_set(m, sc, SC_DEMOTE, 1 if can_demote(m, sc_get(m, sc, SC_NODE)) else 0)
    reclaimed = 0
    pfn = lru_tail(m, isolated)
    while pfn != isolated:
        unlink_private(m, pfn)
        fate = page_fate(m, sc, pfn)
        pages = lru_pages(int(m.state[pfn]))
        if fate == DEMOTE:
            fate = demote_or_reclaim(m, tables, sc, pfn)
        if fate == DEMOTE:
            reclaimed += pages
        elif fate == RECLAIM:
            mod_isolated(m, pfn, -1)
            free_reclaimed_page(m, sc_get(m, sc, SC_CPU), pfn)
            reclaimed += pages
        else:
            if fate == ACTIVATE:
                m.state[pfn] |= PAGE_ACTIVE
                m.events[PGACTIVATE] += pages
            putback_page(m, pfn)
        pfn = lru_tail(m, isolated)
    return reclaimed


@helper
def shrink_inactive_list(m: Mem, tables: PolicyTables, sc: int, kind: int, nr_to_scan: int) -> None:
    """Reclaim what can be had of the oldest inactive pages (spec 7.3)."""
    lru_add_drain(m, sc_get(m, sc, SC_CPU))
    taken = isolate_lru_pages(m, sc, kind, nr_to_scan)
    if taken == 0:
        return
    dirty, written = sc_get(m, sc, SC_UNQUEUED_DIRTY), sc_get(m, sc, SC_PAGEOUT)
    reclaimed = shrink_page_list(m, tables, sc)
    count_reclaim(m, sc, kind, taken, reclaimed)
    written = sc_get(m, sc, SC_PAGEOUT) - written
    lru_note_cost(m, sc_get(m, sc, SC_NODE), kind == LRU_INACTIVE_ANON, written)
    if sc_get(m, sc, SC_UNQUEUED_DIRTY) - dirty == taken:
        wakeup_flusher_threads(m)
