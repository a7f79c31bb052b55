"""The device that swap and files lie on, and the pages that it is writing.

Source: mm/page-writeback.c, mm/page_io.c, mm/filemap.c (folio_end_writeback), Linux 6.1.

Unlike Linux: one serial device serves swap and files, one page after the other; reads and writes
get half of it each while there are both. Writes are taken to be sorted; a read needs a seek unless
it goes on with one of the last eight sequences of reads, which have been read ahead. Pages of a
file lie on it in the order of their handles.
What nobody waits for is read at once. A page that is freed while it is written is free at once.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    PAGE_ACTIVE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_LRU,
    PAGE_RECLAIM,
    PAGE_UNEVICTABLE,
    PAGE_WRITEBACK,
    Z_NR_DIRTY,
    Z_NR_WRITEBACK,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.lru import lru_add_tail, lru_del, lru_pages
from memsim.kernels.system import (
    FOREVER,
    READ_SEQUENCES,
    S_FILE_WRITE_NS,
    S_READ_AT,
    S_READS,
    S_READS_END,
    S_SEEK_NS,
    S_SWAP_WRITE_NS,
    S_WAITERS,
    S_WRITEBACK_CAPACITY,
    S_WRITEBACK_HEAD,
    S_WRITEBACK_LENGTH,
    S_WRITES_END,
    book_stall,
    clock,
    due_at,
)
from memsim.kernels.vmstat import NR_WRITTEN, PGPGOUT, PGROTATED, PSWPOUT
from memsim.mm import PAGE_SIZE

KIB_PER_PAGE = PAGE_SIZE // 1024
SWAP_PLACES = 1 << 32
"""Slots of swap lie behind all files."""


@inline
def writeback_entry(m: Mem, position: int) -> int:
    """Say where the entry at a position of the ring of writes lies."""
    capacity = int(m.system[S_WRITEBACK_CAPACITY])
    return 2 * (int(m.system[S_WRITEBACK_HEAD]) + position & capacity - 1)


@inline
def device_congested(m: Mem) -> bool:
    """Say whether the device takes no more writes for now."""
    return int(m.system[S_WRITEBACK_LENGTH]) == int(m.system[S_WRITEBACK_CAPACITY])


@inline
def device_due(m: Mem) -> int:
    """Return the instant at which the first write ends, FOREVER if nothing is being written."""
    if int(m.system[S_WRITEBACK_LENGTH]) == 0:
        return FOREVER
    return int(m.writeback[writeback_entry(m, 0) + 1])


@inline
def writes_end(m: Mem, count: int) -> int:
    """Return the instant at which ``count`` writes, or all there are, have ended."""
    last = min(count, int(m.system[S_WRITEBACK_LENGTH])) - 1
    return int(m.writeback[writeback_entry(m, last) + 1]) if last >= 0 else clock(m)


@helper
def seek(m: Mem, place: int, pages: int) -> int:
    """Bring the head to a place, and over the pages there; return the time that it takes.

    What goes on with one of the last sequences of reads has been read ahead.
    """
    for sequence in range(S_READ_AT, S_READ_AT + READ_SEQUENCES):
        if int(m.system[sequence]) == place:
            m.system[sequence] = place + pages
            return 0
    m.system[S_READ_AT + int(m.system[S_READS]) % READ_SEQUENCES] = place + pages
    m.system[S_READS] += 1
    return int(m.system[S_SEEK_NS])


@inline
def shared(m: Mem, others_end: int, ns: int) -> int:
    """Return how long the device takes: twice as long while it has reads as well as writes."""
    return 2 * ns if int(m.system[others_end]) > clock(m) else ns


@helper
def wait_on_page_read(m: Mem, place: int, pages: int, ns: int) -> None:
    """Wait until the device has read pages, which takes ``ns`` each, from a place on it."""
    now = clock(m)
    cost = pages * ns + seek(m, place, pages)
    if int(m.system[S_WAITERS]) == 0:
        book_stall(m, cost)
        return
    end = max(now, int(m.system[S_READS_END])) + shared(m, S_WRITES_END, cost)
    m.system[S_READS_END] = end
    book_stall(m, end - now)


@helper
def write_page(m: Mem, pfn: int) -> None:
    """Begin to write a page to its swap slot or its file; the device must not be congested."""
    state = int(m.state[pfn])
    z = page_zone(m, pfn)
    pages = lru_pages(state)
    anon = state & PAGE_ANON
    if state & PAGE_DIRTY and not anon:
        zone_add(m, z, Z_NR_DIRTY, -pages)
    m.state[pfn] = state & ~PAGE_DIRTY | PAGE_WRITEBACK
    zone_add(m, z, Z_NR_WRITEBACK, pages)
    m.events[PSWPOUT] += pages if anon else 0
    m.events[PGPGOUT] += pages * KIB_PER_PAGE
    cost = int(m.system[S_SWAP_WRITE_NS]) if anon else int(m.system[S_FILE_WRITE_NS])
    end = max(clock(m), int(m.system[S_WRITES_END])) + shared(m, S_READS_END, pages * cost)
    m.system[S_WRITES_END] = end
    at = writeback_entry(m, int(m.system[S_WRITEBACK_LENGTH]))
    m.writeback[at] = pfn
    m.writeback[at + 1] = end
    m.system[S_WRITEBACK_LENGTH] += 1
    due_at(m, end)


@helper
def end_page_writeback(m: Mem, pfn: int) -> None:
    """Take note that a page is written; if reclaim waits for it, it becomes the oldest of all."""
    state = int(m.state[pfn])
    pages = lru_pages(state)
    zone_add(m, page_zone(m, pfn), Z_NR_WRITEBACK, -pages)
    m.events[NR_WRITTEN] += pages
    m.state[pfn] = state & ~(PAGE_WRITEBACK | PAGE_RECLAIM)
    kept = PAGE_ISOLATED | PAGE_UNEVICTABLE | PAGE_DIRTY | (PAGE_ACTIVE if m.lru_per_zone else 0)
    if state & PAGE_RECLAIM and state & PAGE_LRU and not state & kept:
        lru_del(m, pfn)
        m.state[pfn] &= ~PAGE_ACTIVE
        lru_add_tail(m, pfn)
        m.events[PGROTATED] += pages


@helper
def end_writes(m: Mem, now: int) -> None:
    """Take note of all writes that have ended by ``now``."""
    while device_due(m) <= now:
        pfn = int(m.writeback[writeback_entry(m, 0)])
        m.system[S_WRITEBACK_HEAD] += 1
        m.system[S_WRITEBACK_LENGTH] -= 1
        if pfn >= 0:
            end_page_writeback(m, pfn)


@helper
def forget_write(m: Mem, pfn: int) -> None:
    """Forget that a page is being written, for it is freed; the device writes it all the same."""
    for position in range(int(m.system[S_WRITEBACK_LENGTH])):
        at = writeback_entry(m, position)
        if int(m.writeback[at]) == pfn:
            m.writeback[at] = -1
            return
