"""The allocator's state that agrees with what is seen of a machine; the rest is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import (
    MAX_ORDER_NR_PAGES,
    MIGRATE_PCPTYPES,
    NR_PCP_LISTS,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Migratetype,
)
from memsim.snapshot.folios import split_small_folios
from memsim.snapshot.kinds import Lists, free_lists, pageblock_types
from memsim.snapshot.observed import Observed, ZoneSeen
from memsim.snapshot.owners import pageblock_owners
from memsim.snapshot.places import NEVER, Placed, page_costs, place_free
from memsim.traces import _page_flags as kpf
from memsim.traces._state import VMSTAT_THRESHOLD
from memsim.traces.capture import (
    PAGEBLOCK_HOLE,
    PAGEBLOCK_OTHER_ZONE,
    CapturePcp,
    CaptureState,
    CaptureZone,
    Snapshot,
)

ANON = kpf.LRU | kpf.ANON | kpf.MMAP | kpf.SWAPBACKED | kpf.UPTODATE
FILE = kpf.LRU | kpf.UPTODATE
OF_LRU = (ANON, ANON | kpf.ACTIVE, FILE, FILE | kpf.ACTIVE, ANON | kpf.UNEVICTABLE | kpf.MLOCKED)
"""The flags of pages of each LRU list, as ``observed.USERS`` orders them."""
DRAWN = (
    "the order of free, per-CPU and LRU lists",
    "which pages without flags are on which per-CPU list",
    "where several pageblocks may have a type, which of them has it",
    "which pages are pinned: as many as zoneinfo counts on each node (vmsplice's are not counted)",
    "owners and reference counts: nobody asks for these pages to be freed, each has one user",
)
DRAWN_WITHOUT_FLAGS = (
    "where free blocks are, and what of the rest is a user's and what the kernel's",
    "which memory boot has reserved: the lowest that is not free in each zone",
)


class Drawn(NamedTuple):
    """A state that agrees with what is seen."""

    snapshot: Snapshot
    differences: tuple[str, ...]
    """A sentence for each count of free blocks that memory has no place for."""


def what_is_drawn(seen: Observed) -> tuple[str, ...]:
    """Name what no file tells, for people."""
    return DRAWN if seen.flags is not None else DRAWN + DRAWN_WITHOUT_FLAGS


def draw_state(seen: Observed, chance: np.random.Generator) -> Drawn:
    """Build a state that agrees with all that is seen; draw the rest."""
    owners, differences = pageblock_owners(seen)
    last = max(zone.end_pfn for zone in seen.zones)
    known = 0 if seen.flags is None else len(seen.flags)
    flags = np.full(max(last, known), kpf.NOPAGE, np.uint64)
    flags[:known] = 0 if seen.flags is None else seen.flags
    split_small_folios(flags)
    zones = []
    for z, zone in enumerate(seen.zones):
        own = np.flatnonzero(owners == z)
        chunks, costs = page_costs(own, zone.start_pfn, zone.end_pfn, seen.flags)
        placed = place_free(zone.free, chunks, costs, chance)
        for order in np.flatnonzero(placed.lacking).tolist():
            number = int(placed.lacking[order])
            differences.append(f"{zone.name}: no place for {number:,} free blocks of order {order}")
        zones.append(_zone(seen, zone, own, owners, placed, (chunks, costs), flags, chance))
    state = CaptureState(
        time_ns=0,
        time_end_ns=0,
        zones=tuple(zones),
        group_by_mobility_disabled=False,
        pageblock_order=PAGEBLOCK_ORDER,
        nr_pcp_lists=NR_PCP_LISTS,
        migrate_types=len(Migratetype),
        cpu_node=seen.system.cpu_node,
        distances=seen.system.distances,
    )
    return Drawn(Snapshot(state, flags), tuple(differences))


def _zone(
    seen: Observed,
    zone: ZoneSeen,
    own: NDArray[np.int64],
    owners: NDArray[np.int16],
    placed: Placed,
    pages: tuple[NDArray[np.int64], NDArray[np.int32]],
    flags: NDArray[np.uint64],
    chance: np.random.Generator,
) -> CaptureZone:
    """Build one zone, and let ``flags`` say of its pages what they are in it."""
    kernel = max(zone.managed - zone.free_pages - zone.cached - sum(zone.users), 0)
    types = pageblock_types(
        own, placed, zone.pageblocks, zone.free_of_type, seen.flags, kernel, chance
    )
    lists = free_lists(own, types, placed, zone.free_of_type, chance)
    free, used = _split(pages, placed)
    if seen.flags is None:
        reserved = max(len(free) + len(used) - zone.managed, 0)
        flags[used[:reserved]], used = kpf.RESERVED, used[reserved:]
    silent = used if seen.flags is None else used[flags[used] == 0]
    pcps, cached = _pcps(zone, silent, own, types, chance)
    flags[used[flags[used] & kpf.BUDDY != 0]] = 0
    flags[free] = kpf.BUDDY
    flags[cached] = 0
    if seen.flags is None:
        _draw_kinds(zone, np.setdiff1d(used, cached), own, types, flags, chance)
    first, last = zone.start_pfn >> PAGEBLOCK_ORDER, -(-zone.end_pfn // PAGEBLOCK_NR_PAGES)
    codes = np.where(owners[first:last] < 0, PAGEBLOCK_HOLE, PAGEBLOCK_OTHER_ZONE).astype(np.uint8)
    codes[own - first] = types
    low, middle, high = zone.wmark
    return CaptureZone(
        node=zone.node,
        zone_type=zone.zone_type,
        start_pfn=zone.start_pfn,
        spanned=zone.spanned,
        present=zone.present,
        managed=zone.managed,
        wmark_min=low,
        wmark_low=middle,
        wmark_high=high,
        watermark_boost=zone.boost,
        nr_reserved_highatomic=int(np.count_nonzero(types == Migratetype.HIGHATOMIC))
        << PAGEBLOCK_ORDER,
        nr_isolate_pageblock=int(np.count_nonzero(types == Migratetype.ISOLATE)),
        nr_free_pages=_counted(zone, lists),
        lowmem_reserve=zone.protection,
        pageblocks=codes,
        free=lists,
        pcp=tuple(pcps),
    )


def _counted(zone: ZoneSeen, lists: Lists) -> int:
    """Return zoneinfo's count of free pages; the lists' if no CPU can hold back what is between."""
    listed = sum(len(p) << o for (o, kind), p in lists.items() if kind != Migratetype.ISOLATE)
    most = VMSTAT_THRESHOLD * len(zone.pcps)
    return zone.counted_free if abs(listed - zone.counted_free) <= most else listed


def _split(
    pages: tuple[NDArray[np.int64], NDArray[np.int32]], placed: Placed
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pages of a zone that are free, and those in use; none that is reserved."""
    chunks, costs = pages
    pfns = (chunks[:, None] * MAX_ORDER_NR_PAGES + np.arange(MAX_ORDER_NR_PAGES)).reshape(-1)
    is_free = np.zeros(len(pfns), bool)
    for order, blocks in enumerate(placed.blocks):
        at = np.searchsorted(chunks, blocks // MAX_ORDER_NR_PAGES) * MAX_ORDER_NR_PAGES
        at += blocks % MAX_ORDER_NR_PAGES
        is_free[(at[:, None] + np.arange(1 << order)).reshape(-1)] = True
    return pfns[is_free], pfns[~is_free & (costs < NEVER)]


def _pcps(
    zone: ZoneSeen,
    silent: NDArray[np.int64],
    own: NDArray[np.int64],
    types: NDArray[np.uint8],
    chance: np.random.Generator,
) -> tuple[list[CapturePcp], NDArray[np.int64]]:
    """Deal pages without flags out to the per-CPU lists, single ones, movable pageblocks' first."""
    shuffled = chance.permutation(silent)
    kinds = types[np.searchsorted(own, shuffled >> PAGEBLOCK_ORDER)]
    order = np.argsort(kinds != Migratetype.MOVABLE, kind="stable")
    shuffled, kinds = shuffled[order], kinds[order]
    usable = kinds < MIGRATE_PCPTYPES
    shuffled, kinds = shuffled[usable], kinds[usable]
    pcps, begin = [], 0
    for pcp in sorted(zone.pcps, key=lambda pcp: pcp.cpu):
        end = min(begin + pcp.count, len(shuffled))
        mine, of_kind = shuffled[begin:end], kinds[begin:end]
        lists = {int(k): mine[of_kind == k].astype(np.int32) for k in np.unique(of_kind)}
        batch = max(pcp.batch, 1)
        pcps.append(CapturePcp(pcp.cpu, len(mine), pcp.high, batch, 0, lists))
        begin = end
    return pcps, shuffled[:begin]


def _draw_kinds(
    zone: ZoneSeen,
    used: NDArray[np.int64],
    own: NDArray[np.int64],
    types: NDArray[np.uint8],
    flags: NDArray[np.uint64],
    chance: np.random.Generator,
) -> None:
    """Draw which pages are users', as many of each LRU list as zoneinfo counts, Movable first."""
    shuffled = chance.permutation(used)
    kinds = types[np.searchsorted(own, shuffled >> PAGEBLOCK_ORDER)]
    shuffled = shuffled[np.argsort(kinds != Migratetype.MOVABLE, kind="stable")]
    flags[shuffled] = 0
    for count, (begin, mask) in zip(zone.users, _running(zone.users), strict=True):
        flags[shuffled[begin : begin + count]] = mask


def _running(counts: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    begin = 0
    for count, mask in zip(counts, OF_LRU, strict=True):
        yield begin, mask
        begin += count
