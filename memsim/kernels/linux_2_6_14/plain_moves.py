"""Direct moves of pages that nothing keeps from any step: all steps at once, for speed.

What they do is what ``direct_migration`` does with such a page where nobody looks on.
"""

from __future__ import annotations

from memsim.kernels._jit import inline, prefetch
from memsim.kernels.buddy import prefetch_block
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
    FAILED_NO_SWAP,
    MIGRATE_SWAP_SLOTS,
    MIGRATE_TLB_FLUSHES,
    MOVED_DIRECT,
    ROW_NEXT_TARGET,
    V1,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_in_flight import first_touch, spend
from memsim.kernels.linux_2_6_14.pcp import free_hot_cold_page
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import folio_add_lru
from memsim.kernels.swapfile import get_swap_pages, swap_free
from memsim.kernels.system import S_SCAN_NS, clock
from memsim.kernels.trace_log import LOG_FREE, log_event
from memsim.kernels.vmstat import PGFREE

HELD = PAGE_WRITEBACK | PAGE_PINNED | PAGE_UNEVICTABLE
NOT_PLAIN = TRAIT_LOCKED | TRAIT_NO_MIGRATE_OP | TRAIT_RAMFS
PREFETCH = 16
"""Pages between asking for cache lines and using them."""


@inline
def prefetch_pages(m: Mem, v: Migration, at: int, stop: int) -> None:
    """Ask for what moving the pages behind ``at`` in ``pending`` will touch."""
    if at + 2 * PREFETCH < stop:
        pfn = int(v.pages[int(v.pending[at + 2 * PREFETCH])])
        prefetch(m.state, pfn)
        prefetch(m.rmap, pfn)
        pfn = int(v.pages[int(v.pending[at + PREFETCH])])
        prefetch(m.page_table, int(m.rmap[pfn]))
        prefetch(m.traits, int(m.rmap[pfn]))
        prefetch_block(m, pfn, 0)


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
def swap_slot_of(m: Mem, v: Migration, pfn: int, state: int, handle: int) -> int:
    """Return an anonymous page's swap slot, a new one if it has none; -1 if swap is full."""
    if state & PAGE_SWAPCACHE:
        return int(m.swap_slot[pfn])
    slot = get_swap_pages(m, handle, 1)
    v.counts[MIGRATE_SWAP_SLOTS] += 1 if slot >= 0 else 0
    return slot


@inline
def free_plain(m: Mem, tables: PolicyTables, v: Migration, z: int, pfn: int) -> None:
    """Free a page that is in no account any more."""
    log_event(m, LOG_FREE, pfn, 0, 0)
    zone_add(m, z, Z_VMSTAT + PGFREE, 1)
    free_hot_cold_page(m, tables, z, v.cpu, pfn, free_type(m, tables, pfn), 0)


@inline
def migrate_plain(m: Mem, tables: PolicyTables, v: Migration, i: int) -> int:
    """Move a plain page to the next target page."""
    old = int(v.pages[i])
    state, handle = int(m.state[old]), int(m.rmap[old])
    v.passes[i] += 1
    ns = int(m.system[S_SCAN_NS])
    kept = state & (EARLY_FLAGS | LATE_FLAGS)
    from_zone = page_zone(m, old)
    new = int(v.targets[int(v.row[ROW_NEXT_TARGET])])
    to_zone = page_zone(m, new)
    if state & PAGE_ANON:
        slot = swap_slot_of(m, v, old, state, handle)
        if slot < 0:
            spend(m, ns)
            v.model_ns[i] += ns
            return FAILED_NO_SWAP
        swap_free(m, slot)
        zone_add(m, to_zone, Z_NR_MAPPED, 1)
        kept |= PAGE_MAPPED | PAGE_DIRTY
    elif state & PAGE_DIRTY:
        zone_add(m, from_zone, Z_NR_DIRTY, -1)
        zone_add(m, to_zone, Z_NR_DIRTY, 1)
    v.row[ROW_NEXT_TARGET] += 1
    m.page_table[handle] = new + 1
    m.rmap[new] = handle
    m.state[new] |= kept
    ns += v.bookkeeping_ns + v.copy_ns
    if state & PAGE_MAPPED:
        zone_add(m, from_zone, Z_NR_MAPPED, -1)
        v.counts[MIGRATE_TLB_FLUSHES] += 1
        ns += v.flush_ns
    free_plain(m, tables, v, from_zone, old)
    spend(m, ns)
    folio_add_lru(m, v.cpu, new, 0)
    v.model_ns[i] += ns
    v.new_pfn[i] = new
    return MOVED_DIRECT
