"""Splitting a huge page into its pages, each of which goes its own way.

Source: split_huge_page_to_list, mm/huge_memory.c, Linux 6.1 (spec 8.5).

Unlike Linux: the pages of a block that is split need names of their own, handles; the caller keeps
some at hand, and without them nothing is split.
"""

from __future__ import annotations

from errno import EAGAIN, EBUSY

from memsim.kernels._jit import helper
from memsim.kernels.layout import (
    ORDER_MASK,
    PAGE_PINNED,
    PAGE_SWAPCACHE,
    PAGE_WRITEBACK,
    Mem,
)
from memsim.kernels.lru import lru_pages, page_holder
from memsim.kernels.system import S_SPARE_END, S_SPARE_HANDLE


@helper
def split_huge_page(m: Mem, head: int) -> int:
    """Make single isolated pages of an isolated block; return 0, or a negative errno.

    The first page stays with the block's handle, the others get the next spare ones.
    """
    state = int(m.state[head])
    handle = page_holder(m, head)
    pages = lru_pages(state)
    spare = int(m.system[S_SPARE_HANDLE])
    if state & PAGE_PINNED:
        return -EAGAIN
    if state & PAGE_WRITEBACK or handle < 0 or spare + pages - 1 > int(m.system[S_SPARE_END]):
        return -EBUSY
    m.system[S_SPARE_HANDLE] = spare + pages - 1
    m.state[head] = state & ~ORDER_MASK
    for i in range(1, pages):
        piece = spare + i - 1
        m.state[head + i] = state & ~ORDER_MASK
        m.rmap[head + i] = piece
        m.page_table[piece] = head + i + 1
        m.traits[piece] = m.traits[handle]
        if state & PAGE_SWAPCACHE:
            slot = int(m.swap_slot[head]) + i
            m.swap_slot[head + i] = slot
            m.swap_map[slot] = piece + 1
    return 0
