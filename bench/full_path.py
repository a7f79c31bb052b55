"""The whole path of a request: zonelist, watermarks, per-CPU lists, LRU batches, rmap."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.streams import SEED, TYPE_SHIFT, Mix, draw
from memsim.memory import Memory
from memsim.memory.boot import boot
from memsim.mm import OP_FREE, PAGE_SIZE, PAGEBLOCK_ORDER, Status, Use, gfp_from_text
from memsim.policies import LINUX_6_1
from memsim.policies.mobility import Policy
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node
from memsim.schema import Request

CPUS = 4
MOSTLY_SINGLE = (820, 100, 64, 36, 0, 0, 0, 0, 0, 4)
"""Chance of each order in 1024ths: 0 to 3, and order 9 for huge pages."""
REQUESTS = (
    Request(gfp_from_text("GFP_KERNEL"), Use.SLAB),
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.ANON, lru=True),
    Request(gfp_from_text("GFP_KERNEL|__GFP_RECLAIMABLE"), Use.DENTRY),
    Request(gfp_from_text("GFP_TRANSHUGE_LIGHT"), Use.ANON, lru=True),
)
"""By migratetype, then the huge pages."""
HUGE_REQUEST = 3


class Events(NamedTuple):
    """What Memory.run takes."""

    op: NDArray[np.uint8]
    request: NDArray[np.uint16]
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]

    def part(self, start: int, stop: int) -> Events:
        """Return events [start, stop)."""
        return Events(*(column[start:stop] for column in self))


def machine(size: int) -> Memory:
    """Boot one node of ``size`` bytes."""
    node = Node(id=0, cpus=tuple(range(CPUS)), memory=size)
    memory = boot(Machine(nodes=(node,)), Cmdline(), Policy().tables(LINUX_6_1))
    memory.add_requests(REQUESTS)
    return memory


def mixed_events(pages: int, count: int) -> tuple[Events, int, int]:
    """Draw a mix at 60 to 80 % of the pages, each event on a random CPU.

    Returns the events, how many of them only fill memory, and the handles.
    """
    stream = draw(
        Mix(pages * 7 // 10, pages * 6 // 10, pages * 8 // 10, count, MOSTLY_SINGLE, (31, 205, 20))
    )
    is_free = stream.op >= OP_FREE
    op = np.where(is_free, stream.op, stream.op & 0xF).astype(np.uint8)
    request = np.where(is_free, 0, stream.op >> TYPE_SHIFT).astype(np.uint16)
    request[op == PAGEBLOCK_ORDER] = HUGE_REQUEST
    cpu = np.random.default_rng(SEED).integers(0, CPUS, len(op), np.uint16)
    return Events(op, request, cpu, stream.handle), stream.filled, stream.handles


def events_per_second(size: int, count: int, repetitions: int) -> list[float]:
    """Return each repetition's events per second of CPU time.

    Raises AssertionError if an event found nothing to allocate or free: such events are cheap.
    """
    events, filled, handles = mixed_events(size // PAGE_SIZE, count)
    machine(1 << 30).run(*events.part(0, 0))
    rates = []
    for _ in range(repetitions):
        memory = machine(size)
        memory.add_handles(handles)
        memory.run(*events.part(0, filled))
        timed = events.part(filled, len(events.op))
        begin = time.process_time()
        outcome = memory.run(*timed)
        rates.append(len(timed.op) / (time.process_time() - begin))
        assert np.isin(outcome.status, (Status.OK, Status.FREED)).all()
    return rates


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def bytes_per_touched_page(size: int, pages: int) -> float:
    """Allocate ``pages`` single pages; return by how much that made the process grow, per page.

    What grows is Memory's page arrays: kernels and page table are resident before. Read from
    /proc/self/statm.
    """
    memory = machine(size)
    memory.add_handles(pages)
    memory.page_table.fill(0)
    count = 1 << 16
    zeros = np.zeros(count, np.uint8), np.ones(count, np.uint16), np.zeros(count, np.uint16)
    memory.run(*(column[:0] for column in zeros), np.zeros(0, np.int32))
    handle = np.arange(count, dtype=np.int32)
    before = resident_bytes()
    for first in range(0, pages, count):
        outcome = memory.run(*zeros, handle + np.int32(first))
        assert (outcome.status == Status.OK).all()
    return (resident_bytes() - before) / pages
