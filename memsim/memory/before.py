"""What the pages are that were allocated before the start, as a snapshot shows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import boot as boot_kernels
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.mm import MIGRATE_PCPTYPES, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Migratetype
from memsim.traces import _page_flags as kpf

USER = L.PAGE_LRU | L.PAGE_ANON | L.PAGE_MAPPED
COPIED = (
    (kpf.ANON | kpf.SWAPBACKED, L.PAGE_ANON),
    (kpf.MMAP, L.PAGE_MAPPED),
    (kpf.ACTIVE, L.PAGE_ACTIVE),
    (kpf.REFERENCED, L.PAGE_REFERENCED),
    (kpf.DIRTY, L.PAGE_DIRTY),
    (kpf.UNEVICTABLE, L.PAGE_UNEVICTABLE),
)
"""What carries over: shared memory needs swap to be reclaimed, as anonymous pages do."""
IN_TRANSIT = kpf.ANON | kpf.MMAP
NR_BUFFERS_IN_USE = 2
NR_BUFFERS_AT_HAND = 16
"""Of a CPU (struct bh_lru)."""


def mark_before(
    memory: Memory, z: int, pfns: NDArray[np.int64], flags: NDArray[np.uint64] | None
) -> None:
    """Mark pages (n,) of a zone as allocated, each for itself, and put those of users on LRU lists.

    Without flags, pages in movable pageblocks are taken to be anonymous. A list's order is in no
    file: pages enter by pfn, so that the lowest is the oldest.
    """
    kinds = memory.mem.pageblocks[pfns >> PAGEBLOCK_ORDER].astype(np.int32)
    if flags is None:
        mobility = np.where(kinds < MIGRATE_PCPTYPES, kinds, Migratetype.UNMOVABLE)
        page = np.where(kinds == Migratetype.MOVABLE, USER, 0)
    else:
        of_page = _of_pages(flags, pfns)
        page = _user_state(of_page)
        page[_left_meanwhile(memory, z, flags, pfns)] = USER
        in_use, at_hand = _buffers(of_page)
        page[in_use] |= L.PAGE_PINNED
        page[at_hand] |= L.PAGE_PINNED
        memory.mem.swap_slot[pfns[in_use]] = L.BUFFERS_IN_USE
        memory.mem.swap_slot[pfns[at_hand]] = L.BUFFERS_AT_HAND
        slab = (of_page & kpf.SLAB != 0) & (kinds == Migratetype.RECLAIMABLE)
        mobility = np.where(slab, Migratetype.RECLAIMABLE, Migratetype.UNMOVABLE)
        mobility = np.where(page & L.PAGE_LRU, Migratetype.MOVABLE, mobility)
        reserved = of_page & kpf.RESERVED != 0
        memory.mem.state[pfns[reserved]] = L.PAGE_RESERVED
        pfns, kinds = pfns[~reserved], kinds[~reserved]
        mobility, page = mobility[~reserved], page[~reserved]
    memory.mem.state[pfns] = (
        L.PAGE_ALLOCATED | kinds << L.TYPE_SHIFT | mobility << L.MOBILITY_SHIFT | page
    )
    huge = _huge_pages(memory, flags, pfns) if flags is not None else np.zeros(0, np.int64)
    listed = (page != 0) | np.isin(pfns, huge)
    boot_kernels.place_lru_pages(memory.mem, pfns[listed].astype(np.int32))
    memory.add_zone_field(z, L.Z_NR_MAPPED, _mapped_huge_pages(memory, huge))
    dirty_file = page & (L.PAGE_DIRTY | L.PAGE_ANON) == L.PAGE_DIRTY
    memory.add_zone_field(z, L.Z_NR_DIRTY, int(np.count_nonzero(dirty_file)))
    memory.add_zone_field(z, L.Z_NR_MAPPED, int(np.count_nonzero(page & L.PAGE_MAPPED)))


def _huge_pages(
    memory: Memory, flags: NDArray[np.uint64], pfns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Make blocks of the transparent huge pages among these pages; return their heads."""
    of_page = _of_pages(flags, pfns)
    is_head = of_page & (kpf.COMPOUND_HEAD | kpf.THP) == kpf.COMPOUND_HEAD | kpf.THP
    heads = pfns[is_head & (pfns % PAGEBLOCK_NR_PAGES == 0)]
    pages = heads[:, None] + np.arange(PAGEBLOCK_NR_PAGES)
    whole = np.isin(pages, pfns).all(axis=1)
    tails = _of_pages(flags, pages[:, 1:].reshape(-1)).reshape(len(heads), PAGEBLOCK_NR_PAGES - 1)
    whole &= (tails & kpf.COMPOUND_TAIL != 0).all(axis=1)
    heads, pages = heads[whole], pages[whole]
    huge: NDArray[np.int64] = heads
    state = memory.mem.state
    kept = state[heads] & (L.PAGE_ALLOCATED | L.TYPE_MASK)
    kind = PAGEBLOCK_ORDER << L.ORDER_SHIFT | Migratetype.MOVABLE << L.MOBILITY_SHIFT
    state[pages] = L.PAGE_LRU
    state[heads] = kept | kind | L.PAGE_LRU | _copied(_of_pages(flags, heads))
    return huge


def _mapped_huge_pages(memory: Memory, heads: NDArray[np.int64]) -> int:
    mapped = np.count_nonzero(memory.mem.state[heads] & L.PAGE_MAPPED)
    return int(mapped) * PAGEBLOCK_NR_PAGES


def _buffers(flags: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Say which of the pages (n,), by pfn, are pinned by a file system's buffers: always, for now.

    A file system always uses some, and a CPU keeps the last ones at hand (captures ``frag`` and
    ``frag_nogroup``: of 29 pages of buffers kswapd gets 11; two are there to the end). Which ones
    is in no file: the active ones and, of the others, the first by pfn are taken to be those.
    """
    pages = np.flatnonzero(pages_of_buffers(flags))
    active = flags[pages] & kpf.ACTIVE != 0
    in_use = pages[~active][:NR_BUFFERS_IN_USE]
    at_hand = np.concatenate([pages[active], pages[~active][NR_BUFFERS_IN_USE:]])
    return in_use, at_hand[:NR_BUFFERS_AT_HAND]


def pages_of_buffers(flags: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which pages (n,) by their flags hold nothing but a file system's buffers."""
    seen = flags & (kpf.LRU | kpf.PRIVATE | kpf.UPTODATE | IN_TRANSIT | kpf.SWAPBACKED)
    found: NDArray[np.bool_] = seen == kpf.LRU | kpf.PRIVATE
    return found


def pages_on_their_way(flags: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which pages (n,) by their flags are users' and on no LRU list."""
    found: NDArray[np.bool_] = _of_users(flags) & (flags & kpf.LRU == 0)
    return found


def _of_users(flags: NDArray[np.uint64]) -> NDArray[np.bool_]:
    large = flags & (kpf.COMPOUND_HEAD | kpf.COMPOUND_TAIL | kpf.SLAB) != 0
    kernels = flags & (kpf.RESERVED | kpf.NOPAGE) != 0
    found: NDArray[np.bool_] = (flags & (kpf.LRU | IN_TRANSIT) != 0) & ~large & ~kernels
    return found


def _left_meanwhile(
    memory: Memory, z: int, flags: NDArray[np.uint64], pfns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which allocated pages (n,) compaction had emptied when the flags were read, later.

    What it had filled by then is free in the lists, but on the LRU. As many pages were left: those
    that are free by then, and, on per-CPU lists and so without any flag, the next ones of movable
    pageblocks that it has emptied (capture ``kc_r8``).
    """
    of_page = _of_pages(flags, pfns)
    freed: NDArray[np.bool_] = of_page & kpf.BUDDY != 0
    if not freed.any():
        return freed
    first, last = memory.setup.zones[z].start_pfn, memory.setup.zones[z].end_pfn
    zone = np.arange(first, min(last, len(flags)))
    filled = np.setdiff1d(zone[flags[zone] & kpf.LRU != 0], pfns)
    block = pfns >> PAGEBLOCK_ORDER
    silent = (of_page == 0) & (block >= block[freed].min())
    silent &= memory.mem.pageblocks[block] == Migratetype.MOVABLE
    silent &= ~np.isin(block, block[of_page & kpf.LRU != 0])
    before = np.cumsum(silent) - silent
    in_block = before[np.searchsorted(block, block)]
    left: NDArray[np.bool_] = freed | (silent & (in_block < len(filled) - np.count_nonzero(freed)))
    return left


def _of_pages(flags: NDArray[np.uint64], pfns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the flags of these pages; of a page beyond the file that it is none."""
    known = np.minimum(pfns, len(flags) - 1)
    return np.where(pfns < len(flags), flags[known], np.uint64(kpf.NOPAGE))


def _user_state(flags: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Say which PAGE_* bits pages have, 0 for what is on no LRU list.

    Pages of users on their way to a list count as there.
    """
    page = _copied(flags) | L.PAGE_LRU
    marked: NDArray[np.int32] = np.where(_of_users(flags), page, 0).astype(np.int32)
    return marked


def _copied(flags: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the PAGE_* bits that carry over as they are."""
    page = np.zeros(len(flags), np.int32)
    for seen, mark in COPIED:
        page |= np.where(flags & seen != 0, mark, 0).astype(np.int32)
    return page
