"""Events that take contiguous memory at once: for CMA, for a hypervisor; or bring memory back."""

from __future__ import annotations

import errno as names_of
from collections.abc import Iterator

from memsim.memory import Memory
from memsim.memory.contiguous import CmaArea, ContigOutcome, cma_alloc, cma_areas, cma_release
from memsim.memory.hotplug import block_range
from memsim.memory.onlining import online
from memsim.memory.virtio_mem import VirtioMem, virtio_mem_unplug
from memsim.mm import MAX_PAGE_ORDER, PAGE_SIZE
from memsim.scenario.event import Event
from memsim.schema import Removal

CMA_ALIGNMENT = 8
"""Order to which a buffer is aligned at most (CONFIG_CMA_ALIGNMENT, kernel/dma/contiguous.c)."""


class Ranges:
    """What CMA areas and virtio-mem devices have given out, and a row for each attempt."""

    def __init__(self, memory: Memory, block_size: int) -> None:
        self.memory = memory
        self.block_pages = block_size // PAGE_SIZE
        self.rows: list[Removal] = []
        self._areas: tuple[CmaArea, ...] | None = None
        self._devices: dict[tuple[int, ...], VirtioMem] = {}

    def bring_online(self, event: Event, name: str) -> None:
        """Bring memory blocks online again."""
        for block in event.blocks:
            start, pages = block_range(block, self.block_pages)
            done = online(self.memory, start, pages, event.zone)
            self.rows.append(
                self._row(name, start, "offline" if done.errno else "online", done.errno)._replace(
                    reason=str(done.reason)
                )
            )

    def unplug(self, event: Event, name: str) -> None:
        """Let a virtio-mem device of these blocks give memory back to the hypervisor."""
        device = self._devices.setdefault(
            event.blocks,
            VirtioMem(
                min(event.blocks) * self.block_pages,
                (max(event.blocks) + 1) * self.block_pages,
                self.block_pages,
            ),
        )
        assert event.size is not None
        before = {block: device.plugged(block) for block in device.blocks}
        done = virtio_mem_unplug(self.memory, device, event.size // PAGE_SIZE)
        for block in reversed(device.blocks):
            self.rows += self._of_block(name, device, block, before[block], done.attempts)

    def _of_block(
        self,
        name: str,
        device: VirtioMem,
        block: int,
        before: int,
        attempts: tuple[ContigOutcome, ...],
    ) -> Iterator[Removal]:
        start = block * self.block_pages
        mine = [one for one in attempts if start <= one.start_pfn < start + self.block_pages]
        if not mine:
            return
        left = device.plugged(block)
        worst = next((one for one in mine if one.errno and one.nr_pages < self.block_pages), None)
        row = self._row(name, start, "online" if left else "offline", worst.errno if worst else 0)
        yield row._replace(
            reason=str(worst.reason) if worst and left else "",
            page=worst.page if worst else -1,
            obstacles=sum(o.pages for one in mine for o in one.obstacles),
            pages_moved=sum(one.pgmigrate_success for one in mine),
            pages_left=left * device.sub_block_pages,
            tries=len(mine),
            offline_model_ns=sum(one.ended_ns - one.began_ns for one in mine),
        )

    def take_cma(self, event: Event, name: str) -> None:
        """Allocate from the machine's first CMA area, and give it back unless it is held."""
        if self._areas is None:
            self._areas = cma_areas(self.memory)
        assert event.size is not None and isinstance(event.attempts, int)
        pages = event.size // PAGE_SIZE
        for area in self._areas[:1]:
            for _ in range(event.attempts):
                align = min((pages - 1).bit_length(), CMA_ALIGNMENT)
                tried = cma_alloc(self.memory, area, pages, align)
                self.rows.append(self._of_cma(name, area, tried))
                if tried and tried[-1].errno == 0 and not event.hold:
                    cma_release(self.memory, area, tried[-1].start_pfn, pages)

    def _of_cma(self, name: str, area: CmaArea, tried: tuple[ContigOutcome, ...]) -> Removal:
        got = bool(tried) and tried[-1].errno == 0
        start = tried[-1].start_pfn if tried else area.start_pfn
        code = tried[-1].errno if tried else -names_of.ENOMEM
        return self._row(name, start, "taken" if got else "online", code)._replace(
            reason="" if got else (str(tried[-1].reason) if tried else "area exhausted"),
            page=tried[-1].page if tried else -1,
            obstacles=sum(o.pages for one in tried for o in one.obstacles),
            pages_moved=sum(one.pgmigrate_success for one in tried),
            tries=len(tried),
            offline_model_ns=sum(one.ended_ns - one.began_ns for one in tried),
        )

    def _row(self, name: str, start: int, result: str, code: int) -> Removal:
        zones = self.memory.setup.zones
        number = int(self.memory.mem.zone_of[start >> MAX_PAGE_ORDER])
        zone = zones[number] if number < len(zones) else None
        return Removal(
            time_ns=self.memory.now,
            event=name,
            block=start // self.block_pages,
            zone=f"node{zone.node} {zone.name}" if zone else "",
            result=result,
            errno=names_of.errorcode.get(abs(code), "") if code else "",
            reason="",
            page=-1,
            obstacles=0,
            pages_moved=0,
            pages_left=0,
            tries=1,
            offline_model_ns=0,
        )
