"""Reclaim of one node at one priority: how much of which list, piece by piece.

Source: mm/vmscan.c, Linux 6.1 (prepare_scan_count, get_scan_count, shrink_lruvec, shrink_node;
spec 7.4).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.compaction_suitable import (
    COMPACT_CONTINUE,
    COMPACT_SUCCESS,
    compaction_suitable,
)
from memsim.kernels.demotion import can_reclaim_anon_pages
from memsim.kernels.layout import (
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    Mem,
)
from memsim.kernels.lru_balance import flush_stats, inactive_is_low, lruvec_size, scan_fractions
from memsim.kernels.placement import PolicyTables
from memsim.kernels.scan_control import (
    SC_DEACTIVATE_ANON,
    SC_DEACTIVATE_FILE,
    SC_FILE_TAKEN,
    SC_FORCE_DEACTIVATE,
    SC_HIGHEST_ZONE,
    SC_IMMEDIATE,
    SC_KSWAPD,
    SC_MAY_SWAP,
    SC_NODE,
    SC_NODE_BEFORE,
    SC_NR,
    SC_ORDER,
    SC_PAGEOUT,
    SC_PRIORITY,
    SC_RECLAIMED,
    SC_SKIPPED_DEACTIVATE,
    SC_TAKEN,
    SC_TO_RECLAIM,
    SC_UNQUEUED_DIRTY,
    SC_WRITEBACK,
    sc_add,
    sc_get,
    sc_set,
)
from memsim.kernels.shrink_list import SWAP_CLUSTER_MAX, shrink_active_list, shrink_inactive_list
from memsim.kernels.shrinker import shrink_slab
from memsim.kernels.system import (
    N_ANON_COST,
    N_FILE_COST,
    N_KSWAPD_FAILURES,
    N_PGDAT_DIRTY,
    N_PGDAT_WRITEBACK,
    NODE_FIELDS,
    S_SWAPPINESS,
)
from memsim.kernels.wakeup import (
    high_wmark_pages,
    is_eligible,
    zone_free_exact,
)
from memsim.mm import MAX_NR_ZONES, PAGE_ALLOC_COSTLY_ORDER, Wmark

WMARK_LOW = int(Wmark.LOW)
DEF_PRIORITY = 12
"""Where reclaim begins: each list is scanned by its size >> priority."""
SCAN_FRACT, SCAN_FILE, SCAN_ANON, SCAN_EQUAL = range(4)


@inline
def compact_gap(order: int) -> int:
    """Return the free pages that compaction wants beyond the marks, twice the block's size."""
    return 2 << order


@inline
def can_reclaim_anon(m: Mem, sc: int) -> bool:
    """Say whether anonymous pages are to be had: they may go to swap, or a slower node."""
    return sc_get(m, sc, SC_MAY_SWAP) != 0 and can_reclaim_anon_pages(m, sc_get(m, sc, SC_NODE))


@helper
def prepare_scan_count(m: Mem, sc: int) -> None:
    """Decide whether active pages are to be aged."""
    flush_stats(m)
    node, force = sc_get(m, sc, SC_NODE), sc_get(m, sc, SC_FORCE_DEACTIVATE)
    anon = force != 0 or inactive_is_low(m, node, LRU_ACTIVE_ANON)
    file = force != 0 or inactive_is_low(m, node, LRU_ACTIVE_FILE)
    sc_set(m, sc, SC_DEACTIVATE_ANON, 1 if anon else 0)
    sc_set(m, sc, SC_DEACTIVATE_FILE, 1 if file else 0)


@helper
def file_is_tiny(m: Mem, sc: int) -> bool:
    """Say whether reclaim of files alone could not lift the node above its high marks."""
    node = sc_get(m, sc, SC_NODE)
    free, high = 0, 0
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, MAX_NR_ZONES):
            free += zone_free_exact(m, z)
            high += high_wmark_pages(m, z)
    file = lruvec_size(m, node, LRU_INACTIVE_FILE, MAX_NR_ZONES)
    file += lruvec_size(m, node, LRU_ACTIVE_FILE, MAX_NR_ZONES)
    inactive = lruvec_size(m, node, LRU_INACTIVE_ANON, MAX_NR_ZONES)
    enough = inactive >> sc_get(m, sc, SC_PRIORITY) > 0
    return file + free <= high and not sc_get(m, sc, SC_DEACTIVATE_ANON) and enough


@helper
def scan_balance(m: Mem, sc: int) -> int:
    """Say which lists are scanned: those of files, anonymous ones, or both, and how (SCAN_*)."""
    node, priority = sc_get(m, sc, SC_NODE), sc_get(m, sc, SC_PRIORITY)
    if not can_reclaim_anon(m, sc):
        return SCAN_FILE
    if priority == 0 and int(m.system[S_SWAPPINESS]):
        return SCAN_EQUAL
    if file_is_tiny(m, sc):
        return SCAN_ANON
    plenty = lruvec_size(m, node, LRU_INACTIVE_FILE, MAX_NR_ZONES) >> priority
    if plenty and not sc_get(m, sc, SC_DEACTIVATE_FILE):
        return SCAN_FILE
    return SCAN_FRACT


@helper
def get_scan_count(m: Mem, sc: int) -> None:
    """Set how many pages of each list are to be scanned (spec 7.4)."""
    node = sc_get(m, sc, SC_NODE)
    at = node * NODE_FIELDS
    balance = scan_balance(m, sc)
    anon, file = scan_fractions(
        int(m.system[S_SWAPPINESS]), int(m.nodes[at + N_ANON_COST]), int(m.nodes[at + N_FILE_COST])
    )
    for kind in range(LRU_INACTIVE_ANON, LRU_ACTIVE_FILE + 1):
        of_file = kind >= LRU_INACTIVE_FILE
        size = lruvec_size(m, node, kind, sc_get(m, sc, SC_HIGHEST_ZONE))
        scan = size >> sc_get(m, sc, SC_PRIORITY)
        if balance == SCAN_FRACT:
            scan = scan * (file if of_file else anon) // max(anon + file, 1)
        elif balance != SCAN_EQUAL and (balance == SCAN_FILE) != of_file:
            scan = 0
        sc_set(m, sc, SC_NR + kind, scan)


@inline
def shrink_list(m: Mem, tables: PolicyTables, sc: int, kind: int, nr_to_scan: int) -> None:
    """Scan a piece of one list; an active one only if its inactive one needs pages."""
    if kind in (LRU_INACTIVE_ANON, LRU_INACTIVE_FILE):
        shrink_inactive_list(m, tables, sc, kind, nr_to_scan)
        return
    wanted = SC_DEACTIVATE_ANON if kind == LRU_ACTIVE_ANON else SC_DEACTIVATE_FILE
    if sc_get(m, sc, wanted):
        shrink_active_list(m, sc, kind, nr_to_scan)
    else:
        sc_set(m, sc, SC_SKIPPED_DEACTIVATE, 1)


@helper
def begin_node(m: Mem, sc: int) -> None:
    """Begin a pass over a node: nothing is met yet, and all that there is to scan is ahead."""
    prepare_scan_count(m, sc)
    get_scan_count(m, sc)
    for field in (
        SC_TAKEN,
        SC_FILE_TAKEN,
        SC_WRITEBACK,
        SC_UNQUEUED_DIRTY,
        SC_IMMEDIATE,
        SC_PAGEOUT,
    ):
        sc_set(m, sc, field, 0)
    sc_set(m, sc, SC_NODE_BEFORE, sc_get(m, sc, SC_RECLAIMED))


@helper
def shrink_lists_once(m: Mem, tables: PolicyTables, sc: int) -> bool:
    """Scan up to 32 pages of each list; say whether more is to be done in this pass.

    From the second priority on a pass ends when enough pages are reclaimed.
    """
    for kind in range(LRU_INACTIVE_ANON, LRU_ACTIVE_FILE + 1):
        scan = min(sc_get(m, sc, SC_NR + kind), SWAP_CLUSTER_MAX)
        if scan:
            sc_add(m, sc, SC_NR + kind, -scan)
            shrink_list(m, tables, sc, kind, scan)
    left = sc_get(m, sc, SC_NR + LRU_INACTIVE_ANON)
    left += sc_get(m, sc, SC_NR + LRU_INACTIVE_FILE) + sc_get(m, sc, SC_NR + LRU_ACTIVE_FILE)
    got = sc_get(m, sc, SC_RECLAIMED) - sc_get(m, sc, SC_NODE_BEFORE)
    first = not sc_get(m, sc, SC_KSWAPD) and sc_get(m, sc, SC_PRIORITY) == DEF_PRIORITY
    return left > 0 and (first or got < sc_get(m, sc, SC_TO_RECLAIM))


@helper
def age_active_anon(m: Mem, sc: int) -> None:
    """Refill the inactive anonymous list where its pages have somewhere to go and it is short."""
    node = sc_get(m, sc, SC_NODE)
    if can_reclaim_anon_pages(m, node) and inactive_is_low(m, node, LRU_ACTIVE_ANON):
        shrink_active_list(m, sc, LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX)


@helper
def note_what_was_met(m: Mem, sc: int) -> None:
    """Let kswapd remember that only dirty pages, or pages being written, are left to reclaim."""
    at = sc_get(m, sc, SC_NODE) * NODE_FIELDS
    if sc_get(m, sc, SC_KSWAPD):
        writeback, dirty = sc_get(m, sc, SC_WRITEBACK), sc_get(m, sc, SC_UNQUEUED_DIRTY)
        if writeback and writeback == sc_get(m, sc, SC_TAKEN):
            m.nodes[at + N_PGDAT_WRITEBACK] = 1
        if dirty and dirty == sc_get(m, sc, SC_FILE_TAKEN):
            m.nodes[at + N_PGDAT_DIRTY] = 1
    if sc_get(m, sc, SC_RECLAIMED) > sc_get(m, sc, SC_NODE_BEFORE):
        m.nodes[at + N_KSWAPD_FAILURES] = 0


@helper
def is_compactable(m: Mem, sc: int, node: int) -> bool:
    """Say whether compaction could go on in some zone of a node."""
    highest, order = sc_get(m, sc, SC_HIGHEST_ZONE), sc_get(m, sc, SC_ORDER)
    for z in range(m.nr_zones):
        if is_eligible(m, z, node, highest):
            result = compaction_suitable(m, z, order, 0, highest)
            if result in (COMPACT_SUCCESS, COMPACT_CONTINUE):
                return True
    return False


@helper
def should_continue_reclaim(m: Mem, sc: int) -> bool:
    """Say whether a pass for a large block is repeated, so that compaction has room (spec 7.4)."""
    order, node = sc_get(m, sc, SC_ORDER), sc_get(m, sc, SC_NODE)
    urgent = order > PAGE_ALLOC_COSTLY_ORDER or sc_get(m, sc, SC_PRIORITY) < DEF_PRIORITY - 2
    if order == 0 or not urgent:
        return False
    if sc_get(m, sc, SC_RECLAIMED) == sc_get(m, sc, SC_NODE_BEFORE):
        return False
    if is_compactable(m, sc, node):
        return False
    inactive = lruvec_size(m, node, LRU_INACTIVE_FILE, MAX_NR_ZONES)
    if can_reclaim_anon(m, sc):
        inactive += lruvec_size(m, node, LRU_INACTIVE_ANON, MAX_NR_ZONES)
    return inactive > compact_gap(order)


@helper
def finish_node(m: Mem, sc: int) -> bool:
    """End a pass over a node, with slab; say whether another one is to follow at this priority."""
    age_active_anon(m, sc)
    shrink_slab(m, sc)
    note_what_was_met(m, sc)
    return should_continue_reclaim(m, sc)
