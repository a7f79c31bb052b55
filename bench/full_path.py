"""The whole path of a request: zonelist, watermarks, per-CPU lists, LRU batches, rmap."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.streams import SEED, TYPE_SHIFT, Mix, draw
from memsim import plugins
from memsim.memory import Memory
from memsim.memory.start import kernel_of, start
from memsim.mm import OP_FREE, PAGE_SIZE, PAGEBLOCK_ORDER, Status, Use, gfp_from_text
from memsim.profiles import PROFILES
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node
from memsim.schema import Request

CPUS = 4
MOSTLY_SINGLE = (820, 100, 64, 36, 0, 0, 0, 0, 0, 4)
"""Chance of each order in 1024ths: 0 to 3, and order 9 for huge pages."""
SMALL_ORDERS = (820, 100, 64, 40)
"""The same without huge pages, which not every policy still has when memory is that full."""
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
    time: NDArray[np.int64]

    def part(self, start: int, stop: int) -> Events:
        """Return events [start, stop)."""
        return Events(*(column[start:stop] for column in self))


def machine(size: int, profile: str = "linux-6.1", policy: str = "mobility") -> Memory:
    """Boot one node of ``size`` bytes under a policy with its own defaults."""
    node = Node(id=0, cpus=tuple(range(CPUS)), memory=size)
    booted = Machine(nodes=(node,), profile=profile)
    tables = plugins.model_of("policies", policy)().tables(kernel_of(booted, profile))
    memory = start(booted, profile, Cmdline(), tables, "")
    memory.add_requests(REQUESTS)
    return memory


def mixed_events(
    pages: int, count: int, orders: tuple[int, ...] = MOSTLY_SINGLE
) -> tuple[Events, int, int]:
    """Draw a mix at 60 to 80 % of the pages, each event on a random CPU.

    Returns the events, how many of them only fill memory, and the handles.
    """
    stream = draw(
        Mix(pages * 7 // 10, pages * 6 // 10, pages * 8 // 10, count, orders, (31, 205, 20))
    )
    is_free = stream.op >= OP_FREE
    op = np.where(is_free, stream.op, stream.op & 0xF).astype(np.uint8)
    request = np.where(is_free, 0, stream.op >> TYPE_SHIFT).astype(np.uint16)
    request[op == PAGEBLOCK_ORDER] = HUGE_REQUEST
    cpu = np.random.default_rng(SEED).integers(0, CPUS, len(op), np.uint16)
    time = np.arange(len(op), dtype=np.int64)
    return Events(op, request, cpu, stream.handle, time), stream.filled, stream.handles


def warm_up(profile: str = "linux-6.1") -> None:
    """Compile, or load, the kernels."""
    machine(1 << 30, profile, "none").advance(0)


def timed(memory: Memory, events: Events) -> float:
    """Carry out events; return ns of CPU time per event.

    Raises AssertionError if an event found nothing to allocate or free: such events are cheap.
    """
    begin = process_time()
    outcome = memory.run(*events)
    took = process_time() - begin
    assert np.isin(outcome.status, (Status.OK, Status.FREED)).all()
    return took / len(events.op) * 1e9


def ns_per_event(size: int, count: int, repetitions: int) -> list[float]:
    """Return what each repetition of a mix takes per event, after memory has been filled."""
    events, filled, handles = mixed_events(size // PAGE_SIZE, count)
    warm_up()
    took = []
    for _ in range(repetitions):
        memory = machine(size)
        memory.add_handles(handles)
        memory.run(*events.part(0, filled))
        took.append(timed(memory, events.part(filled, len(events.op))))
    return took


def policies_by_profile() -> Iterator[tuple[str, list[str]]]:
    """Yield each mechanism's own profile with the policies that run on it, ``none`` first."""
    for profile in dict.fromkeys(p.mechanism for p in PROFILES.values()):
        names = plugins.offered("policies")
        fitting = [n for n in names if profile in plugins.model_of("policies", n).PROFILES]
        yield profile, sorted(fitting, key=lambda name: name != "none")


def by_policy(
    profile: str, policies: Sequence[str], size: int, count: int, repetitions: int
) -> dict[str, list[float]]:
    """Return what one stream takes per event under each policy, the policies in turn."""
    events, filled, handles = mixed_events(size // PAGE_SIZE, count, SMALL_ORDERS)
    warm_up(profile)
    took: dict[str, list[float]] = {policy: [] for policy in policies}
    for _ in range(repetitions):
        for policy in policies:
            memory = machine(size, profile, policy)
            memory.add_handles(handles)
            memory.run(*events.part(0, filled))
            took[policy].append(timed(memory, events.part(filled, len(events.op))))
    return took


def runs(size: int, pages: int, repetitions: int) -> tuple[list[float], list[float]]:
    """Let one CPU touch memory page by page and free it in the order; return ns per page of both.

    Page arrays are resident before.
    """
    warm_up()
    handle = np.arange(pages, dtype=np.int32)
    zeros, ones = np.zeros(pages, np.uint16), np.ones(pages, np.uint16)
    at_once = np.zeros(pages, np.int64)
    touch = Events(zeros.astype(np.uint8), ones, zeros, handle, at_once)
    exit_ = Events(np.full(pages, OP_FREE, np.uint8), ones, zeros, handle, at_once)
    touched, freed = [], []
    for _ in range(repetitions):
        memory = machine(size)
        memory.add_handles(pages)
        for events in (touch, exit_):
            memory.run(*events)
        touched.append(timed(memory, touch))
        freed.append(timed(memory, exit_))
    return touched, freed


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
    memory.advance(0)
    handle = np.arange(count, dtype=np.int32)
    before = resident_bytes()
    for first in range(0, pages, count):
        outcome = memory.run(*zeros, handle + np.int32(first))
        assert (outcome.status == Status.OK).all()
    return (resident_bytes() - before) / pages
