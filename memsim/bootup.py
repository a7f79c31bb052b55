"""The machine of a scenario, put to the booting kernel of its profile."""

from __future__ import annotations

from functools import lru_cache

from memsim.errors import InputError
from memsim.mm import PAGE_SIZE
from memsim.mm_init import MachineLayout, linux_2_6_14, machine_layout
from memsim.mm_init.linux_2_6_14_bootmem import Keep
from memsim.mm_init.linux_2_6_14_marks import LOWMEM_RESERVE_RATIO
from memsim.mm_init.memblock import (
    QEMU_PC,
    BootReservations,
    NodeRequest,
    NodeSpec,
    Range,
    boot_ram,
    place_nodes,
)
from memsim.mm_init.options import BootOptions, VmOptions
from memsim.profiles import Profile
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Vm


def layout_6_1(
    machine: Machine, cmdline: Cmdline, reservations: BootReservations = QEMU_PC
) -> MachineLayout:
    """Boot Linux 6.1 on a machine; raises InputError if it cannot."""
    return machine_layout(
        _node_specs(machine, _max_low_pfn(machine)),
        machine.distance_matrix,
        boot=BootOptions(
            kernelcore=cmdline.kernelcore,
            movablecore=cmdline.movablecore,
            movable_node=cmdline.movable_node,
            transparent_hugepage=cmdline.transparent_hugepage or machine.vm.thp,
            cma=machine.cma > 0,
        ),
        vm=_vm_options(machine.vm),
        reservations=reservations,
        block_pages=machine.memory_block_size // PAGE_SIZE,
    )


def layout_2005(
    machine: Machine, profile: Profile, cmdline: Cmdline, keep: Keep | None = None
) -> linux_2_6_14.Layout:
    """Boot a kernel of 2005 on a machine; raises InputError if it cannot.

    x86-64 has the PCI hole below 4 GiB that it has in 6.1; other architectures have none.
    """
    contiguous = None if machine.arch == "x86-64" else machine.total // PAGE_SIZE
    kbytes, ratio = machine.vm.min_free_kbytes, machine.vm.lowmem_reserve_ratio
    core = cmdline.kernelcore.bytes if cmdline.kernelcore else 0
    return linux_2_6_14.machine_layout(
        _node_specs(machine, contiguous),
        machine.distance_matrix,
        machine.arch,
        profile,
        linux_2_6_14.Options(
            max_page_order=machine.max_page_order,
            kernelcore=-(-core // PAGE_SIZE),
            min_free_kbytes=None if kbytes == "auto" else kbytes,
            lowmem_reserve_ratio=_ratio_2005(ratio) if ratio else LOWMEM_RESERVE_RATIO,
        ),
        keep,
    )


@lru_cache(maxsize=1024)
def boot_problem(machine: Machine, profile: Profile, cmdline: Cmdline) -> tuple[str, str]:
    """Say why a machine does not boot, and a hint; empty texts if it does."""
    try:
        if profile.mechanism == "linux-6.1":
            layout_6_1(machine, cmdline)
        else:
            layout_2005(machine, profile, cmdline)
    except InputError as error:
        return error.problems[0].message, error.problems[0].hint
    return "", ""


@lru_cache(maxsize=1024)
def ram_of_nodes(machine: Machine) -> tuple[tuple[Range, ...], ...]:
    """Say which pages of each node are RAM, modules included; raises InputError as booting does.

    What firmware hides is none. Half-open ranges of pfns.
    """
    if machine.arch != "x86-64":
        specs = _node_specs(machine, machine.total // PAGE_SIZE)
        boot = [list(spec.ram) for spec in specs]
    else:
        specs = _node_specs(machine, _max_low_pfn(machine))
        boot = boot_ram(specs, QEMU_PC)
    modules = [[(dimm.start_pfn, dimm.end_pfn) for dimm in spec.dimms] for spec in specs]
    return tuple((*ram, *plugged) for ram, plugged in zip(boot, modules, strict=True))


def _node_specs(machine: Machine, max_low_pfn: int | None) -> tuple[NodeSpec, ...]:
    requests = [
        NodeRequest(
            pages=node.memory // PAGE_SIZE,
            cpus=node.cpus,
            hotpluggable=node.hotpluggable,
            dimms=tuple((dimm.size // PAGE_SIZE, dimm.online) for dimm in node.dimms),
        )
        for node in machine.nodes
    ]
    block_pages = machine.memory_block_size // PAGE_SIZE
    return place_nodes(requests, max_low_pfn=max_low_pfn, block_pages=block_pages)


def _max_low_pfn(machine: Machine) -> int | None:
    return None if machine.max_ram_below_4g is None else machine.max_ram_below_4g // PAGE_SIZE


def _vm_options(vm: Vm) -> VmOptions:
    """Say which sysctls are written after boot: those that differ from the kernel's own."""
    default = Vm()
    kbytes, scale, ratio = vm.min_free_kbytes, vm.watermark_scale_factor, vm.lowmem_reserve_ratio
    return VmOptions(
        min_free_kbytes=None if kbytes == "auto" else kbytes,
        watermark_scale_factor=None if scale == default.watermark_scale_factor else scale,
        lowmem_reserve_ratio=(ratio[0], ratio[1], ratio[2], ratio[3]) if ratio else None,
        percpu_pagelist_high_fraction=vm.percpu_pagelist_high_fraction,
    )


def _ratio_2005(ratio: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Spread the entries of DMA, DMA32 if there is one, and NORMAL over all zone types."""
    dma32 = ratio[1] if len(ratio) == 3 else LOWMEM_RESERVE_RATIO[1]
    return ratio[0], dma32, ratio[-1], LOWMEM_RESERVE_RATIO[3]
