"""Passes that change nothing: many of them are counted at once instead of being carried out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.system import S_NEXT_DUE
from memsim.memory import Memory

COUNTERS = np.r_[
    L.Z_NUMA : L.Z_NUMA + 5,
    L.Z_VMSTAT : L.ZONE_FIELDS,
]
"""Fields of a zone that only ever grow, and that nothing depends on."""


class Standing(NamedTuple):
    """What decides about a pass, and what it counts."""

    zones: NDArray[np.int64]
    pcps: NDArray[np.int64]
    events: NDArray[np.int64]


def look(memory: Memory) -> Standing:
    """Note how things stand."""
    mem = memory.mem
    return Standing(mem.zones.reshape(-1, L.ZONE_FIELDS).copy(), mem.pcps.copy(), mem.events.copy())


def stands_still(before: Standing, after: Standing) -> bool:
    """Say whether a pass that has moved no page has left everything as it found it."""
    changed = before.zones != after.zones
    changed[:, COUNTERS] = False
    return not changed.any() and np.array_equal(before.pcps, after.pcps)


class Repetition:
    """The passes of an attempt, of which those that change nothing are counted at once."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.took_ns = -1
        """Of the last pass, if it has changed nothing."""

    def passes(self, before: Standing, took_ns: int, now: int, until: int, still: bool) -> int:
        """Count passes like the one that ended at ``now`` (ns) until somebody else acts.

        It is the second one that has changed nothing, or else there are none. ``still``: it has
        moved no page. Returns how many passes there are.
        """
        after = look(self.memory)
        still = still and stands_still(before, after)
        more = 0
        if still and self.took_ns == took_ns:
            more = _passes_until(self.memory, now, until, took_ns)
            _repeat(self.memory, before, after, more)
        self.took_ns = took_ns if still else -1
        return more


def _repeat(memory: Memory, before: Standing, after: Standing, passes: int) -> None:
    """Count the pass between the two so many times more."""
    memory.mem.events[:] += passes * (after.events - before.events)
    zones = memory.mem.zones.reshape(-1, L.ZONE_FIELDS)
    counted = after.zones[:, COUNTERS] - before.zones[:, COUNTERS]
    zones[:, COUNTERS] += passes * counted


def _passes_until(memory: Memory, now: int, until: int, took_ns: int) -> int:
    """Say how many passes of ``took_ns`` begin before ``until``, and before anybody else acts."""
    end = min(until, int(memory.mem.system[S_NEXT_DUE]) - 1)
    return max(0, (end - now - 1) // took_ns) if took_ns > 0 else 0
