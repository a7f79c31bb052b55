"""Direct migration of one page to a new one: the steps, in the order of either code.

Source: migrate_page, buffer_migrate_page, mm/vmscan.c, fs/buffer.c, Direct Migration V1 and Linux
2.6.16 (spec history-2005 3.2, linux-mm 10.2).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    MOBILITY_MASK,
    PAGE_ACTIVE,
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_RECLAIM,
    PAGE_REFERENCED,
    PAGE_SWAPCACHE,
    PAGE_UNEVICTABLE,
    TRAIT_NO_MIGRATE_OP,
    TRAIT_RAMFS,
    TRAIT_SHMEM,
    TYPE_MASK,
    Z_NR_DIRTY,
    Z_NR_MAPPED,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.linux_2_6_14.migration import (
    FAILED_BUFFERS,
    FAILED_PINNED,
    GOES_ON,
    LAST_TRYLOCK_PASS,
    MIGRATE_QUEUED_WRITEBACK_STARTED,
    MIGRATE_WRITEBACK_STARTED,
    MOVED_DIRECT,
    ROW_DEFERRED,
    ROW_NEXT_TARGET,
    ROW_PLACE,
    ROW_REFERENCES,
    ROW_SWITCHED,
    STEP_CHECK_AGAIN,
    STEP_CHECK_REFERENCES,
    STEP_CLEAR_OLD,
    STEP_COPY,
    STEP_EARLY_FLAGS,
    STEP_LATE_FLAGS,
    STEP_RELEASE_BUFFERS,
    STEP_REMOVE_FROM_SWAP,
    STEP_START_WRITEBACK,
    STEP_SWITCH_MAPPING,
    STEP_UNMAP,
    STEP_WRITE_OUT,
    V1,
    WRITE_PAGE,
    Migration,
)
from memsim.kernels.linux_2_6_14.page_in_flight import (
    begin_write,
    spend,
    step,
)
from memsim.kernels.linux_2_6_14.swap_migration import (
    free_old_page,
    move_to_lru,
    references_remain,
    swap_page,
    try_to_release_page,
    try_to_unmap,
    write_out,
)
from memsim.kernels.linux_2_6_14.touch import remove_exclusive_swap_page
from memsim.kernels.placement import PolicyTables

EARLY_FLAGS = PAGE_ANON | PAGE_REFERENCED | PAGE_ACTIVE | PAGE_UNEVICTABLE | MOBILITY_MASK
"""What a page is, and how it was used."""
LATE_FLAGS = PAGE_DIRTY | PAGE_RECLAIM
"""What allows the new page to be written: not before the data is there."""
LAST_BUFFER_PASS_2_6_16 = 4


@inline
def has_migrate_op(m: Mem, v: Migration, pfn: int) -> bool:
    """Say whether a page's mapping moves it by itself, dirty or with buffers as it is.

    V1 has that for file systems on block devices; in 2.6.16 swap and shared memory move pages too.
    """
    traits = int(m.traits[int(m.rmap[pfn])])
    if traits & (TRAIT_NO_MIGRATE_OP | TRAIT_RAMFS):
        return False
    own = int(m.state[pfn]) & PAGE_ANON or traits & TRAIT_SHMEM
    return v.code != V1 or not own


@inline
def switch_mapping(m: Mem, v: Migration, old: int, new: int) -> None:
    """Let the mapping name the new page: from now on whoever looks for it finds that one."""
    handle = int(m.rmap[old])
    m.page_table[handle] = new + 1
    m.rmap[new] = handle
    if int(m.state[old]) & PAGE_SWAPCACHE:
        m.swap_slot[new] = m.swap_slot[old]
        m.state[new] |= PAGE_SWAPCACHE
    v.row[ROW_SWITCHED] = 1


@helper
def switch_back(m: Mem, v: Migration, old: int, new: int) -> None:
    """Let the mapping name the old page again."""
    m.page_table[int(m.rmap[old])] = old + 1
    m.state[new] &= ~PAGE_SWAPCACHE
    v.row[ROW_SWITCHED] = 0


@inline
def remove_references(
    m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, old: int, new: int
) -> int:
    """Unmap the old page and switch its mapping; give up if any reference remains.

    V1 switches before it unmaps, so that who faults in between waits for the new page.
    """
    if v.code == V1:
        step(m, tables, v, i, pass_, STEP_SWITCH_MAPPING)
        switch_mapping(m, v, old, new)
    step(m, tables, v, i, pass_, STEP_UNMAP)
    fate = try_to_unmap(m, v, old)
    step(m, tables, v, i, pass_, STEP_CHECK_AGAIN)
    if fate == GOES_ON and references_remain(m, v, old):
        fate = FAILED_PINNED
    if fate != GOES_ON:
        if v.code == V1:
            switch_back(m, v, old, new)
        return fate
    v.row[ROW_PLACE] = new
    if v.code != V1:
        # Nobody comes between the check and the switch: both are made under the tree lock.
        switch_mapping(m, v, old, new)
        step(m, tables, v, i, pass_, STEP_SWITCH_MAPPING)
    return GOES_ON


@inline
def copy_page(
    m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, old: int, new: int
) -> None:
    """Copy early flags, data, late flags; clear and free the old page."""
    step(m, tables, v, i, pass_, STEP_EARLY_FLAGS)
    m.state[new] |= int(m.state[old]) & EARLY_FLAGS
    step(m, tables, v, i, pass_, STEP_COPY)
    spend(m, v.copy_ns)
    step(m, tables, v, i, pass_, STEP_LATE_FLAGS)
    state = int(m.state[old])
    m.state[new] |= state & LATE_FLAGS
    if state & PAGE_DIRTY and not state & PAGE_ANON:
        zone_add(m, page_zone(m, old), Z_NR_DIRTY, -1)
        zone_add(m, page_zone(m, new), Z_NR_DIRTY, 1)
    step(m, tables, v, i, pass_, STEP_CLEAR_OLD)
    m.state[old] = state & TYPE_MASK | PAGE_ALLOCATED | PAGE_ISOLATED
    free_old_page(m, tables, v.cpu, old)


@inline
def remove_from_swap(m: Mem, v: Migration, new: int) -> None:
    """Put an anonymous page back into the page tables in place of its swap entry.

    V1 leaves it its slot, 2.6.16 gives that back.
    """
    state = int(m.state[new])
    if state & PAGE_ANON:
        m.state[new] = state | PAGE_MAPPED
        zone_add(m, page_zone(m, new), Z_NR_MAPPED, 1)
        if v.code != V1 and state & PAGE_SWAPCACHE:
            remove_exclusive_swap_page(m, new)


@helper
def start_queued_writeback(m: Mem, tables: PolicyTables, v: Migration, new: int) -> None:
    """Start to write the new page if somebody has wanted that meanwhile."""
    if int(v.row[ROW_DEFERRED]) >> WRITE_PAGE & 1:
        v.row[ROW_DEFERRED] &= ~(1 << WRITE_PAGE)
        begun = int(v.counts[MIGRATE_WRITEBACK_STARTED])
        begin_write(m, tables, v, new)
        begun = int(v.counts[MIGRATE_WRITEBACK_STARTED]) - begun
        v.counts[MIGRATE_QUEUED_WRITEBACK_STARTED] += begun


@inline
def migrate_page(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """Move a locked page, clean or of a mapping that moves it dirty, to the next target page."""
    old, new = int(v.pages[i]), int(v.targets[int(v.row[ROW_NEXT_TARGET])])
    step(m, tables, v, i, pass_, STEP_CHECK_REFERENCES)
    spend(m, v.bookkeeping_ns)
    if int(m.state[old]) & PAGE_PINNED or int(v.row[ROW_REFERENCES]):
        return FAILED_PINNED
    fate = remove_references(m, tables, v, i, pass_, old, new)
    if fate != GOES_ON:
        return fate
    v.row[ROW_NEXT_TARGET] += 1
    copy_page(m, tables, v, i, pass_, old, new)
    step(m, tables, v, i, pass_, STEP_REMOVE_FROM_SWAP)
    remove_from_swap(m, v, new)
    step(m, tables, v, i, pass_, STEP_START_WRITEBACK)
    start_queued_writeback(m, tables, v, new)
    move_to_lru(m, v.cpu, new)
    v.new_pfn[i] = new
    return MOVED_DIRECT


@helper
def migrate_by_hand(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """See to a page that its mapping does not move: only if clean and without buffers it may go on.

    Buffers that are not let go have the page swapped out in later passes (rows 7 to 9).
    """
    pfn = int(v.pages[i])
    step(m, tables, v, i, pass_, STEP_WRITE_OUT)
    if int(m.state[pfn]) & PAGE_DIRTY:
        return write_out(m, tables, v, pfn)
    step(m, tables, v, i, pass_, STEP_RELEASE_BUFFERS)
    if try_to_release_page(m, pfn):
        return GOES_ON
    last = LAST_TRYLOCK_PASS if v.code == V1 else LAST_BUFFER_PASS_2_6_16
    return swap_page(m, tables, v, i, pass_) if pass_ > last else FAILED_BUFFERS


@inline
def move_directly(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """Move a locked page that is not being written to the next target page; return its fate."""
    if not has_migrate_op(m, v, int(v.pages[i])):
        fate = migrate_by_hand(m, tables, v, i, pass_)
        if fate != GOES_ON:
            return fate
    return migrate_page(m, tables, v, i, pass_)
