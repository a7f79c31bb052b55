"""Which type each pageblock and each free block of a zone has, as far as flags and counts tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MIGRATE_TYPES, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Migratetype
from memsim.snapshot.places import Placed
from memsim.snapshot.scan import of_users
from memsim.traces import _page_flags as kpf

SCARCE = (Migratetype.HIGHATOMIC, Migratetype.CMA, Migratetype.ISOLATE)
FILLED = 0.6
"""Part of the kernel's pageblocks that is taken to be in use where no file counts them."""
SILENT_WEIGHT = 0.25
"""What a page without flags counts: it may be on a per-CPU list."""
Lists = dict[tuple[int, Migratetype], NDArray[np.int32]]


def pageblock_types(
    own: NDArray[np.int64],
    placed: Placed,
    counts: NDArray[np.int64] | None,
    free_of_type: NDArray[np.int64] | None,
    flags: NDArray[np.uint64] | None,
    kernel_pages: int,
    chance: np.random.Generator,
) -> NDArray[np.uint8]:
    """Give each pageblock (n,) of ``own`` a type: as many of each as ``counts`` (6,) says.

    Large free blocks have those of their lists. The kernel's types go where the flags show most of
    its pages, Reclaimable where most of these are slab; what they leave open is drawn. Without
    counts so many are Unmovable as ``kernel_pages`` need.
    """
    left = _guessed(len(own), kernel_pages) if counts is None else counts.copy()
    types = np.full(len(own), Migratetype.MOVABLE, np.uint8)
    open_ = np.ones(len(own), bool)
    for order in range(PAGEBLOCK_ORDER, len(placed.blocks)):
        kinds = _dealt(placed.blocks[order], free_of_type, order, chance)
        for step in range(1 << order - PAGEBLOCK_ORDER):
            at = np.searchsorted(own, (placed.blocks[order] >> PAGEBLOCK_ORDER) + step)
            types[at], open_[at] = kinds, False
            left -= np.bincount(kinds, minlength=MIGRATE_TYPES)
    kernel, slab = _evidence(own, flags)
    for kind in SCARCE:
        _give(types, open_, kind, left, -kernel, chance)
    both = max(left[Migratetype.UNMOVABLE], 0) + max(left[Migratetype.RECLAIMABLE], 0)
    places = _ranked(np.flatnonzero(open_), kernel, chance)[:both]
    by_slab = _ranked(places, slab / (kernel + 1), chance)
    reclaimable = by_slab[: max(left[Migratetype.RECLAIMABLE], 0)]
    types[places] = Migratetype.UNMOVABLE
    types[reclaimable] = Migratetype.RECLAIMABLE
    return types


def _guessed(n: int, kernel_pages: int) -> NDArray[np.int64]:
    counts = np.zeros(MIGRATE_TYPES, np.int64)
    counts[Migratetype.UNMOVABLE] = min(-(-kernel_pages // int(PAGEBLOCK_NR_PAGES * FILLED)), n)
    return counts


def _evidence(
    own: NDArray[np.int64], flags: NDArray[np.uint64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the kernel's pages of each pageblock, and its slab pages; zero without flags."""
    if flags is None:
        return np.zeros(len(own)), np.zeros(len(own))
    others = of_users(flags) | (flags & (kpf.BUDDY | kpf.RESERVED | kpf.NOPAGE) != 0)
    silent = flags == 0
    named = _of_each(~others & ~silent, own)
    kernel: NDArray[np.float64] = named + _of_each(silent, own) * SILENT_WEIGHT
    return kernel, _of_each(flags & kpf.SLAB != 0, own)


def _of_each(pages: NDArray[np.bool_], own: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the pages that are so in each pageblock of ``own``."""
    counts = np.zeros(int(own.max()) + 1)
    whole = np.add.reduceat(pages, np.arange(0, len(pages), PAGEBLOCK_NR_PAGES), dtype=np.int64)
    counts[: len(whole)] = whole[: len(counts)]
    return counts[own]


def _ranked(
    places: NDArray[np.int64], score: NDArray[np.float64], chance: np.random.Generator
) -> NDArray[np.int64]:
    """Sort places by their score, the highest first, equal ones anyhow."""
    shuffled = chance.permutation(places)
    return shuffled[np.argsort(-score[shuffled], kind="stable")]


def _give(
    types: NDArray[np.uint8],
    open_: NDArray[np.bool_],
    kind: Migratetype,
    left: NDArray[np.int64],
    score: NDArray[np.float64],
    chance: np.random.Generator,
) -> None:
    places = _ranked(np.flatnonzero(open_), score, chance)[: max(left[kind], 0)]
    types[places], open_[places] = kind, False


def _dealt(
    blocks: NDArray[np.int64],
    free_of_type: NDArray[np.int64] | None,
    order: int,
    chance: np.random.Generator,
) -> NDArray[np.int64]:
    """Deal the types of the lists of an order out to its blocks (n,)."""
    kinds = np.full(len(blocks), int(Migratetype.MOVABLE), np.int64)
    if free_of_type is not None:
        dealt = np.repeat(np.arange(MIGRATE_TYPES), np.maximum(free_of_type[:, order], 0))
        kinds[: len(dealt)] = dealt[: len(kinds)]
    shuffled: NDArray[np.int64] = chance.permutation(kinds)
    return shuffled


def free_lists(
    own: NDArray[np.int64],
    types: NDArray[np.uint8],
    placed: Placed,
    free_of_type: NDArray[np.int64] | None,
    chance: np.random.Generator,
) -> Lists:
    """Put free blocks on lists, as many on each as ``free_of_type`` (6, 11) says, in any order.

    A block is on the list of its pageblock's type, as long as that has room.
    """
    lists: Lists = {}
    for order, blocks in enumerate(placed.blocks):
        shuffled = chance.permutation(blocks)
        homes = types[np.searchsorted(own, shuffled >> PAGEBLOCK_ORDER)].astype(np.int64)
        kinds = homes if free_of_type is None else _listed(homes, free_of_type[:, order])
        for kind in Migratetype:
            mine = shuffled[kinds == kind]
            if len(mine):
                lists[order, kind] = mine.astype(np.int32)
    return lists


def _listed(homes: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each block its pageblock's type while that is wanted, then what else is."""
    kinds = np.full(len(homes), -1, np.int64)
    rest = wanted.copy()
    for kind in range(MIGRATE_TYPES):
        here = np.flatnonzero(homes == kind)[: max(rest[kind], 0)]
        kinds[here] = kind
        rest[kind] -= len(here)
    without = np.flatnonzero(kinds < 0)
    dealt = np.repeat(np.arange(MIGRATE_TYPES), np.maximum(rest, 0))[: len(without)]
    kinds[without] = np.concatenate([dealt, homes[without[len(dealt) :]]])
    return kinds
