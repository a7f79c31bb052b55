"""What the OOM killer takes from whom.

Source: mm/oom_kill.c, Linux 6.1 (oom_badness, __oom_kill_process).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels import vmstat
from memsim.kernels.system import S_EXTFRAG_INDEX, S_OOM_MAY_KILL, S_SWAP_SLOTS, S_WHY
from memsim.memory import Memory
from memsim.mm import OP_FREE, WhyNot

OOM_SCORE_ADJ_MIN = -1000
"""A process with this is never killed."""


class Holding(NamedTuple):
    """What a range of handles holds, in pages."""

    pages: int
    swapped: int


def holding(memory: Memory, first: int, stop: int) -> Holding:
    """Count what the handles [first, stop) hold in memory, and in swap only."""
    entries = memory.page_table[first:stop]
    swapped = (entries < 0) & (entries != L.GONE)
    owners = memory.mem.swap_map[(memory.mem.swap_map > first) & (memory.mem.swap_map <= stop)]
    slots = int(np.count_nonzero(swapped[owners - 1 - first]))
    return Holding(int((1 << _orders(memory, entries)).sum()), slots)


def oom_badness(memory: Memory, held: Holding, oom_score_adj: int) -> int:
    """Score a process: its pages, and a thousandth of all there are for each point of adj."""
    total = sum(zone.managed for zone in memory.setup.zones) + int(memory.mem.system[S_SWAP_SLOTS])
    return held.pages + held.swapped + oom_score_adj * (total // 1000)


def kill(memory: Memory, first: int, stop: int, cpu: int) -> None:
    """Free all that the handles [first, stop) hold, on a CPU.

    Unlike Linux: a victim's memory is free at once, before anything else happens.
    """
    memory.mem.events[vmstat.OOM_KILL] += 1
    entries = memory.page_table[first:stop]
    handles = np.flatnonzero(entries)
    op = np.full(len(handles), OP_FREE, np.uint8)
    op[entries[handles] > 0] |= _orders(memory, entries).astype(np.uint8)
    done = 0
    while done < len(handles):
        rest = (first + handles[done:]).astype(np.int32)
        same = np.zeros(len(rest), np.uint16)
        outcome = memory.run(op[done:], same, np.full(len(rest), cpu, np.uint16), rest)
        done += len(outcome.status)
        if done < len(handles):
            memory.take_log()


def let_fail(memory: Memory, fails: bool) -> None:
    """Say whether a request that needs an OOM kill fails instead: nobody is left."""
    memory.mem.system[S_OOM_MAY_KILL] = 0 if fails else 1


def why_killing(memory: Memory) -> tuple[WhyNot, int]:
    """Return why the last request failed and the fragmentation index that it met."""
    return WhyNot(int(memory.mem.system[S_WHY])), int(memory.mem.system[S_EXTFRAG_INDEX])


def _orders(memory: Memory, entries: NDArray[np.int32]) -> NDArray[np.int32]:
    state = memory.mem.state[entries[entries > 0] - 1]
    return (state & L.ORDER_MASK) >> L.ORDER_SHIFT
