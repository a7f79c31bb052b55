"""Where a zone's free blocks are: as its pages' flags say, and else drawn.

Buddyinfo says how many free blocks of each order there are. Free buddies merge, so of two halves of
a block that is not free as a whole at most one is free as a whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MAX_ORDER_NR_PAGES, MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES
from memsim.snapshot.scan import of_users
from memsim.traces import _page_flags as kpf

FREE, SILENT, USED, KERNEL = 0, 1, 4, 8
"""What it costs to take a page for free: nothing if its flags say so, little if it has none."""
NEVER = 1 << 20
"""What holds such a page is not free: reserved, no memory, or of another zone. The sum over a chunk
of them fits into 32 bits."""
PAGEBLOCKS_OF_CHUNK = MAX_ORDER_NR_PAGES // PAGEBLOCK_NR_PAGES


class Placed(NamedTuple):
    """Free blocks of a zone."""

    blocks: tuple[NDArray[np.int64], ...]
    """First pages by order, ascending."""
    lacking: NDArray[np.int64]
    """(11,) blocks for which there was no place."""


def page_costs(
    own: NDArray[np.int64], first: int, last: int, flags: NDArray[np.uint64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the 4 MiB chunks (c,) of a zone's pageblocks, and the costs (c * 1024,) of its pages.

    The zone's memory lies in [first, last) and its pageblocks ``own``. Without flags any page may
    be free.
    """
    chunks = np.unique(own // PAGEBLOCKS_OF_CHUNK)
    pages = (chunks[:, None] * MAX_ORDER_NR_PAGES + np.arange(MAX_ORDER_NR_PAGES)).reshape(-1)
    blocks = (chunks[:, None] * PAGEBLOCKS_OF_CHUNK + np.arange(PAGEBLOCKS_OF_CHUNK)).reshape(-1)
    mine = np.repeat(np.isin(blocks, own), PAGEBLOCK_NR_PAGES) & (first <= pages) & (pages < last)
    costs = np.full(len(pages), NEVER, np.int32)
    if flags is None:
        costs[mine] = FREE
        return chunks, costs
    seen = np.full(len(pages), kpf.NOPAGE, np.uint64)
    known = pages < len(flags)
    seen[known] = flags[pages[known]]
    kind = np.full(len(pages), KERNEL, np.int32)
    kind[of_users(seen)] = USED
    kind[seen == 0] = SILENT
    kind[seen & kpf.BUDDY != 0] = FREE
    kind[seen & (kpf.NOPAGE | kpf.RESERVED) != 0] = NEVER
    costs[mine] = kind[mine]
    return chunks, costs


def place_free(
    free: NDArray[np.int64],
    chunks: NDArray[np.int64],
    costs: NDArray[np.int32],
    chance: np.random.Generator,
) -> Placed:
    """Choose the places of ``free`` (11,) blocks by order: the cheapest, of equal ones any.

    Where flags and buddyinfo agree there is only one way.
    """
    levels = [costs]
    for _ in range(MAX_PAGE_ORDER):
        levels.append(levels[-1].reshape(-1, 2).sum(axis=1, dtype=np.int32))
    blocks = [np.zeros(0, np.int64)] * len(free)
    lacking = np.zeros(len(free), np.int64)
    # Regions that are not free as a whole, by their number at the order above.
    regions = np.arange(len(chunks))
    for order in range(MAX_PAGE_ORDER, -1, -1):
        cost = levels[order]
        if order == MAX_PAGE_ORDER:
            best, others = regions, np.zeros(0, np.int64)
        else:
            halves = regions[:, None] * 2 + np.arange(2)
            second = cost[halves[:, 0]] > cost[halves[:, 1]]
            equal = cost[halves[:, 0]] == cost[halves[:, 1]]
            second |= equal & (chance.random(len(halves)) < 0.5)
            rows = np.arange(len(halves))
            best, others = halves[rows, second.astype(int)], halves[rows, 1 - second.astype(int)]
        chosen = _cheapest(cost[best], int(free[order]), chance)
        lacking[order] = free[order] - len(chosen)
        taken = np.sort(best[chosen])
        size = 1 << order
        per_chunk = MAX_ORDER_NR_PAGES // size
        blocks[order] = chunks[taken // per_chunk] * MAX_ORDER_NR_PAGES + taken % per_chunk * size
        regions = np.sort(np.concatenate([np.delete(best, chosen), others]))
    return Placed(tuple(blocks), lacking)


def _cheapest(
    costs: NDArray[np.int32], wanted: int, chance: np.random.Generator
) -> NDArray[np.int64]:
    """Return the places of so many of the smallest costs, of equal ones any; none that may not."""
    shuffled = chance.permutation(len(costs))
    ranked = shuffled[np.argsort(costs[shuffled], kind="stable")]
    return ranked[costs[ranked] < NEVER][:wanted]
