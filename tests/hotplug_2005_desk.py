"""Machines of 2005 whose memory goes away, laid out page by page (see ``compaction_desk``).

Node 0 has four pageblocks of 1024 pages, node 1 has two.
"""

from dataclasses import replace

from compaction_desk import machine, zone

from memsim.memory.hotplug_2005 import Offlining2005, offline_2005
from memsim.memory.setup import Pressure
from memsim.mm import ZoneType2005
from memsim.policies import Kernel, full, light, none

BLOCK = 1024
KERNEL_2005 = Kernel("linux-2.6.14", 10, 10)
NONE, FULL, LIGHT, FLAG = (
    policy.tables(KERNEL_2005)
    for policy in (
        none.Policy(),
        full.Policy(),
        light.Policy(),
        light.Policy(variant="page_flag"),
    )
)


def removable(runs=(), tables=NONE, nodes=2, **more):
    """Build the machine; ``runs`` as in ``compaction_desk.machine``."""
    pressure = Pressure(swap_slots=more.pop("slots", 4096), **more.pop("pressure", {}))
    spans = ((0, 4), (4, 6))[:nodes]
    zones = [
        zone(first * BLOCK, last * BLOCK, node=node, zone_type=ZoneType2005.NORMAL, **more)
        for node, (first, last) in enumerate(spans)
    ]
    if "pcp_high" not in more:
        zones = [replace(each, pcp_cold_batch=1) for each in zones]
    return machine(zones, dict(runs), pressure=pressure, log=False, tables_2005=tables)


def take(memory, block, count=1, **options):
    """Try to take pageblocks; check that all holds that must."""
    outcome = offline_2005(memory, block * BLOCK, count * BLOCK, **options)
    memory.check()
    return outcome


def attempt_at(memory, block, count=1, **options):
    """Begin to take pageblocks."""
    return Offlining2005(memory, block * BLOCK, count * BLOCK, **options)


def types(memory):
    """Return the types of all pageblocks."""
    return memory.mem.pageblocks.tolist()
