"""What the kernel remembers of a node and of the system: rows of ``Mem.nodes``, ``Mem.system``.

Daemons are due at instants of simulated time; the system row has the earliest of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import inline
from memsim.kernels.layout import R_WAITED, R_WAITERS, Mem
from memsim.kernels.vmstat import STALL_MODEL_NS

# --- Node row: int64 ----------------------------------------------------------------------------
FOREVER = (1 << 63) - 1
"""A due time that never comes."""
N_ANON_COST = 0
N_FILE_COST = 1
N_KSWAPD_DUE = 2
"""When kswapd takes its next step; FOREVER while it sleeps."""
N_KSWAPD_ORDER = 3
N_KSWAPD_HIGHEST_ZONE = 4
N_KSWAPD_PRIORITY = 5
N_KSWAPD_FAILURES = 6
N_KSWAPD_STAGE = 7
"""What kswapd does next, see ``kswapd.STAGE_*``."""
N_KSWAPD_ALLOC_ORDER = 8
"""The order that it was woken for."""
N_KSWAPD_BOOST = 9
"""Pages still to be reclaimed on account of boosted watermarks."""
N_KSWAPD_BOOSTED = 10
"""1: some watermark was boosted when this run began."""
N_PGDAT_DIRTY = 11
"""1: reclaim has met dirty pages of files only; kswapd may now write them itself."""
N_PGDAT_WRITEBACK = 12
"""1: reclaim has met only pages that are being written."""
N_DEMOTION_NODE = 13
"""The slower node that reclaim moves pages to, plus 1; 0: there is none."""
N_DEMOTION_MASK = 14
"""All slower nodes, as bits."""
N_HUGETLB_TOTAL = 15
"""Huge pages of the node's pool, free or in use."""
N_KCOMPACTD_DUE = 16
"""When kcompactd takes its next step; FOREVER while it sleeps."""
N_KCOMPACTD_ORDER = 17
N_KCOMPACTD_HIGHEST_ZONE = 18
N_PROACTIVE_DUE = 19
"""When proactive compaction looks at the node's score next."""
N_KSWAPD_WOKE = 20
"""1: kswapd is awake, or was since the proactive round at hand began."""
N_KCOMPACTD = 21
"""Eight more fields of kcompactd's own."""
N_HUGETLB_FREE = 30
N_HUGETLB_FIRST = 31
"""The pool's free huge pages, and the first of them, plus 1."""
PROACTIVE_INTERVAL_NS = 500_000_000
"""Between two looks at a node's score."""
N_SCAN_CONTROL = 32
"""The fields of ``scan_control``: kswapd's; those of the row after the last node's are the direct
reclaimer's."""
N_KSWAPD_2005 = N_SCAN_CONTROL
"""In 2.6.14 the fields of its kswapd."""
N_COMPACT = 64
"""kcompactd's run over a zone while it is put aside (compact_control.CC_*)."""
N_LRU_STATS = 96
"""Pages on the node's four lists that reclaim ages and empties, when they were last summed up."""
NODE_FIELDS = 100

# --- System row: int64 --------------------------------------------------------------------------
S_PRESSURE = 0
"""1: daemons run, and requests reclaim and compact. 0: they end with Status.NEEDS_RECLAIM."""
S_NOW = 1
"""Time of the event that is carried out."""
S_NEXT_DUE = 2
"""The earliest instant at which a daemon or the device has something to do."""
S_STALL = 3
"""What the request at hand has waited so far: its own clock is S_NOW + S_STALL."""
S_OOM = 4
"""1: the batch stopped because a request needs an OOM kill."""
S_OOM_MAY_KILL = 5
"""0: nobody is left to be killed; a request that would kill fails instead."""
S_FALLBACK = 6
"""1: the last huge page asked for was not to be had, so events with mm.OP_FALLBACK count."""
S_SWAPPINESS = 7
S_VFS_CACHE_PRESSURE = 8
S_COMPACTION_PROACTIVENESS = 9
S_EXTFRAG_THRESHOLD = 10
S_COMPACT_UNEVICTABLE_ALLOWED = 11
S_LUMPY = 12
"""1: lumpy reclaim (2.6.21)."""
S_SWAP_SLOTS = 13
S_SWAP_FREE = 14
S_SWAP_NEXT = 15
"""Where the search for a free slot goes on."""
S_SWAP_READ_NS = 16
S_SWAP_WRITE_NS = 17
S_FILE_READ_NS = 18
S_FILE_WRITE_NS = 19
S_SCAN_NS = 20
"""Looking at one page: reclaim's and compaction's scanners."""
S_RECLAIM_NS = 21
"""Unmapping and freeing one page."""
S_MIGRATE_NS = 22
"""Copying one page, and its bookkeeping."""
S_WRITES_END = 23
"""When the device has written all that was given to it."""
S_WRITEBACK_HEAD = 24
S_WRITEBACK_LENGTH = 25
S_WHY = 26
"""mm.WhyNot of the last request that failed."""
S_EXTFRAG_INDEX = 27
"""Fragmentation index (spec 6.9) of the preferred zone when the last request failed."""
S_SLAB_OBJECTS = 28
"""Objects on a page of reclaimable slab."""
S_SLAB_SCAN = 29
"""Objects that the shrinkers of 2.6.14 are still to scan."""
S_WRITEBACK_CAPACITY = 30
S_SWAP_LOWEST = 31
"""No slot below this one is free."""
S_SWAP_CLUSTER = 32
"""Slots that may still be taken after S_SWAP_NEXT before a new place is looked for."""
S_DIRTIED_HEAD = 33
S_DIRTIED_LENGTH = 34
S_DIRTIED_CAPACITY = 35
S_DIRTY_BACKGROUND = 36
"""Dirty pages of files beyond which the flusher writes at once."""
S_FLUSHER_DUE = 37
S_FLUSH_BEFORE = 38
"""The flusher writes what became dirty before this instant, whatever its age."""
S_BUFFERS_LET_GO = 39
"""1: no CPU keeps buffers at hand any more (layout.BUFFERS_AT_HAND)."""
S_STATS_DUE = 46
"""When the sizes of LRU lists are summed up again, whatever has happened."""
S_STATS_UPDATES = 47
"""Changes of counters of memory until they were last summed up."""
S_TOTAL_MEMORY = 48
"""2.6.14: pages above the high marks of all zones, the whole that shares are taken of."""
S_PAGE_CLUSTER = 49
"""2.6.14: slots that are read from swap together."""
S_OWN_2005 = 50
"""From here on fields that only one module of 2.6.14 uses."""
S_SHARED_CPU = 62
"""1: daemons share the requesters' only CPU, and one that is woken goes first."""
S_MAY_MIX = 63
"""1: policy ``ideal`` lets types into each other's pageblocks, for there is nothing else left."""
S_SEEK_NS = 40
"""Before a page is read that does not go on with one of the last sequences of reads."""
S_READS = 41
"""How many sequences of reads there have been."""
S_READS_END = 42
"""When the device has read all that somebody waits for."""
S_WAITERS = 43
"""R_WAITERS of the request at hand."""
S_WAITED = 44
"""What streams have fallen behind since anybody took note (ns)."""
S_LRU_CACHE_DISABLED = 45
"""How many want pages to enter LRU lists at once, without waiting in a CPU's batch."""
S_COMPACT = 64
"""The run of compaction at hand (compact_control.CC_*)."""
S_READ_AT = 96
"""Where the last READ_SEQUENCES sequences of reads have come to on the device."""
READ_SEQUENCES = 8
S_SPARE_HANDLE, S_SPARE_END = S_READ_AT + READ_SEQUENCES, S_READ_AT + READ_SEQUENCES + 1
"""Handles that pieces of blocks may take which are split: the next one, and the end of them."""
S_MIGRATED = S_SPARE_END + 1
"""Pages that the call of migrate_pages at hand has moved; 0 between calls."""
S_MIGRATION = S_MIGRATED + 1
"""What else it has come to (migrate_pages.MIG_*)."""
NR_MIGRATION_FIELDS = 5
S_NUMA_BALANCING = S_MIGRATION + NR_MIGRATION_FIELDS
"""1: some pages may have NUMA hints (Mem.numa_hints)."""
S_HUGETLB_ISOLATED = S_NUMA_BALANCING + 1
"""1: blocks of the hugetlb pool may be among those that are to be moved."""
S_HUGETLB_HANDLE = S_HUGETLB_ISOLATED + 1
"""The handle that holds free huge pages; 0: there is no pool."""
S_HUGETLB_RESERVED = S_HUGETLB_HANDLE + 1
"""Huge pages that somebody has mapped and not used yet."""
S_NO_TRAITS = S_HUGETLB_RESERVED + 1
"""1: no handle has traits, as the call of migrate_pages at hand has found when it began."""
SYSTEM_FIELDS = S_NO_TRAITS + 1
PACE_NS = 5_000_000
"""So far streams may fall behind before the order of what follows is looked at again."""


@inline
def due_at(m: Mem, time: int) -> None:
    """Let nothing pass ``time`` without looking at what is due."""
    if time < int(m.system[S_NEXT_DUE]):
        m.system[S_NEXT_DUE] = time


@inline
def clock(m: Mem) -> int:
    """Return the instant that whoever acts has come to: a request's own clock, or a daemon's."""
    return int(m.system[S_NOW]) + int(m.system[S_STALL])


@inline
def fall_behind(m: Mem, rows: NDArray[np.int64], at: int) -> bool:
    """Note that whoever made a request waited for it; say whether it is time to look at that."""
    waiters = int(rows[at + R_WAITERS])
    if waiters == 0:
        return False
    waited = int(m.system[S_STALL]) // waiters
    rows[at + R_WAITED] += waited
    m.system[S_WAITED] += waited
    return int(m.system[S_WAITED]) >= PACE_NS


@inline
def book_stall(m: Mem, ns: int) -> None:
    """Let the request at hand wait: its own clock advances, nobody else's."""
    m.system[S_STALL] += ns
    m.events[STALL_MODEL_NS] += ns
