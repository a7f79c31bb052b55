"""Entry points that fill the free lists: boot, and a start state from a capture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import kernel, pointers, ptr
from memsim.kernels.buddy import add_to_free_list, free_one_page
from memsim.kernels.layout import PAGE_LRU, PAGE_SLAB, Mem, pageblock_type
from memsim.kernels.lru import lru_add, lru_del


@kernel
def free_boot_blocks(mem: Mem, z: int, start: int, end: int) -> None:
    """Give a free range to the buddy lists at boot: largest aligned blocks, to the tail.

    Source: __free_pages_memory, mm/memblock.c, 6.1 (spec 2.5).
    """
    m = pointers(mem)
    while start < end:
        order = m.max_page_order
        while order > 0 and (start & ((1 << order) - 1) or start + (1 << order) > end):
            order -= 1
        free_one_page(m, z, 0, start, order, pageblock_type(m, start), True)
        start += 1 << order


@kernel
def place_free_blocks(
    mem: Mem, z: int, order: int, migratetype: int, pfns: NDArray[np.int32]
) -> None:
    """Put blocks on a free list, first one at the head, without merging or counting pages."""
    m = pointers(mem)
    blocks = ptr(pfns)
    for i in range(len(pfns)):
        add_to_free_list(m, z, int(blocks[i]), order, migratetype, True)


@kernel
def place_lru_pages(mem: Mem, pfns: NDArray[np.int32]) -> None:
    """Put the blocks that these pages head on the LRU lists that their states name, if any."""
    m = pointers(mem)
    heads = ptr(pfns)
    for i in range(len(pfns)):
        if int(m.state[int(heads[i])]) & (PAGE_LRU | PAGE_SLAB):
            lru_add(m, int(heads[i]))


@kernel
def remove_lru_pages(mem: Mem, pfns: NDArray[np.int32]) -> None:
    """Take the blocks that these pages head off the LRU lists that their states name, if any."""
    m = pointers(mem)
    heads = ptr(pfns)
    for i in range(len(pfns)):
        if int(m.state[int(heads[i])]) & (PAGE_LRU | PAGE_SLAB):
            lru_del(m, int(heads[i]))
