"""A count of all of a machine's memory at one instant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import census as kernels
from memsim.kernels import layout as L
from memsim.kernels import vmstat
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import MIGRATE_TYPES, NR_ORDERS, PAGE_SIZE
from memsim.schema import Census, MemoryBlocks

NUMA_NAMES = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")


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
            counts = count_blocks(mem, start, end, memory_block_order)
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


def removable_bytes(mem: L.Mem, setup: MachineSetup, zone: ZoneSetup, order: int) -> int:
    """Count what of a zone lies in memory blocks that are meant to be removed and could go."""
    pages = 0
    for start, end in hotpluggable(setup, zone):
        counts = count_blocks(mem, start, end, order)
        stays = counts[:, kernels.BLOCK_RESERVED] + counts[:, kernels.BLOCK_UNMOVABLE] > 0
        first = (start >> order) + np.flatnonzero(~stays)
        begins, ends = np.maximum(first << order, start), np.minimum(first + 1 << order, end)
        pages += int((ends - begins).sum())
    return pages * PAGE_SIZE


def obstacles_and_pages(mem: L.Mem, start: int, end: int) -> tuple[int, int]:
    """Count the pages in [start, end) that cannot be moved, and all that are allocated."""
    order = (end - start).bit_length() - 1
    counts = count_blocks(mem, start, end, order).sum(axis=0)
    stays = int(counts[kernels.BLOCK_UNMOVABLE] + counts[kernels.BLOCK_RESERVED])
    return stays, int(counts[kernels.BLOCK_ALLOCATED])


def count_blocks(mem: L.Mem, start: int, end: int, order: int) -> NDArray[np.int64]:
    """Count what each aligned block of an order holds, from the one with page ``start`` on.

    Returns (blocks, BLOCK_FIELDS), see kernels.census.
    """
    touched = (end - 1 >> order) - (start >> order) + 1
    counts = np.zeros((touched, kernels.BLOCK_FIELDS), np.int64)
    kernels.count_memory_blocks(mem, start, end, order, counts.reshape(-1))
    return counts


def _judge(blocks: dict[int, NDArray[np.int64]]) -> MemoryBlocks:
    rows = np.array(list(blocks.values()), np.int64).reshape(-1, kernels.BLOCK_FIELDS)
    stays = rows[:, kernels.BLOCK_RESERVED] + rows[:, kernels.BLOCK_UNMOVABLE] > 0
    held = rows[:, kernels.BLOCK_RESERVED] + rows[:, kernels.BLOCK_ALLOCATED] > 0
    return MemoryBlocks(len(rows), int((~stays).sum()), int((~held).sum()))


def count_events(mem: L.Mem, zone_names: Sequence[str]) -> dict[str, int]:
    """Return the system-wide event counters by their names in /proc/vmstat, and memsim's own."""
    zones = mem.zones.reshape(-1, L.ZONE_FIELDS)
    counters: dict[str, int] = {}
    for i, name in enumerate(NUMA_NAMES):
        counters[name] = int(zones[:, L.Z_NUMA + i].sum())
    for i, name in enumerate(vmstat.ZONE_EVENTS):
        counters[name] = int(zones[:, L.Z_VMSTAT + i].sum())
    for zone_type, name in enumerate(zone_names):
        of_type = zones[zones[:, L.Z_TYPE] == zone_type]
        counters[f"pgalloc_{name.lower()}"] = int(of_type[:, L.Z_VMSTAT + vmstat.PGALLOC].sum())
    del counters["pgalloc"]
    for i, name in enumerate(vmstat.SYSTEM_EVENTS):
        counters[name] = int(mem.events[i])
    # Compaction counts its own moves apart.
    counters["pgmigrate_success"] += counters["compact_migrated"]
    counters["pgmigrate_fail"] += counters["compact_not_migrated"]
    return counters
