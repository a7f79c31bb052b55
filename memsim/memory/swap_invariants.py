"""What must hold of swap slots, and of pages that are being written, after every event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from memsim.kernels import layout as L
from memsim.kernels.swapfile import NOBODY
from memsim.kernels.system import (
    S_SWAP_FREE,
    S_SWAP_SLOTS,
    S_WRITEBACK_CAPACITY,
    S_WRITEBACK_HEAD,
    S_WRITEBACK_LENGTH,
)

if TYPE_CHECKING:
    from memsim.memory import Memory


def swap_violations(memory: Memory) -> Iterator[str]:
    """Yield a sentence for everything that does not hold of swap and writeback."""
    yield from _slots(memory)
    yield from _owners(memory)
    yield from _written(memory)


def _slots(memory: Memory) -> Iterator[str]:
    used = int(np.count_nonzero(memory.mem.swap_map))
    free = int(memory.mem.system[S_SWAP_FREE])
    slots = int(memory.mem.system[S_SWAP_SLOTS])
    if used + free != slots:
        yield f"{used} swap slots are used and {free} free, of {slots}"


def _owners(memory: Memory) -> Iterator[str]:
    """Each used slot belongs to one block: swapped out, or in the swap cache."""
    table = memory.page_table.astype(np.int64)
    away = np.flatnonzero((table < 0) & (table != L.GONE))
    cached = np.flatnonzero(memory.mem.state[: memory.nr_pages] & L.PAGE_SWAPCACHE)
    holders = memory.mem.rmap[cached].astype(np.int64)
    held = table[holders] == cached + 1
    found = np.zeros(len(memory.mem.swap_map), np.int64)
    pages = 1 << ((memory.mem.state[cached] & L.ORDER_MASK) >> L.ORDER_SHIFT)
    owners = np.where(held, holders + 1, NOBODY)
    for slot, count, owner in zip(memory.mem.swap_slot[cached], pages, owners, strict=True):
        found[slot : slot + count] = owner
    for handle in away:
        slot = int(-table[handle] - 1)
        run = np.flatnonzero(memory.mem.swap_map[slot:] != handle + 1)
        count = int(run[0]) if len(run) else len(memory.mem.swap_map) - slot
        if count == 0 or np.any(found[slot : slot + count]):
            yield f"handle {handle} is swapped out to slot {slot}, which is not its own"
        found[slot : slot + count] = handle + 1
    used = memory.mem.swap_map
    different = np.flatnonzero((used != found) & (used != NOBODY))
    if len(different):
        slot = int(different[0])
        yield f"swap slot {slot} is kept for handle {used[slot] - 1}, which does not use it"


def _written(memory: Memory) -> Iterator[str]:
    """The pages in the ring of writes are those that say that they are written."""
    head, length, capacity = (
        int(memory.mem.system[field])
        for field in (S_WRITEBACK_HEAD, S_WRITEBACK_LENGTH, S_WRITEBACK_CAPACITY)
    )
    ring = memory.mem.writeback.reshape(-1, 2)[(head + np.arange(length)) % capacity]
    written = np.sort(ring[ring[:, 0] >= 0, 0])
    said = np.flatnonzero(memory.mem.state[: memory.nr_pages] & L.PAGE_WRITEBACK)
    if not np.array_equal(written, said):
        yield f"{len(written)} pages are being written, {len(said)} say so"
    if np.any(np.diff(ring[:, 1]) < 0):
        yield "writes do not end in the order in which they began"
