"""Where everything lies: the arrays of a machine's memory, declared once.

Page arrays are indexed by page frame number (pfn) over the whole machine, holes included; they
start as zeros and so commit memory only where the simulation touches them.

Invariant: zones begin and end at multiples of the largest block (or at the edge of RAM), so a
block's buddy always lies in the block's own zone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline
from memsim.kernels.vmstat import ZONE_EVENTS
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
"""Of the list that a head stands on (free), returns to (per-CPU) or was taken from (allocated)."""
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
PAGE_ACTIVE = 1 << 18
"""On an active list, or to go to one. This and all that follows is set on a block's head only."""
PAGE_ANON = 1 << 19
"""Anonymous: needs swap to be reclaimed. A page on an LRU list without it belongs to a file."""
PAGE_MAPPED = 1 << 20
"""In a page table."""
PAGE_YOUNG = 1 << 21
"""Accessed through a page table since reclaim last looked."""
PAGE_REFERENCED = 1 << 22
PAGE_DIRTY = 1 << 23
PAGE_WRITEBACK = 1 << 24
PAGE_RECLAIM = 1 << 25
"""To be freed when its writing ends."""
PAGE_SWAPCACHE = 1 << 26
"""Anonymous, and its swap slot (Mem.swap_slot) is still its own."""
PAGE_UNEVICTABLE = 1 << 27
"""Locked by mlock."""
PAGE_PINNED = 1 << 28
"""Holds references that no page table explains: neither reclaimed nor migrated."""
PAGE_SLAB = 1 << 29
"""Reclaimable slab, on its shrinker's list."""
PAGE_ISOLATED = 1 << 30
"""Taken off its LRU list by reclaim or migration."""

# --- LRU lists ----------------------------------------------------------------------------------
(
    LRU_INACTIVE_ANON,
    LRU_ACTIVE_ANON,
    LRU_INACTIVE_FILE,
    LRU_ACTIVE_FILE,
    LRU_UNEVICTABLE,
    LRU_SLAB,
) = range(6)
"""Lists of a node in 6.1, of a zone in 2.6.14, which uses INACTIVE_FILE and ACTIVE_FILE for all
user pages. LRU_SLAB is the shrinkers' list of reclaimable slab pages."""
NR_LRU_LISTS = 6
PRIVATE_ISOLATED, PRIVATE_SKIPPED = range(2)
"""Lists that reclaim has of its own while it works: pages it looks at, pages it passes over."""
NR_PRIVATE_LISTS = 2

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
Z_LRU = Z_NUMA + 5
"""Pages of the zone on each LRU list (LRU_*)."""
Z_NR_ISOLATED = Z_LRU + NR_LRU_LISTS
"""Isolated pages: anonymous ones, then those of files."""
Z_NR_DIRTY = Z_NR_ISOLATED + 2
Z_NR_WRITEBACK = Z_NR_DIRTY + 1
Z_NR_MAPPED = Z_NR_WRITEBACK + 1
"""Mapped pages, anonymous or of files."""
Z_COMPACT = Z_NR_MAPPED + 1
"""COMPACT_*: where scanners stopped, and deferral."""
(
    COMPACT_MIGRATE_ASYNC_PFN,
    COMPACT_MIGRATE_SYNC_PFN,
    COMPACT_FREE_PFN,
    COMPACT_INIT_MIGRATE_PFN,
    COMPACT_INIT_FREE_PFN,
    COMPACT_CONSIDERED,
    COMPACT_DEFER_SHIFT,
    COMPACT_ORDER_FAILED,
    COMPACT_BLOCKSKIP_FLUSH,
) = range(9)
Z_KSWAPD_BOOST, Z_RECLAIM_ACTIVE = Z_COMPACT + 9, Z_COMPACT + 10
"""The boost when kswapd's present run began; 1 while it balances the zone (short per-CPU lists)."""
Z_SCAN = Z_RECLAIM_ACTIVE + 1
"""SCAN_*: what reclaim of 2.6.14 remembers of a zone."""
(
    SCAN_NR_ACTIVE,
    SCAN_NR_INACTIVE,
    SCAN_PREV_PRIORITY,
    SCAN_TEMP_PRIORITY,
    SCAN_PAGES_SCANNED,
    SCAN_ALL_UNRECLAIMABLE,
) = range(6)
Z_PRESENT = Z_SCAN + 6
"""Pages of RAM, also those that the allocator never got."""
Z_VMSTAT = Z_PRESENT + 1
"""Event counters of the zone, see ZONE_EVENTS."""
ZONE_FIELDS = 256
assert Z_VMSTAT + len(ZONE_EVENTS) <= ZONE_FIELDS

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
R_PAGE = 1
"""Page state that the allocation gets: mobility, and what kind of page it is (PAGE_*)."""
R_HIGHEST_ZONE = 2
R_FLAGS = 3
R_NODE = 4
"""Node whose zonelist is walked, -1: the node of the requesting CPU."""
R_NODEMASK = 5
R_WAITERS, R_WAITED = 6, 7
"""Processes that wait for such requests, and what they have waited since anybody took note."""
R_ACCESSES, R_REMOTE_ACCESSES, R_ACCESS_PS, R_SLOW_ACCESSES, R_ACCESS_WAIT_NS = 8, 9, 10, 11, 12
"""Accesses (OP_TOUCH), those to another node's memory, what all cost (picoseconds), those to a node
of slower memory, and how long all waited for their pages (ns)."""
REQUEST_FIELDS = 13

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
REQ_SLAB = 1 << 10
"""Reclaimable slab: goes onto the shrinkers' list."""
REQ_NORETRY = 1 << 11
REQ_RETRY_MAYFAIL = 1 << 12
REQ_NOFAIL = 1 << 13
REQ_IO = 1 << 14
REQ_FS = 1 << 15
REQ_HUGE_FAULT = 1 << 16
"""A fault that asks for a huge page: if it fails, events with mm.OP_FALLBACK follow."""

# --- Others -----------------------------------------------------------------------------------
LRU_FIELDS = LRU_BATCH + 1
GONE = -(1 << 31)
"""In place of a page table entry: reclaim has freed the page, and its content is on disk."""
TRAIT_SHARED = 1
"""Traits (Mem.traits) belong to what a page holds and go with it. Mapped by several processes."""
TRAIT_NO_MIGRATE_OP = 2
"""Of a file whose file system has no migrate operation."""
TRAIT_BUFFERS = 4
"""Of a file on a block device, with buffers that can be let go."""
TRAIT_BUFFERS_IN_USE = 8
"""Has buffers that cannot be let go."""
TRAIT_LOCKED = 16
"""Somebody holds its page lock."""
TRAIT_SHMEM = 32
"""Of shared memory or tmpfs: swap takes it, a file system does not."""
TRAIT_RAMFS = 64
"""Of ramfs: always dirty, never evicted."""
TRAIT_HUGETLB = 128
"""A huge page of the hugetlb pool."""
BUFFERS_AT_HAND, BUFFERS_IN_USE = -1, -2
"""In place of a swap slot: buffers pin the page, until one such is to be moved, or for good."""
MIGRATE_STRIDE = 8
ISOLATED_PAGES = 2048
"""Room for a pageblock of pages to be moved, or for as many free pages and a block more."""


class Mem(NamedTuple):
    """All state of a machine's physical memory (N pages, Z zones, C CPUs, L nodes)."""

    state: NDArray[np.int32]
    """State of each page (PAGE_*). This, ``rmap``, ``next`` and ``prev`` are columns of one array:
    what belongs to a page lies in one cache line, as struct page does. Entry N + (p >> 10) is of
    the block of order 10 or more that p heads while that is free; list heads follow."""
    rmap: NDArray[np.int32]
    """Handle of the allocated block that a page heads."""
    next: NDArray[np.int32]
    """Links of the one list that a page is on: a free list, an LRU list, or the hugetlb pool's."""
    prev: NDArray[np.int32]
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
    page_table: NDArray[np.int32]
    """What each handle holds: pfn + 1; 0 for nothing; -(slot + 1) for a swap slot; GONE for a page
    of a file, or of slab, that reclaim has freed."""
    traits: NDArray[np.uint8]
    """TRAIT_* of what each handle holds."""
    numa_hints: NDArray[np.uint8]
    """1 where NUMA balancing wants to know of the next access, plus twice the number of the node
    (from 1) that the last such access came from."""
    swap_slot: NDArray[np.int32]
    """(N,) slot of a page with PAGE_SWAPCACHE, or BUFFERS_*."""
    swap_map: NDArray[np.int32]
    """(slots,) handle + 1 of the page that a swap slot belongs to, 0 for a free slot."""
    writeback: NDArray[np.int64]
    """(2 * capacity,) ring of pages under writeback: pfn (-1: freed meanwhile), time it ends."""
    dirtied: NDArray[np.int64]
    """(2 * capacity,) ring of the flusher's: handle of a dirty page, time when it became dirty."""
    pageblock_skip: NDArray[np.uint8]
    """(N >> 9,) compaction's skip bits, for both scanners; see compaction_skip.NEVER_SCANNED."""
    isolated: NDArray[np.int32]
    """((2 + L) * ISOLATED_PAGES,) taken by compaction: to move; free ones; each kcompactd's own."""
    nodes: NDArray[np.int64]
    """((L + 1) * NODE_FIELDS,)"""
    system: NDArray[np.int64]
    """(SYSTEM_FIELDS,)"""
    access_ps: NDArray[np.int64]
    """(L * L,) picoseconds that a CPU of one node takes to access memory of another."""
    nr_pages: int
    """N, a multiple of 1024."""
    nr_cpus: int
    nr_zones: int
    max_page_order: int
    """Order of the largest block: 10, or 12 on the ppc64 of 2005."""
    pageblock_order: int
    """Order of the unit that has a type: 9 in 6.1, ``max_page_order`` in 2005."""
    nr_nodes: int
    lru_per_zone: int
    """1 where each zone has LRU lists (2.6.14), 0 where each node has."""
    free_lists: int
    """Entry that is the head of the first free list; one per (zone, order, type) follow."""
    lru_lists: int
    """Entry that is the head of the first LRU list; the last NR_PRIVATE_LISTS are reclaim's own."""


@inline
def free_entry(m: Mem, pfn: int, order: int) -> int:
    """Return the entry that is a free block's: its first page's, or one for large blocks."""
    return pfn if order < MAX_PAGE_ORDER else m.nr_pages + (pfn >> MAX_PAGE_ORDER)


@inline
def entry_pfn(m: Mem, entry: int, order: int) -> int:
    """Return the free block whose entry that is."""
    return entry if order < MAX_PAGE_ORDER else entry - m.nr_pages << MAX_PAGE_ORDER


@inline
def sentinel(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Return the entry that is the head of a free list."""
    return m.free_lists + (z * NR_ORDERS + order) * MIGRATE_STRIDE + migratetype


@inline
def free_head(m: Mem, z: int, order: int, migratetype: int) -> int:
    """Return the first block of a free list; the list must not be empty."""
    return entry_pfn(m, int(m.next[sentinel(m, z, order, migratetype)]), order)


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
