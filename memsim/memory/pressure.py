"""What reclaim, swap and compaction remember, at the start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.kernels.compaction_skip import NEVER_SCANNED
from memsim.memory.setup import MachineSetup, Pressure, access_costs
from memsim.mm import PAGE_SIZE, PAGEBLOCK_ORDER, Wmark
from memsim.scenario.machine import Machine, Swap

WRITEBACK_CAPACITY = 1024
"""Pages that a device takes before it is congested; a power of two."""
MOST_DIRTIED = 1 << 20
"""Dirty pages at most that the flusher knows of."""
DIRTY_BACKGROUND_RATIO = 10
"""Percent of memory that may be dirty before the flusher writes (dirty_background_ratio)."""
PAGE_CLUSTER_FROM = 4096
"""Pages of memory from which on 2.6.14 reads eight slots of swap at a time (swap_setup)."""


def pressure_of(machine: Machine) -> Pressure:
    """Say how a scenario's machine reclaims, swaps and compacts, and what that costs."""
    vm, costs, swap = machine.vm, machine.costs, machine.swap or Swap(size=0)
    return Pressure(
        swappiness=vm.swappiness,
        vfs_cache_pressure=vm.vfs_cache_pressure,
        compaction_proactiveness=vm.compaction_proactiveness,
        extfrag_threshold=vm.extfrag_threshold,
        compact_unevictable_allowed=vm.compact_unevictable_allowed,
        swap_slots=swap.size // PAGE_SIZE,
        swap_read_ns=swap.read,
        swap_write_ns=swap.write,
        file_read_ns=costs.file_read,
        file_write_ns=costs.file_write,
        seek_ns=costs.seek,
        scan_ns=costs.scan,
        reclaim_ns=costs.reclaim,
        access_ns=costs.access,
        migrate_ns=costs.page_copy + costs.page_bookkeeping,
        page_copy_ns=costs.page_copy,
        tlb_flush_ns=costs.tlb_flush,
        tlb_flush_per_cpu_ns=costs.tlb_flush_per_cpu,
    )


def pressure_arrays(setup: MachineSetup, nr_pages: int) -> dict[str, Any]:
    """Return the fields of layout.Mem that only reclaim, swap and compaction use."""
    slots = setup.pressure.swap_slots if setup.pressure else 0
    first_look = _first_look(setup)
    return {
        "swap_slot": np.zeros(nr_pages, np.int32),
        "swap_map": np.zeros(slots, np.int32),
        "writeback": np.zeros(2 * WRITEBACK_CAPACITY, np.int64),
        "dirtied": np.zeros(2 * _dirtied_capacity(setup), np.int64),
        "pageblock_skip": _skip_bits(setup, nr_pages),
        "isolated": np.zeros((2 + len(setup.zonelists)) * L.ISOLATED_PAGES, np.int32),
        "nodes": _node_rows(len(setup.zonelists), first_look),
        "system": _system_row(setup, first_look),
        "access_ps": access_costs(setup),
    }


def dirty_background(setup: MachineSetup) -> int:
    """Return the dirty pages beyond which the flusher writes at once."""
    return sum(zone.managed for zone in setup.zones) * DIRTY_BACKGROUND_RATIO // 100


def total_memory(setup: MachineSetup) -> int:
    """Return the pages above the high marks of all zones, the whole that 2.6.14 takes shares of."""
    return sum(max(0, z.present - z.watermark[Wmark.HIGH]) for z in setup.zones)


def _dirtied_capacity(setup: MachineSetup) -> int:
    """Return a power of two: room for every page of a machine that is not too large for that."""
    managed = sum(zone.managed for zone in setup.zones)
    return 1 << min(managed, MOST_DIRTIED).bit_length()


def _first_look(setup: MachineSetup) -> int:
    """Return when proactive compaction looks at the nodes' scores first."""
    old = setup.mechanism == "linux-2.6.14"
    if old or setup.pressure is None or setup.pressure.compaction_proactiveness == 0:
        return S.FOREVER
    return S.PROACTIVE_INTERVAL_NS


def _skip_bits(setup: MachineSetup, nr_pages: int) -> NDArray[np.uint8]:
    bits = np.zeros(nr_pages >> PAGEBLOCK_ORDER, np.uint8)
    for zone in setup.zones:
        bits[list(zone.partial_pageblocks)] = NEVER_SCANNED
    return bits


def _node_rows(nodes: int, first_look: int) -> NDArray[np.int64]:
    rows = np.zeros((nodes + 1, S.NODE_FIELDS), np.int64)
    rows[:, S.N_KSWAPD_DUE] = rows[:, S.N_KCOMPACTD_DUE] = S.FOREVER
    rows[:, S.N_PROACTIVE_DUE] = first_look
    return rows.reshape(-1)


def _system_row(setup: MachineSetup, first_look: int) -> NDArray[np.int64]:
    row = np.zeros(S.SYSTEM_FIELDS, np.int64)
    p = setup.pressure or Pressure()
    row[S.S_PRESSURE] = setup.pressure is not None
    row[S.S_NEXT_DUE] = first_look
    row[S.S_FLUSHER_DUE] = S.FOREVER
    row[S.S_DIRTIED_CAPACITY] = _dirtied_capacity(setup)
    managed = sum(zone.managed for zone in setup.zones)
    row[S.S_DIRTY_BACKGROUND] = dirty_background(setup)
    row[S.S_OOM_MAY_KILL] = 1
    row[S.S_TOTAL_MEMORY] = total_memory(setup)
    row[S.S_PAGE_CLUSTER] = 8 if managed >= PAGE_CLUSTER_FROM else 4
    row[S.S_WRITEBACK_CAPACITY] = WRITEBACK_CAPACITY
    for field, value in (
        (S.S_SWAPPINESS, p.swappiness),
        (S.S_VFS_CACHE_PRESSURE, p.vfs_cache_pressure),
        (S.S_COMPACTION_PROACTIVENESS, p.compaction_proactiveness),
        (S.S_EXTFRAG_THRESHOLD, p.extfrag_threshold),
        (S.S_COMPACT_UNEVICTABLE_ALLOWED, p.compact_unevictable_allowed),
        (S.S_LUMPY, p.lumpy),
        (S.S_SWAP_SLOTS, p.swap_slots),
        (S.S_SWAP_FREE, p.swap_slots),
        (S.S_SWAP_READ_NS, p.swap_read_ns),
        (S.S_SWAP_WRITE_NS, p.swap_write_ns),
        (S.S_FILE_READ_NS, p.file_read_ns),
        (S.S_FILE_WRITE_NS, p.file_write_ns),
        (S.S_SEEK_NS, p.seek_ns),
        (S.S_SCAN_NS, p.scan_ns),
        (S.S_RECLAIM_NS, p.reclaim_ns),
        (S.S_MIGRATE_NS, p.migrate_ns),
        (S.S_SLAB_OBJECTS, p.slab_objects),
        (S.S_SHARED_CPU, p.shared_cpu),
    ):
        row[field] = value
    return row
