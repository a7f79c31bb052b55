"""Which machines are impossible."""

from __future__ import annotations

from collections.abc import Iterator

from memsim.mm import LOCAL_DISTANCE, MAX_PFN, PAGE_SIZE, PAGEBLOCK_ORDER
from memsim.rules.findings import Finding
from memsim.scenario.machine import MAX_ORDERS, SECTION_BYTES, Machine
from memsim.scenario.paths import Loc
from memsim.units import format_bytes

MIN_MEMORY = 16 << 20
MAX_MEMORY = MAX_PFN * PAGE_SIZE
MAX_MEMORY_I386 = 64 << 30
"""What 36 bits of physical address reach (PAE)."""
MAX_BLOCK_SIZE = 2 << 30
LOW_UNIT, MIN_LOW, MAX_LOW = 4 << 20, 128 << 20, 4 << 30
"""Zones begin at multiples of the largest block; below 128 MiB not even the swiotlb has room."""
MAX_SWAP = 4 << 40
MAX_DISTANCE = 254
MAX_NODES = 31
HUGE_PAGE = PAGE_SIZE << PAGEBLOCK_ORDER
MAX_CPU = 8191


def machine_findings(machine: Machine) -> Iterator[Finding]:
    """Say why a machine cannot be; nothing if it can."""
    if machine.from_ is not None:
        for key in ("nodes", "distances", "arch", "max_order", "max_ram_below_4g"):
            if key in machine.model_fields_set:
                message = f'"{key}" is what the capture says'
                yield Finding(("machine", key), message, 'leave it out beside "from"', True)
        return
    if not machine.nodes:
        at: Loc = ("machine", "nodes") if "nodes" in machine.model_fields_set else ("machine",)
        yield Finding(at, "the machine has no nodes", 'give "nodes" or "from"', True)
        return
    allowed = MAX_ORDERS[machine.arch]
    if machine.max_order is not None and machine.max_order not in allowed:
        wanted = " or ".join(map(str, allowed))
        message = f"max_order: expected {wanted} on {machine.arch}, found {machine.max_order}"
        yield Finding(("machine", "max_order"), message)
        return
    yield from _nodes(machine)
    yield from _cpus(machine)
    yield from _memory(machine)
    yield from _swap(machine)
    yield from _below_4g(machine)
    yield from _blocks(machine)
    yield from _distances(machine)
    yield from _tiers(machine)
    yield from _huge_pages(machine)


def _huge_pages(machine: Machine) -> Iterator[Finding]:
    for node, pages in zip(machine.nodes, machine.huge_pages, strict=True):
        if pages * HUGE_PAGE > node.total:
            own = node.nr_hugepages is not None
            at: Loc = ("machine", "nodes", node.id) if own else ("machine", "vm")
            message = f"node {node.id} has no room for {pages} huge pages"
            yield Finding((*at, "nr_hugepages"), message, f"it has {format_bytes(node.total)}")


def _tiers(machine: Machine) -> Iterator[Finding]:
    slow = any(node.total and not node.cpus for node in machine.nodes)
    if machine.vm.demotion_enabled and not slow:
        message = "demotion_enabled: there is no slower memory to move pages to"
        hint = "a node of slower memory has no CPUs (cpus: [])"
        yield Finding(("machine", "vm", "demotion_enabled"), message, hint)


def _below_4g(machine: Machine) -> Iterator[Finding]:
    low = machine.max_ram_below_4g
    at: Loc = ("machine", "max_ram_below_4g")
    if low is None:
        return
    if machine.profile != "linux-6.1" or machine.arch != "x86-64":
        yield Finding(at, "max_ram_below_4g goes with linux-6.1 on x86-64", on_key=True)
    elif low % LOW_UNIT or not MIN_LOW <= low <= MAX_LOW:
        message = f"expected a multiple of 4MiB from 128MiB to 4GiB, found {format_bytes(low)}"
        yield Finding(at, message)


def _nodes(machine: Machine) -> Iterator[Finding]:
    if len(machine.nodes) > MAX_NODES:
        message = f"{len(machine.nodes)} nodes are more than {MAX_NODES}"
        yield Finding(("machine", "nodes"), message, on_key=True)
    if machine.arch == "i386" and len(machine.nodes) > 1:
        message = f"an i386 machine has one node, found {len(machine.nodes)}"
        yield Finding(("machine", "nodes"), message, on_key=True)
    seen: set[int] = set()
    for i, node in enumerate(machine.nodes):
        at: Loc = ("machine", "nodes", i, "id")
        if node.id in seen:
            yield Finding(at, f"node {node.id} appears twice", f"this would be node {i}")
        elif node.id != i:
            yield Finding(
                at, f"expected node {i}, found {node.id}", "nodes are numbered 0, 1, 2 ..."
            )
        seen.add(node.id)


def _cpus(machine: Machine) -> Iterator[Finding]:
    home: dict[int, int] = {}
    for i, node in enumerate(machine.nodes):
        at: Loc = ("machine", "nodes", i, "cpus")
        twice = [cpu for cpu in node.cpus if cpu in home]
        if twice:
            yield Finding(at, f"CPU {twice[0]} is on node {home[twice[0]]} already")
        if max(node.cpus, default=0) > MAX_CPU:
            yield Finding(at, f"CPU {max(node.cpus)} does not exist", f"CPUs are 0 to {MAX_CPU}")
        home |= dict.fromkeys(node.cpus, node.id)
    if not home:
        yield Finding(("machine", "nodes"), "no node has a CPU", "for example cpus: 0-7", True)


def _memory(machine: Machine) -> Iterator[Finding]:
    unit = PAGE_SIZE << machine.max_page_order
    for i, node in enumerate(machine.nodes):
        at: Loc = ("machine", "nodes", i)
        if node.total == 0:
            yield Finding(at, f"node {node.id} has no memory", "for example memory: 8GiB")
        # Unlike Linux: memory comes in multiples of the largest block, so that nodes share none.
        if node.memory % unit:
            message = f"memory is not a multiple of {format_bytes(unit)}"
            yield Finding((*at, "memory"), message, f"found {format_bytes(node.memory)}")
    total = machine.total
    most = MAX_MEMORY_I386 if machine.arch == "i386" else MAX_MEMORY
    if 0 < total < MIN_MEMORY or total > most:
        bounds = f"expected {format_bytes(MIN_MEMORY)} to {format_bytes(most)}"
        message = f"the machine has {format_bytes(total)} of memory"
        yield Finding(("machine", "nodes"), message, bounds, True)
    if machine.cma % unit or machine.cma > total // 2:
        message = f"cma: expected a multiple of {format_bytes(unit)}, at most half of memory"
        yield Finding(("machine", "cma"), f"{message}, found {format_bytes(machine.cma)}")
    reserve = machine.vm.min_free_kbytes
    if reserve != "auto" and reserve * 1024 >= total > 0:
        message = f"min_free_kbytes: {reserve} is all memory of the machine"
        yield Finding(("machine", "vm", "min_free_kbytes"), message)


def _swap(machine: Machine) -> Iterator[Finding]:
    size = MAX_SWAP if machine.swap is None else machine.swap.size
    if not PAGE_SIZE <= size <= MAX_SWAP:
        bounds = f"from {format_bytes(PAGE_SIZE)} to {format_bytes(MAX_SWAP)}"
        message = f"swap: expected {bounds}, found {format_bytes(size)}"
        yield Finding(("machine", "swap", "size"), message, "leave swap out for a machine without")


def _blocks(machine: Machine) -> Iterator[Finding]:
    size = machine.block_size
    least = SECTION_BYTES[machine.arch]
    sound = size is None or (least <= size <= MAX_BLOCK_SIZE and size & (size - 1) == 0)
    if size is not None and not sound:
        bounds = f"from {format_bytes(least)} to {format_bytes(MAX_BLOCK_SIZE)}"
        message = f"block_size: expected a power of two {bounds}, found {format_bytes(size)}"
        yield Finding(("machine", "block_size"), message)
        return
    block = machine.memory_block_size
    for i, node in enumerate(machine.nodes):
        for j, dimm in enumerate(node.dimms):
            if dimm.size == 0 or dimm.size % block:
                message = f"a DIMM of {format_bytes(dimm.size)} does not consist of memory blocks"
                hint = f"a block has {format_bytes(block)}"
                yield Finding(("machine", "nodes", i, "dimms", j, "size"), message, hint)


def _distances(machine: Machine) -> Iterator[Finding]:
    if machine.distances is None:
        return
    at: Loc = ("machine", "distances")
    count = len(machine.nodes)
    if len(machine.distances) != count or any(len(row) != count for row in machine.distances):
        shape = f"{count} rows of {count} numbers"
        yield Finding(at, f"distances: expected {shape}, a row per node")
        return
    for i, row in enumerate(machine.distances):
        for j, distance in enumerate(row):
            if i == j and distance != LOCAL_DISTANCE:
                message = (
                    f"the distance of node {i} to itself is {LOCAL_DISTANCE}, found {distance}"
                )
                yield Finding((*at, i, j), message)
            elif not LOCAL_DISTANCE <= distance <= MAX_DISTANCE:
                bounds = f"from {LOCAL_DISTANCE} to {MAX_DISTANCE}"
                yield Finding((*at, i, j), f"expected a distance {bounds}, found {distance}")
