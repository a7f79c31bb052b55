"""Which memory blocks a machine has, and what is certain of them before it runs."""

from __future__ import annotations

from functools import lru_cache

from memsim.bootup import ram_of_nodes
from memsim.errors import InputError
from memsim.mm import PAGE_SIZE
from memsim.scenario.machine import Machine

Parts = dict[int, int]
"""Pages that each node has of a memory block."""


@lru_cache(maxsize=1024)
def memory_blocks(machine: Machine) -> dict[int, Parts]:
    """Return the memory blocks of a machine by number; none if they are not known."""
    if not machine.nodes:
        return {}
    try:
        ram = ram_of_nodes(machine)
    except InputError:
        return {}
    size = machine.memory_block_size // PAGE_SIZE
    blocks: dict[int, Parts] = {}
    for node, ranges in enumerate(ram):
        for start, end in ranges:
            for number in range(start // size, -(-end // size)):
                pages = min(end, (number + 1) * size) - max(start, number * size)
                parts = blocks.setdefault(number, {})
                parts[node] = parts.get(node, 0) + pages
    return dict(sorted(blocks.items()))


def blocks_of_node(machine: Machine, node: int) -> tuple[int, ...]:
    """Number the memory blocks that have memory of a node."""
    return tuple(number for number, parts in memory_blocks(machine).items() if node in parts)


def missing_block(machine: Machine, numbers: tuple[int, ...]) -> tuple[str, str]:
    """Name the first block that a machine lacks, and those it has; empty texts if it has all."""
    blocks = memory_blocks(machine)
    for number in numbers:
        if blocks and number not in blocks:
            return f"memory block {number} does not exist", f"memory blocks are {_spans([*blocks])}"
    return "", ""


def stays_whole(machine: Machine, number: int) -> str:
    """Say why a memory block can never go offline; an empty text if it perhaps can."""
    parts = memory_blocks(machine).get(number, {})
    if len(parts) > 1:
        nodes = " and ".join(map(str, parts))
        return f"memory block {number} has memory of nodes {nodes}: EINVAL"
    if parts and sum(parts.values()) < machine.memory_block_size // PAGE_SIZE:
        return f"memory block {number} has a hole: EINVAL"
    return ""


def _spans(numbers: list[int]) -> str:
    """Write ascending numbers as runs: 0-3, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
