"""What /proc/zoneinfo and /proc/vmstat say of how things stand, as far as memsim knows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.lru_invariants import allocated_heads

LRU_NAMES = ("inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable")
Gauges = dict[str, int]


def zone_gauges(memory: Memory, zone: int) -> Gauges:
    """Return a zone's gauges and NUMA counters (spec 11.1)."""
    field = memory.zone_field
    return {
        "nr_free_pages": memory.nr_free_pages(zone),
        **{f"nr_zone_{name}": field(zone, L.Z_LRU + i) for i, name in enumerate(LRU_NAMES)},
        "nr_zone_write_pending": field(zone, L.Z_NR_DIRTY) + field(zone, L.Z_NR_WRITEBACK),
        "nr_mlock": _mlocked(memory, zone),
        "nr_free_cma": memory.nr_free_cma(zone),
        **memory.zone_vmstat()[zone],
    }


def node_gauges(memory: Memory, zones: Iterable[int]) -> Gauges:
    """Return the gauges of a node, or with all zones those of the machine (spec 11.2)."""
    mine = list(zones)

    def total(field: int) -> int:
        return sum(memory.zone_field(z, field) for z in mine)

    return {
        **{f"nr_{name}": total(L.Z_LRU + i) for i, name in enumerate(LRU_NAMES)},
        "nr_isolated_anon": total(L.Z_NR_ISOLATED),
        "nr_isolated_file": total(L.Z_NR_ISOLATED + 1),
        "nr_dirty": total(L.Z_NR_DIRTY),
        "nr_writeback": total(L.Z_NR_WRITEBACK),
    }


def lines(gauges: Gauges, indent: str = "") -> Iterator[str]:
    """Write gauges as /proc/zoneinfo does."""
    return (f"{indent}{name:<12} {value}" for name, value in gauges.items())


def _mlocked(memory: Memory, zone: int) -> int:
    heads = allocated_heads(memory)
    locked = (heads.zone == zone) & (heads.state & L.PAGE_UNEVICTABLE != 0)
    return int(np.sum(heads.pages[locked]))
