"""Arrays of a machine in which nothing has happened yet, as the kernels expect them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels._jit import COLUMNS
from memsim.mm import MAX_PAGE_ORDER, NR_ORDERS

OF_HANDLES = (("page_table", np.int32), ("traits", np.uint8), ("numa_hints", np.uint8))


def new_pages(nr_pages: int, lru_lists: int) -> dict[str, NDArray[np.int32]]:
    """Return the columns ``rmap``, ``lru_next`` and ``lru_prev``, with every LRU list empty.

    Each head points at itself.
    """
    rows: NDArray[np.int32] = np.zeros((nr_pages + lru_lists, COLUMNS), np.int32)
    rmap, lru_next, lru_prev = rows.T
    lru_next[nr_pages:] = lru_prev[nr_pages:] = np.arange(nr_pages, nr_pages + lru_lists)
    return {"rmap": rmap, "lru_next": lru_next, "lru_prev": lru_prev}


def copy_pages(mem: L.Mem) -> dict[str, Any]:
    """Return copies of what ``new_pages`` makes, side by side as those are."""
    rmap, lru_next, lru_prev = np.stack((mem.rmap, mem.lru_next, mem.lru_prev), axis=1).T
    return {"rmap": rmap, "lru_next": lru_next, "lru_prev": lru_prev}


def new_links(nr_pages: int, nr_zones: int) -> NDArray[np.int32]:
    """Return links with every free list empty (each sentinel points at itself)."""
    first = nr_pages + (nr_pages >> MAX_PAGE_ORDER << 1)
    n = 2 * nr_zones * NR_ORDERS * L.MIGRATE_STRIDE
    links: NDArray[Any] = np.zeros(first + n, np.int32)
    links[first:] = np.repeat(np.arange(first, first + n, 2), 2)
    return links


def no_handles() -> dict[str, Any]:
    """Return the columns that have an entry per handle; the last entry is nobody's."""
    return {name: np.zeros(1, kind) for name, kind in OF_HANDLES}


def handle_columns(mem: L.Mem, count: int) -> dict[str, Any]:
    """Return them with room for ``count`` handles more."""
    columns = {}
    for name, kind in OF_HANDLES:
        column = getattr(mem, name)
        columns[name] = np.zeros(len(column) + count, kind)
        columns[name][: len(column) - 1] = column[:-1]
    return columns
