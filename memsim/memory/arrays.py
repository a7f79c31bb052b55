"""Arrays of a machine in which nothing has happened yet, as the kernels expect them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels._jit import COLUMNS
from memsim.mm import MAX_PAGE_ORDER, NR_ORDERS

OF_PAGES = "state", "rmap", "next", "prev"
CACHE_LINE = 64
ROW_BYTES = COLUMNS * np.dtype(np.int32).itemsize
NEXT = OF_PAGES.index("next")
OF_HANDLES = (("page_table", np.int32), ("traits", np.uint8), ("numa_hints", np.uint8))


def new_pages(nr_pages: int, most_zones: int, lru_owners: int) -> dict[str, Any]:
    """Return the columns of pages and list heads, and where those begin, with every list empty.

    Each head points at itself. There are free lists of ``most_zones`` zones, LRU lists of
    ``lru_owners`` zones or nodes.
    """
    lru_lists = nr_pages + (nr_pages >> MAX_PAGE_ORDER)
    free_lists = lru_lists + L.NR_LRU_LISTS * lru_owners + L.NR_PRIVATE_LISTS
    end = free_lists + most_zones * NR_ORDERS * L.MIGRATE_STRIDE
    rows = aligned_rows(end)
    rows[lru_lists:, NEXT:] = np.arange(lru_lists, end)[:, None]
    return columns_of(rows) | {"free_lists": free_lists, "lru_lists": lru_lists}


def aligned_rows(count: int) -> NDArray[np.int32]:
    """Return rows of zeros, four to a cache line: those of four buddies share one."""
    spare = CACHE_LINE // ROW_BYTES
    rows: NDArray[np.int32] = np.zeros((count + spare, COLUMNS), np.int32)
    first = -rows.ctypes.data % CACHE_LINE // ROW_BYTES
    return rows[first : first + count]


def columns_of(rows: NDArray[np.int32]) -> dict[str, Any]:
    """Return the columns by their names."""
    return dict(zip(OF_PAGES, rows.T, strict=True))


def copy_pages(mem: L.Mem) -> dict[str, Any]:
    """Return copies of the columns of pages, side by side as those are."""
    return columns_of(np.stack([getattr(mem, name) for name in OF_PAGES], axis=1))


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
