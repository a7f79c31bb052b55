"""How large LRU lists are, and how reclaim divides its work between anonymous pages and files.

Source: mm/vmscan.c (inactive_is_low, get_scan_count), mm/swap.c (lru_note_cost), mm/memcontrol.c
(mem_cgroup_flush_stats), Linux 6.1 (spec 7.2, 7.4).

Unlike Linux: which CPU has changed a counter of memory makes no difference, and only changes by
faults, reclaim and migration count.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    Z_LRU,
    Z_NODE,
    Z_TYPE,
    Mem,
    zone_get,
)
from memsim.kernels.system import (
    N_ANON_COST,
    N_FILE_COST,
    N_LRU_STATS,
    NODE_FIELDS,
    S_MIGRATED,
    S_STATS_DUE,
    S_STATS_UPDATES,
    clock,
)
from memsim.kernels.vmstat import (
    PGACTIVATE,
    PGDEACTIVATE,
    PGFAULT,
    PGMIGRATE_SUCCESS,
    PGREFILL,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
)
from memsim.mm import MAX_NR_ZONES

STATS_BATCH = 75
"""Changes of which a CPU tells at once: more than 64, so about so many. Sizes are summed up when
there is one batch more than CPUs (capture ``frag_nogroup``: after 148 to 152 on one CPU)."""
STATS_INTERVAL_NS = 2_000_000_000
"""So old may the sizes be at most."""


@helper
def lruvec_size(m: Mem, node: int, kind: int, highest_zone: int) -> int:
    """Count the pages on a node's list that lie in zones up to a type."""
    pages = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node and zone_get(m, z, Z_TYPE) <= highest_zone:
            pages += zone_get(m, z, Z_LRU + kind)
    return pages


@helper
def stats_updates(m: Mem) -> int:
    """Count the changes of counters of memory so far.

    A page that is looked at changes its list's twice and an event; one that is freed, the files' or
    mapped pages' instead of the list's, and an event; an aged one two lists' and two events; one
    that is moved the list's and the mapped pages' twice; one that is faulted in three. A call that
    moves pages has changed them before it ends and counts them: in capture e3 ``n2_full0`` kswapd
    ages pages of files meanwhile.
    """
    e = m.events
    scanned = int(e[PGSCAN_KSWAPD]) + int(e[PGSCAN_DIRECT])
    stolen = int(e[PGSTEAL_KSWAPD]) + int(e[PGSTEAL_DIRECT])
    aged = 3 * int(e[PGREFILL]) + int(e[PGDEACTIVATE]) + int(e[PGACTIVATE])
    moved = int(e[PGMIGRATE_SUCCESS]) + int(m.system[S_MIGRATED])
    return 3 * scanned + stolen + aged + 4 * moved + 3 * int(e[PGFAULT])


@helper
def flush_stats(m: Mem) -> None:
    """Sum up the sizes of all LRU lists, if enough has changed or they are two seconds old."""
    updates = stats_updates(m)
    few = updates - int(m.system[S_STATS_UPDATES]) < (m.nr_cpus + 1) * STATS_BATCH
    if few and clock(m) < int(m.system[S_STATS_DUE]):
        return
    m.system[S_STATS_UPDATES] = updates
    m.system[S_STATS_DUE] = clock(m) + STATS_INTERVAL_NS
    for node in range(m.nr_nodes):
        for kind in range(LRU_INACTIVE_ANON, LRU_ACTIVE_FILE + 1):
            size = lruvec_size(m, node, kind, MAX_NR_ZONES)
            m.nodes[node * NODE_FIELDS + N_LRU_STATS + kind] = size


@helper
def inactive_is_low(m: Mem, node: int, active_kind: int) -> bool:
    """Say whether a node has too few inactive pages for its active ones (spec 7.2).

    It goes by the sizes that ``flush_stats`` has summed up last: in capture ``frag_nogroup`` kswapd
    ages nothing at 8.615484, though 13 pages of files are inactive and 18 active.
    """
    at = node * NODE_FIELDS + N_LRU_STATS
    inactive = int(m.nodes[at + active_kind - 1])
    active = int(m.nodes[at + active_kind])
    gigabytes = inactive + active >> 18
    ratio = 1
    while (ratio + 1) * (ratio + 1) <= 10 * gigabytes:
        ratio += 1
    return inactive * ratio < active


@helper
def lru_note_cost(m: Mem, node: int, anon: bool, pages: int) -> None:
    """Note that reclaim of anonymous pages, or of files, has cost ``pages`` of I/O.

    Old costs count less: both are halved when they are more than a quarter of the node's lists.
    """
    at = node * NODE_FIELDS
    m.nodes[at + (N_ANON_COST if anon else N_FILE_COST)] += pages
    size = 0
    for z in range(m.nr_zones):
        if zone_get(m, z, Z_NODE) == node:
            for kind in range(LRU_INACTIVE_ANON, LRU_ACTIVE_FILE + 1):
                size += zone_get(m, z, Z_LRU + kind)
    if int(m.nodes[at + N_ANON_COST]) + int(m.nodes[at + N_FILE_COST]) > size // 4:
        m.nodes[at + N_ANON_COST] //= 2
        m.nodes[at + N_FILE_COST] //= 2


@helper
def scan_fractions(swappiness: int, anon_cost: int, file_cost: int) -> tuple[int, int]:
    """Weigh anonymous pages against files by swappiness and what their reclaim has cost.

    Only the ratio of the two numbers that it returns means something.
    """
    total = anon_cost + file_cost
    anon, file = total + anon_cost, total + file_cost
    total = anon + file
    return swappiness * (total + 1) // (anon + 1), (200 - swappiness) * (total + 1) // (file + 1)
