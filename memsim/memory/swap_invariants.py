"""What must hold of swap slots, and of pages that are being written, after every event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from memsim.kernels import layout as L
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
    """Each used slot belongs to one handle: swapped out, or in the swap cache."""
    table = memory.page_table.astype(np.int64)
    away = np.flatnonzero((table < 0) & (table != L.GONE))
    slot_of = np.zeros(len(table), np.int64)
    slot_of[away] = -table[away]
    cached = np.flatnonzero(memory.mem.state[: memory.nr_pages] & L.PAGE_SWAPCACHE)
    holders = memory.mem.rmap[cached]
    if np.any(table[holders] != cached + 1):
        yield "a page of the swap cache has no holder"
    slot_of[holders] = memory.mem.swap_slot[cached].astype(np.int64) + 1
    if np.any(slot_of > len(memory.mem.swap_map)):
        yield "a handle is swapped out to a slot that is not there"
        return
    owners = np.flatnonzero(slot_of)
    expected = np.zeros(len(memory.mem.swap_map), np.int64)
    expected[slot_of[owners] - 1] = owners + 1
    different = np.flatnonzero(expected != memory.mem.swap_map)
    if len(different):
        slot = int(different[0])
        yield (
            f"swap slot {slot} is kept for handle {memory.mem.swap_map[slot] - 1}, "
            f"and handle {expected[slot] - 1} uses it"
        )
    if len(np.unique(slot_of[owners])) != len(owners):
        yield "two handles are swapped out to the same slot"


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
