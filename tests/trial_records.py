"""Trial records in which a test sets only what it is about."""

import numpy as np

from memsim.kernels.vmstat import SYSTEM_EVENTS, ZONE_EVENTS
from memsim.memory import NUMA_NAMES
from memsim.mm import MIGRATE_TYPES, NR_ORDERS, ZONE_NAMES, Migratetype, Status
from memsim.schema import Census, MemoryBlocks, Probes, TrialRecord, ZoneInfo

COUNTERS = (
    *NUMA_NAMES,
    *(name for name in ZONE_EVENTS if name != "pgalloc"),
    *(f"pgalloc_{zone.lower()}" for zone in ZONE_NAMES),
    *SYSTEM_EVENTS,
    "nr_free_pages",
)


def blocks(counts):
    """Free blocks by order from {order: count}."""
    found = np.zeros(NR_ORDERS, np.int64)
    for order, count in counts.items():
        found[order] = count
    return found


def record(
    free=({},),
    probes=(),
    pageblocks=None,
    mixed=0,
    mixed_areas=0,
    empty_areas=0,
    unmovable=0,
    hotpluggable=0,
    memory_blocks=(0, 0, 0),
    max_page_order=10,
    pageblock_order=9,
    old_types=None,
    **vmstat,
):
    """``free`` is {order: count} for each zone, ``probes`` are (order, status)."""
    n = len(free)
    lists = np.zeros((n, NR_ORDERS, MIGRATE_TYPES), np.int64)
    for z, counts in enumerate(free):
        lists[z, :, z % MIGRATE_TYPES] = blocks(counts)
    types = np.zeros((n, MIGRATE_TYPES), np.int64)
    for name, count in (pageblocks or {}).items():
        types[0, Migratetype[name]] = count
    first = np.zeros(n, np.int64)
    first[0] = 1
    order, status = np.array(probes, np.int64).reshape(-1, 2).T
    zero = np.zeros(len(order), np.int64)
    return TrialRecord(
        zones=tuple(
            ZoneInfo(z, "Normal", z << 18, 1 << 18, 1 << 18, 1 << 18, hotpluggable * (z == 0))
            for z in range(n)
        ),
        vmstat={name: vmstat.pop(name, 0) for name in COUNTERS} | vmstat,
        zone_vmstat=({},) * n,
        census=Census(
            free_blocks=lists,
            pageblocks=types,
            mixed_pageblocks=first * mixed,
            mixed_areas=first * mixed_areas,
            empty_areas=first * empty_areas,
            pcp_pages=first * 0,
            unmovable_hotpluggable=first * unmovable,
            memory_blocks=MemoryBlocks(*memory_blocks),
        ),
        probes=Probes(
            zero,
            order,
            zero,
            zero,
            zero,
            status.astype(np.uint8),
            zero.astype(np.uint8),
            zero.astype(np.int16),
        ),
        probe_requests=(),
        probe_phases=(),
        notes=(),
        max_page_order=max_page_order,
        pageblock_order=pageblock_order,
        memory_block_size=128 << 20,
        old_types=old_types,
    )


OK, NOPAGE, NEEDS_RECLAIM = Status.OK, Status.NOPAGE, Status.NEEDS_RECLAIM
