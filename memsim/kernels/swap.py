"""The per-CPU batches in which user pages wait to enter an LRU list.

Source: mm/swap.c, Linux 6.1 (folio_add_lru, lru_add_drain_cpu). Whether a page is on an LRU list
already decides how much of a pageblock a fallback finds movable (spec 3.5).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    LRU_FIELDS,
    PAGE_LRU,
    PAGE_LRU_PENDING,
    Mem,
)
from memsim.kernels.lru import lru_add, lru_add_range
from memsim.kernels.system import S_LRU_CACHE_DISABLED
from memsim.mm import LRU_BATCH, LRU_BATCH_2005


@helper
def lru_add_drain(m: Mem, cpu: int) -> None:
    """Put the pages that wait on a CPU onto the LRU list."""
    row = cpu * LRU_FIELDS
    for i in range(int(m.lru_batches[row])):
        pfn = int(m.lru_batches[row + 1 + i])
        m.state[pfn] = int(m.state[pfn]) & ~PAGE_LRU_PENDING | PAGE_LRU
        lru_add(m, pfn)
    m.lru_batches[row] = 0


@helper
def lru_add_drain_page(m: Mem, pfn: int) -> None:
    """Drain the batch in which a page waits that is about to be freed."""
    for cpu in range(m.nr_cpus):
        row = cpu * LRU_FIELDS
        for i in range(int(m.lru_batches[row])):
            if int(m.lru_batches[row + 1 + i]) == pfn:
                lru_add_drain(m, cpu)
                return


@inline
def folio_add_lru(m: Mem, cpu: int, pfn: int, order: int) -> None:
    """Queue a user page for the LRU list; a large one goes at once and takes the rest along."""
    if order > 0:
        lru_add_drain(m, cpu)
        for page in range(pfn, pfn + (1 << order)):
            m.state[page] |= PAGE_LRU
        lru_add(m, pfn)
        return
    row = cpu * LRU_FIELDS
    length = int(m.lru_batches[row]) + 1
    m.lru_batches[row] = length
    m.lru_batches[row + length] = pfn
    m.state[pfn] |= PAGE_LRU_PENDING
    limit = LRU_BATCH_2005 if m.lru_per_zone else LRU_BATCH
    if length == limit or int(m.system[S_LRU_CACHE_DISABLED]):
        lru_add_drain(m, cpu)


@inline
def folios_add_lru(m: Mem, cpu: int, first: int, pages: int) -> None:
    """Queue single pages that lie side by side and are alike; whole batches go at once."""
    limit = LRU_BATCH_2005 if m.lru_per_zone else LRU_BATCH
    end = first + pages
    while first < end:
        if int(m.lru_batches[cpu * LRU_FIELDS]) == 0 and end - first >= limit:
            whole = (end - first) // limit * limit
            for pfn in range(first, first + whole):
                m.state[pfn] |= PAGE_LRU
            lru_add_range(m, first, whole)
            first += whole
        else:
            folio_add_lru(m, cpu, first, 0)
            first += 1
