"""What moves pages between nodes without being asked: NUMA balancing, and demotion by reclaim.

Source: task_numa_work, kernel/sched/fair.c; mm/memory-tiers.c, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memsim.kernels import numa_balancing
from memsim.kernels.system import N_DEMOTION_MASK, N_DEMOTION_NODE, NODE_FIELDS
from memsim.memory import Memory


def scan(memory: Memory, handles: ArrayLike) -> int:
    """Let the next access to each of these pages be noticed: from another node it moves the page.

    Pages that are not in memory, or not of users, are left out; returns how many are not. Which
    pages a round looks at, and when there is one, is for the caller to say.
    """
    return int(numa_balancing.change_prot_numa(memory.mem, np.asarray(handles, np.int32)))


def know_slower(memory: Memory, node: int, slower: Sequence[int]) -> None:
    """Let it be known which nodes have slower memory than a node; nothing is moved there yet."""
    _row(memory, node)[N_DEMOTION_MASK] = sum(1 << other for other in set(slower))


def demote_to(memory: Memory, node: int, slower: Sequence[int]) -> None:
    """Let reclaim move pages of a node to slower ones, the first of them if it has room.

    Without any, it takes them away as ever (/sys/kernel/mm/numa/demotion_enabled).
    """
    know_slower(memory, node, slower)
    _row(memory, node)[N_DEMOTION_NODE] = slower[0] + 1 if slower else 0


def slower_nodes(memory: Memory) -> tuple[int, ...]:
    """Name the nodes that have slower memory than some other, ascending."""
    masks = memory.mem.nodes.reshape(-1, NODE_FIELDS)[:, N_DEMOTION_MASK]
    known = int(np.bitwise_or.reduce(masks))
    return tuple(node for node in range(memory.mem.nr_nodes) if known >> node & 1)


def _row(memory: Memory, node: int) -> NDArray[np.int64]:
    row: NDArray[np.int64] = memory.mem.nodes.reshape(-1, NODE_FIELDS)[node]
    return row
