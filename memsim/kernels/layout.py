"""Where everything lies: the arrays of a machine's memory, declared once.

Page arrays are indexed by page frame number (pfn) over the whole machine, holes included; they
start as zeros and so commit memory only where the simulation touches them.

Invariant: zones begin and end at multiples of the largest block (or at the edge of RAM), so a
block's buddy always lies in the block's own zone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline, ptr
from memsim.mm import (
    LRU_BATCH,
    MAX_NR_ZONES,
    MAX_PAGE_ORDER,
    MIGRATE_TYPES,
    NR_ORDERS,
    NR_PCP_LISTS,
    NR_WMARK,
)

# --- Page state: int32 per page -------------------------------------------------------------
FREE_ORDER_MASK = 0xF
"""Order + 1 of the free block that this page heads, 0 if it heads none."""
TYPE_SHIFT = 4
TYPE_MASK = 0x7 << TYPE_SHIFT
"""Migratetype: of the list it stands on (free head), it is returned to (head on a per-CPU list),
or it was taken from (allocated head)."""
PAGE_PCP = 1 << 7
"""Heads a block on a per-CPU list."""
PAGE_ALLOCATED = 1 << 8
"""Heads an allocated block."""
ORDER_SHIFT = 9
ORDER_MASK = 0xF << ORDER_SHIFT
"""Order of the allocated block, or of the block on a per-CPU list, that this page heads."""
PAGE_LRU = 1 << 13
"""On an LRU list; set on every page of the block."""
PAGE_LRU_PENDING = 1 << 14
"""Waits in a CPU's batch to enter an LRU list."""
MOBILITY_SHIFT = 15
MOBILITY_MASK = 0x3 << MOBILITY_SHIFT
"""The mobility (unmovable, movable, reclaimable) that the allocating gfp flags asked for."""
PAGE_RESERVED = 1 << 17
"""Never given to the buddy allocator (memory map, kernel image); of 4 MiB that are reserved as a
whole, only the mark at ``N + (p >> 10)`` is set."""

# --- Zone row: int64 ------------------------------------------------------------------------
Z_START_PFN = 0
Z_END_PFN = 1
Z_NODE = 2
Z_TYPE = 3
Z_MANAGED = 4
Z_WMARK = 5
"""Four watermarks without the boost."""
Z_BOOST = Z_WMARK + NR_WMARK
Z_BOOSTED = Z_BOOST + 1
"""ZONE_BOOSTED_WATERMARK: kswapd is to be woken when the present removal ends."""
Z_BOOST_FACTOR = Z_BOOSTED + 1
Z_NR_FREE_PAGES = Z_BOOST_FACTOR + 1
"""The zone's global counter; each CPU holds a part of it that has not been folded in."""
Z_NR_FREE_CMA = Z_NR_FREE_PAGES + 1
Z_NR_RESERVED_HIGHATOMIC = Z_NR_FREE_CMA + 1
"""Pages of pageblocks set aside: for HighAtomic requests, or by a policy's own reserve."""
Z_NR_ISOLATE_PAGEBLOCK = Z_NR_RESERVED_HIGHATOMIC + 1
Z_STAT_THRESHOLD = Z_NR_ISOLATE_PAGEBLOCK + 1
Z_NOFRAGMENT = Z_STAT_THRESHOLD + 1
"""The fast path sets ALLOC_NOFRAGMENT when this is the preferred zone."""
Z_LOWMEM_RESERVE = Z_NOFRAGMENT + 1
Z_NR_FREE = Z_LOWMEM_RESERVE + MAX_NR_ZONES
"""Listed blocks of each order, all types."""
Z_FREE_MASK = Z_NR_FREE + NR_ORDERS
"""Per type a bit for each order whose list is not empty."""
Z_NUMA = Z_FREE_MASK + MIGRATE_TYPES
"""numa_hit, numa_miss, numa_foreign, numa_local, numa_other."""
NUMA_HIT, NUMA_MISS, NUMA_FOREIGN, NUMA_LOCAL, NUMA_OTHER = range(5)
Z_VMSTAT = Z_NUMA + 5
"""Event counters of the zone, see ZONE_EVENTS."""
ZONE_EVENTS = (
    "pgalloc",
    "pgfree",
    "extfrag_events",
    "extfrag_fragmenting",
    "extfrag_change_ownership",
    "pageblocks_claimed",
    "pages_stolen",
    "list_probes",
    "pcp_refills",
    "pcp_drained_blocks",
    "watermark_boosts",
    "highatomic_reserved_blocks",
)
(
    PGALLOC,
    PGFREE,
    EXTFRAG_EVENTS,
    EXTFRAG_FRAGMENTING,
    EXTFRAG_CHANGE_OWNERSHIP,
    PAGEBLOCKS_CLAIMED,
    PAGES_STOLEN,
    LIST_PROBES,
    PCP_REFILLS,
    PCP_DRAINED_BLOCKS,
    WATERMARK_BOOSTS,
    HIGHATOMIC_RESERVED_BLOCKS,
) = range(len(ZONE_EVENTS))
ZONE_FIELDS = 128
assert Z_VMSTAT + len(ZONE_EVENTS) <= ZONE_FIELDS

# --- Machine-wide counters: int64 -------------------------------------------------------------
SYSTEM_EVENTS = (
    "alloc_success",
    "alloc_nopage",
    "alloc_needs_reclaim",
    "slowpath",
    "kswapd_wakeups",
    "frees_not_held",
)
(
    ALLOC_SUCCESS,
    ALLOC_NOPAGE,
    ALLOC_NEEDS_RECLAIM,
    SLOWPATH,
    KSWAPD_WAKEUPS,
    FREES_NOT_HELD,
) = range(len(SYSTEM_EVENTS))

# --- Per-CPU lists: int64 row per (zone, CPU) -------------------------------------------------
P_COUNT = 0
P_HIGH = 1
P_BATCH = 2
P_FREE_FACTOR = 3
P_STAT_DIFF = 4
"""vm_stat_diff[NR_FREE_PAGES]: this CPU's part of the zone's free count."""
P_CMA_DIFF = 5
"""vm_stat_diff[NR_FREE_CMA_PAGES]."""
P_LOW = 6
"""2.6.14: pages at which a hot list is refilled; P_HIGH and P_BATCH are those of hot lists,
and each list is held against them by itself."""
P_COLD_HIGH = 7
P_COLD_BATCH = 8
P_LISTS = 9
"""NR_PCP_LISTS groups of (head, length, offset in rings, capacity - 1); in 2.6.14 the first four
are two hot and two cold ones (PolicyTables.pcp_of)."""
PCP_FIELDS = P_LISTS + 4 * NR_PCP_LISTS

# --- Request row: int64 -----------------------------------------------------------------------
R_MIGRATETYPE = 0
R_MOBILITY = 1
R_HIGHEST_ZONE = 2
R_FLAGS = 3
R_NODE = 4
"""Node whose zonelist is walked, -1: the node of the requesting CPU."""
R_NODEMASK = 5
REQUEST_FIELDS = 6

REQ_HIGH = 1
REQ_ATOMIC = 2
REQ_DIRECT_RECLAIM = 4
REQ_KSWAPD_RECLAIM = 8
REQ_NOMEMALLOC = 16
REQ_MEMALLOC = 32
REQ_THISNODE = 64
REQ_LRU = 128
REQ_NO_CMA = 256
REQ_COLD = 512

# --- Log of the trace events that a batch caused: int32 rows ------------------------------------
LOG_FIELDS = 8
"""event of the batch, kind (LOG_*), pfn, then: zone_locked order, migratetype, percpu_refill;
drain order, migratetype; extfrag alloc_order, alloc_migratetype, fallback_order,
fallback_migratetype, change_ownership."""
LOG_ZONE_LOCKED, LOG_PCPU_DRAIN, LOG_EXTFRAG = range(3)
LOG_USED, LOG_CAPACITY, LOG_HEADROOM, LOG_EVENT = range(4)
"""Fields of ``log_cursor``, in rows; a batch stops where fewer than LOG_HEADROOM rows are left."""

LRU_FIELDS = LRU_BATCH + 1
MIGRATE_STRIDE = 8


class Mem(NamedTuple):
    """All state of a machine's physical memory (N pages, Z zones, C CPUs, L nodes)."""

    links: NDArray[np.int32]
    """Free-list links. A block of order < 10 at pfn p uses next at p & ~1 and prev at p | 1 (only
    one page of an order-0 buddy pair can head a free block); those of order 10 and more follow at
    N + 2 * (p >> 10), then a sentinel pair per (zone, order, type)."""
    state: NDArray[np.int32]
    """(N + N/1024,) page state; free blocks of order 10 and more at N + (p >> 10)."""
    rmap: NDArray[np.int32]
    """(N,) handle of the allocated block that the page heads."""
    pageblocks: NDArray[np.uint8]
    """(N >> pageblock_order,) migratetype of each pageblock."""
    zone_of: NDArray[np.uint8]
    """(N/1024,) zone of each 4 MiB, 255 where there is none."""
    zones: NDArray[np.int64]
    """(Z * ZONE_FIELDS,)"""
    pcps: NDArray[np.int64]
    """(Z * C * PCP_FIELDS,)"""
    rings: NDArray[np.int32]
    """Ring buffers of the per-CPU lists: pfns."""
    zonelists: NDArray[np.int32]
    """(2 * L * (Z + 1),) per node the FALLBACK and the NOFALLBACK list: length, then zones."""
    cpu_node: NDArray[np.int32]
    """(C,) node of each CPU."""
    lru_batches: NDArray[np.int32]
    """(C * LRU_FIELDS,) length, then pfns that wait to enter an LRU list."""
    events: NDArray[np.int64]
    """Machine-wide counters, see SYSTEM_EVENTS."""
    log: NDArray[np.int32]
    log_cursor: NDArray[np.int64]
    nr_pages: int
    """N, a multiple of 1024."""
    nr_cpus: int
    nr_zones: int
    max_page_order: int
    """Order of the largest block: 10, or 12 on the ppc64 of 2005."""
    pageblock_order: int
    """Order of the unit that has a type: 9 in 6.1, ``max_page_order`` in 2005."""


@inline
def pointers(mem: Mem) -> Mem:
    """Take the arrays' element pointers once, at the top of a kernel."""
    return Mem(
        ptr(mem.links),
        ptr(mem.state),
        ptr(mem.rmap),
        ptr(mem.pageblocks),
        ptr(mem.zone_of),
        ptr(mem.zones),
        ptr(mem.pcps),
        ptr(mem.rings),
        ptr(mem.zonelists),
        ptr(mem.cpu_node),
        ptr(mem.lru_batches),
        ptr(mem.events),
        ptr(mem.log),
        ptr(mem.log_cursor),
        mem.nr_pages,
        mem.nr_cpus,
        mem.nr_zones,
        mem.max_page_order,
        mem.pageblock_order,
    )


@inline
def link_slot(m: Mem, pfn: int, order: int) -> int:
    """Say where the links of a block lie."""
    return pfn if order < MAX_PAGE_ORDER else m.nr_pages + (pfn >> MAX_PAGE_ORDER << 1)


@inline
def state_slot(m: Mem, pfn: int, order: int) -> int:
    """Say where the free mark of a block lies."""
    return pfn if order < MAX_PAGE_ORDER else m.nr_pages + (pfn >> MAX_PAGE_ORDER)


@inline
def sentinel(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Say where the head of a free list lies."""
    first = m.nr_pages + (m.nr_pages >> MAX_PAGE_ORDER << 1)
    return first + 2 * ((z * NR_ORDERS + order) * MIGRATE_STRIDE + migratetype)


@inline
def free_head(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Return the first block of a free list; the list must not be empty."""
    v = int(m.links[sentinel(m, z, order, migratetype)])
    return v if order < MAX_PAGE_ORDER else (v - m.nr_pages) >> 1 << MAX_PAGE_ORDER


@inline
def free_mask(m: Mem, z: int, migratetype: int) -> int:
    """Return the orders of a type whose lists are not empty, as bits."""
    return int(m.zones[z * ZONE_FIELDS + Z_FREE_MASK + migratetype])


@inline
def page_zone(m: Mem, pfn: int) -> int:
    """Return the zone of a page."""
    return int(m.zone_of[pfn >> MAX_PAGE_ORDER])


@inline
def pageblock_type(m: Mem, pfn: int) -> int:
    """Return the migratetype of the pageblock that holds a page."""
    return int(m.pageblocks[pfn >> m.pageblock_order])


@inline
def page_type(m: Mem, pfn: int) -> int:
    """Return the type that a page head remembers (pcppage_migratetype)."""
    return (int(m.state[pfn]) & TYPE_MASK) >> TYPE_SHIFT


@inline
def zone_get(m: Mem, z: int, field: int) -> int:
    """Read a field of a zone."""
    return int(m.zones[z * ZONE_FIELDS + field])


@inline
def zone_set(m: Mem, z: int, field: int, value: int) -> None:
    """Write a field of a zone."""
    m.zones[z * ZONE_FIELDS + field] = value


@inline
def zone_add(m: Mem, z: int, field: int, value: int) -> None:
    """Add to a field of a zone."""
    m.zones[z * ZONE_FIELDS + field] += value


@inline
def keeps_log(m: Mem) -> bool:
    """Say whether trace events are logged; then every page is handled by itself."""
    return int(m.log_cursor[LOG_CAPACITY]) > 0


@inline
def log_event(
    m: Mem, kind: int, pfn: int, a: int, b: int, c: int = 0, d: int = 0, e: int = 0
) -> None:
    """Write a row of the log where one is kept."""
    row = int(m.log_cursor[LOG_USED])
    if row < int(m.log_cursor[LOG_CAPACITY]):
        at = row * LOG_FIELDS
        m.log[at] = m.log_cursor[LOG_EVENT]
        m.log[at + 1] = kind
        m.log[at + 2] = pfn
        m.log[at + 3] = a
        m.log[at + 4] = b
        m.log[at + 5] = c
        m.log[at + 6] = d
        m.log[at + 7] = e
        m.log_cursor[LOG_USED] = row + 1


def new_links(nr_pages: int, nr_zones: int) -> NDArray[np.int32]:
    """Return links with every free list empty (each sentinel points at itself)."""
    first = nr_pages + (nr_pages >> MAX_PAGE_ORDER << 1)
    n = 2 * nr_zones * NR_ORDERS * MIGRATE_STRIDE
    links: NDArray[Any] = np.zeros(first + n, np.int32)
    links[first:] = np.repeat(np.arange(first, first + n, 2), 2)
    return links
