"""A Memory that has just booted, and one that a capture left."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trials import SCENARIOS

from memsim.errors import InputError
from memsim.fidelity.freerun import preferred_nodes
from memsim.kernels import layout as L
from memsim.memory.boot import boot
from memsim.memory.restore import restore
from memsim.memory.start import start
from memsim.mm import Migratetype, ZoneType
from memsim.mm_init.memblock import BARE
from memsim.policies import LINUX_6_1, mobility, none
from memsim.scenario.cmdline import parse_cmdline
from memsim.scenario.machine import Machine
from memsim.traces.capture import PAGEBLOCK_OTHER_ZONE, find_state, read_capture, read_state

TABLES = mobility.Policy().tables(LINUX_6_1)
GIB_PAGES = 1 << 18
CAPTURES = Path(__file__).parents[1] / "data/captures"


def machine(**fields):
    return Machine.model_validate_json(json.dumps(fields), strict=True)


def booted(cmdline="", **fields):
    return boot(machine(**fields), parse_cmdline(cmdline), TABLES)


def zone_named(memory, node, name):
    infos = memory.zone_infos()
    return next(z for z, i in enumerate(infos) if (i.node, i.name) == (node, name))


def test_what_boot_does_not_reserve_is_free():
    memory = booted(nodes=[{"id": 0, "cpus": "0-1", "memory": "1GiB"}])
    memory.check()
    for z, zone in enumerate(memory.zone_infos()):
        assert memory.nr_free_pages(z) == zone.managed
    marks = memory.mem.state & L.PAGE_RESERVED != 0
    reserved = marks[: memory.nr_pages].sum() + 1024 * marks[memory.nr_pages :].sum()
    ram = sum(zone.present for zone in memory.zone_infos())
    assert reserved == ram - sum(zone.managed for zone in memory.zone_infos())


def test_zones_that_a_dimm_interleaves_own_their_memory_only():
    memory = booted(
        nodes=[
            {
                "id": 0,
                "cpus": "0",
                "memory": "5GiB",
                "dimms": [{"size": "1GiB", "online": "kernel"}],
            },
            {"id": 1, "cpus": "1", "memory": "2GiB"},
        ]
    )
    memory.check()
    first, second = zone_named(memory, 0, "Normal"), zone_named(memory, 1, "Normal")
    spans = [memory.zone_infos()[z] for z in (first, second)]
    assert spans[0].start_pfn < spans[1].start_pfn < spans[0].start_pfn + spans[0].spanned
    census = memory.census()
    assert census.pageblocks[first].sum() == 3 * GIB_PAGES >> 9
    assert census.pageblocks[second].sum() == 2 * GIB_PAGES >> 9
    assert spans[0].hotpluggable_pages == GIB_PAGES
    assert spans[1].hotpluggable_pages == 0


def test_nofragment_needs_dma32_on_the_node():
    memory = booted(
        nodes=[
            {"id": 0, "cpus": "0", "memory": "4GiB"},
            {"id": 1, "cpus": "1", "memory": "4GiB"},
        ]
    )
    flags = {(z.node, z.zone_type): z.nofragment for z in memory.setup.zones}
    assert flags[0, ZoneType.NORMAL]
    assert not flags[0, ZoneType.DMA32]
    assert not flags[1, ZoneType.NORMAL]


@pytest.mark.parametrize(
    ("memory", "where"),
    [pytest.param("1GiB", "DMA32", id="below 4 GiB"), pytest.param("6GiB", "Normal", id="above")],
)
def test_a_cma_area_stands_in_one_zone(memory, where):
    held = booted(nodes=[{"id": 0, "cpus": "0", "memory": memory}], cma="64MiB")
    held.check()
    z = zone_named(held, 0, where)
    assert held.nr_free_cma(z) == 16384
    assert held.census().pageblocks[z, Migratetype.CMA] == 32
    assert held.nr_free_pages(z) == held.zone_infos()[z].managed


def test_a_cma_area_without_room_is_an_input_error():
    with pytest.raises(InputError, match="no zone has room for a CMA area"):
        booted("movablecore=90%", nodes=[{"id": 0, "cpus": "0", "memory": "1GiB"}], cma="512MiB")


def test_cpus_need_not_be_numbered_without_gaps():
    memory = booted(
        nodes=[
            {"id": 0, "cpus": [0, 5], "memory": "256MiB"},
            {"id": 1, "cpus": "3", "memory": "256MiB"},
        ]
    )
    assert [memory.setup.cpu_node[cpu] for cpu in (0, 3, 5)] == [0, 1, 0]


def test_a_machine_too_small_for_grouping_runs_without():
    small = machine(nodes=[{"id": 0, "cpus": "0", "memory": "8MiB"}])
    memory = boot(small, parse_cmdline(""), TABLES, BARE)
    types = memory.tables.type_of_request.tolist()
    assert types == none.Policy().tables(LINUX_6_1).type_of_request.tolist()
    larger = machine(nodes=[{"id": 0, "cpus": "0", "memory": "64MiB"}])
    grouped = boot(larger, parse_cmdline(""), TABLES, BARE).tables.type_of_request
    assert grouped.tolist() == TABLES.type_of_request.tolist()


def test_sysctls_reach_the_zones():
    nodes = [{"id": 0, "cpus": "0", "memory": "1GiB"}]
    plain = booted(nodes=nodes)
    tuned = booted(nodes=nodes, vm={"min_free_kbytes": 65536, "watermark_boost_factor": 0})
    z = zone_named(plain, 0, "DMA32")
    assert tuned.setup.zones[z].watermark[0] > plain.setup.zones[z].watermark[0]
    assert (plain.setup.zones[z].boost_factor, tuned.setup.zones[z].boost_factor) == (15000, 0)


def test_an_empty_tebibyte_costs_little():
    nodes = [
        {"id": 0, "cpus": "0-63", "memory": "512GiB"},
        {"id": 1, "cpus": "64-127", "memory": "512GiB"},
    ]
    began = time.process_time()
    memory = booted(nodes=nodes)
    assert time.process_time() - began < 2
    assert sum(map(memory.nr_free_pages, range(len(memory.setup.zones)))) > 1000 * GIB_PAGES


def test_a_capture_is_a_start_state():
    captured = machine(**{"from": "data/frag"})
    memory = start(captured, "linux-6.1", parse_cmdline(""), TABLES, str(SCENARIOS))
    memory.check()
    assert [zone.name for zone in memory.zone_infos()] == ["DMA", "DMA32", "Normal"]


def test_a_folder_without_a_start_state_is_an_input_error():
    with pytest.raises(InputError, match=r"has no start/state\.txt"):
        start(machine(**{"from": "data"}), "linux-6.1", parse_cmdline(""), TABLES, str(SCENARIOS))


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"batch": 0}, id="a batch of nothing"),
        pytest.param({"batch": 64}, id="a batch larger than any kernel's"),
        pytest.param({"high": 63, "batch": 63}, id="full lists that give nothing back"),
        pytest.param({"high": 1 << 30}, id="more than the zone has"),
    ],
)
def test_per_cpu_lists_that_no_kernel_has_are_an_input_error(sizes):
    state = read_state(find_state(SCENARIOS / "data/frag", "start"))
    *lower, last = state.zones
    odd = replace(last, pcp=(replace(last.pcp[0], **sizes), *last.pcp[1:]))
    with pytest.raises(InputError, match="has per-CPU lists with high"):
        restore(replace(state, zones=(*lower, odd)), TABLES)


def test_per_cpu_lists_may_hold_more_than_their_limit():
    state = read_state(find_state(SCENARIOS / "data/frag", "start"))
    *lower, last = state.zones
    pcp = last.pcp[0]
    pfns = last.free[max(last.free, key=lambda key: (key[0] == 0, len(last.free[key])))]
    many = np.resize(pfns, 9000)
    crowded = replace(pcp, high=4 * pcp.batch, count=len(many), lists={1: many})
    odd = replace(last, pcp=(crowded, *last.pcp[1:]))
    memory = restore(replace(state, zones=(*lower, odd)), TABLES)
    z = len(state.zones) - 1
    assert memory.pcp_list(z, pcp.cpu, 1).tolist() == many.tolist()
    assert len(memory.pcp_list(z, pcp.cpu, 2)) == 0
    assert memory.pcp_field(z, pcp.cpu, L.P_HIGH) == 4 * pcp.batch


def interleaved_state():
    """Two nodes whose Normal zones take turns of 4 MiB, all of it free."""
    state = read_state(find_state(SCENARIOS / "data/frag", "start"))
    mine, other = [int(Migratetype.MOVABLE)] * 2, [PAGEBLOCK_OTHER_ZONE] * 2
    pcp = replace(state.zones[0].pcp[0], count=0, high=0, batch=1, lists={})
    zones = tuple(
        replace(
            state.zones[0],
            node=node,
            zone_type=ZoneType.NORMAL,
            start_pfn=first,
            **{"spanned": 3072, "present": 2048, "managed": 2048, "nr_free_pages": 2048},
            pageblocks=np.array(mine + other + mine, np.uint8),
            free={(10, Migratetype.MOVABLE): np.array([first, first + 2048], np.int32)},
            pcp=(pcp,),
        )
        for node, first in ((0, 4096), (1, 5120))
    )
    return replace(state, zones=zones)


def test_zones_of_a_capture_that_interleave_own_their_memory_only():
    memory = restore(interleaved_state(), TABLES)
    memory.check()
    assert memory.mem.zone_of[4:].tolist() == [0, 1, 0, 1]
    assert memory.census().pageblocks.sum(axis=1).tolist() == [4, 4]


def test_the_preferred_node_is_read_from_who_owns_the_page():
    state = read_capture(CAPTURES / "hotremove")
    first = state.trace.select(np.arange(len(state.trace)) < 4)
    pages = replace(first, pfn=np.array([4096, 5120, 6144, 7168], first.pfn.dtype))
    assert preferred_nodes(pages, interleaved_state()).tolist() == [0, 1, 0, 1]
