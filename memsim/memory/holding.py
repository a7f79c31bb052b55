"""Blocks that were allocated before the start, given to handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import boot as boot_kernels
from memsim.kernels import layout as L
from memsim.schema import HeldBlocks

if TYPE_CHECKING:
    from memsim.memory import Memory

BEFORE = L.PAGE_ALLOCATED | L.ORDER_MASK
"""Page state that tells a page of before the start, allocated for itself, from others."""


def hold_blocks(memory: Memory, handle: int, blocks: HeldBlocks) -> int:
    """Let handles from ``handle`` on hold blocks; see ``Memory.hold``."""
    held, (pfns, orders) = 0, blocks
    for order in range(memory.setup.max_page_order, -1, -1):
        which = np.flatnonzero((orders == order) & (pfns >= 0) & (pfns & (1 << order) - 1 == 0))
        which = which[pfns[which] + (1 << order) <= memory.nr_pages]
        pages = pfns[which, None] + np.arange(1 << order)
        alone = (memory.mem.state[pages] & BEFORE == L.PAGE_ALLOCATED).all(axis=1)
        which, pages = which[alone], pages[alone]
        heads = pfns[which]
        if order > 0:
            _join(memory, pages, order)
        memory.page_table[handle + which] = heads + 1
        memory.mem.rmap[heads] = handle + which
        held += len(which)
    return held


def _join(memory: Memory, pages: NDArray[np.int64], order: int) -> None:
    """Make blocks of pages that were allocated each for itself, (blocks, 1 << order)."""
    heads = pages[:, 0]
    boot_kernels.remove_lru_pages(memory.mem, pages.reshape(-1).astype(np.int32))
    memory.mem.state[pages[:, 1:]] = memory.mem.state[heads, None] & L.PAGE_LRU
    memory.mem.state[heads] |= order << L.ORDER_SHIFT
    boot_kernels.place_lru_pages(memory.mem, heads.astype(np.int32))
