"""A count of all of a machine's memory at one instant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import census as kernels
from memsim.kernels import layout as L
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import MIGRATE_TYPES, NR_ORDERS
from memsim.schema import Census, MemoryBlocks


def hotpluggable(setup: MachineSetup, zone: ZoneSetup) -> list[tuple[int, int]]:
    """Return the pfn ranges of a zone that are meant to be removed."""
    cut = [
        (max(s, first), min(e, end)) for s, e in setup.hotpluggable for first, end in zone.pieces
    ]
    return [(s, e) for s, e in cut if s < e]


def take_census(mem: L.Mem, setup: MachineSetup, memory_block_order: int) -> Census:
    """Count all zones, and the memory blocks that are meant to be removed."""
    n = len(setup.zones)
    free = np.zeros((n, NR_ORDERS, MIGRATE_TYPES), np.int64)
    blocks = np.zeros((n, MIGRATE_TYPES), np.int64)
    totals = np.zeros((n, kernels.NR_TOTALS), np.int64)
    unmovable = np.zeros(n, np.int64)
    memory_blocks: dict[int, NDArray[np.int64]] = {}
    for i, zone in enumerate(setup.zones):
        for start, end in zone.pieces:
            kernels.count_zone(mem, start, end, free[i].reshape(-1), blocks[i], totals[i])
        for start, end in hotpluggable(setup, zone):
            counts = _count_blocks(mem, start, end, memory_block_order)
            unmovable[i] += counts[:, kernels.BLOCK_UNMOVABLE].sum()
            for number, row in enumerate(counts, start >> memory_block_order):
                memory_blocks[number] = memory_blocks.get(number, 0) + row
    return Census(
        free_blocks=free,
        pageblocks=blocks,
        mixed_pageblocks=totals[:, kernels.TOTAL_MIXED],
        mixed_areas=totals[:, kernels.TOTAL_MIXED_AREAS],
        empty_areas=totals[:, kernels.TOTAL_EMPTY_AREAS],
        pcp_pages=totals[:, kernels.TOTAL_PCP],
        unmovable_hotpluggable=unmovable,
        memory_blocks=_judge(memory_blocks),
    )


def _count_blocks(mem: L.Mem, start: int, end: int, order: int) -> NDArray[np.int64]:
    touched = (end - 1 >> order) - (start >> order) + 1
    counts = np.zeros((touched, kernels.BLOCK_FIELDS), np.int64)
    kernels.count_memory_blocks(mem, start, end, order, counts.reshape(-1))
    return counts


def _judge(blocks: dict[int, NDArray[np.int64]]) -> MemoryBlocks:
    rows = np.array(list(blocks.values()), np.int64).reshape(-1, kernels.BLOCK_FIELDS)
    stays = rows[:, kernels.BLOCK_RESERVED] + rows[:, kernels.BLOCK_UNMOVABLE] > 0
    held = rows[:, kernels.BLOCK_RESERVED] + rows[:, kernels.BLOCK_ALLOCATED] > 0
    return MemoryBlocks(len(rows), int((~stays).sum()), int((~held).sum()))
