"""Migration: what a page costs that is moved in a range, and one of those scattered at random.

Measured is the engine: what the kernels take, without what Python does around them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.bare_zone import CZone
from bench.streams import SEED, TYPE_SHIFT, Stream
from memsim import plugins
from memsim.kernels import migration as kernels_6_1
from memsim.kernels.buddy import MOVABLE
from memsim.kernels.linux_2_6_14 import migrate_pages as kernels_2005
from memsim.memory import Memory
from memsim.memory.migrating import migrate_pages
from memsim.memory.migrating_2005 import Fate, migrate
from memsim.memory.start import kernel_of, start
from memsim.mm import MAX_ORDER_NR_PAGES, PAGE_SIZE, Use, gfp_from_text
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node, Swap
from memsim.schema import Request

PAGES = 10_000_000
GOALS = {"ranges": 10.0, "random": 80.0}
"""ns per page on a faster computer, where a prototype of bare moves took 15 and 62."""
CODES = ("linux-6.1", "linux-2.6.16", "v1")
POLICIES = {"linux-6.1": "mobility", "linux-2.6.14": "none"}
ANON = Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.ANON, lru=True)
FILE = Request(gfp_from_text("GFP_HIGHUSER_MOVABLE"), Use.PAGE_CACHE, lru=True)
CPUS = 8
"""Of each node."""


class PerPage(NamedTuple):
    """What moving one page costs in ns of CPU time, and taking it off its list before."""

    ranges: float
    random: float
    isolated: float
    """In ranges."""
    isolated_random: float


def profile_of(code: str) -> str:
    """Return the kernel whose code that is."""
    return code if code == "linux-6.1" else "linux-2.6.14"


def filled(code: str, pages: int) -> tuple[Memory, NDArray[np.int32]]:
    """Boot two nodes with room for ``pages`` each, and let a process fill the first.

    With what moves directly: V1 takes anonymous pages by way of swap slots, and so pages of files.
    """
    profile = profile_of(code)
    size = (pages * 9 // 8 * PAGE_SIZE >> 27) + 2 << 27
    nodes = tuple(
        Node(id=n, cpus=tuple(range(CPUS * n, CPUS * (n + 1))), memory=size) for n in range(2)
    )
    machine = Machine(profile=profile, nodes=nodes, swap=Swap(size=pages * PAGE_SIZE))
    tables = plugins.model_of("policies", POLICIES[profile])().tables(kernel_of(machine, profile))
    memory = start(machine, profile, Cmdline(), tables, "")
    memory.add_requests([FILE if code == "v1" else ANON])
    memory.add_handles(pages)
    handles = np.arange(pages, dtype=np.int32)
    zeros = np.zeros(pages, np.uint16)
    assert (memory.run(np.zeros(pages, np.uint8), zeros, zeros, handles).pfn >= 0).all()
    return memory, handles


class Stopwatch:
    """Times calls of a kernel's entry points while it is in use; ns of CPU time."""

    def __init__(self, module: ModuleType, *names: str) -> None:
        self.took = dict.fromkeys(names, 0)
        self._module = module
        self._entries = {name: getattr(module, name) for name in names}

    def __enter__(self) -> Stopwatch:
        for name, entry in self._entries.items():
            setattr(self._module, name, self._timed(name, entry))
        return self

    def __exit__(self, *_: object) -> None:
        for name, entry in self._entries.items():
            setattr(self._module, name, entry)

    def _timed(self, name: str, entry: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begin = time.process_time_ns()
            result = entry(*arguments)
            self.took[name] += time.process_time_ns() - begin
            return result

        return call


def timed(code: str, memory: Memory, handles: NDArray[np.int32], node: int) -> tuple[float, float]:
    """Move pages to a node; return ns of CPU time per page for that, and for taking them before.

    Raises AssertionError if one stayed.
    """
    if code == "linux-6.1":
        with Stopwatch(kernels_6_1, "isolate_pages", "migrate_list") as watch:
            assert migrate_pages(memory, handles, [1 - node], [node]).ret == 0
    else:
        entries = "isolate_lru_pages", "migrate_pages", "end_migration"
        with Stopwatch(kernels_2005, *entries) as watch:
            outcome = migrate(memory, handles, node, code=code)  # type: ignore[arg-type]
        assert outcome.count(Fate.MOVED_DIRECT) == len(handles), np.bincount(outcome.fate)
    isolated, *moved = watch.took.values()
    return sum(moved) / len(handles), isolated / len(handles)


def per_page(code: str, pages: int, repetitions: int) -> list[PerPage]:
    """Move all pages to the other node and back in order of their addresses, then in any order.

    What is measured is no page's first use: the first move is not.
    """
    timed(code, *filled(code, 1 << 14), 1)
    shuffled = np.random.default_rng(SEED)
    results = []
    for _ in range(repetitions):
        memory, handles = filled(code, pages)
        timed(code, memory, handles, 1)
        ranges, isolated = timed(code, memory, handles, 0)
        random, isolated_random = timed(code, memory, shuffled.permutation(handles), 1)
        results.append(PerPage(ranges, random, isolated, isolated_random))
    return results


def bare_moves(pages: int) -> tuple[float, float]:
    """Do the same with the C program, which knows neither CPU lists nor LRU lists nor watermarks.

    Raises AssertionError if a page has got lost.
    """
    size = -(-pages // MAX_ORDER_NR_PAGES) * MAX_ORDER_NR_PAGES
    zones = [CZone(size, pages) for _ in range(2)]
    old, new = np.zeros((2, size, 2), np.int32)
    handles = np.arange(pages, dtype=np.int32)
    movable = np.full(pages, MOVABLE << TYPE_SHIFT, np.uint8)
    zones[0].run(Stream(movable, handles, 0, pages), 0, pages)
    old[zones[0].page_table - 1, 0] = handles
    zones[1].page_table = zones[0].page_table
    shuffled = np.random.default_rng(SEED).permutation(handles)
    took = []
    for source, target, order in ((0, 1, handles), (1, 0, handles), (0, 1, shuffled)):
        begin = time.process_time_ns()
        zones[source].move(zones[target], order, (old, new)[:: 1 - 2 * source])
        took.append((time.process_time_ns() - begin) / pages)
    assert (new[zones[1].page_table - 1, 0] == handles).all()
    return took[1], took[2]


def main() -> None:
    """Print each code's figures, those of the C program beside it, and the goals."""
    for code in CODES:
        bare = [min(column) for column in zip(*(bare_moves(PAGES) for _ in range(3)), strict=True)]
        best = [min(column) for column in zip(*per_page(code, PAGES, 3), strict=True)]
        columns = zip(GOALS.items(), best[:2], bare, best[2:], strict=True)
        for (order, goal), took, reference, isolated in columns:
            print(
                f"{code:14}{order:8}{took:7.1f} ns/page (goal {goal:.0f}); bare moves in C"
                f" {reference:6.1f}, ratio {took / reference:5.2f}; isolated {isolated:5.1f}"
            )


if __name__ == "__main__":
    main()
