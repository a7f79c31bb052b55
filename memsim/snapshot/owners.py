"""Whose each pageblock is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from memsim.mm import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, ZONE_NAMES
from memsim.snapshot.observed import Observed, ZoneSeen
from memsim.traces import _page_flags as kpf
from memsim.traces._files import refuse


def pageblock_owners(seen: Observed) -> tuple[NDArray[np.int16], list[str]]:
    """Say by pageblock whose it is: the place of its zone, -1 where there is no memory.

    Pagetypeinfo counts only pageblocks whose pages have been initialised: of a zone that has fewer
    of them those that have no flags at all, from the top, are left out. Returns a sentence for each
    such zone, too. Raises InputError for a zone without memory.
    """
    last = max(zone.end_pfn for zone in seen.zones)
    owners = np.full(-(-last // PAGEBLOCK_NR_PAGES), -1, np.int16)
    starts = np.maximum(np.arange(len(owners)) * PAGEBLOCK_NR_PAGES, 1)
    for z, zone in enumerate(seen.zones):
        inside = (zone.start_pfn <= starts) & (starts < zone.end_pfn) & (owners < 0)
        if not seen.system.blocks and seen.flags is None:
            inside[np.flatnonzero(inside)[_pageblocks_of(zone) :]] = False
        owners[inside & _online(seen, zone, starts)] = z
        if not (owners == z).any():
            raise refuse(seen.source, f"no memory block that is online is of {zone.name}")
    return owners, list(_leave_out(seen, owners))


def _leave_out(seen: Observed, owners: NDArray[np.int16]) -> Iterator[str]:
    for z, zone in enumerate(seen.zones):
        own = np.flatnonzero(owners == z)
        if zone.pageblocks is None or len(own) == zone.pageblocks.sum():
            continue
        yield (
            f"{zone.name}: pagetypeinfo counts {int(zone.pageblocks.sum()):,} pageblocks, memory "
            f"blocks have {len(own):,}"
        )
        silent = own if seen.flags is None else own[_without_flags(seen.flags, own)]
        surplus = max(len(own) - int(zone.pageblocks.sum()), 0)
        owners[silent[max(len(silent) - surplus, 0) :]] = -1


def _without_flags(flags: NDArray[np.uint64], own: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pageblocks (n,) have no page with any flag."""
    found = [
        not flags[number << PAGEBLOCK_ORDER : (number + 1) << PAGEBLOCK_ORDER].any()
        for number in own.tolist()
    ]
    return np.array(found, bool)


def _pageblocks_of(zone: ZoneSeen) -> int:
    """Say how many pageblocks have memory, where nothing tells which: the lowest, then."""
    if zone.pageblocks is not None:
        return int(zone.pageblocks.sum())
    return -(-zone.present // PAGEBLOCK_NR_PAGES)


def _online(seen: Observed, zone: ZoneSeen, starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pageblocks have memory that may be a zone's, by memory blocks, else by flags."""
    if not seen.system.blocks:
        if seen.flags is None:
            return np.ones(len(starts), bool)
        known = np.minimum(starts, len(seen.flags) - 1)
        there: NDArray[np.bool_] = seen.flags[known] & kpf.NOPAGE == 0
        return there
    numbers = [
        block.number
        for block in seen.system.blocks
        if block.online
        and block.node in (-1, zone.node)
        and (block.zones.split() or [""])[0] not in set(ZONE_NAMES) - {ZONE_NAMES[zone.zone_type]}
    ]
    return np.isin(starts // seen.system.block_pages, numbers)
