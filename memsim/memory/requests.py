"""How a request class becomes a row of the kernels' request table."""

from __future__ import annotations

from memsim.kernels import layout as L
from memsim.kernels.placement import PolicyTables
from memsim.mm import (
    EASYRCLM_USES,
    GFP_COMPOSITES,
    Gfp,
    Use,
    ZoneType,
    ZoneType2005,
    gfp_migratetype,
    gfp_zone,
)
from memsim.profiles import Mechanism
from memsim.schema import Request

_FLAGS = (
    (Gfp.HIGH, L.REQ_HIGH),
    (Gfp.ATOMIC, L.REQ_ATOMIC),
    (Gfp.DIRECT_RECLAIM, L.REQ_DIRECT_RECLAIM),
    (Gfp.KSWAPD_RECLAIM, L.REQ_KSWAPD_RECLAIM),
    (Gfp.NOMEMALLOC, L.REQ_NOMEMALLOC),
    (Gfp.MEMALLOC, L.REQ_MEMALLOC),
    (Gfp.THISNODE, L.REQ_THISNODE),
    (Gfp.COLD, L.REQ_COLD),
    (Gfp.NORETRY, L.REQ_NORETRY),
    (Gfp.RETRY_MAYFAIL, L.REQ_RETRY_MAYFAIL),
    (Gfp.NOFAIL, L.REQ_NOFAIL),
    (Gfp.IO, L.REQ_IO),
    (Gfp.FS, L.REQ_FS),
)
ANON_USES = frozenset({Use.ANON, Use.EXEC})
SLAB_USES = frozenset({Use.INODE, Use.DENTRY, Use.SLAB})


THP = GFP_COMPOSITES["GFP_TRANSHUGE_LIGHT"]
"""What all faults have in common that ask for a huge page."""


def request_row(request: Request, tables: PolicyTables, mechanism: Mechanism) -> list[int]:
    """Return the fields of a request (layout.R_*)."""
    mobility = gfp_migratetype(request.gfp)
    nodes = -1 if request.nodes is None else sum(1 << n for n in request.nodes)
    preferred = -1 if request.preferred is None else request.preferred
    old = mechanism == "linux-2.6.14"
    fields = [
        int(tables.type_of_request[3 * request.use + mobility]),
        _page_state(request, old),
        int(gfp_zone_2005(request) if old else gfp_zone(request.gfp)),
        _request_flags(request),
        preferred,
        nodes,
        request.waiters,
    ]
    return fields + [0] * (L.REQUEST_FIELDS - len(fields))


def _page_state(request: Request, old: bool) -> int:
    """Say what state (PAGE_*) the pages begin with (spec 7.1; linux-2.6.14 6.1)."""
    state = int(gfp_migratetype(request.gfp)) << L.MOBILITY_SHIFT
    state |= L.PAGE_PINNED if request.pinned else 0
    if not request.lru:
        return state
    state |= L.PAGE_UNEVICTABLE if request.mlocked else 0
    if request.use in ANON_USES:
        return state | L.PAGE_ANON | L.PAGE_MAPPED | L.PAGE_YOUNG | (L.PAGE_ACTIVE if old else 0)
    if request.shmem and not old:
        # Since 2.6.28 on the LRU lists of anonymous memory (SwapBacked).
        state |= L.PAGE_ANON
    else:
        # Unlike Linux: reclaim of 2.6.14 writes pages of tmpfs as if they had a place in a file.
        state |= L.PAGE_DIRTY if request.gfp & Gfp.WRITE else 0
    return state | (L.PAGE_MAPPED | L.PAGE_YOUNG if request.mapped else L.PAGE_REFERENCED)


def gfp_zone_2005(request: Request) -> ZoneType | ZoneType2005:
    """Say the highest zone that a request may use in 2005 (spec linux-2.6.14 1.2, linux-mm 10.5).

    What must be directly mapped (no __GFP_HIGHMEM) stays out of ZONE_EASYRCLM, whatever its use.
    """
    if request.gfp & Gfp.DMA:
        return ZoneType2005.DMA
    if request.gfp & Gfp.DMA32:
        return ZoneType2005.DMA32
    if not request.gfp & Gfp.HIGHMEM:
        return ZoneType2005.NORMAL
    easy = request.use in EASYRCLM_USES or request.gfp & Gfp.EASYRCLM
    return ZoneType2005.EASYRCLM if easy else ZoneType2005.HIGHMEM


def _request_flags(request: Request) -> int:
    flags = sum(bit for gfp, bit in _FLAGS if request.gfp & gfp)
    if request.use == Use.PAGE_CACHE and not request.gfp & Gfp.WRITE:
        flags |= L.REQ_COLD
    flags |= L.REQ_LRU if request.lru else 0
    if request.lru and request.gfp & THP == THP:
        flags |= L.REQ_HUGE_FAULT
    if request.use in SLAB_USES and request.gfp & Gfp.RECLAIMABLE:
        flags |= L.REQ_SLAB
    return flags | (0 if request.cma else L.REQ_NO_CMA)
