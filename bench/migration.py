"""Migration of 2005: what a page costs that is moved directly, in ranges and at random."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.streams import SEED
from memsim import plugins
from memsim.memory import Memory
from memsim.memory.migrating_2005 import Fate, migrate
from memsim.memory.start import kernel_of, start
from memsim.mm import PAGE_SIZE, Use, gfp_from_text
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node, Swap
from memsim.schema import Request

PROFILE = "linux-2.6.14"
ANON = Request(gfp_from_text("GFP_HIGHUSER"), Use.ANON, lru=True)


class PerPage(NamedTuple):
    """What moving one page costs in ns of CPU time."""

    ranges: float
    random: float


def filled(pages: int) -> tuple[Memory, NDArray[np.int32]]:
    """Boot two nodes with room for ``pages`` each, and let a process fill the first."""
    size = (pages * 9 // 8 * PAGE_SIZE >> 27) + 2 << 27
    nodes = tuple(Node(id=n, cpus=(n,), memory=size) for n in range(2))
    machine = Machine(profile=PROFILE, nodes=nodes, swap=Swap(size=pages * PAGE_SIZE))
    tables = plugins.model_of("policies", "none")().tables(kernel_of(machine, PROFILE))
    memory = start(machine, PROFILE, Cmdline(), tables, "")
    memory.add_requests([ANON])
    memory.add_handles(pages)
    handles = np.arange(pages, dtype=np.int32)
    zeros = np.zeros(pages, np.uint16)
    assert (memory.run(np.zeros(pages, np.uint8), zeros, zeros, handles).pfn >= 0).all()
    return memory, handles


def timed(memory: Memory, handles: NDArray[np.int32], node: int) -> float:
    """Move pages to a node; return ns of CPU time per page. Raises AssertionError if one stayed."""
    begin = time.process_time_ns()
    outcome = migrate(memory, handles, node, code="linux-2.6.16")
    took = time.process_time_ns() - begin
    assert outcome.count(Fate.MOVED_DIRECT) == len(handles), np.bincount(outcome.fate)
    return took / len(handles)


def direct(pages: int, repetitions: int) -> list[PerPage]:
    """Move all pages to the other node and back in order of their addresses, then in any order.

    What is measured is no page's first use: the first move is not.
    """
    timed(*filled(1 << 14), 1)
    shuffled = np.random.default_rng(SEED)
    results = []
    for _ in range(repetitions):
        memory, handles = filled(pages)
        timed(memory, handles, 1)
        ranges = timed(memory, handles, 0)
        results.append(PerPage(ranges, timed(memory, shuffled.permutation(handles), 1)))
    return results
