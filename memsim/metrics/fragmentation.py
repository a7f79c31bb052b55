"""How the free memory lies: blocks by order, and the kernel's indices for order 9."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MAX_PAGE_ORDER, NR_ORDERS, PAGEBLOCK_ORDER
from memsim.schema import Column, TrialRecord

COLUMNS = (
    Column("free_pages", "pages", "pages on the buddy lists", better="neither"),
    *(
        Column(f"free_blocks_order_{order}", "blocks", f"free blocks of order {order}")
        for order in range(NR_ORDERS)
    ),
    Column(
        "free_blocks_order_9_up",
        "blocks",
        "order-9 blocks that lie in free blocks of order >= 9 (one of order 10 is two)",
        better="higher",
    ),
    Column(
        "free_blocks_order_10_up",
        "blocks",
        "order-10 blocks that lie in free blocks of order >= 10",
        better="higher",
    ),
    Column(
        "empty_areas",
        "areas",
        "aligned areas as large as the largest block without an allocated page: what free blocks "
        "there would be if no page stood on per-CPU lists",
        better="higher",
    ),
    Column(
        "fragmentation_index",
        "1/1000",
        "why order 9 would fail: towards 0 for lack of memory, towards 1000 fragmentation; "
        "-1000 if it would not; over all zones together",
    ),
    Column(
        "unusable_index",
        "1/1000",
        "part of the free pages in blocks too small for order 9, over all zones together",
        better="lower",
    ),
    Column(
        "extfrag",
        "%",
        "the same as compaction scores it (extfrag_for_order), over all zones together",
        better="lower",
    ),
)

Counts = NDArray[np.int64]


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count the free lists of all zones together, all types included.

    Blank are orders that no block of the machine can have.
    """
    blocks = record.census.free_blocks.sum(axis=(0, 2))
    counts = {
        f"free_blocks_order_{order}": int(n) if order <= record.max_page_order else None
        for order, n in enumerate(blocks)
    }
    return {
        "free_pages": free_pages(blocks),
        **counts,
        "free_blocks_order_9_up": suitable_blocks(blocks, PAGEBLOCK_ORDER),
        "free_blocks_order_10_up": suitable_blocks(blocks, MAX_PAGE_ORDER),
        "empty_areas": int(record.census.empty_areas.sum()),
        "fragmentation_index": fragmentation_index(blocks, PAGEBLOCK_ORDER),
        "unusable_index": unusable_index(blocks, PAGEBLOCK_ORDER),
        "extfrag": extfrag_for_order(blocks, PAGEBLOCK_ORDER),
    }


def zone_rows(record: TrialRecord) -> list[dict[str, int | float | str | None]]:
    """Return one row per zone and order, as in the kernel's buddyinfo and extfrag files."""
    rows: list[dict[str, int | float | str | None]] = []
    for zone, lists in zip(record.zones, record.census.free_blocks, strict=True):
        blocks = lists.sum(axis=1)
        rows += [
            {
                "node": zone.node,
                "zone": zone.name,
                "order": order,
                "free_blocks": int(blocks[order]),
                "empty_areas": int(record.census.empty_areas.sum()),
                "fragmentation_index": fragmentation_index(blocks, order),
                "paper_index": paper_index(blocks, order),
                "unusable_index": unusable_index(blocks, order),
                "extfrag": extfrag_for_order(blocks, order),
            }
            for order in range(record.max_page_order + 1)
        ]
    return rows


def free_pages(blocks: Counts) -> int:
    """Count the pages of free blocks; ``blocks`` is (13,), free blocks by order."""
    return int((blocks << np.arange(len(blocks))).sum())


def suitable_blocks(blocks: Counts, order: int) -> int:
    """Count the blocks of an order that lie in free blocks of at least that order."""
    return free_pages(blocks[order:])


def fragmentation_index(blocks: Counts, order: int) -> int:
    """Say in thousandths whether a failure is due to fragmentation (1000) or lack of memory (0).

    -1000 if a block is large enough, 0 if none is free. ``blocks`` is (13,), free blocks by order.
    Source: __fragmentation_index, mm/vmstat.c, 6.1 (spec 6.9).
    """
    total = int(blocks.sum())
    if total == 0:
        return 0
    if suitable_blocks(blocks, order):
        return -1000
    return 1000 - (1000 + (free_pages(blocks) * 1000 >> order)) // total


def paper_index(blocks: Counts, order: int) -> float | None:
    """Return the fragmentation index as the papers and VMRegress have it.

    0 to 1, None if no page is free. It means something where no block of the order is free, and
    differs from the kernel's by one block. Source: bin/extfrag_index_offline.pl, VMRegress (spec
    history-2005 1.0).
    """
    total = int(blocks.sum())
    return 1 - free_pages(blocks) / (1 << order) / total if total else None


def unusable_index(blocks: Counts, order: int, taken: int = 0) -> int:
    """Return the thousandths of the free pages that lie in blocks below an order.

    1000 if no page is free. ``taken`` pages that a test holds in blocks of the order count as if
    they were free still, as in VMRegress (spec history-2005 1.0). Source: unusable_free_index,
    mm/vmstat.c, 6.1 (spec 6.9).
    """
    free = free_pages(blocks) + taken
    return _below(blocks, order) * 1000 // free if free else 1000


def extfrag_for_order(blocks: Counts, order: int) -> int:
    """Return the percentage of the free pages that lie in blocks below an order; 0 if none is free.

    Source: extfrag_for_order, mm/vmstat.c, 6.1 (spec 6.9).
    """
    free = free_pages(blocks)
    return _below(blocks, order) * 100 // free if free else 0


def _below(blocks: Counts, order: int) -> int:
    return free_pages(blocks) - (suitable_blocks(blocks, order) << order)
