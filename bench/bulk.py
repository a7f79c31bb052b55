"""One zone's pages in bulk: a request for millions of single pages, and ranges of them freed.

Nothing is reported unless the free lists, in order, are those that the same pages leave which
``bare_zone.run_zone`` takes and frees one by one.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.bare_zone import MemsimZone, digest
from bench.streams import TYPE_SHIFT, Stream
from memsim.kernels._jit import kernel, pointers, ptr
from memsim.kernels.buddy import free_range, mod_zone_free_pages, take
from memsim.kernels.layout import TYPE_SHIFT as STATE_TYPE_SHIFT
from memsim.kernels.layout import Mem, pageblock_type
from memsim.mm import OP_FREE, Migratetype

RANGE = 1 << 15
"""Pages that are freed at a time: 128 MiB."""
MOVABLE = int(Migratetype.MOVABLE)


class Bulk(NamedTuple):
    """What the two directions took, in ns per page."""

    take: float
    free: float


@kernel
def take_pages(mem: Mem, migratetype: int, out: NDArray[np.int32]) -> int:
    """Fill ``out`` with single pages of zone 0; return how many there were."""
    m = pointers(mem)
    pages = ptr(out)
    taken = 0
    while taken < len(out):
        first, blocks = take(m, 0, 0, migratetype, len(out) - taken)
        if blocks == 0:
            break
        for i in range(blocks):
            pages[taken + i] = first + i
            m.state[first + i] = migratetype << STATE_TYPE_SHIFT
        taken += blocks
    mod_zone_free_pages(m, 0, 0, -taken)
    return taken


@kernel
def free_ranges(mem: Mem, starts: NDArray[np.int32], pages: int) -> None:
    """Free ranges of zone 0's pages, which lie in pageblocks of one type each."""
    m = pointers(mem)
    for i in range(len(starts)):
        first = int(starts[i])
        free_range(m, 0, 0, first, first + pages, pageblock_type(m, first))


def one_by_one(pages: int, wanted: int, order: NDArray[np.int32]) -> tuple[str, str]:
    """Take single pages and free them in ``order``; return the digest of the zone after each."""
    op = np.full(2 * wanted, MOVABLE << TYPE_SHIFT, np.uint8)
    op[wanted:] = OP_FREE
    handle = np.concatenate([np.arange(wanted, dtype=np.int32), order])
    stream = Stream(op, handle, wanted, wanted)
    zone = MemsimZone(pages, wanted)
    zone.run(stream, 0, wanted)
    full = digest(zone)
    zone.run(stream, wanted, 2 * wanted)
    return full, digest(zone)


def in_bulk(pages: int, wanted: int, ranges: NDArray[np.int32]) -> tuple[Bulk, tuple[str, str]]:
    """Take and free the same pages in bulk; ``ranges`` are the first pages of what is freed."""
    zone = MemsimZone(pages, wanted)
    out = np.ones(wanted, np.int32)
    # The operating system gives an array its memory at the first write: that is not timed here.
    zone.memory.mem.state[:pages] += 0
    begin = time.process_time()
    taken = take_pages(zone.memory.mem, MOVABLE, out)
    took = time.process_time() - begin
    assert taken == wanted
    zone.page_table[:] = out + 1
    full = digest(zone)
    starts = out[ranges]
    begin = time.process_time()
    free_ranges(zone.memory.mem, starts, RANGE)
    freed = time.process_time() - begin
    zone.page_table[:] = 0
    return Bulk(took / wanted * 1e9, freed / wanted * 1e9), (full, digest(zone))


def compare(pages: int, wanted: int, repetitions: int) -> list[Bulk]:
    """Take and free ``wanted`` pages, a multiple of RANGE, in bulk; return each repetition's times.

    Raises AssertionError if the zone is ever another than if they went one by one.
    """
    first = np.arange(0, wanted, RANGE, dtype=np.int32)
    ranges = np.random.default_rng(1).permutation(first)
    order = (ranges[:, None] + np.arange(RANGE, dtype=np.int32)).reshape(-1)
    expected = one_by_one(pages, wanted, order)
    in_bulk(RANGE * 2, RANGE, first[:1])
    results = []
    for _ in range(repetitions):
        bulk, found = in_bulk(pages, wanted, ranges)
        if found != expected:
            raise AssertionError(f"in bulk the zone is {found}, one by one {expected}")
        results.append(bulk)
    return results
