"""A Memory that a kernel of 2005 has just booted with: the facts of spec linux-2.6.14 3.3 and 8."""

import json
from dataclasses import replace

import numpy as np
import pytest

from memsim.kernels import layout as L
from memsim.load import load_text
from memsim.memory.boot_2005 import boot_2005
from memsim.memory.start import kernel_of, start
from memsim.mm import GFP_COMPOSITES, Use
from memsim.mm_init.linux_2_6_14_bootmem import KEEPS
from memsim.policies import light, none
from memsim.profiles import PROFILES
from memsim.scenario.cmdline import parse_cmdline
from memsim.scenario.machine import Machine
from memsim.schema import Request
from memsim.simulate import simulate

HIGHMEM = {"arch": "i386", "nodes": [{"id": 0, "cpus": "0", "memory": "1536MiB"}]}
PPC64 = {"arch": "ppc64", "nodes": [{"id": 0, "cpus": "0", "memory": "1GiB"}]}
HIGHUSER = GFP_COMPOSITES["GFP_HIGHUSER"]


def machine(fields):
    return Machine.model_validate_json(json.dumps(fields), strict=True)


def booted(fields, profile="linux-2.6.14", cmdline="", policy=none):
    found = machine(fields)
    tables = policy.Policy().tables(kernel_of(found, profile))
    return start(found, profile, parse_cmdline(cmdline), tables, ".")


def lists(memory, zone, migratetype=0):
    """The free lists of a zone that are not empty, by order."""
    found = {order: memory.free_list(zone, order, migratetype).tolist() for order in range(13)}
    return {order: pfns for order, pfns in found.items() if pfns}


def take(memory, count, gfp=HIGHUSER, use=Use.ANON, order=0):
    request = memory.add_requests([Request(gfp=gfp, use=use, lru=False)])
    handle = memory.add_handles(count)
    ops = np.full(count, order, np.uint8)
    rows, cpus = np.full(count, request, np.uint16), np.zeros(count, np.uint16)
    handles = np.arange(handle, handle + count, dtype=np.int32)
    return memory.run(ops, rows, cpus, handles).pfn.tolist()


@pytest.fixture(scope="module")
def highmem():
    memory = booted(HIGHMEM)
    memory.check()
    return memory


def test_F12_17_highmem_after_boot(highmem):
    hot = highmem.pcp_list(2, 0, 0).tolist()
    assert hot == list(range(393215, 393055, -1))
    top = lists(highmem, 2)
    assert {order: top[order] for order in top if order < 10} == {
        5: [393024], 6: [392960], 8: [392704], 9: [392192],
    }  # fmt: skip
    assert top[10] == list(range(391168, 229375, -1024))
    assert len(top[10]) == 159


def test_F12_17_the_first_user_pages(highmem):
    served = take(highmem.copy(), 400)
    ascending = [*range(393024, 393056), *range(392960, 393024), *range(392704, 392848)]
    assert served == [*range(393215, 393055, -1), *ascending]


def test_F12_18_hot_pages_of_the_mm_kernels():
    hot = booted(HIGHMEM, "linux-2.6.14-mm").pcp_list(2, 0, 0).tolist()
    assert hot == list(range(393215, 392860, -1))
    assert len(hot) == 355


def test_F12_19_normal_after_boot(highmem):
    normal = lists(highmem, 1)
    assert normal == {
        5: [7392], 8: [7424], 9: [7680], 10: list(range(228352, 8191, -1024)),
    }  # fmt: skip
    assert len(normal[10]) == 216
    assert sorted(highmem.pcp_list(1, 0, 0).tolist()) == list(range(7382, 7392))


def test_at_most_378_of_384_blocks_can_ever_be_had(highmem):
    """Spec 1.5: DMA keeps blocks 2 and 3 whole, NORMAL loses its first four."""
    dma, normal = lists(highmem, 0)[10], lists(highmem, 1)[10]
    assert dma == [3072, 2048]
    # Nothing of HIGHMEM is reserved, though pages on the hot list keep its top block in pieces.
    pages = highmem.nr_free_pages(2) + len(highmem.pcp_list(2, 0, 0))
    assert pages == 160 * 1024
    assert len(dma) + len(normal) + pages // 1024 == 378


def test_F12_42_ppc64_after_boot_without_reservations():
    bare = replace(KEEPS["ppc64"], struct_page=0)
    found = machine(PPC64)
    profile = PROFILES["linux-2.6.14"]
    tables = none.Policy().tables(kernel_of(found, "linux-2.6.14"))
    memory = boot_2005(found, profile, parse_cmdline(""), tables, bare)
    memory.check()
    assert memory.zone_infos()[0].present == 262144
    assert lists(memory, 0) == {12: list(range(258048, -1, -4096))}
    (first,) = take(memory, 1, GFP_COMPOSITES["GFP_KERNEL"], Use.KERNEL)
    assert first // 4096 == 63


def test_8_mib_blocks_on_ppc64():
    memory = booted(PPC64 | {"max_order": 12})
    memory.check()
    assert max(lists(memory, 0)) == 11
    assert memory.census().pageblocks.sum() == 128


def test_what_boot_reserves_is_marked_and_the_rest_is_free(highmem):
    marks = highmem.mem.state & L.PAGE_RESERVED != 0
    reserved = int(marks[: highmem.nr_pages].sum() + 1024 * marks[highmem.nr_pages :].sum())
    free = sum(highmem.nr_free_pages(z) for z in range(3))
    cached = sum(len(highmem.pcp_list(z, 0, 0)) for z in range(3))
    assert reserved == 1 + 97 + 1024 + 3286
    assert free + cached + reserved == 393216


def test_two_nodes_boot_with_empty_per_cpu_lists():
    nodes = [
        {"id": 0, "cpus": "0", "memory": "1GiB"},
        {"id": 1, "cpus": "1", "memory": "1GiB", "hotpluggable": True},
    ]
    memory = booted({"nodes": nodes}, "linux-2.6.15")
    memory.check()
    zones = range(len(memory.setup.zones))
    assert [len(memory.pcp_list(z, cpu, 0)) for z in zones for cpu in (0, 1)] == [0] * 6
    assert memory.zone_infos()[2].hotpluggable_pages == 1 << 18


def test_unmovable_pages_of_hotpluggable_nodes_are_counted():
    nodes = [{"id": 0, "cpus": "0", "memory": "256MiB", "hotpluggable": True}]
    memory = booted({"arch": "ppc64", "nodes": nodes}, policy=light)
    before = memory.census().unmovable_hotpluggable
    take(memory, 5, GFP_COMPOSITES["GFP_KERNEL"], Use.SLAB)
    assert (memory.census().unmovable_hotpluggable - before).tolist() == [5]


def test_easyrclm_serves_user_pages_only():
    memory = booted(HIGHMEM, cmdline="kernelcore=512M")
    names = [zone.name for zone in memory.zone_infos()]
    assert names == ["DMA", "Normal", "EasyRclm"]
    assert min(take(memory, 300)) >= 131072
    assert max(take(memory, 300, use=Use.PAGE_TABLE)) < 131072
    memory.check()


def test_a_mixed_scenario_gives_each_policy_its_kernel():
    text = """\
memsim: 1
name: kernels
duration: 100ms
policies:
  old: {placement: none, profile: linux-2.6.14}
  new: {placement: mobility}
  light: {placement: light, profile: linux-2.6.15}
machine: {nodes: [{id: 0, cpus: 0, memory: 128MiB}]}
workloads: {app: {kind: process, anon: 8MiB, grow: 50ms}}
"""
    trials = list(load_text(text, "x.yaml", ".").trials())
    assert [trial.profile for trial in trials] == ["linux-2.6.14", "linux-6.1", "linux-2.6.15"]
    results = [simulate(trial, check=True) for trial in trials]
    assert [result.status for result in results] == ["ok"] * 3
    zones = [sorted({zone for zone, _, _ in result.counters if zone}) for result in results]
    assert zones == [
        ["node0 DMA", "node0 Normal"], ["node0 DMA", "node0 DMA32"], ["node0 DMA", "node0 DMA32"],
    ]  # fmt: skip
