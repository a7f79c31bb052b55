"""Dirty pages of files, and the flusher that writes them in the order in which they became dirty.

Source: mm/page-writeback.c, fs/fs-writeback.c, Linux 6.1.

Unlike Linux: one queue of dirty pages, oldest first, takes the place of queues of inodes; a page
that finds no room in it is written by reclaim only; the background threshold is a share of all
memory, and writers are never made to wait.
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_RECLAIM,
    PAGE_WRITEBACK,
    TRAIT_RAMFS,
    TRAIT_SHMEM,
    Z_NR_DIRTY,
    Mem,
    page_zone,
    zone_add,
)
from memsim.kernels.lru import lru_pages
from memsim.kernels.page_io import device_congested, device_due, write_page
from memsim.kernels.system import (
    FOREVER,
    S_DIRTIED_CAPACITY,
    S_DIRTIED_HEAD,
    S_DIRTIED_LENGTH,
    S_DIRTY_BACKGROUND,
    S_FLUSH_BEFORE,
    S_FLUSHER_DUE,
    S_PRESSURE,
    clock,
    due_at,
)
from memsim.kernels.vmstat import NR_DIRTIED

NOT_WRITTEN_BACK = TRAIT_RAMFS | TRAIT_SHMEM
"""Dirty pages that the flusher has no place to write to."""
DIRTY_EXPIRE_NS = 30_000_000_000
"""Age at which a dirty page is written (dirty_expire_centisecs)."""


@inline
def dirtied_entry(m: Mem, position: int) -> int:
    """Say where the entry at a position of the queue of dirty pages lies."""
    capacity = int(m.system[S_DIRTIED_CAPACITY])
    return 2 * (int(m.system[S_DIRTIED_HEAD]) + position & capacity - 1)


@inline
def wake_flusher(m: Mem, time: int) -> None:
    """Let the flusher look at the queue at ``time`` or before."""
    if time < int(m.system[S_FLUSHER_DUE]):
        m.system[S_FLUSHER_DUE] = time
        due_at(m, time)


@inline
def over_background_thresh(m: Mem) -> bool:
    """Say whether so much is dirty that the flusher does not wait for pages to grow old."""
    return int(m.system[S_DIRTIED_LENGTH]) > int(m.system[S_DIRTY_BACKGROUND])


@helper
def account_page_dirtied(m: Mem, handle: int, pages: int) -> None:
    """Queue a page of a file that has become dirty for the flusher."""
    m.events[NR_DIRTIED] += pages
    length = int(m.system[S_DIRTIED_LENGTH])
    if int(m.system[S_PRESSURE]) and length < int(m.system[S_DIRTIED_CAPACITY]):
        at = dirtied_entry(m, length)
        m.dirtied[at] = handle
        m.dirtied[at + 1] = clock(m)
        m.system[S_DIRTIED_LENGTH] = length + 1
        wake_flusher(m, clock(m) + (0 if over_background_thresh(m) else DIRTY_EXPIRE_NS))


@helper
def set_page_dirty(m: Mem, handle: int, pfn: int) -> None:
    """Mark a page of a file dirty."""
    state = int(m.state[pfn])
    if not state & PAGE_DIRTY:
        pages = lru_pages(state)
        m.state[pfn] = (state | PAGE_DIRTY) & ~PAGE_RECLAIM
        zone_add(m, page_zone(m, pfn), Z_NR_DIRTY, pages)
        account_page_dirtied(m, handle, pages)


@helper
def wakeup_flusher_threads(m: Mem) -> None:
    """Let the flusher write all that is dirty by now, whatever its age."""
    m.system[S_FLUSH_BEFORE] = clock(m) + 1
    if int(m.system[S_DIRTIED_LENGTH]):
        wake_flusher(m, clock(m))


@helper
def flush_oldest(m: Mem) -> None:
    """Take the oldest page off the queue and write it, unless it is gone, clean, or being written.

    A page that became dirty again while it was written is queued anew.
    """
    handle = int(m.dirtied[dirtied_entry(m, 0)])
    m.system[S_DIRTIED_HEAD] += 1
    m.system[S_DIRTIED_LENGTH] -= 1
    pfn = int(m.page_table[handle]) - 1
    if pfn < 0:
        return
    state = int(m.state[pfn])
    never = int(m.traits[handle]) & NOT_WRITTEN_BACK
    if state & PAGE_DIRTY and not state & PAGE_ANON and not never:
        if state & PAGE_WRITEBACK:
            at = dirtied_entry(m, int(m.system[S_DIRTIED_LENGTH]))
            m.dirtied[at] = handle
            m.dirtied[at + 1] = clock(m)
            m.system[S_DIRTIED_LENGTH] += 1
        else:
            write_page(m, pfn)


@inline
def flush_due(m: Mem) -> int:
    """Return the instant at which the oldest page of the queue is to be written."""
    dirtied = int(m.dirtied[dirtied_entry(m, 0) + 1])
    if dirtied < int(m.system[S_FLUSH_BEFORE]) or over_background_thresh(m):
        return dirtied
    return dirtied + DIRTY_EXPIRE_NS


@helper
def flusher_step(m: Mem) -> None:
    """Write what is old, or too much, as far as the device takes it; say when to look again."""
    now = clock(m)
    m.system[S_FLUSHER_DUE] = FOREVER
    left = int(m.system[S_DIRTIED_LENGTH])
    while left > 0 and flush_due(m) <= now and not device_congested(m):
        flush_oldest(m)
        left -= 1
    if int(m.system[S_DIRTIED_LENGTH]):
        due = flush_due(m)
        if due <= now:
            due = device_due(m)
        wake_flusher(m, max(due, now + 1))
