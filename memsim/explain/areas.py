"""What stands in the way of a free block: each aligned area of its size, page by page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.mm import MAX_ORDER_NR_PAGES

KINDS = ("kernel", "pinned", "slab", "reserved")
"""Pages that compaction cannot move; slab is reclaimable, the others go only when they are freed.
"""


@dataclass(frozen=True)
class Areas:
    """The aligned areas of a zone that are as large as the block that was asked for."""

    zone: int
    total: int
    movable: int
    """Areas without a page that cannot be moved."""
    fewest_to_move: int | None
    """Pages that would have to be moved out of the best of these; None if there is none."""
    best: int | None
    """First page of it, or else of the area with the fewest pages that cannot be moved."""
    in_the_way: dict[str, int]
    """Pages there that cannot be moved, by KINDS."""


def areas_of(memory: Memory, z: int, order: int) -> Areas:
    """Look at all aligned areas of 1 << order pages of a zone."""
    size = 1 << order
    starts = [
        np.arange(-(-start // size), end // size, dtype=np.int64)
        for start, end in memory.setup.zones[z].pieces
    ]
    areas = np.concatenate(starts)
    kinds = {name: _sums(pages, size)[areas] for name, pages in _page_kinds(memory).items()}
    if not len(areas):
        return Areas(z, 0, 0, None, None, {})
    fixed = sum((kinds[name] for name in KINDS), np.zeros(len(areas), np.int64))
    free_of_them = np.flatnonzero(fixed == 0)
    if len(free_of_them):
        best = free_of_them[np.argmin(kinds["movable"][free_of_them])]
    else:
        best = np.argmin(fixed)
    return Areas(
        zone=z,
        total=len(areas),
        movable=len(free_of_them),
        fewest_to_move=int(kinds["movable"][best]) if len(free_of_them) else None,
        best=int(areas[best]) * size,
        in_the_way={name: int(kinds[name][best]) for name in KINDS if kinds[name][best]},
    )


def _sums(pages: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    whole = pages[: len(pages) // size * size].reshape(-1, size)
    sums: NDArray[np.int64] = whole.sum(axis=1, dtype=np.int64)
    return sums


def _page_kinds(memory: Memory) -> dict[str, NDArray[np.bool_]]:
    """Say of each page whether it can be moved, or what it is instead; free ones are neither."""
    n = memory.nr_pages
    state = memory.mem.state[:n]
    large = memory.mem.state[n : n + n // MAX_ORDER_NR_PAGES]
    heads = np.flatnonzero(state & L.PAGE_ALLOCATED)
    flags = state[heads]
    pages = 1 << ((flags & L.ORDER_MASK) >> L.ORDER_SHIFT).astype(np.int64)
    pinned = flags & L.PAGE_PINNED != 0
    slab = (flags & L.PAGE_SLAB != 0) & ~pinned
    movable = (flags & (L.PAGE_LRU | L.PAGE_LRU_PENDING) != 0) & ~pinned & ~slab
    whole = np.repeat(large & L.PAGE_RESERVED != 0, MAX_ORDER_NR_PAGES)
    covered = {
        "movable": movable,
        "pinned": pinned,
        "slab": slab,
        "kernel": ~(movable | pinned | slab),
    }
    kinds = {name: _cover(n, heads[which], pages[which]) for name, which in covered.items()}
    return kinds | {"reserved": (state & L.PAGE_RESERVED != 0) | whole}


def _cover(n: int, heads: NDArray[np.int64], pages: NDArray[np.int64]) -> NDArray[np.bool_]:
    edges = np.zeros(n + 1, np.int64)
    np.add.at(edges, heads, 1)
    np.add.at(edges, heads + pages, -1)
    covered: NDArray[np.bool_] = np.cumsum(edges[:n]) > 0
    return covered
