"""What is wrong with events that move pages or take memory away, as far as it is certain before.

The sentences name the error that the kernel would return.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memsim.errors import suggest
from memsim.rules.findings import Finding
from memsim.rules.memory_blocks import (
    blocks_of_node,
    memory_blocks,
    missing_block,
    stays_whole,
)
from memsim.scenario.event import Event
from memsim.scenario.machine import Machine
from memsim.scenario.paths import Loc

SINCE = {
    "compact_memory": "it came with Linux 2.6.35",
    "move_pages": "move_pages came with Linux 2.6.18",
    "mbind": "mbind with MPOL_MF_MOVE came with Linux 2.6.16",
    "online": "memory hot-remove came with Linux 2.6.24",
    "virtio_mem": "virtio-mem came with Linux 5.8",
    "cma_alloc": "CMA came with Linux 3.5",
}


def happening_findings(
    at: Loc, event: Event, machine: Machine | None, workloads: tuple[str, ...], old: str | None
) -> Iterator[Finding]:
    """Hold one event against machine and workloads; ``old`` names a profile of 2005 in use."""
    if event.workload is not None and event.workload not in workloads:
        message = f"there is no workload {event.workload}"
        yield Finding((*at, "workload"), message, suggest(event.workload, workloads))
    if old is not None and event.do in SINCE:
        what = "compaction" if event.do == "compact_memory" else event.do
        yield Finding((*at, "do"), f'profile "{old}" has no {what}', SINCE[event.do])
    if event.do == "move_pages" and len(event.to) > 1:
        yield Finding((*at, "to"), "expected one node that all pages move to")
    if machine is None or not machine.nodes:
        return
    memory = {node.id: node.total for node in machine.nodes}
    for key, nodes in (("from", event.from_), ("to", event.to)):
        for node in nodes:
            if node not in memory:
                known = ", ".join(map(str, memory))
                yield Finding((*at, key), f"node {node} does not exist", f"nodes are {known}")
            elif not memory[node]:
                message = f"node {node} has no memory: the call would return ENODEV"
                yield Finding((*at, key), message)
    if event.from_ and set(event.from_) == set(event.to):
        yield Finding((*at, "to"), "pages are to move to where they are", "choose another node")
    yield from _removal(at, event, machine, memory)
    yield from _blocks(at, event, machine, old)


def _blocks(at: Loc, event: Event, machine: Machine, old: str | None) -> Iterator[Finding]:
    """Find blocks that are not there, and removals of which not one can succeed."""
    message, hint = missing_block(machine, event.blocks)
    if not message and event.do == "offline" and event.blocks and old is None:
        why = [stays_whole(machine, number) for number in event.blocks]
        message = why[0] if all(why) else ""
    if message:
        yield Finding((*at, "blocks"), message, hint)


def _removal(
    at: Loc, event: Event, machine: Machine, memory: Mapping[int, int]
) -> Iterator[Finding]:
    if event.do != "offline":
        return
    if event.node in memory and not memory[event.node or 0]:
        yield Finding((*at, "node"), f"node {event.node} has no memory to take away")
    elif event.node is not None and sum(map(bool, memory.values())) == 1:
        message = "the only node with memory cannot be removed: EBUSY"
        yield Finding((*at, "node"), message, "name some of its blocks")


def mode_findings(at: Loc, event: Event, modern: str | None) -> Iterator[Finding]:
    """Find what only kernels of 2005 can do; ``modern`` names a later profile in use."""
    if modern is None:
        return
    for key in sorted({"mode", "code", "target_full"} & event.model_fields_set):
        if key != "mode" or event.mode == "swap":
            message = f'"{key}" is for kernels of 2005, profile "{modern}" moves pages directly'
            yield Finding((*at, key), message)


def overlap_findings(events: Mapping[int, Event], machine: Machine | None) -> Iterator[Finding]:
    """Find memory that two removals are to take away at once, or that cannot be offline yet.

    One that comes later may be needed, for the first may fail: the results say what it found.
    """
    gone: set[str] = set()
    known = memory_blocks(machine) if machine is not None else {}
    taken = False
    now = -1
    for i, event in sorted(events.items(), key=lambda item: (item[1].at or 0, item[0])):
        named = _named(event, machine)
        if (event.at or 0) > now:
            now = event.at or 0
            gone.clear()
        if event.do == "online":
            if not taken and event.blocks[0] in known:
                message = f"memory block {event.blocks[0]} is online already: EINVAL"
                yield Finding(("events", i, "blocks"), message)
            gone -= {*named, *(part for part in gone if part.startswith("node"))}
        taken |= event.do in ("offline", "virtio_mem")
        if event.do != "offline":
            continue
        twice = [part for part in named if part in gone]
        if twice:
            key = "blocks" if event.node is None else "node"
            message = f"{twice[0]} is to be taken offline twice at once: EINVAL"
            yield Finding(("events", i, key), message, "try again at a later time")
        gone |= set(named)


def _named(event: Event, machine: Machine | None) -> list[str]:
    """Name the memory that an event is about: its node and all blocks."""
    blocks = event.blocks
    if event.do not in ("offline", "online"):
        return []
    if event.node is not None and machine is not None:
        blocks = blocks_of_node(machine, event.node)
    node = [] if event.node is None else [f"node {event.node}"]
    return [*node, *(f"block {number}" for number in blocks)]
