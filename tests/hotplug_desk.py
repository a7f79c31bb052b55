"""Machines whose memory comes and goes, laid out page by page (see ``compaction_desk``)."""

from __future__ import annotations

from dataclasses import replace

from compaction_desk import machine, zone

from memsim.memory.setup import Pressure
from memsim.mm import SECTION_PAGES, Migratetype
from memsim.mm_init.resize import SizeRules

SECTION = SECTION_PAGES
FREE = ()


def removable(zones, runs=FREE, **more):
    """Build a machine of these zones whose sizes follow when memory goes or comes."""
    pressure = more.pop("pressure", Pressure(compaction_proactiveness=0, swap_slots=64))
    memory = machine(zones, dict(runs), pressure=pressure, log=False, **more)
    nodes = len(memory.setup.cpu_node)
    distances = tuple(tuple(10 if a == b else 20 for b in range(nodes)) for a in range(nodes))
    rules = SizeRules((1,) * nodes, distances, khugepaged=False)
    memory.setup = replace(memory.setup, rules=rules)
    return memory


def two_sections(runs=FREE, **more):
    """One node of two sections of one zone: the second one, from 32768 on, is to go."""
    return removable([zone(0, 2 * SECTION)], runs, **more)


def two_nodes(runs=FREE, **more):
    """Node 0 has pages [0, 65536), node 1 [65536, 98304)."""
    zones = [zone(0, 2 * SECTION), zone(2 * SECTION, 3 * SECTION, node=1)]
    return removable(zones, runs, **more)


def types(memory, start, end):
    """Return the types of the pageblocks of a range."""
    return [Migratetype(kind) for kind in memory.mem.pageblocks[start >> 9 : end >> 9]]


def buddyinfo(memory, z=0):
    """Count a zone's free blocks of the largest order, by type of list."""
    return [len(memory.free_list(z, 10, kind)) for kind in range(6)]
