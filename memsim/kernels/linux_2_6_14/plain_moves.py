"""Direct moves of pages that nothing keeps from any step: all steps at once, for speed.

What they do is what ``direct_migration`` does with such a page where nobody looks on.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline, prefetch
from memsim.kernels.layout import (
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    TRAIT_LOCKED,
    TRAIT_NO_MIGRATE_OP,
    TRAIT_RAMFS,
    TRAIT_SHMEM,
    Z_NR_DIRTY,
    Z_NR_MAPPED,
    Z_VMSTAT,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.linux_2_6_14.direct_migration import EARLY_FLAGS, LATE_FLAGS
from memsim.kernels.linux_2_6_14.fallback import free_type
from memsim.kernels.linux_2_6_14.migration import (
    MIGRATE_SWAP_SLOTS,
    MIGRATE_TLB_FLUSHES,
    MOVED_DIRECT,
    ROW_NEXT_TARGET,
    ROW_NR_TARGETS,
    V1,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_in_flight import first_touch, spend
from memsim.kernels.linux_2_6_14.pcp import free_hot_pages, hot_high, pcp_pindex
from memsim.kernels.pcp import pcp_list, pcp_row
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import folios_add_lru
from memsim.kernels.swapfile import slots_passed, swap_free
from memsim.kernels.system import S_SCAN_NS, clock
from memsim.kernels.vmstat import PGFREE
from memsim.mm import MAX_ORDER_NR_PAGES

HELD = PAGE_WRITEBACK | PAGE_PINNED | PAGE_UNEVICTABLE
NOT_PLAIN = TRAIT_LOCKED | TRAIT_NO_MIGRATE_OP | TRAIT_RAMFS
PREFETCH = 24
"""Pages between asking for cache lines and using them."""


@inline
def prefetch_pages(m: Mem, v: Migration, at: int, stop: int) -> None:
    """Ask for what moving the pages behind ``at`` in ``pending`` will touch."""
    if at + 2 * PREFETCH < stop:
        pfn = int(v.pages[int(v.pending[at + 2 * PREFETCH])])
        prefetch(m.state, pfn)
        pfn = int(v.pages[int(v.pending[at + PREFETCH])])
        prefetch(m.page_table, int(m.rmap[pfn]))
        prefetch(m.traits, int(m.rmap[pfn]))


@inline
def is_plain(m: Mem, v: Migration, pfn: int) -> bool:
    """Say whether nothing keeps a page from being moved as it is, by its mapping itself."""
    state, traits = int(m.state[pfn]), int(m.traits[int(m.rmap[pfn])])
    if state & HELD or traits & NOT_PLAIN:
        return False
    return v.code != V1 or not (state & PAGE_ANON or traits & TRAIT_SHMEM)


@inline
def is_touched(m: Mem, v: Migration, i: int) -> bool:
    """Say whether a process touches a page while it would be moved."""
    if not v.touched:
        return False
    end = clock(m) + int(m.system[S_SCAN_NS]) + v.bookkeeping_ns + v.copy_ns + v.flush_ns
    k = first_touch(v, i, clock(m))
    return k < int(v.touch_first[i + 1]) and int(v.touch_time[k]) < end


@inline
def range_of_plain(m: Mem, v: Migration, at: int, most: int) -> int:
    """Count the plain pages behind ``at`` in ``pending`` that lie side by side and are alike.

    So do their targets, and the handles that hold them. The first page is plain.
    """
    i, k = int(v.pending[at]), int(v.row[ROW_NEXT_TARGET])
    old, new = int(v.pages[i]), int(v.targets[k])
    state, fresh, handle = int(m.state[old]), int(m.state[new]), int(m.rmap[old])
    traits = int(m.traits[handle])
    if state & PAGE_SWAPCACHE:
        return 1
    size = 1 << m.pageblock_order
    most = min(most, size - (old & size - 1), MAX_ORDER_NR_PAGES - new % MAX_ORDER_NR_PAGES)
    n = 0
    while (
        n < most
        and int(v.pending[at + n]) == i + n
        and int(v.pages[i + n]) == old + n
        and int(v.targets[k + n]) == new + n
        and int(m.state[old + n]) == state
        and int(m.state[new + n]) == fresh
        and int(m.rmap[old + n]) == handle + n
        and int(m.traits[handle + n]) == traits
    ):
        n += 1
    return n


@inline
def page_ns(m: Mem, v: Migration, state: int) -> int:
    """Return what moving a plain page takes."""
    ns = int(m.system[S_SCAN_NS]) + v.bookkeeping_ns + v.copy_ns
    return ns + v.flush_ns if state & PAGE_MAPPED else ns


@inline
def most_at_once(m: Mem, tables: PolicyTables, v: Migration, at: int, stop: int) -> int:
    """Say how many plain pages can go until time, targets, or room on the CPU's list are up."""
    old = int(v.pages[int(v.pending[at])])
    row = pcp_row(m, page_zone(m, old), v.cpu)
    lst = pcp_list(row, pcp_pindex(tables, free_type(m, tables, old), 0))
    room = hot_high(m, tables, row) - int(m.pcps[lst + 1])
    left = (v.deadline - clock(m)) // max(page_ns(m, v, int(m.state[old])), 1) + 1
    targets = int(v.row[ROW_NR_TARGETS]) - int(v.row[ROW_NEXT_TARGET])
    return min(stop - at, max(room, 1), left, targets)


@inline
def place_plain(m: Mem, v: Migration, i: int, new: int, n: int) -> None:
    """Let ``n`` new pages become what old ones are, and be held by whoever holds those."""
    old = int(v.pages[i])
    handle, state = int(m.rmap[old]), int(m.state[old])
    kept = state & (EARLY_FLAGS | LATE_FLAGS) | int(m.state[new])
    if state & PAGE_ANON:
        kept |= PAGE_MAPPED | PAGE_DIRTY
    for k in range(n):
        m.state[new + k] = kept
    for k in range(n):
        m.rmap[new + k] = handle + k
    for k in range(n):
        m.page_table[handle + k] = new + k + 1


@inline
def count_plain(m: Mem, v: Migration, old: int, new: int, n: int) -> None:
    """Count ``n`` plain pages in the accounts of the zone that they come to."""
    state, from_zone, to_zone = int(m.state[old]), page_zone(m, old), page_zone(m, new)
    if state & PAGE_ANON:
        zone_add(m, to_zone, Z_NR_MAPPED, n)
    elif state & PAGE_DIRTY:
        zone_add(m, from_zone, Z_NR_DIRTY, -n)
        zone_add(m, to_zone, Z_NR_DIRTY, n)
    if state & PAGE_MAPPED:
        zone_add(m, from_zone, Z_NR_MAPPED, -n)
        v.counts[MIGRATE_TLB_FLUSHES] += n


@inline
def free_plain(m: Mem, tables: PolicyTables, v: Migration, old: int, n: int) -> None:
    """Free ``n`` pages side by side that are in no account any more."""
    z, migratetype = page_zone(m, old), free_type(m, tables, old)
    zone_add(m, z, Z_VMSTAT + PGFREE, n)
    free_hot_pages(m, tables, z, v.cpu, old, n, migratetype)


@helper
def migrate_plain(m: Mem, tables: PolicyTables, v: Migration, at: int, stop: int) -> int:
    """Move plain pages behind ``at`` in ``pending`` to the next target pages; return how many.

    More than one only where they lie side by side. None if that needs more than the next slot.
    """
    i = int(v.pending[at])
    old, new = int(v.pages[i]), int(v.targets[int(v.row[ROW_NEXT_TARGET])])
    n = 1
    if not v.touched:
        n = range_of_plain(m, v, at, most_at_once(m, tables, v, at, stop))
    state = int(m.state[old])
    if state & PAGE_ANON and state & PAGE_SWAPCACHE:
        swap_free(m, int(m.swap_slot[old]))
    elif state & PAGE_ANON:
        n = slots_passed(m, n)
        v.counts[MIGRATE_SWAP_SLOTS] += n
        if n == 0:
            return 0
    ns = page_ns(m, v, state)
    v.row[ROW_NEXT_TARGET] += n
    place_plain(m, v, i, new, n)
    count_plain(m, v, old, new, n)
    free_plain(m, tables, v, old, n)
    spend(m, n * ns)
    folios_add_lru(m, v.cpu, new, n)
    for k in range(n):
        v.passes[i + k] += 1
        v.fate[i + k] = MOVED_DIRECT
        v.model_ns[i + k] += ns
        v.new_pfn[i + k] = new + k
    return n
