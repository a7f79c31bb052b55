"""One zone without what surrounds it: memsim's own buddy functions beside the C program.

Both run the same events on the same zone. Nothing is reported unless they agree on every page
handed out, every free list in order and every pageblock's type.
"""

from __future__ import annotations

import ctypes
import hashlib
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.native import address, library
from bench.streams import TYPE_SHIFT, Stream
from memsim.kernels._jit import kernel, pointers, prefetch, ptr
from memsim.kernels.buddy import (
    free_one_page,
    mod_zone_free_pages,
    prefetch_buddies,
    prefetch_merge,
)
from memsim.kernels.events import PREFETCH
from memsim.kernels.fallback import rmqueue_locked
from memsim.kernels.layout import Mem, pageblock_type
from memsim.kernels.placement import PolicyTables
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import (
    MAX_NR_ZONES,
    MAX_ORDER_NR_PAGES,
    MIGRATE_PCPTYPES,
    NR_PAGE_ORDERS,
    OP_FREE,
    PAGEBLOCK_NR_PAGES,
    ZoneType,
)
from memsim.policies import LINUX_6_1
from memsim.policies.mobility import Policy

STAT_THRESHOLD = 125


class Zone(Protocol):
    """A zone that runs events; both programs are driven through it."""

    page_table: NDArray[np.int32]
    pageblocks: NDArray[np.uint8]

    def run(self, stream: Stream, start: int, stop: int) -> None:
        """Carry out events [start, stop) of a stream."""

    def free_list(self, order: int, migratetype: int) -> NDArray[np.int32]:
        """Return the pfns of a free list, head first."""


@kernel
def run_zone(
    mem: Mem,
    policy: PolicyTables,
    op: NDArray[np.uint8],
    handle: NDArray[np.int32],
    page_table: NDArray[np.int32],
    start: int,
    stop: int,
) -> None:
    """Carry out events [start, stop) on zone 0; nothing but its buddy lists takes part."""
    m = pointers(mem)
    tables = pointers(policy)
    ops = ptr(op)
    handles = ptr(handle)
    pages = ptr(page_table)
    for i in range(start, stop):
        if i + 2 * PREFETCH < stop:
            prefetch(pages, int(handles[i + 2 * PREFETCH]))
            code = int(ops[i + PREFETCH])
            if code & OP_FREE:
                pfn = int(pages[int(handles[i + PREFETCH])]) - 1
                if pfn >= 0:
                    prefetch(m.state, pfn)
                    prefetch(m.pageblocks, pfn >> m.pageblock_order)
                    prefetch_buddies(m, pfn, code & 0xF)
            code = int(ops[i + PREFETCH // 2])
            if code & OP_FREE:
                pfn = int(pages[int(handles[i + PREFETCH // 2])]) - 1
                if pfn >= 0:
                    prefetch_merge(m, pfn, code & 0xF)
        code = int(ops[i])
        order = code & 0xF
        holder = int(handles[i])
        if code & OP_FREE:
            pfn = int(pages[holder]) - 1
            pages[holder] = 0
            if pfn >= 0:
                free_one_page(m, 0, 0, pfn, order, pageblock_type(m, pfn), False)
        else:
            pfn = rmqueue_locked(m, tables, 0, order, code >> TYPE_SHIFT, 0)
            if pfn >= 0:
                mod_zone_free_pages(m, 0, 0, -(1 << order))
            pages[holder] = pfn + 1


class MemsimZone:
    """A machine with one zone and nothing in the way of its free lists."""

    def __init__(self, pages: int, handles: int) -> None:
        zone = ZoneSetup(
            node=0,
            zone_type=ZoneType.NORMAL,
            start_pfn=0,
            end_pfn=pages,
            present=pages,
            managed=pages,
            watermark=(0, 0, 0, 0),
            lowmem_reserve=(0,) * MAX_NR_ZONES,
            pcp_high=0,
            pcp_batch=1,
            stat_threshold=STAT_THRESHOLD,
            nofragment=False,
        )
        setup = MachineSetup((zone,), (((0,), (0,)),), (0,))
        self.memory = Memory(setup, Policy().tables(LINUX_6_1))
        self.memory.free_boot_range(0, 0, pages)
        self.page_table = np.zeros(handles, np.int32)
        self.pageblocks = self.memory.mem.pageblocks

    def run(self, stream: Stream, start: int, stop: int) -> None:
        """Carry out events [start, stop) of a stream."""
        mem, tables = self.memory.mem, self.memory.tables
        run_zone(mem, tables, stream.op, stream.handle, self.page_table, start, stop)

    def free_list(self, order: int, migratetype: int) -> NDArray[np.int32]:
        """Return the pfns of a free list, head first."""
        return self.memory.free_list(0, order, migratetype)


class _ZoneStruct(ctypes.Structure):
    _fields_ = (
        ("links", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("pageblocks", ctypes.c_void_p),
        ("pages", ctypes.c_int64),
        ("nr_free_pages", ctypes.c_int64),
        ("nr_free", ctypes.c_int64 * NR_PAGE_ORDERS),
        ("free_mask", ctypes.c_uint32 * MIGRATE_PCPTYPES),
    )


class CZone:
    """The zone of buddy.c; numpy gives it its memory, as it does memsim's."""

    def __init__(self, pages: int, handles: int) -> None:
        self._library = library("buddy.c")
        self._library.zone_free_list.restype = ctypes.c_int64
        self._links = np.zeros(pages + 2 * NR_PAGE_ORDERS * MIGRATE_PCPTYPES, np.int32)
        self._state = np.zeros(pages, np.uint8)
        self.pageblocks = np.zeros(pages // PAGEBLOCK_NR_PAGES, np.uint8)
        self.page_table = np.zeros(handles, np.int32)
        self._zone = _ZoneStruct(
            address(self._links), address(self._state), address(self.pageblocks), pages
        )
        self._library.zone_boot(ctypes.byref(self._zone))

    def run(self, stream: Stream, start: int, stop: int) -> None:
        """Carry out events [start, stop) of a stream."""
        self._library.zone_run(
            ctypes.byref(self._zone),
            ctypes.c_int64(start),
            ctypes.c_int64(stop),
            address(stream.op),
            address(stream.handle),
            address(self.page_table),
        )

    def move(self, to: CZone, handles: NDArray[np.int32], pages: tuple[Any, Any]) -> None:
        """Move what handles hold to another zone; ``pages`` are both zones' (n, 2) int32."""
        self._library.zone_move(
            ctypes.byref(self._zone),
            ctypes.byref(to._zone),
            *map(address, pages),
            ctypes.c_int64(len(handles)),
            address(handles),
            address(self.page_table),
        )

    def free_list(self, order: int, migratetype: int) -> NDArray[np.int32]:
        """Return the pfns of a free list, head first."""
        out = np.zeros(self._zone.nr_free[order], np.int32)
        zone = ctypes.byref(self._zone)
        n = self._library.zone_free_list(zone, order, migratetype, address(out))
        return out[:n]


def digest(zone: Zone) -> str:
    """Hash all that a zone's events have led to."""
    seen = hashlib.blake2b(digest_size=8)
    seen.update(zone.page_table)
    seen.update(zone.pageblocks)
    for order in range(NR_PAGE_ORDERS):
        for migratetype in range(MIGRATE_PCPTYPES):
            pfns = np.ascontiguousarray(zone.free_list(order, migratetype))
            seen.update(f"{order} {migratetype} {len(pfns)}:".encode())
            seen.update(pfns)
    return seen.hexdigest()


def run_once(zone: Zone, stream: Stream) -> tuple[float, str]:
    """Run a stream on a fresh zone; return ns of CPU time per event after the fill, and the digest.

    CPU time, because a machine shared with others takes the CPU away now and then.
    """
    zone.run(stream, 0, stream.filled)
    begin = time.process_time()
    zone.run(stream, stream.filled, len(stream.op))
    took = time.process_time() - begin
    return took / (len(stream.op) - stream.filled) * 1e9, digest(zone)


def warm_up() -> None:
    """Compile, or load, the kernels."""
    one = Stream(np.zeros(1, np.uint8), np.zeros(1, np.int32), 0, 1)
    run_once(MemsimZone(MAX_ORDER_NR_PAGES, 1), one)


def compare(pages: int, stream: Stream, repetitions: int) -> tuple[list[float], list[float]]:
    """Run both programs in turn; return each repetition's ns per event, memsim's and C's.

    Raises AssertionError if they ever differ.
    """
    warm_up()
    ours, theirs = [], []
    for _ in range(repetitions):
        there, expected = run_once(CZone(pages, stream.handles), stream)
        here, found = run_once(MemsimZone(pages, stream.handles), stream)
        if found != expected:
            raise AssertionError(f"memsim's zone is {found}, the C program's {expected}")
        ours.append(here)
        theirs.append(there)
    return ours, theirs
