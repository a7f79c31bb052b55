"""NUMA balancing: letting accesses be noticed, which then move misplaced pages.

Source: task_numa_work, kernel/sched/fair.c, Linux 6.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from memsim.kernels import numa_balancing
from memsim.memory import Memory


def scan(memory: Memory, handles: ArrayLike) -> int:
    """Let the next access to each of these pages be noticed: from another node it moves the page.

    Pages that are not in memory, or not of users, are left out; returns how many are not. Which
    pages a round looks at, and when there is one, is for the caller to say.
    """
    return int(numa_balancing.change_prot_numa(memory.mem, np.asarray(handles, np.int32)))
