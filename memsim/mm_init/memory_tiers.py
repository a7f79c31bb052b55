"""Which nodes have slower memory than others, and where their pages go when reclaim demotes them.

Plain integers, no state. Source: establish_demotion_targets, mm/memory-tiers.c, Linux 6.1 (spec
linux-mm 8.1, 8.6).
"""

from __future__ import annotations

from collections.abc import Sequence


def demotion_targets(
    cpus: Sequence[int], memory: Sequence[int], distances: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], ...]:
    """Return for each node the slower ones, the nearest first; ``cpus`` and ``memory`` are sizes.

    Unlike Linux: nodes with memory and without CPUs are the lower tier, where Linux asks the driver
    of the memory (dax/kmem); of two that are as near the first is taken, not one at random.
    """
    slow = [node for node, size in enumerate(memory) if size and not cpus[node]]
    return tuple(
        tuple(sorted(slow, key=lambda other: (distances[node][other], other))) if count else ()
        for node, count in enumerate(cpus)
    )
