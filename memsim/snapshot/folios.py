"""Large folios of newer kernels as the pages that 6.1 would have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.mm import PAGEBLOCK_NR_PAGES
from memsim.traces import _page_flags as kpf

COMPOUND = kpf.COMPOUND_HEAD | kpf.COMPOUND_TAIL
OF_USERS = kpf.LRU | kpf.ANON | kpf.MMAP | kpf.THP


def split_small_folios(flags: NDArray[np.uint64]) -> None:
    """Make single pages of users' folios that are no whole huge page, in place; (n,) by pfn.

    Later kernels keep page cache and anonymous memory in folios of several pages, which 6.1 has in
    single ones. Each page gets what the flags say of the folio.
    """
    kind = flags & COMPOUND
    of_users = (kind != 0) & (flags & OF_USERS != 0) & (flags & (kpf.HUGE | kpf.SLAB) == 0)
    pages = np.flatnonzero(of_users)
    heads = pages[kind[pages] == kpf.COMPOUND_HEAD]
    if not len(heads):
        return
    head_of = np.searchsorted(heads, pages, side="right") - 1
    pages, head_of = pages[head_of >= 0], head_of[head_of >= 0]
    sizes = np.bincount(head_of, minlength=len(heads))
    whole = (sizes == PAGEBLOCK_NR_PAGES) & (heads % PAGEBLOCK_NR_PAGES == 0)
    small = ~whole[head_of]
    pages, head_of = pages[small], heads[head_of[small]]
    flags[pages] = flags[head_of] & ~np.uint64(COMPOUND | kpf.THP)
