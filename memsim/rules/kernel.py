"""Which machines and command lines a profile's kernel does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from memsim.bootup import boot_problem
from memsim.profiles import PROFILES, Profile
from memsim.rules.findings import Finding
from memsim.scenario import PolicySpec
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine
from memsim.scenario.paths import Loc

MACHINE_KEYS = {"cma": "CMA came with Linux 3.5"}
"""Keys of the machine that no kernel of 2005 has, and why."""
VM_KEYS = {
    "watermark_boost_factor": "watermarks are boosted since Linux 5.0",
    "watermark_scale_factor": "it came with Linux 4.6",
    "percpu_pagelist_high_fraction": "it came with Linux 5.14",
    "compaction_proactiveness": "compaction came with Linux 2.6.35, on its own account with 5.9",
    "extfrag_threshold": "compaction came with Linux 2.6.35",
    "compact_unevictable_allowed": "compaction came with Linux 2.6.35",
    "nr_hugepages": "of its pool of huge pages nothing is modelled",
    "demotion_enabled": "reclaim demotes pages since Linux 5.15",
    "thp": "transparent huge pages came with Linux 2.6.38",
}
MECHANISMS = {
    "linux-6.1": "its free lists and per-CPU lists are those of grouping by mobility",
    "linux-2.6.14": "its allocator is older than grouping by mobility, which came with 2.6.24",
}
"""Why a placement policy of other kernels cannot be part of this one."""


class _Missing(NamedTuple):
    """Something of the machine that a kernel does not know: ``what`` goes on from "has no"."""

    loc: Loc
    what: str
    why: str
    on_key: bool = True


def pairing_findings(
    at: Loc, placement: str, profile: str, offered: tuple[str, ...]
) -> Iterator[Finding]:
    """Say why a placement policy cannot be part of a profile's kernel."""
    if profile not in offered:
        why = MECHANISMS[PROFILES[profile].mechanism]
        message = f'placement "{placement}" does not go with profile "{profile}": {why}'
        yield Finding((*at, "placement"), message, f"it goes with {', '.join(offered)}")


def kernel_findings(machine: Machine, policies: Mapping[str, PolicySpec]) -> Iterator[Finding]:
    """Say what is asked of a kernel that it does not have; each profile in use is looked at.

    What the machine's own profile lacks stands at the machine's key, what a policy's profile lacks
    at that profile. A machine that lacks nothing must boot.
    """
    for name, spec in policies.items():
        profile = PROFILES[spec.profile or machine.profile]
        at: Loc = ("policies", name)
        missing = [*_missing(machine, profile)]
        for loc, what, why, on_key in missing:
            message = f'profile "{profile.name}" has no {what}'
            if spec.profile is None:
                yield Finding(loc, message, why, on_key)
            else:
                yield Finding((*at, "profile"), f"{message}, which the machine asks for", why)
        unknown = [*_cmdline_findings((*at, "cmdline"), profile, spec.kernel)]
        yield from unknown
        if not missing and not unknown and machine.from_ is None:
            message, hint = boot_problem(machine, profile, spec.kernel)
            if message:
                yield Finding(("machine", "nodes"), f"does not boot: {message}", hint, True)


def _missing(machine: Machine, profile: Profile) -> Iterator[_Missing]:
    if machine.arch not in profile.arches:
        arches = " and ".join(profile.arches)
        where: Loc = ("machine", "arch" if "arch" in machine.model_fields_set else "profile")
        yield _Missing(where, f"{machine.arch}", f"it runs on {arches}", False)
    yield from _reserve_ratio(machine, profile)
    if profile.mechanism == "linux-6.1":
        return
    if machine.from_ is not None:
        why = "a capture is the state of a Linux 6.1"
        yield _Missing(("machine", "from"), "captures", why)
    for key, why in MACHINE_KEYS.items():
        if key in machine.model_fields_set:
            yield _Missing(("machine", key), key, why)
    for key, why in VM_KEYS.items():
        if key in machine.vm.model_fields_set:
            yield _Missing(("machine", "vm", key), key, why)
    for i, node in enumerate(machine.nodes):
        if node.nr_hugepages:
            at = ("machine", "nodes", i, "nr_hugepages")
            yield _Missing(at, "nr_hugepages", VM_KEYS["nr_hugepages"])
        if node.dimms:
            why = "memory cannot be added to it; hotpluggable: true marks a node to be removed"
            yield _Missing(("machine", "nodes", i, "dimms"), "dimms", why)


def _reserve_ratio(machine: Machine, profile: Profile) -> Iterator[_Missing]:
    ratio = machine.vm.lowmem_reserve_ratio
    zones = ["DMA", "DMA32", "NORMAL"] if profile.dma32 else ["DMA", "NORMAL"]
    if profile.mechanism == "linux-6.1":
        zones.append("MOVABLE")
    if ratio is not None and len(ratio) != len(zones):
        what = f"lowmem_reserve_ratio of {len(ratio)} entries"
        why = f"it has {len(zones)}: {', '.join(zones)}"
        yield _Missing(("machine", "vm", "lowmem_reserve_ratio"), what, why, False)


def _cmdline_findings(at: Loc, profile: Profile, cmdline: Cmdline) -> Iterator[Finding]:
    if profile.mechanism == "linux-6.1":
        return
    movable = "ZONE_MOVABLE came with 2.6.23; kernelcore=SIZE makes a ZONE_EASYRCLM"
    words = {
        "movablecore": (cmdline.movablecore, movable),
        "movable_node": (cmdline.movable_node, movable),
        "transparent_hugepage": (cmdline.transparent_hugepage, VM_KEYS["thp"]),
    }
    for word, (given, why) in words.items():
        if given:
            message = f'profile "{profile.name}" has no {word}'
            yield Finding(at, message, why)
    if cmdline.kernelcore is not None and cmdline.kernelcore.percent:
        message = f'profile "{profile.name}" has no kernelcore in percent'
        yield Finding(at, message, "for example kernelcore=512M")
