"""Entry points of page migration: taking pages off the LRU lists, moving them, putting them back.

Source: isolate_lru_page, mm/vmscan.c; migrate_pages, mm/migrate.c, Linux 6.1.192 (spec 8.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, prefetch, ptr
from memsim.kernels.daemons import begin_event
from memsim.kernels.layout import PAGE_ALLOCATED, PAGE_ISOLATED, PAGE_LRU, Mem
from memsim.kernels.migrate import isolate_hugetlb, isolate_lru_page
from memsim.kernels.migrate_pages import is_hugetlb, migrate_pages, putback_movable_pages
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swap import lru_add_drain
from memsim.kernels.system import S_NO_TRAITS, S_STALL, S_WAITERS

PREFETCH = 8
"""Blocks between asking for what is to be touched and touching it."""
TRAITS_A_LINE = 64
"""Handles whose traits share a cache line."""


@helper
def lru_add_drain_all(m: Mem) -> None:
    """Put the pages that wait on any CPU onto the LRU lists."""
    for cpu in range(m.nr_cpus):
        lru_add_drain(m, cpu)


@kernel
def begin_call(mem: Mem, policy: PolicyTables, now: int) -> None:
    """Let time come to a system call at ``now`` (ns), which begins without CPU batches of pages.

    Source: lru_cache_disable, mm/swap.c.
    """
    m = pointers(mem)
    begin_event(m, pointers(policy), now)
    m.system[S_WAITERS] = 0
    lru_add_drain_all(m)


@inline
def prefetch_links(m: Mem, heads: NDArray[np.int32], i: int, stop: int) -> None:
    """Ask for what isolating coming blocks will touch: pages, then their neighbours on the list."""
    if i + 2 * PREFETCH < stop:
        prefetch(m.state, int(heads[i + 2 * PREFETCH]))
        coming = int(heads[i + PREFETCH])
        prefetch(m.state, int(m.next[coming]))
        prefetch(m.state, int(m.prev[coming]))


@kernel
def isolate_pages(mem: Mem, pfns: NDArray[np.int32], taken: NDArray[np.uint8]) -> int:
    """Take the blocks with these heads off their LRU lists; say of each whether that was possible.

    Those of the hugetlb pool are on none. Returns how many were taken.
    """
    m = pointers(mem)
    heads, out = ptr(pfns), ptr(taken)
    count = 0
    for i in range(len(pfns)):
        pfn = int(heads[i])
        prefetch_links(m, heads, i, len(pfns))
        state = int(m.state[pfn]) & (PAGE_ALLOCATED | PAGE_LRU | PAGE_ISOLATED)
        out[i] = 1
        if state == PAGE_ALLOCATED | PAGE_LRU:
            isolate_lru_page(m, pfn)
        elif state == PAGE_ALLOCATED and is_hugetlb(m, pfn):
            isolate_hugetlb(m, pfn)
        else:
            out[i] = 0
        count += int(out[i])
    return count


@helper
def look_for_traits(m: Mem, handles: int, pages: int) -> None:
    """Find out whether no handle has traits, if that takes less than to look for pages' own."""
    found = 1
    if pages >= handles // TRAITS_A_LINE:
        found = 0
        for handle in range(handles):
            found |= int(m.traits[handle])
    m.system[S_NO_TRAITS] = 1 if found == 0 else 0


@kernel
def migrate_list(
    mem: Mem,
    policy: PolicyTables,
    request: NDArray[np.int64],
    pages: NDArray[np.int32],
    cpu: int,
    mode: int,
    reason: int,
    codes: NDArray[np.int8],
    tries: NDArray[np.int8],
) -> int:
    """Move isolated blocks and put back those that stay; see ``migrate_pages``.

    The simulated time that it takes is in S_STALL.
    """
    m = pointers(mem)
    heads = ptr(pages)
    stop = len(pages)
    look_for_traits(m, len(mem.traits), stop)
    result = migrate_pages(
        m,
        pointers(policy),
        cpu,
        ptr(request),
        heads,
        0,
        stop,
        mode,
        reason,
        ptr(codes),
        ptr(tries),
    )
    if result != 0:
        putback_movable_pages(m, heads, 0, stop)
    return result


@kernel
def time_spent(mem: Mem) -> int:
    """Return what the call at hand has taken so far, in simulated nanoseconds."""
    return int(pointers(mem).system[S_STALL])
