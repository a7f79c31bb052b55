"""The pool of huge pages of 2 MiB: what nodes keep of them, who maps them (hugetlbfs).

Source: mm/hugetlb.c, Linux 6.1 (nr_hugepages, hugetlb_reserve_pages, hugetlb_no_page).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import hugetlb_pool as kernels
from memsim.kernels import system as S
from memsim.kernels.layout import TRAIT_HUGETLB
from memsim.memory import Memory
from memsim.mm import PAGEBLOCK_ORDER, Use, gfp_from_text
from memsim.schema import HugePages, Request

POOL_GFP = gfp_from_text(
    "GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_RETRY_MAYFAIL|__GFP_COMP|__GFP_THISNODE"
)
"""What capture ``frag`` shows a write to nr_hugepages to ask for."""


def set_nr_hugepages(memory: Memory, wanted: Sequence[int]) -> None:
    """Fill the pool with so many huge pages of each node, or with those that can be had."""
    memory.mem.system[S.S_HUGETLB_HANDLE] = memory.add_handles(2) + 1
    for node, pages in enumerate(wanted):
        request = memory.add_requests([Request(POOL_GFP, Use.KERNEL, preferred=node)])
        first = memory.add_handles(pages)
        handles = np.arange(first, first + pages, dtype=np.int32)
        rows = np.full(pages, request, np.uint16)
        op = np.full(pages, PAGEBLOCK_ORDER, np.uint8)
        memory.run(op, rows, np.zeros(pages, np.uint16), handles)
        pfns = memory.page_table[handles] - 1
        memory.page_table[handles] = 0
        kernels.add_to_pool(memory.mem, pfns[pfns >= 0].astype(np.int32))


def reserve(memory: Memory, pages: int) -> bool:
    """Set huge pages aside for a mapping; False (ENOMEM) if the pool has not so many left."""
    now = huge_pages(memory)
    if sum(now.free) - now.reserved < pages:
        return False
    memory.mem.system[S.S_HUGETLB_RESERVED] += pages
    return True


def fault(
    memory: Memory, handles: NDArray[np.int32], node: int, nodes: tuple[int, ...] | None
) -> bool:
    """Let handles hold huge pages that were reserved, from a node first, of ``nodes`` only.

    False (SIGBUS) if these have no more of them.
    """
    memory.mem.traits[handles] = TRAIT_HUGETLB
    mask = -1 if nodes is None else sum(1 << n for n in nodes)
    return bool(kernels.fault_huge_pages(memory.mem, handles, node, mask, 0) == len(handles))


def unmap(memory: Memory, handles: NDArray[np.int32]) -> None:
    """Give what handles hold back to the pool, and what was reserved for the others free."""
    held = np.count_nonzero(memory.page_table[handles])
    memory.mem.system[S.S_HUGETLB_RESERVED] -= len(handles) - held
    kernels.give_back_huge_pages(memory.mem, handles)


def huge_pages(memory: Memory) -> HugePages:
    """Count the pool's pages (HugePages_Total, _Free and _Rsvd of /proc/meminfo)."""
    rows = memory.mem.nodes.reshape(-1, S.NODE_FIELDS)[: memory.mem.nr_nodes]
    return HugePages(
        tuple(rows[:, S.N_HUGETLB_TOTAL].tolist()),
        tuple(rows[:, S.N_HUGETLB_FREE].tolist()),
        int(memory.mem.system[S.S_HUGETLB_RESERVED]),
    )


def has_pool(memory: Memory) -> bool:
    """Say whether the machine has a pool, be it empty."""
    return bool(memory.mem.system[S.S_HUGETLB_HANDLE])
