"""Where the cells of several maps stand, so that the same memory stands at the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memsim.memory.mapping import NO_MEMORY


@dataclass(frozen=True)
class Grid:
    """All cells in which any of the maps has memory, in the order of their pfns."""

    cell_pages: int
    segments: list[tuple[int, int, int]]
    """Node, first cell (pfn / cell_pages) and number of cells of each stretch without a hole."""
    place: dict[int, int]
    """The place of each cell."""

    @property
    def cells(self) -> int:
        """How many there are."""
        return len(self.place)


def grid_of(tables: Sequence[Any], cell_pages: int) -> Grid:
    """Lay out the cells of some rows of the table ``map``."""
    node_of: dict[int, int] = {}
    for table in tables:
        for row in table.drop_duplicates(["zone", "start_pfn", "cells"]).itertuples():
            first = row.start_pfn // cell_pages
            node = int(row.zone.partition(" ")[0].removeprefix("node"))
            for n in range(len(row.cells) // 3):
                if row.cells[3 * n : 3 * n + 3] != NO_MEMORY:
                    node_of[first + n] = node
    segments: list[tuple[int, int, int]] = []
    for cell in sorted(node_of):
        node = node_of[cell]
        if segments and segments[-1][0] == node and sum(segments[-1][1:]) == cell:
            segments[-1] = (node, segments[-1][1], segments[-1][2] + 1)
        else:
            segments.append((node, cell, 1))
    return Grid(cell_pages, segments, {cell: n for n, cell in enumerate(sorted(node_of))})
