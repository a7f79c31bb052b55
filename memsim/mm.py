"""The kernel's own constants and enums, under the kernel's own names.

Source: include/linux/mmzone.h, include/linux/gfp_types.h, mm/internal.h (Linux 6.1, x86-64).
Bit values of gfp flags are not stable between kernels, so memsim numbers them for itself and
goes by name everywhere (see ``gfp_from_text``).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
MAX_PAGE_ORDER = 10
"""Largest buddy order, inclusive (6.1 calls the exclusive bound MAX_ORDER = 11)."""
NR_PAGE_ORDERS = MAX_PAGE_ORDER + 1
MAX_ORDER_NR_PAGES = 1 << MAX_PAGE_ORDER
PAGEBLOCK_ORDER = 9
PAGEBLOCK_NR_PAGES = 1 << PAGEBLOCK_ORDER
SECTION_ORDER = 15
SECTION_PAGES = 1 << SECTION_ORDER
"""Pages in one SPARSEMEM section (128 MiB)."""
PAGE_ALLOC_COSTLY_ORDER = 3

MIGRATE_PCPTYPES = 3
"""Types with per-CPU lists of their own: unmovable, movable, reclaimable."""
NR_LOWORDER_PCP_LISTS = MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1)
NR_PCP_LISTS = NR_LOWORDER_PCP_LISTS + 2
PCP_BATCH_SCALE_MAX = 5
LRU_BATCH = 15
"""Pages that wait on a CPU before they enter an LRU list (PAGEVEC_SIZE)."""
LRU_BATCH_2005 = 14
"""The same in 2.6.14."""
DEF_PRIORITY = 12
"""Reclaim looks first at a list's length >> DEF_PRIORITY."""
SWAP_CLUSTER_MAX = 32
"""Pages that reclaim takes off a list at a time, and is content with."""

MAX_DMA_PFN = 4096
MAX_DMA32_PFN = 1 << 20
MAX_PFN = (1 << 31) - (1 << 23)
"""Page frame numbers, and links beyond the last of them, are int32 in the kernels: 8160 GiB."""

NR_ORDERS = 13
"""Orders that any kernel has: MAX_ORDER is 11 on x86, 13 on the ppc64 of 2005."""
NR_PLACEMENT_TYPES = 4
"""Types that a placement policy may give to requests and pageblocks."""

OP_FREE = 0x80
"""Bit of an event's op that says: free the handle. The low four bits are the order."""
OP_COLD = 0x40
"""Bit of a free's op that says: the pages are not in the CPU's cache (kernels before 2.6.25)."""

OP_TOUCH = 0x40
"""Bit of an op without OP_FREE: access what the handle holds; if that is not in memory, fault it
in, or allocate it where the handle holds nothing yet."""
OP_WRITE = 0x20
"""Bit of an OP_TOUCH: the access writes."""
OP_FALLBACK = 0x10
"""Bit of an allocation: carry it out only if the last huge page that a fault asked for was not to
be had."""
OP_SERIES = 0x20
"""Bit of an allocation without OP_TOUCH: carry it out only if the handle before its own holds
something, so that a series of attempts ends with its first failure."""
ALLOC_FLAGS = OP_TOUCH | OP_WRITE | OP_FALLBACK
FREE_FLAGS = OP_FREE | OP_COLD


LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20
"""Of nodes, where firmware says nothing (include/linux/topology.h, 6.1)."""


class Migratetype(IntEnum):
    """What a pageblock, a free list or a request holds."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    CMA = 4
    ISOLATE = 5


MIGRATE_TYPES = len(Migratetype)
MIGRATETYPE_NAMES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA", "Isolate")


class ZoneType(IntEnum):
    """Zones of one node, lowest first."""

    DMA = 0
    DMA32 = 1
    NORMAL = 2
    MOVABLE = 3
    DEVICE = 4


MAX_NR_ZONES = len(ZoneType)
ZONE_NAMES = ("DMA", "DMA32", "Normal", "Movable", "Device")


class ZoneType2005(IntEnum):
    """Zones of one node in the kernels of 2005, lowest first."""

    DMA = 0
    DMA32 = 1
    NORMAL = 2
    HIGHMEM = 3
    EASYRCLM = 4


ZONE_NAMES_2005 = ("DMA", "DMA32", "Normal", "HighMem", "EasyRclm")


class Wmark(IntEnum):
    """Zone watermarks in the order of ``zone->_watermark``."""

    MIN = 0
    LOW = 1
    HIGH = 2
    PROMO = 3


NR_WMARK = len(Wmark)


class Status(IntEnum):
    """What became of one event of a batch."""

    OK = 0
    """Pages were handed out."""
    NOPAGE = 1
    """The request may not reclaim, and no zone could serve it."""
    NEEDS_RECLAIM = 2
    """The request would have gone on to reclaim or compaction."""
    FREED = 3
    """The handle's pages were freed."""
    NOT_HELD = 4
    """A free of a handle that holds nothing: its allocation failed."""
    TOUCHED = 5
    """The page was in memory."""
    SKIPPED = 6
    """Not carried out: an OP_FALLBACK that was not needed, what an OP_SERIES had left to try, or an
    event whose owner has been killed."""


class WhyStayed(IntEnum):
    """Why a page that was to be migrated is still where it was."""

    PINNED = 0
    """It holds references that no page table explains."""
    LOCKED = 1
    """Somebody else held its lock to the end."""
    WRITEBACK = 2
    """It was being written, and nobody waited for that."""
    BUFFERS = 3
    """It has buffers that cannot be let go."""
    NO_OPERATION = 4
    """Its file system cannot migrate it."""
    SHARED = 5
    """Other processes map it too, and only pages of one process were to move."""
    NOT_ON_LRU = 6
    """It is on no LRU list: the kernel's own, or under way to one."""
    NO_MEMORY = 7
    """There was no free page for it where it was to go."""
    NO_SWAP = 8
    """There was no free swap slot for it."""
    NOT_TRIED = 9
    """The call had ended before its turn came."""


class WhyNot(IntEnum):
    """Why a request failed."""

    NONE = 0
    NO_MEMORY = 1
    """Not even single pages may be had: all zones are below the mark at order 0."""
    FRAGMENTATION = 2
    """There is enough free memory, but no free block is large enough."""
    WATERMARK = 3
    """A large enough block is free, but the mark keeps the request from it."""
    DEFERRED = 4
    """Compaction is put off after failures."""
    NOT_SIMULATED = 5
    """Reclaim is switched off."""


class MigrateMode(IntEnum):
    """How long a migration waits (enum migrate_mode)."""

    ASYNC = 0
    SYNC_LIGHT = 1
    SYNC = 2


class MigrateReason(IntEnum):
    """Why pages are migrated (enum migrate_reason)."""

    COMPACTION = 0
    MEMORY_FAILURE = 1
    MEMORY_HOTPLUG = 2
    SYSCALL = 3
    MEMPOLICY_MBIND = 4
    NUMA_MISPLACED = 5
    CONTIG_RANGE = 6
    LONGTERM_PIN = 7
    DEMOTION = 8


class Unmovable(IntEnum):
    """What keeps a pageblock from being isolated (has_unmovable_pages, spec 9.3)."""

    NONE = 0
    ISOLATED = 1
    """The pageblock is isolated already."""
    CMA = 2
    """The pageblock is CMA's, and its pages are not for CMA."""
    RESERVED = 3
    """A page that the allocator never got: memory map, kernel image."""
    SLAB = 4
    """A page of reclaimable slab."""
    KERNEL = 5
    """Any other page of the kernel: slab, page table, stack, pipe."""
    LRU_BATCH = 6
    """A page of a user that waits in a CPU's batch to enter an LRU list."""
    TAKEN = 7
    """A page that somebody has taken off its LRU list."""
    COMPOUND = 8
    """A page larger than a pageblock crosses the edge of the range."""


class Use(IntEnum):
    """What an allocation is for; policies map it to a type (design: type_of_request)."""

    ANON = 0
    PAGE_CACHE = 1
    BUFFERS = 2
    EXEC = 3
    INODE = 4
    DENTRY = 5
    PAGE_TABLE = 6
    SLAB = 7
    KERNEL = 8


NR_USES = len(Use)
EASYRCLM_USES = frozenset({Use.ANON, Use.PAGE_CACHE, Use.BUFFERS, Use.EXEC})
"""What the patches of 2005 marked __GFP_EASYRCLM (spec history-2005 2.1, "Flag users")."""


class Gfp(IntFlag):
    """Flags of a request, by the kernel's names without the underscores."""

    NONE = 0
    DMA = 1 << 0
    HIGHMEM = 1 << 1
    DMA32 = 1 << 2
    MOVABLE = 1 << 3
    RECLAIMABLE = 1 << 4
    HIGH = 1 << 5
    IO = 1 << 6
    FS = 1 << 7
    ZERO = 1 << 8
    ATOMIC = 1 << 9
    DIRECT_RECLAIM = 1 << 10
    KSWAPD_RECLAIM = 1 << 11
    WRITE = 1 << 12
    NOWARN = 1 << 13
    RETRY_MAYFAIL = 1 << 14
    NOFAIL = 1 << 15
    NORETRY = 1 << 16
    MEMALLOC = 1 << 17
    COMP = 1 << 18
    NOMEMALLOC = 1 << 19
    HARDWALL = 1 << 20
    THISNODE = 1 << 21
    ACCOUNT = 1 << 22
    ZEROTAGS = 1 << 23
    SKIP_ZERO = 1 << 24
    SKIP_KASAN = 1 << 25
    NOLOCKDEP = 1 << 26
    NO_OBJ_EXT = 1 << 27
    EASYRCLM = 1 << 28
    """Easily reclaimed: user pages and some buffers (2005)."""
    COLD = 1 << 29
    """Not expected in the CPU's cache (kernels before 4.15)."""

    RECLAIM = DIRECT_RECLAIM | KSWAPD_RECLAIM


_G = Gfp
GFP_COMPOSITES: dict[str, Gfp] = {
    "GFP_ATOMIC": _G.HIGH | _G.ATOMIC | _G.KSWAPD_RECLAIM,
    "GFP_KERNEL": _G.RECLAIM | _G.IO | _G.FS,
    "GFP_KERNEL_ACCOUNT": _G.RECLAIM | _G.IO | _G.FS | _G.ACCOUNT,
    "GFP_NOWAIT": _G.KSWAPD_RECLAIM,
    "GFP_NOIO": _G.RECLAIM,
    "GFP_NOFS": _G.RECLAIM | _G.IO,
    "GFP_USER": _G.RECLAIM | _G.IO | _G.FS | _G.HARDWALL,
    "GFP_DMA": _G.DMA,
    "GFP_DMA32": _G.DMA32,
    "GFP_HIGHUSER": _G.RECLAIM | _G.IO | _G.FS | _G.HARDWALL | _G.HIGHMEM,
    "GFP_HIGHUSER_MOVABLE": _G.RECLAIM | _G.IO | _G.FS | _G.HARDWALL | _G.HIGHMEM | _G.MOVABLE,
    "GFP_TRANSHUGE_LIGHT": _G.IO
    | _G.FS
    | _G.HARDWALL
    | _G.HIGHMEM
    | _G.MOVABLE
    | _G.COMP
    | _G.NOMEMALLOC
    | _G.NOWARN,
    "GFP_TRANSHUGE": _G.DIRECT_RECLAIM
    | _G.IO
    | _G.FS
    | _G.HARDWALL
    | _G.HIGHMEM
    | _G.MOVABLE
    | _G.COMP
    | _G.NOMEMALLOC
    | _G.NOWARN,
    "none": _G.NONE,
}
_GFP_ALIASES = {
    "__GFP_REPEAT": _G.RETRY_MAYFAIL,
    "__GFP_SKIP_KASAN_POISON": _G.SKIP_KASAN,
    "__GFP_SKIP_KASAN_UNPOISON": _G.SKIP_KASAN,
    "__GFP_WAIT": _G.RECLAIM,
}
GFP_NAMES: dict[str, Gfp] = {
    **GFP_COMPOSITES,
    **{f"__GFP_{flag.name}": flag for flag in Gfp if flag.name},
    "__GFP_RECLAIM": _G.RECLAIM,
    **_GFP_ALIASES,
}


def gfp_from_text(text: str) -> Gfp:
    """Read ``GFP_KERNEL|__GFP_ZERO`` as it stands in traces and scenarios.

    Raises KeyError with the first unknown name.
    """
    mask = Gfp.NONE
    for name in text.split("|"):
        mask |= GFP_NAMES[name.strip()]
    return mask


def gfp_zone(gfp: Gfp) -> ZoneType:
    """Say the highest zone that a request may use (gfp_zone, include/linux/gfp.h, 6.1)."""
    if gfp & Gfp.DMA:
        return ZoneType.DMA
    if gfp & Gfp.DMA32:
        return ZoneType.DMA32
    if gfp & Gfp.MOVABLE and gfp & Gfp.HIGHMEM:
        return ZoneType.MOVABLE
    return ZoneType.NORMAL


def gfp_migratetype(gfp: Gfp) -> Migratetype:
    """Say the type of a request when pages are grouped by mobility (gfp_migratetype, 6.1)."""
    if gfp & (Gfp.MOVABLE | Gfp.EASYRCLM):
        return Migratetype.MOVABLE
    if gfp & Gfp.RECLAIMABLE:
        return Migratetype.RECLAIMABLE
    return Migratetype.UNMOVABLE
