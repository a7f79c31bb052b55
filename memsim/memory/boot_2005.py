"""A Memory that a kernel of 2005 has just booted with."""

from __future__ import annotations

from memsim.bootup import layout_2005
from memsim.kernels.linux_2_6_14.boot import setup_zone_migrate_reserve
from memsim.kernels.placement import OPT_GROUPING, PolicyTables
from memsim.memory import Memory
from memsim.memory.boot import cpu_nodes
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm_init.linux_2_6_14 import Layout
from memsim.mm_init.linux_2_6_14_bootmem import Keep
from memsim.profiles import Profile
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine


def boot_2005(
    machine: Machine,
    profile: Profile,
    cmdline: Cmdline,
    tables: PolicyTables,
    keep: Keep | None = None,
) -> Memory:
    """Boot: all memory is free but for ``keep``, or what the architecture's kernels keep.

    Pages that boot frees singly go through the first CPU's hot list, as the kernel's do.
    """
    layout = layout_2005(machine, profile, cmdline, keep)
    memory = Memory(_setup(layout, profile), tables)
    for start, end in layout.boot_reserved:
        memory.reserve(start, end)
    for zone, start, end, word in layout.boot_order:
        memory.free_boot_range(zone, start, end, word)
    if tables.options[OPT_GROUPING]:
        for z in range(len(memory.setup.zones)):
            setup_zone_migrate_reserve(memory.mem, z)
    return memory


def _setup(layout: Layout, profile: Profile) -> MachineSetup:
    plug = [piece for node in layout.nodes if node.hotpluggable for piece in node.ram]
    return MachineSetup(
        zones=tuple(
            ZoneSetup(
                node=zone.nid,
                zone_type=zone.zone_type,
                start_pfn=zone.start_pfn,
                end_pfn=zone.end_pfn,
                present=zone.present,
                managed=zone.present,
                watermark=(*layout.watermark[z], layout.watermark[z].high),
                lowmem_reserve=layout.lowmem_reserve[z],
                pcp_high=layout.pcp[z].high,
                pcp_batch=layout.pcp[z].batch,
                stat_threshold=0,
                nofragment=False,
                boost_factor=0,
                pcp_low=layout.pcp[z].low,
                pcp_cold_high=layout.pcp[z].cold_high,
                pcp_cold_batch=layout.pcp[z].cold_batch,
                ranges=zone.ranges,
            )
            for z, zone in enumerate(layout.zones)
        ),
        zonelists=tuple((lists.fallback, lists.nofallback) for lists in layout.zonelists),
        cpu_node=cpu_nodes(layout.nodes),
        hotpluggable=tuple(plug),
        mechanism=profile.mechanism,
        max_page_order=layout.max_page_order,
        pageblock_order=layout.max_page_order,
    )
