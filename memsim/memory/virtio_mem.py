"""A virtio-mem device: the hypervisor takes memory back in sub-blocks (spec linux-mm 9.7).

Source: drivers/virtio/virtio_mem.c, Linux 6.1, sub-block mode.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memsim.memory import Memory
from memsim.memory.contiguous import ContigOutcome, alloc_contig, free_contig
from memsim.memory.hotplug import OfflineOutcome, offline
from memsim.memory.onlining import OnlineType, online
from memsim.memory.resizing import change_managed
from memsim.memory.setup import NO_ZONE
from memsim.mm import MAX_PAGE_ORDER, PAGEBLOCK_NR_PAGES, SECTION_PAGES, ZoneType

MOVABLE_ATTEMPTS = 5
"""Tries at a sub-block in Movable; elsewhere there is one."""


@dataclass
class VirtioMem:
    """A device of memory blocks [start_pfn, end_pfn), all of them plugged and online at first."""

    start_pfn: int
    end_pfn: int
    block_pages: int = SECTION_PAGES
    sub_block_pages: int = PAGEBLOCK_NR_PAGES
    unplugged: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Block -> per sub-block the first handle that holds it, -1 while it is plugged; a block that
    is offline as a whole has 0 throughout."""

    @property
    def blocks(self) -> range:
        """Numbers of its memory blocks."""
        return range(self.start_pfn // self.block_pages, self.end_pfn // self.block_pages)

    @property
    def per_block(self) -> int:
        """Sub-blocks of a memory block."""
        return self.block_pages // self.sub_block_pages

    def plugged(self, block: int) -> int:
        """Count the plugged sub-blocks of a memory block."""
        handles = self.unplugged.get(block)
        return self.per_block if handles is None else int(np.count_nonzero(handles < 0))

    @property
    def plugged_pages(self) -> int:
        """Pages that the guest has of the device."""
        return sum(map(self.plugged, self.blocks)) * self.sub_block_pages


@dataclass(frozen=True)
class UnplugOutcome:
    """What became of one request to give memory back."""

    errno: int
    """0; -EBUSY: not all of it could go, the driver tries again later; -ENOMEM: none elsewhere."""
    wanted_pages: int
    unplugged_pages: int
    blocks_removed: tuple[int, ...]
    """Memory blocks that went offline, as they went."""
    attempts: tuple[ContigOutcome, ...]
    """Every range tried, in order."""
    removals: tuple[OfflineOutcome, ...]


def virtio_mem_unplug(
    memory: Memory, device: VirtioMem, nr_pages: int, cpu: int = 0
) -> UnplugOutcome:
    """Unplug ``nr_pages`` (rounded down to sub-blocks), in the driver's order."""
    return _Unplugging(memory, device, nr_pages // device.sub_block_pages, cpu).run()


class _Unplugging:
    def __init__(self, memory: Memory, device: VirtioMem, wanted: int, cpu: int) -> None:
        self.memory, self.device, self.cpu = memory, device, cpu
        self.wanted = self.left = wanted
        self.attempts: list[ContigOutcome] = []
        self.removals: list[OfflineOutcome] = []

    def run(self) -> UnplugOutcome:
        code = 0
        for block in self._order():
            code = self._block(block)
            if code or self.left == 0:
                break
        size = self.device.sub_block_pages
        return UnplugOutcome(
            errno=code or (-errno.EBUSY if self.left else 0),
            wanted_pages=self.wanted * size,
            unplugged_pages=(self.wanted - self.left) * size,
            blocks_removed=tuple(
                r.start_pfn // self.device.block_pages for r in self.removals if r.removed
            ),
            attempts=tuple(self.attempts),
            removals=tuple(self.removals),
        )

    def _order(self) -> Iterator[int]:
        """Partially plugged blocks first, Movable before others, from the highest down."""
        for partial in (True, False):
            for movable in (True, False):
                for block in reversed(self.device.blocks):
                    n = self.device.plugged(block)
                    kind = (n < self.device.per_block, self._is_movable(block))
                    if n and kind == (partial, movable):
                        yield block

    def _is_movable(self, block: int) -> bool:
        z = int(self.memory.mem.zone_of[block * self.device.block_pages >> MAX_PAGE_ORDER])
        zones = self.memory.setup.zones
        return z != NO_ZONE and zones[z].zone_type == ZoneType.MOVABLE

    def _block(self, block: int) -> int:
        """Unplug what is wanted of a block; return -ENOMEM to end it all."""
        device = self.device
        handles = device.unplugged.get(block, np.full(device.per_block, -1, np.int64))
        code = 0
        if self.left >= device.per_block and np.all(handles < 0):
            code = self._sub_blocks(block, handles, 0, device.per_block)
        for number in range(device.per_block - 1, -1, -1):
            if code == -errno.ENOMEM or self.left == 0:
                break
            if handles[number] < 0:
                code = self._sub_blocks(block, handles, number, 1)
        device.unplugged[block] = handles
        if np.all(handles >= 0):
            self._remove(block, handles)
        return code if code == -errno.ENOMEM else 0

    def _sub_blocks(self, block: int, handles: NDArray[np.int64], first: int, count: int) -> int:
        """Take ``count`` sub-blocks at once; note who holds them."""
        size = self.device.sub_block_pages
        start = block * self.device.block_pages + first * size
        outcome = None
        for _ in range(MOVABLE_ATTEMPTS if self._is_movable(block) else 1):
            outcome = alloc_contig(self.memory, start, count * size, cpu=self.cpu)
            self.attempts.append(outcome)
            if outcome.errno != -errno.EBUSY:
                break
        assert outcome is not None
        if outcome.errno == 0:
            handles[first : first + count] = outcome.handle + np.arange(count) * size
            change_managed(self.memory, start, -count * size)
            self.left -= count
        return outcome.errno

    def _remove(self, block: int, handles: NDArray[np.int64]) -> None:
        """Take a block offline of which nothing is plugged any more."""
        device = self.device
        start = block * device.block_pages
        _give_back(self.memory, device, block, handles, self.cpu)
        outcome = offline(self.memory, start, device.block_pages, cpu=self.cpu)
        self.removals.append(outcome)
        handles[:] = 0


def _give_back(
    memory: Memory, device: VirtioMem, block: int, handles: NDArray[np.int64], cpu: int
) -> None:
    """Free the sub-blocks of a block that handles hold."""
    size = device.sub_block_pages
    for number in np.flatnonzero(handles >= 0).tolist():
        start = block * device.block_pages + number * size
        change_managed(memory, start, size)
        free_contig(memory, int(handles[number]), size, cpu)


def virtio_mem_plug(
    memory: Memory,
    device: VirtioMem,
    nr_pages: int,
    online_type: OnlineType = "online",
    cpu: int = 0,
) -> int:
    """Plug ``nr_pages`` (rounded down to sub-blocks) again; return the pages that came.

    Sub-blocks of blocks that are online first, then whole blocks, both from the lowest up.
    """
    left = wanted = nr_pages // device.sub_block_pages
    for block, handles in sorted(device.unplugged.items()):
        if 0 < device.plugged(block) < device.per_block:
            for number in np.flatnonzero(handles >= 0)[:left].tolist():
                one = np.where(np.arange(device.per_block) == number, handles, -1)
                _give_back(memory, device, block, one, cpu)
                handles[number] = -1
                left -= 1
    for block in sorted(device.unplugged):
        if device.plugged(block) == 0 and left >= device.per_block:
            start = block * device.block_pages
            if online(memory, start, device.block_pages, online_type, cpu).errno == 0:
                del device.unplugged[block]
                left -= device.per_block
    return (wanted - left) * device.sub_block_pages
