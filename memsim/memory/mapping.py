"""A zone's memory at one instant: cells of whole pageblocks, three characters for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import census as kernels
from memsim.kernels import layout as L
from memsim.memory.counting import count_blocks
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import MIGRATE_TYPES

MOST_CELLS = 8192
"""Of a whole machine: 1 TiB has cells of 128 MiB, the smallest memory block."""
TYPE_LETTERS = "UMRHCI"
"""The first letters of mm.MIGRATETYPE_NAMES."""
NO_MEMORY = "..."
FULL = 15
CELLS = np.array(
    [f"{TYPE_LETTERS[n >> 8]}{n & 255:02x}" for n in range(MIGRATE_TYPES << 8)] + [NO_MEMORY], "S3"
)
"""The text of each cell: by type, how full, and how much cannot be moved; no memory last."""


def cell_order(setup: MachineSetup) -> int:
    """Return the order of a machine's cells: a pageblock, doubled until there are few enough."""
    pages = sum(end - start for zone in setup.zones for start, end in zone.pieces)
    order = setup.pageblock_order
    while pages >> order > MOST_CELLS:
        order += 1
    return order


def zone_cells(mem: L.Mem, setup: MachineSetup, zone: ZoneSetup, order: int) -> tuple[int, str]:
    """Return the first pfn of a zone's cells of an order, and three characters for each.

    These are the letter of the type that most of its pageblocks have, then two hexadecimal digits:
    how much of it is in use, and how much of it could not be moved away (see ``level``). Cells
    without memory of the zone are dots; a zone without memory has no cells.
    """
    pieces = [(start, end) for start, end in zone.pieces if start < end]
    if not pieces:
        return 0, ""
    first = pieces[0][0] >> order
    size = (-(-pieces[-1][1] >> order)) - first
    counts = np.zeros((size, kernels.BLOCK_FIELDS), np.int64)
    pages = np.zeros(size, np.int64)
    types = np.zeros((size, MIGRATE_TYPES), np.int64)
    for start, end in pieces:
        found = count_blocks(mem, start, end, order)
        begin = (start >> order) - first
        counts[begin : begin + len(found)] += found
        edges = np.arange(start >> order, (start >> order) + len(found) + 1) << order
        pages[begin : begin + len(found)] += np.diff(np.clip(edges, start, end))
        blocks = np.arange(start >> setup.pageblock_order, -(-end >> setup.pageblock_order))
        cells = (blocks << setup.pageblock_order >> order) - first
        number = cells * MIGRATE_TYPES + mem.pageblocks[blocks]
        types += np.bincount(number, minlength=types.size).reshape(types.shape)
    counts = _spread(counts, pages)
    fixed = counts[:, kernels.BLOCK_UNMOVABLE] + counts[:, kernels.BLOCK_RESERVED]
    used = counts[:, kernels.BLOCK_ALLOCATED] + counts[:, kernels.BLOCK_RESERVED]
    text = types.argmax(axis=1) << 8 | level(used, pages) << 4 | level(fixed, pages)
    return first << order, CELLS[np.where(pages > 0, text, len(CELLS) - 1)].tobytes().decode()


def level(pages: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say in 16 steps how many pages of so many: 0 none, 15 all, 1 to 14 what lies between."""
    between = 1 + pages * (FULL - 1) // np.maximum(of, 1)
    return np.where(pages == 0, 0, np.where(pages >= of, FULL, np.minimum(between, FULL - 1)))


def _spread(counts: NDArray[np.int64], pages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give what a cell holds beyond its size, as the head of a larger block, to the next cells."""
    counts = counts.copy()
    for column in counts.T:
        excess = np.maximum(column - pages, 0)
        while excess.any():
            column -= excess
            column[1:] += excess[:-1]
            excess = np.maximum(column - pages, 0)
            excess[-1] = 0
    return counts
