"""The machine as a kernel of 2005 sees it at the end of boot.

Plain integers, no state. Spec linux-2.6.14 1, 2.1, 3.2, 4 and 8; linux-mm 10.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memsim.mm import MAX_DMA_PFN, SECTION_PAGES
from memsim.mm_init import check_machine
from memsim.mm_init import linux_2_6_14_marks as marks
from memsim.mm_init.linux_2_6_14_bootmem import KEEPS, BootRange, Keep, boot_bootmem
from memsim.mm_init.linux_2_6_14_marks import PcpSizes, PresentZone, Watermarks
from memsim.mm_init.linux_2_6_14_zones import Zone, build_zonelists, easyrclm_starts, node_zones
from memsim.mm_init.memblock import NodeSpec, Range
from memsim.mm_init.zonelists import Zonelists
from memsim.profiles import Arch, Profile


@dataclass(frozen=True)
class Options:
    """Build, command line and sysctl; what is None stays as the kernel computes it."""

    max_page_order: int = 10
    kernelcore: int = 0
    """Pages; all memory beyond is ZONE_EASYRCLM. 0: no such zone."""
    min_free_kbytes: int | None = None
    lowmem_reserve_ratio: tuple[int, int, int, int] = marks.LOWMEM_RESERVE_RATIO


@dataclass(frozen=True)
class Layout:
    """Everything the kernel computes about memory at boot; entry z belongs to ``zones[z]``."""

    nodes: tuple[NodeSpec, ...]
    max_page_order: int
    zones: tuple[Zone, ...]
    """Populated zones by node, then by type."""
    zonelists: tuple[Zonelists, ...]
    """By node."""
    lowmem_reserve: tuple[tuple[int, ...], ...]
    min_free_kbytes: int
    watermark: tuple[Watermarks, ...]
    pcp: tuple[PcpSizes, ...]
    boot_reserved: tuple[Range, ...] = field(repr=False)
    boot_order: tuple[BootRange, ...] = field(repr=False)
    """Free memory in the order in which boot frees it."""


def machine_layout(
    nodes: Sequence[NodeSpec],
    distances: Sequence[Sequence[int]],
    arch: Arch,
    profile: Profile,
    options: Options | None = None,
    keep: Keep | None = None,
) -> Layout:
    """Boot the machine; ``keep`` is what boot reserves, if not what the architecture does.

    Raises InputError for a machine that cannot exist or boot.
    """
    options = options or Options()
    keep = keep or KEEPS[arch]
    check_machine(nodes, distances, SECTION_PAGES)
    ram = [node.ram for node in nodes]
    lowest = 0 if arch == "ppc64" else MAX_DMA_PFN
    starts = easyrclm_starts(ram, options.kernelcore, 1 << options.max_page_order, lowest)
    zones = tuple(
        zone
        for node, easy in zip(nodes, starts, strict=True)
        for zone in node_zones(node.nid, node.ram, arch, profile, easy)
    )
    sized = [PresentZone(zone.nid, zone.zone_type, zone.present) for zone in zones]
    min_free_kbytes = options.min_free_kbytes
    if min_free_kbytes is None:
        min_free_kbytes = marks.init_per_zone_pages_min(sized)
    batches = [marks.zone_batchsize(zone.present, profile) for zone in zones]
    cpus = sum(len(node.cpus) for node in nodes)
    memory = boot_bootmem(ram, zones, keep, cpus=cpus, highmem=arch == "i386")
    return Layout(
        nodes=tuple(nodes),
        max_page_order=options.max_page_order,
        zones=zones,
        zonelists=build_zonelists(zones, distances, [bool(node.cpus) for node in nodes]),
        lowmem_reserve=marks.setup_per_zone_lowmem_reserve(sized, options.lowmem_reserve_ratio),
        min_free_kbytes=min_free_kbytes,
        watermark=marks.setup_per_zone_pages_min(sized, min_free_kbytes, profile.highmem_marks),
        pcp=tuple(marks.setup_pageset(batch, profile) for batch in batches),
        boot_reserved=memory.reserved,
        boot_order=memory.order,
    )
