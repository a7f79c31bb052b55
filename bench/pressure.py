"""The whole path of a request where memory does not suffice: reclaim, swap, compaction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bench.full_path import CPUS, Events
from bench.streams import SEED
from memsim import plugins
from memsim.memory import Memory
from memsim.memory.start import kernel_of, start
from memsim.mm import OP_FREE, OP_TOUCH, PAGE_SIZE, Status, Use, gfp_from_text
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node, Swap
from memsim.schema import Request

REQUESTS = (
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.PAGE_CACHE, lru=True),
    Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.ANON, lru=True),
    Request(gfp_from_text("GFP_KERNEL"), Use.SLAB),
)
FILE, ANON, KERNEL = range(3)
NS_PER_EVENT = 2_000
"""Simulated time from one event to the next: half a million a second."""
WARM_UP = 256 << 20
"""A machine that kernels are compiled, or loaded, on."""


class PerPage(NamedTuple):
    """What one page costs in ns of CPU time."""

    scanned: float
    done: float
    """Freed, or moved."""


def machine(size: int, handles: int) -> Memory:
    """Boot one node of ``size`` bytes with as much swap."""
    node = Node(id=0, cpus=tuple(range(CPUS)), memory=size)
    booted = Machine(nodes=(node,), swap=Swap(size=size))
    tables = plugins.model_of("policies", "mobility")().tables(kernel_of(booted, "linux-6.1"))
    memory = start(booted, "linux-6.1", Cmdline(), tables, "")
    memory.add_requests(REQUESTS)
    memory.add_handles(handles)
    return memory


def mixed_events(pages: int, count: int) -> tuple[Events, int]:
    """Draw a mix of which memory holds half: files read in turn, a heap, kernel pages.

    Returns the events and their handles.
    """
    rng = np.random.default_rng(SEED)
    files, heap, kernel = pages * 3 // 2, pages * 2 // 5, pages // 10
    kind = rng.choice(3, count, p=(0.6, 0.3, 0.1))
    turn = np.cumsum(kind == FILE) % files
    kernel_turn = np.cumsum(kind == KERNEL) - 1
    places = (turn, files + rng.integers(0, heap, count), files + heap + kernel_turn % kernel)
    # A kernel page is taken, and freed when its turn comes again.
    frees = kernel_turn // kernel % 2 == 1
    ops = (OP_TOUCH, OP_TOUCH, np.where(frees, OP_FREE, 0))
    return Events(
        op=np.choose(kind, ops).astype(np.uint8),
        request=kind.astype(np.uint16),
        cpu=rng.integers(0, CPUS, count, np.uint16),
        handle=np.choose(kind, places).astype(np.int32),
        time=np.arange(count, dtype=np.int64) * NS_PER_EVENT,
    ), files + heap + kernel


def timed(memory: Memory, events: Events) -> float:
    """Carry out events; return ns of CPU time. Raises AssertionError if one failed."""
    begin = time.process_time_ns()
    outcome = memory.run(*events)
    took = time.process_time_ns() - begin
    assert len(outcome.status) == len(events.op)
    assert np.isin(outcome.status, (Status.OK, Status.FREED, Status.TOUCHED)).all()
    return took


def ns_per_event(size: int, count: int, repetitions: int) -> list[float]:
    """Return what each repetition of a mix takes per event; the first half only fills memory."""
    events, handles = mixed_events(size // PAGE_SIZE, 2 * count)
    took = []
    timed(machine(WARM_UP, handles), events.part(0, 1))
    for _ in range(repetitions):
        memory = machine(size, handles)
        timed(memory, events.part(0, count))
        took.append(timed(memory, events.part(count, 2 * count)) / count)
    return took


def reclaim(size: int, repetitions: int) -> list[PerPage]:
    """Read a file of three times the memory; return what a page that reclaim scans and frees costs.

    What the same reads cost where memory suffices is subtracted.
    """
    pages = 3 * size // PAGE_SIZE
    zeros = np.zeros(pages, np.uint16)
    reads = Events(
        np.full(pages, OP_TOUCH, np.uint8),
        zeros,
        zeros,
        np.arange(pages, dtype=np.int32),
        np.arange(pages, dtype=np.int64) * NS_PER_EVENT,
    )
    results = []
    for _ in range(repetitions):
        roomy, tight = machine(4 * size, pages), machine(size, pages)
        extra = -timed(roomy, reads) + timed(tight, reads)
        done = tight.vmstat()
        results.append(_per_page(extra, done, ("pgscan_file", "pgscan_anon"), "pgsteal_file"))
    return results


def compaction(size: int, repetitions: int) -> list[PerPage]:
    """Compact memory of which every second page is free; return what scanning and moving cost."""
    pages = size * 9 // 10 // PAGE_SIZE
    handle = np.arange(pages, dtype=np.int32)
    zeros = np.zeros(pages, np.uint16)
    fill = (np.zeros(pages, np.uint8), zeros + np.uint16(ANON), zeros, handle)
    gone = np.random.default_rng(SEED).permutation(handle)[: pages // 2]
    holes = zeros[: len(gone)]
    results = []
    machine(WARM_UP, 0).compact_memory()
    for _ in range(repetitions):
        memory = machine(size, pages)
        memory.run(*fill)
        memory.run(np.full(len(gone), OP_FREE, np.uint8), holes, holes, gone)
        before = memory.vmstat()
        begin = time.process_time_ns()
        memory.compact_memory()
        took = time.process_time_ns() - begin
        after = memory.vmstat()
        done = {name: after[name] - before[name] for name in after}
        scanned = ("compact_migrate_scanned", "compact_free_scanned")
        results.append(_per_page(took, done, scanned, "pgmigrate_success"))
    return results


def _per_page(ns: float, done: Mapping[str, int], scanned: tuple[str, ...], end: str) -> PerPage:
    return PerPage(ns / sum(done[name] for name in scanned), ns / done[end])
