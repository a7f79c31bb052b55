"""Memories laid out page by page, for facts about compaction.

A zone is given as runs of pages: ``{start: (pages, kind)}``; what is in no run is free. Kinds:
anon, file, swapped (anonymous, in the swap cache), pinned (anonymous), pinned_file, mlocked,
writing (a file's), kernel, kernel9 and huge
(one block of order 9, off and on the LRU lists).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from memsim.kernels import boot, trace_log
from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import Migratetype, ZoneType
from memsim.policies import LINUX_6_1, mobility

USER = L.PAGE_ALLOCATED | L.PAGE_LRU | Migratetype.MOVABLE << L.TYPE_SHIFT
ANON = USER | L.PAGE_ANON | L.PAGE_MAPPED
HUGE = 9 << L.ORDER_SHIFT
KINDS = {
    "anon": ANON,
    "file": USER,
    "dirty": USER | L.PAGE_DIRTY,
    "active": USER | L.PAGE_ACTIVE,
    "swapped": ANON | L.PAGE_SWAPCACHE,
    "pinned": ANON | L.PAGE_PINNED,
    "pinned_file": USER | L.PAGE_PINNED,
    "mlocked": ANON | L.PAGE_UNEVICTABLE,
    "writing": USER | L.PAGE_WRITEBACK,
    "kernel": L.PAGE_ALLOCATED,
    "huge": ANON | HUGE,
    "kernel9": L.PAGE_ALLOCATED | HUGE,
}
LARGE = ("huge", "kernel9")
Runs = Mapping[int, tuple[int, str]]


def zone(start, end, marks=(0, 0, 0), node=0, zone_type=ZoneType.NORMAL, **more):
    """Describe a zone; its per-CPU lists keep nothing unless ``pcp_high`` says so."""
    setup = ZoneSetup(
        node=node,
        zone_type=zone_type,
        start_pfn=start,
        end_pfn=end,
        present=end - start,
        managed=end - start,
        watermark=(*marks, marks[2]),
        lowmem_reserve=(0,) * 5,
        pcp_high=0,
        pcp_batch=1,
        stat_threshold=0,
        nofragment=False,
    )
    return replace(setup, **more)


def machine(
    zones, runs: Runs, pressure=None, zonelist=None, types=None, log=True, tables_2005=None
) -> Memory:
    """Build a Memory of one node; pages of users have handles from 0 on, ascending.

    With ``tables_2005`` it has the mechanism of 2.6.14.
    """
    order = zonelist or tuple(range(len(zones)))
    nodes = max(z.node for z in zones) + 1
    setup = MachineSetup(
        zones=tuple(zones),
        zonelists=tuple(_zonelists(zones, order, node) for node in range(nodes)),
        cpu_node=tuple(range(nodes)),
        pressure=pressure or Pressure(compaction_proactiveness=0),
        **({} if tables_2005 is None else {"mechanism": "linux-2.6.14", "pageblock_order": 10}),
    )
    memory = Memory(setup, tables_2005 or mobility.Policy().tables(LINUX_6_1))
    for block, kind in (types or {}).items():
        memory.mem.pageblocks[block] = kind
    state = memory.mem.state
    taken = np.zeros(memory.nr_pages, bool)
    heads = []
    for start, (pages, kind) in sorted(runs.items()):
        taken[start : start + pages] = True
        step = 512 if kind in LARGE else 1
        state[start : start + pages : step] = KINDS[kind]
        if kind == "huge":
            for head in range(start, start + pages, 512):
                state[head + 1 : head + 512] = L.PAGE_LRU
        heads += range(start, start + pages, step)
    handles = memory.add_handles(len(heads))
    for handle, pfn in enumerate(heads, handles):
        memory.page_table[handle] = pfn + 1
        memory.mem.rmap[pfn] = handle
    _place(memory, np.array(heads, np.int32))
    for z, each in enumerate(zones):
        for start, end in each.pieces:
            for pfn, k in free_blocks(taken, start, end):
                kind = int(memory.mem.pageblocks[pfn >> setup.pageblock_order])
                memory.place_free(z, k, kind, np.array([pfn], np.int32))
    if log:
        memory.keep_log(1 << 14)
    memory.check()
    return memory


def _zonelists(zones, order, node):
    own = tuple(z for z in order if zones[z].node == node)
    return own + tuple(z for z in order if z not in own), own


def _place(memory, heads):
    boot.place_lru_pages(memory.mem, heads)
    for pfn in heads.tolist():
        z = int(memory.mem.zone_of[pfn >> 10])
        kept = int(memory.mem.state[pfn])
        pages = 512 if kept & HUGE == HUGE else 1
        if kept & L.PAGE_MAPPED:
            memory.add_zone_field(z, L.Z_NR_MAPPED, pages)
        if kept & L.PAGE_DIRTY:
            memory.add_zone_field(z, L.Z_NR_DIRTY, pages)
        if kept & L.PAGE_SWAPCACHE:
            _give_slot(memory, pfn)
        if kept & L.PAGE_WRITEBACK:
            memory.add_zone_field(z, L.Z_NR_WRITEBACK, 1)
            length = int(memory.mem.system[S.S_WRITEBACK_LENGTH])
            memory.mem.writeback[2 * length : 2 * length + 2] = pfn, 1 << 40
            memory.mem.system[S.S_WRITEBACK_LENGTH] = length + 1
            memory.mem.system[S.S_NEXT_DUE] = min(memory.mem.system[S.S_NEXT_DUE], 1 << 40)


def _give_slot(memory, pfn):
    mem, holder = memory.mem, int(memory.mem.rmap[pfn])
    slot = len(mem.swap_map) - int(mem.system[S.S_SWAP_FREE])
    mem.swap_slot[pfn], mem.swap_map[slot] = slot, holder + 1
    mem.system[S.S_SWAP_FREE] -= 1
    mem.system[S.S_SWAP_LOWEST] = slot + 1


def free_blocks(taken, start, end):
    """Yield the largest aligned blocks of what is not taken, ascending."""
    pfn = start
    while pfn < end:
        if taken[pfn]:
            pfn += 1
            continue
        k = 0
        while (
            k < 10
            and pfn % (2 << k) == 0
            and pfn + (2 << k) <= end
            and not taken[pfn : pfn + (2 << k)].any()
        ):
            k += 1
        yield pfn, k
        pfn += 1 << k


def lists(memory, z=0, migratetype=Migratetype.MOVABLE):
    """Return a type's free lists that are not empty, by order."""
    found = {k: memory.free_list(z, k, migratetype).tolist() for k in range(11)}
    return {k: pfns for k, pfns in found.items() if pfns}


def compaction_log(memory):
    """Return compaction's events since last asked: (event, pfn, what follows)."""
    rows = memory.take_log()
    mine = rows[rows[:, 1] == trace_log.LOG_COMPACTION]
    return [(int(row[3]), int(row[2]), *row[4:].tolist()) for row in mine]


def freed(memory):
    """Return the pages that the kernel itself has freed since last asked, in order."""
    rows = memory.take_log()
    return rows[rows[:, 1] == trace_log.LOG_FREE][:, 2].tolist()
