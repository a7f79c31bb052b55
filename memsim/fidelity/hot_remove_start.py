"""The machine on which a record of hot-remove begins: its state, its load, what came since.

``run.json`` and ``hog_*.json`` name the load. The state was read by a process that has gone before
the first block, and the record itself says how many pages were free then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memsim.errors import InputError, Problem
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.hotplug import free_of_nodes
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.memory.undetermined import draw_pins
from memsim.mm import MAX_PAGE_ORDER, OP_FREE, PAGEBLOCK_ORDER, Use, gfp_from_text
from memsim.policies import LINUX_6_1, mobility, none
from memsim.schema import HeldBlocks, Request
from memsim.traces.capture import Snapshot

READER_PAGES = 4096
SEED = 1


class Pins(NamedTuple):
    """Pages of a process that nobody can move; which ones is in no file."""

    pages: int
    nodes: tuple[int, ...]


def machine(
    snapshot: Snapshot, pressure: Pressure, pins: Sequence[Pins], free: Sequence[int]
) -> Memory:
    """Restore a machine as it was before the first block; each node had ``free`` pages by then."""
    grouped = not snapshot.state.group_by_mobility_disabled
    tables = (mobility if grouped else none).Policy().tables(LINUX_6_1)
    memory = restore(snapshot.state, tables, pages=snapshot.pages, pressure=pressure)
    hold_huge_pages(memory)
    let_reader_go(memory, free)
    for lot in pins:
        pin(memory, lot)
    return memory


def hold_huge_pages(memory: Memory) -> None:
    """Give every huge page of a user a handle, as one must have that is to be split."""
    state = memory.mem.state[: memory.nr_pages]
    huge = L.PAGE_ALLOCATED | L.PAGE_LRU | PAGEBLOCK_ORDER << L.ORDER_SHIFT
    heads = np.flatnonzero(state & (L.PAGE_ALLOCATED | L.PAGE_LRU | L.ORDER_MASK) == huge)
    first = memory.add_handles(len(heads))
    memory.page_table[first:] = heads + 1
    memory.mem.rmap[heads] = np.arange(first, first + len(heads))


def read_pins(folder: Path) -> tuple[Pins, ...]:
    """Read how many pages of each process are pinned, and on which nodes they may be.

    Where as many pages as are pinned are on one node and the others elsewhere, they were moved
    there when they were pinned: out of ZONE_MOVABLE.
    """
    found = []
    for path in sorted(folder.glob("hog_*.json")):
        try:
            hog = json.loads(path.read_text(encoding="utf-8"))
            pages = int(hog.get("pinned", 0))
            where = {int(node): int(count) for node, count in hog.get("where", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError([Problem(str(path), 0, 0, f"is no load: {error}")]) from error
        if pages:
            moved_out = [node for node, count in where.items() if count == pages]
            found.append(Pins(pages, tuple(moved_out or where)))
    return tuple(found)


def pin(memory: Memory, lot: Pins) -> None:
    """Pin anonymous pages of the nodes: those marked as accessed, then others drawn by lot."""
    zones = [zone for zone in memory.setup.zones if zone.node in lot.nodes]
    draw_pins(memory, zones, lot.pages, np.random.default_rng(SEED))


def let_reader_go(memory: Memory, free: Sequence[int]) -> None:
    """Free the locked buffer of the process that read the state: it went before the first block.

    All captures have it. It came last, so it is at the end of the lowest zone with locked pages. A
    CPU keeps its pages, unless the node has more free pages by then than in the state.
    """
    state = memory.mem.state[: memory.nr_pages]
    locked = np.flatnonzero(
        state & (L.PAGE_ALLOCATED | L.PAGE_UNEVICTABLE) == L.PAGE_ALLOCATED | L.PAGE_UNEVICTABLE
    )
    if len(locked) < READER_PAGES:
        return
    zones = memory.mem.zone_of[locked >> MAX_PAGE_ORDER]
    order = np.lexsort((-locked, zones))
    pages = np.sort(locked[order[:READER_PAGES]])
    z = int(zones[order[0]])
    node = memory.setup.zones[z].node
    handle = memory.add_handles(READER_PAGES)
    held = memory.hold(handle, HeldBlocks(pages, np.zeros(READER_PAGES, np.int64)))
    cpu = _cpu_of(memory, node)
    kept = [memory.pcp_field(z, cpu, f) for f in (L.P_HIGH, L.P_BATCH, L.P_FREE_FACTOR)]
    if node < len(free) and free[node] > free_of_nodes(memory)[node]:
        memory.set_pcp(z, cpu, 0, 1)
    end_process(memory, node, (range(handle, handle + held),))
    memory.set_pcp(z, cpu, *kept)


def _cpu_of(memory: Memory, node: int) -> int:
    cpus = memory.setup.cpu_node
    return cpus.index(node) if node in cpus else 0


def let_others_act(
    memory: Memory, free: Sequence[int], removed: int, asker: int
) -> tuple[range, ...]:
    """Let processes take what nodes have more than ``free`` pages, all but the one removed from.

    Each block was tried by a new process, and the record says what was free when it began. What
    was taken where it does not run, others took who have ended: it is on that CPU's lists.
    Returns the handles of what the process holds itself, until ``end_process``.
    """
    held = []
    for node, pages in enumerate(free):
        taken = free_of_nodes(memory)[node] - pages
        if node == removed or taken <= 0:
            continue
        request = Request(gfp_from_text("GFP_NOWAIT"), Use.KERNEL, nodes=(node,))
        row, handle = memory.add_requests([request]), memory.add_handles(taken)
        handles = range(handle, handle + taken)
        _run(memory, 0, row, node, handles)
        if node == asker:
            held.append(handles)
        else:
            end_process(memory, node, (handles,))
    return tuple(held)


def end_process(memory: Memory, node: int, held: Sequence[range]) -> None:
    """Give the pages of these handles back, to the lists of a node's first CPU."""
    for handles in held:
        _run(memory, OP_FREE, 0, node, handles)


def _run(memory: Memory, op: int, row: int, node: int, handles: range) -> None:
    """Take or free a page for each handle on a node's first CPU."""
    memory.run(
        np.full(len(handles), op, np.uint8),
        np.full(len(handles), row, np.uint16),
        np.full(len(handles), _cpu_of(memory, node), np.uint16),
        np.arange(handles.start, handles.stop, dtype=np.int32),
    )
