"""Memory that comes back, and a virtio-mem device that takes it in pieces."""

from dataclasses import replace
from errno import EBUSY, EINVAL

import numpy as np
import pytest
from compaction_desk import lists, zone
from hotplug_desk import SECTION, removable, two_nodes, two_sections

from memsim.kernels import layout as L
from memsim.memory.hotplug import offline, offline_node
from memsim.memory.obstacles import Reason
from memsim.memory.onlining import online
from memsim.memory.resizing import resize_zones
from memsim.memory.virtio_mem import VirtioMem, virtio_mem_plug, virtio_mem_unplug
from memsim.mm import ZoneType

MOVABLE_ZONE = ZoneType.MOVABLE


def test_what_comes_back_stands_at_the_tail_and_everything_is_as_it_was():
    memory = two_sections({0: (1, "kernel")})
    before = memory.setup.zones
    blocks = lists(memory)[10]
    assert offline(memory, 0, SECTION).errno == -EBUSY
    assert offline(memory, SECTION, SECTION).removed
    assert online(memory, SECTION, SECTION).zone == 0
    assert lists(memory)[10] == blocks
    assert replace(memory.setup.zones[0], ranges=()) == replace(
        before[0],
        ranges=(),
        watermark=memory.setup.zones[0].watermark,
        pcp_high=memory.setup.zones[0].pcp_high,
        pcp_batch=memory.setup.zones[0].pcp_batch,
        stat_threshold=memory.setup.zones[0].stat_threshold,
    )
    memory.check()


def test_new_memory_is_used_last():
    memory = removable([zone(0, 3 * SECTION)])
    assert offline(memory, 0, SECTION).removed
    online(memory, 0, SECTION)
    assert lists(memory)[10] == [*range(SECTION, 3 * SECTION, 1024), *range(0, SECTION, 1024)]
    memory.check()


def test_a_node_comes_back_as_movable_in_a_zone_of_its_own():
    memory = two_nodes({5: (1, "anon")})
    (gone,) = offline_node(memory, 1)
    outcome = online(memory, gone.start_pfn, gone.nr_pages, "movable")
    assert (outcome.errno, outcome.zone) == (0, 2)
    assert memory.setup.zones[2].zone_type == MOVABLE_ZONE
    assert memory.setup.zonelists == (((0, 2), (0,)), ((2, 0), (2,)))
    assert memory.nr_free_pages(2) == SECTION
    memory.check()
    assert offline(memory, gone.start_pfn, gone.nr_pages).removed
    assert online(memory, gone.start_pfn, gone.nr_pages).zone == 1
    memory.check()


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [("movable", "online", MOVABLE_ZONE), ("kernel", "online", ZoneType.NORMAL)],
)
def test_online_follows_the_zone_that_is_there_already(first, second, third):
    memory = removable([zone(0, 2 * SECTION), zone(2 * SECTION, 4 * SECTION, node=1)])
    offline_node(memory, 1)
    online(memory, 2 * SECTION, SECTION, first)
    grown = online(memory, 3 * SECTION, SECTION, second)
    # The second block lies outside of every span: then the kernel's zone gets it, unless the
    # command line says movable_node.
    assert memory.setup.zones[grown.zone].zone_type == ZoneType.NORMAL
    offline(memory, 2 * SECTION, 2 * SECTION)
    assert third in {z.zone_type for z in memory.setup.zones if z.node == 1}
    memory.check()


def test_movable_node_and_auto_movable():
    zones = [zone(0, SECTION), zone(SECTION, 6 * SECTION, node=1)]
    memory = removable(zones)
    offline_node(memory, 1)
    memory.setup = replace(memory.setup, rules=replace(memory.setup.rules, movable_node=True))
    outcome = online(memory, SECTION, SECTION)
    assert memory.setup.zones[outcome.zone].zone_type == MOVABLE_ZONE
    chosen = [
        memory.setup.zones[online(memory, n * SECTION, SECTION, "auto-movable").zone].zone_type
        for n in (2, 3, 4)
    ]
    # One section of the kernel's allows three of Movable, one of which is there.
    assert chosen == [MOVABLE_ZONE, MOVABLE_ZONE, ZoneType.NORMAL]
    memory.check()


def test_only_what_is_offline_comes_online():
    memory = two_sections()
    assert online(memory, SECTION, SECTION).reason == Reason.ONLINE
    assert online(memory, 2 * SECTION, SECTION).reason == Reason.HOLE
    assert online(memory, 5, SECTION).errno == -EINVAL


def test_rings_grow_with_the_lists():
    memory = two_sections()
    rows = memory.mem.pcps.copy()
    memory.mem.zones[L.Z_MANAGED] *= 1024
    memory.setup = replace(memory.setup, zones=(replace(memory.setup.zones[0], managed=64 << 20),))
    pfns = memory.free_list(0, 10, 1)[:3]
    memory.place_pcp(0, 0, 1, pfns)
    memory.mem.state[pfns] = 0
    resize_zones(memory)
    assert memory.pcp_list(0, 0, 1).tolist() == pfns.tolist()
    assert memory.pcp_field(0, 0, L.P_HIGH) > 8192
    mask = L.P_LISTS + 3
    assert memory.mem.pcps[mask] > rows[mask]


def plugged(runs=(), zone_type=ZoneType.NORMAL):
    """Node 1 is a device of two blocks; node 0 has room for what must move."""
    zones = [zone(0, 2 * SECTION), zone(2 * SECTION, 4 * SECTION, node=1, zone_type=zone_type)]
    return removable(zones, dict(runs), zonelist=(0, 1)), VirtioMem(2 * SECTION, 4 * SECTION)


def test_a_device_gives_back_the_highest_block_at_once_then_sub_blocks_from_the_top():
    memory, device = plugged()
    outcome = virtio_mem_unplug(memory, device, SECTION + 3 * 512)
    assert (outcome.errno, outcome.unplugged_pages) == (0, SECTION + 3 * 512)
    assert [a.start_pfn for a in outcome.attempts] == [
        3 * SECTION,
        3 * SECTION - 512,
        3 * SECTION - 1024,
        3 * SECTION - 1536,
    ]
    assert outcome.blocks_removed == (device.blocks[1],)
    assert memory.setup.zones[1].managed == SECTION - 3 * 512
    assert device.plugged_pages == SECTION - 3 * 512
    memory.check()
    assert virtio_mem_plug(memory, device, 2 * 512) == 2 * 512
    assert virtio_mem_plug(memory, device, SECTION + 512) == SECTION + 512
    assert device.plugged_pages == 2 * SECTION
    memory.drain_all()
    assert memory.nr_free_pages(1) == 2 * SECTION == memory.setup.zones[1].managed
    memory.check()


def test_busy_sub_blocks_are_passed_over_and_partial_blocks_come_first():
    runs = {3 * SECTION + 5: (1, "kernel"), 2 * SECTION + 7: (600, "anon")}
    memory, device = plugged(runs)
    outcome = virtio_mem_unplug(memory, device, SECTION)
    assert (outcome.errno, outcome.unplugged_pages) == (0, SECTION)
    assert outcome.attempts[0].errno == -EBUSY
    # 63 of the upper block's, then the uppermost of the lower block.
    assert [device.plugged(block) for block in device.blocks] == [63, 1]
    memory.check()
    outcome = virtio_mem_unplug(memory, device, 2 * SECTION)
    assert (outcome.errno, device.plugged_pages) == (-EBUSY, 512)
    assert outcome.blocks_removed == (device.blocks[0],)
    assert [a.start_pfn for a in outcome.attempts[:2]] == [3 * SECTION, 3 * SECTION - 1024]
    assert np.all(memory.page_table[:600] > 0) and memory.page_table[:601].max() <= 4 * SECTION
    memory.check()


def test_in_movable_a_sub_block_is_tried_five_times():
    memory, device = plugged({3 * SECTION + 5: (1, "pinned")}, MOVABLE_ZONE)
    outcome = virtio_mem_unplug(memory, device, 512)
    assert (outcome.errno, len(outcome.attempts)) == (0, 1)
    memory, device = plugged({4 * SECTION - 5: (1, "pinned")}, MOVABLE_ZONE)
    outcome = virtio_mem_unplug(memory, device, 512)
    assert [a.errno for a in outcome.attempts] == [-EBUSY] * 5 + [0]
    memory.check()
