"""Which memory blocks of a machine can go, from a folder of copies of /proc and /sys alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memsim.errors import InputError, Problem
from memsim.mm import PAGE_SIZE, ZONE_NAMES
from memsim.scenario import Scenario
from memsim.snapshot.observed import Observed, ZoneSeen, is_folder_of_copies
from memsim.snapshot.room import with_room, zone_room
from memsim.snapshot.scan import BlockScan, scan_block
from memsim.snapshot.system import Block
from memsim.units import format_bytes

ANSWERS = ("no obstacle seen", "unknown", "no")


@dataclass(frozen=True)
class CaptureAnswer:
    """What is seen of the blocks that were asked for, the easiest first."""

    source: str
    asked: str
    block_bytes: int
    wanted_bytes: int
    blocks: tuple[BlockScan, ...]
    """Each as it is once those before it have gone, if they do."""
    pin_rate: float | None
    """The probability that a page to be moved is pinned, as assumed; None: nothing is assumed."""
    pins: tuple[tuple[int, int], ...]
    """Node, and how many pins by pin_user_pages (vfio, io_uring, RDMA) are held there."""
    missing: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def open_bytes(self) -> int:
        """What no obstacle is seen in."""
        return self.block_bytes * sum(scan.answer == ANSWERS[0] for scan in self.blocks)


def copies_of(scenario: Scenario) -> Path | None:
    """Return the folder of copies of /proc that a scenario begins with; None if it does not."""
    if scenario.machine.from_ is None:
        return None
    folder = Path(scenario.directory, scenario.machine.from_)
    return folder if is_folder_of_copies(folder) else None


def ask_capture(
    seen: Observed,
    *,
    size: int | None = None,
    node: int | None = None,
    block: int | None = None,
    pin_rate: float | None = None,
) -> CaptureAnswer:
    """Say of memory blocks what can be seen of them: of one, of a node's, or of all.

    With ``size`` those that suffice for it, if there are enough in which no obstacle is seen.

    Raises InputError for a node or a block that is not there.
    """
    known = _blocks(seen)
    chosen = [b for b in known if node is None or b.node == node]
    asked = "all blocks"
    if block is not None:
        asked = f"block {block}"
        chosen = [b for b in known if b.number == block]
        if not chosen or not chosen[0].online:
            message = f"block {block} is not there, or offline already: EINVAL"
            hint = f"blocks are {known[0].number} to {known[-1].number}"
            raise InputError([Problem("--block", 0, 0, message, hint)])
    elif node is not None:
        asked = f"node {node}"
        if not chosen:
            nodes = sorted({b.node for b in known})
            hint = f"nodes are {nodes[0]} to {nodes[-1]}" if len(nodes) > 1 else "there is no other"
            message = f"node {node} does not exist, or has no memory"
            raise InputError([Problem("--node", 0, 0, message, hint)])
    flags = np.zeros(0, np.uint64) if seen.flags is None else seen.flags
    rooms = [
        zone_room(z.span, z.free_pages + z.cached, z.wmark[0], z.protection, flags)
        for z in seen.zones
    ]
    scans = sorted((_scan(seen, b) for b in chosen if b.online), key=_easiest)
    answered = sorted(with_room(scans, rooms), key=lambda s: ANSWERS.index(s.answer))
    block_bytes = seen.system.block_pages * PAGE_SIZE
    if size is not None:
        asked = f"{format_bytes(size)} of all blocks"
        needed = -(-size // block_bytes)
        enough = sum(scan.answer == ANSWERS[0] for scan in answered) >= needed
        answered = answered[:needed] if enough else answered
    return CaptureAnswer(
        source=seen.source,
        asked=asked,
        block_bytes=block_bytes,
        wanted_bytes=block_bytes * len(answered) if size is None else size,
        blocks=tuple(answered),
        pin_rate=pin_rate,
        pins=seen.pins,
        missing=seen.missing,
        differences=seen.differences,
    )


def _easiest(scan: BlockScan) -> tuple[int, int, int, int]:
    """Sort by answer, then by what is in the way and what has to move, then from the top down."""
    obstacles = sum(one.pages for one in scan.obstacles)
    return ANSWERS.index(scan.answer), obstacles, scan.to_move, -scan.number


def _blocks(seen: Observed) -> tuple[Block, ...]:
    """Return the memory blocks: those of /sys, else those that the zones' spans touch."""
    if seen.system.blocks:
        return seen.system.blocks
    pages = seen.system.block_pages
    node_of = {
        number: zone.node
        for zone in seen.zones
        for number in range(zone.start_pfn // pages, -(-zone.end_pfn // pages))
    }
    return tuple(Block(number, node, True, "") for number, node in sorted(node_of.items()))


def _scan(seen: Observed, block: Block) -> BlockScan:
    zones = list(_zones_of(seen, block))
    return scan_block(
        block.number,
        seen.system.block_pages,
        [zone.span for zone in zones],
        seen.flags,
        mapped=seen.mapped,
        most_cached=sum(zone.cached for zone in zones),
    )


def _zones_of(seen: Observed, block: Block) -> Iterator[ZoneSeen]:
    """Yield the zones that have memory in a block: the one that /sys names, or all that touch."""
    pages = seen.system.block_pages
    start, end = block.number * pages, (block.number + 1) * pages
    named: Sequence[str] = block.zones.split()[:1]
    for zone in seen.zones:
        touches = zone.start_pfn < end and start < zone.end_pfn
        mine = block.node in (-1, zone.node)
        other = named and named[0] in ZONE_NAMES and named[0] != ZONE_NAMES[zone.zone_type]
        if touches and mine and not other:
            yield zone
