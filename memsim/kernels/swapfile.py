"""Swap slots: which one a page gets, and giving it back.

Source: mm/swapfile.c, mm/swap_state.c (add_to_swap), Linux 6.1; spec linux-2.6.14 6.8 for the
search.

Unlike Linux: one search for swap slots for all kernels, that of 2.6.14; 6.1 gives each CPU a
cluster of its own.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import PAGE_DIRTY, PAGE_SWAPCACHE, Mem
from memsim.kernels.lru import lru_pages, page_holder
from memsim.kernels.system import (
    S_SWAP_CLUSTER,
    S_SWAP_FREE,
    S_SWAP_LOWEST,
    S_SWAP_NEXT,
    S_SWAP_SLOTS,
)

SWAPFILE_CLUSTER = 256
"""Slots that are taken one after the other before a new empty place is looked for."""
NOBODY = -1
"""Owner of a slot whose page no handle holds; such a slot is never given back."""


@helper
def find_free_run(m: Mem, length: int) -> int:
    """Return the lowest slot that begins ``length`` free ones, -1 if there is none."""
    slots = int(m.system[S_SWAP_SLOTS])
    start = slot = int(m.system[S_SWAP_LOWEST])
    while slot < slots:
        if int(m.swap_map[slot]) != 0:
            start = slot + 1
        elif slot - start == length - 1:
            return start
        slot += 1
    return -1


@helper
def next_free_slot(m: Mem, slot: int) -> int:
    """Return the first free slot from ``slot`` on, -1 if there is none."""
    slots = int(m.system[S_SWAP_SLOTS])
    while slot < slots and int(m.swap_map[slot]) != 0:
        slot += 1
    return slot if slot < slots else -1


@helper
def scan_swap_map(m: Mem) -> int:
    """Choose the slot of a single page; there must be a free one."""
    if int(m.system[S_SWAP_CLUSTER]) > 0:
        slot = next_free_slot(m, int(m.system[S_SWAP_NEXT]))
        if slot >= 0:
            m.system[S_SWAP_CLUSTER] -= 1
            return slot
    m.system[S_SWAP_CLUSTER] = SWAPFILE_CLUSTER - 1
    slot = find_free_run(m, SWAPFILE_CLUSTER)
    return slot if slot >= 0 else next_free_slot(m, int(m.system[S_SWAP_LOWEST]))


@helper
def get_swap_pages(m: Mem, handle: int, count: int) -> int:
    """Take ``count`` slots in a row for what a handle holds (-1: nobody does).

    Returns the first of them, or -1 where swap has no such room.
    """
    if int(m.system[S_SWAP_FREE]) < count:
        return -1
    slot = scan_swap_map(m) if count == 1 else find_free_run(m, count)
    if slot < 0:
        return -1
    for taken in range(slot, slot + count):
        m.swap_map[taken] = handle + 1 if handle >= 0 else NOBODY
    m.system[S_SWAP_FREE] -= count
    m.system[S_SWAP_NEXT] = slot + count
    if slot == int(m.system[S_SWAP_LOWEST]):
        m.system[S_SWAP_LOWEST] = slot + count
    return slot


@inline
def slots_passed(m: Mem, count: int) -> int:
    """Take and give back up to ``count`` single slots one after the other; return how many.

    Those that need no search: each is the one behind the last.
    """
    slot = int(m.system[S_SWAP_NEXT])
    count = min(count, int(m.system[S_SWAP_CLUSTER]), int(m.system[S_SWAP_SLOTS]) - slot)
    if int(m.system[S_SWAP_FREE]) == 0:
        return 0
    n = 0
    while n < count and int(m.swap_map[slot + n]) == 0:
        n += 1
    m.system[S_SWAP_NEXT] += n
    m.system[S_SWAP_CLUSTER] -= n
    return n


@helper
def add_to_swap(m: Mem, pfn: int) -> bool:
    """Give an anonymous page its slots in swap; say whether there was room."""
    slot = get_swap_pages(m, page_holder(m, pfn), lru_pages(int(m.state[pfn])))
    if slot < 0:
        return False
    m.swap_slot[pfn] = slot
    m.state[pfn] |= PAGE_SWAPCACHE | PAGE_DIRTY
    return True


@helper
def swap_free(m: Mem, slot: int) -> None:
    """Give back the slot or, of a large block, the slots that a handle has from ``slot`` on."""
    slots = int(m.system[S_SWAP_SLOTS])
    owner = int(m.swap_map[slot])
    m.system[S_SWAP_LOWEST] = min(slot, int(m.system[S_SWAP_LOWEST]))
    while owner > 0 and slot < slots and int(m.swap_map[slot]) == owner:
        m.swap_map[slot] = 0
        m.system[S_SWAP_FREE] += 1
        slot += 1


@inline
def has_swap_space(m: Mem) -> bool:
    """Say whether a single page could be swapped out."""
    return int(m.system[S_SWAP_FREE]) > 0
