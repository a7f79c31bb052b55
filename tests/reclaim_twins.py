"""What twins of reclaim have in common with each other and with the kernels."""

import numpy as np
from oracle.naive_vmscan import Page

from memsim.kernels import layout as L


def check_swap_and_counters(memory, twin, counters):
    """Hold swap, what is not in memory, counters and free pages against a twin of two zones."""
    owners = [0 if owner is None else owner + 1 for owner in twin.slots]
    assert memory.mem.swap_map.tolist() == owners
    away = {h: e for h, e in twin.table.items() if not isinstance(e, Page)}
    entries = {h: L.GONE if e == "gone" else -(e + 1) for h, e in away.items()}
    table = memory.page_table
    assert {int(h): int(table[h]) for h in np.flatnonzero(table < 0)} == entries
    counted = memory.vmstat()
    assert {n: counted[n] for n in counters} == {n: twin.counts.get(n, 0) for n in counters}
    assert [memory.nr_free_pages(z) for z in range(2)] == twin.free_pages
