"""The checkable facts of spec 9.9 on taking memory offline, and 2.6 on bringing it back."""

from errno import EBUSY, EINTR, EINVAL

import numpy as np
import pytest
from compaction_desk import zone
from hotplug_desk import FREE, SECTION, buddyinfo, removable, two_nodes, two_sections, types

from memsim.kernels import layout as L
from memsim.memory.boot import boot
from memsim.memory.hotplug import Offlining, block_range, node_blocks, offline, offline_node
from memsim.memory.obstacles import Reason
from memsim.mm import Migratetype, Use, ZoneType, gfp_from_text
from memsim.policies import LINUX_6_1, mobility
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine
from memsim.schema import Request

ISOLATE, MOVABLE, UNMOVABLE = Migratetype.ISOLATE, Migratetype.MOVABLE, Migratetype.UNMOVABLE
TENTH_OF_A_SECOND = 100_000_000


def test_F9_1_isolated_blocks_are_in_buddyinfo_and_not_in_nr_free_pages():
    memory = two_sections()
    assert buddyinfo(memory)[MOVABLE] == 64
    attempt = Offlining(memory, SECTION, SECTION)
    assert attempt.step() is None
    assert memory.nr_free_pages(0) == SECTION
    assert (buddyinfo(memory)[MOVABLE], buddyinfo(memory)[ISOLATE]) == (32, 32)
    assert memory.zone_field(0, L.Z_NR_FREE + 10) == 64
    outcome = attempt.step()
    assert outcome.removed and outcome.pages_migrated == 0
    (info,) = memory.zone_infos()
    assert (info.spanned, info.present, info.managed) == (SECTION,) * 3
    assert (buddyinfo(memory)[ISOLATE], memory.zone_field(0, L.Z_NR_FREE + 10)) == (0, 32)
    memory.check()


def test_F9_2_one_page_of_slab_keeps_the_block_and_its_pageblocks_become_movable():
    memory = two_sections(
        {40000: (1, "kernel")}, types={64: UNMOVABLE, 70: UNMOVABLE, 90: UNMOVABLE}
    )
    free = memory.nr_free_pages(0)
    outcome = offline(memory, SECTION, SECTION)
    assert (outcome.errno, outcome.reason) == (-EBUSY, Reason.KERNEL)
    assert [o.pfn for o in outcome.obstacles] == [40000]
    now = types(memory, SECTION, 2 * SECTION)
    # The first one was isolated before the page was found at pageblock 78, 90 comes after it.
    assert (now[0], now[70 - 64], now[90 - 64], now[-1]) == (MOVABLE, MOVABLE, UNMOVABLE, MOVABLE)
    assert ISOLATE not in now and memory.nr_free_pages(0) == free
    memory.check()


def test_F9_2_of_several_obstacles_the_first_pageblock_and_the_last_come_before_the_others():
    places = (33000, 40000, 65535)
    memory = two_sections({pfn: (1, "kernel") for pfn in places})
    assert offline(memory, SECTION, SECTION).page == 33000
    memory = two_sections({pfn: (1, "kernel") for pfn in places[1:]})
    outcome = offline(memory, SECTION, SECTION)
    assert (outcome.page, [o.pfn for o in outcome.obstacles]) == (65535, [40000, 65535])


def test_F9_3_a_pinned_page_is_tried_for_ever():
    memory = two_sections({40000: (1, "pinned")})
    outcome = offline(memory, SECTION, SECTION, TENTH_OF_A_SECOND)
    assert (outcome.errno, outcome.reason) == (-EINTR, Reason.PINNED)
    assert outcome.tries > 10
    assert outcome.pgmigrate_fail == outcome.tries and outcome.pgmigrate_success == 0
    assert [(o.pfn, o.handle) for o in outcome.obstacles] == [(40000, 0)]
    assert outcome.pages_left == 1 and outcome.ended_ns >= TENTH_OF_A_SECOND
    assert set(types(memory, SECTION, 2 * SECTION)) == {MOVABLE}
    memory.check()


def test_F9_3_a_signal_ends_it_and_so_does_the_end_of_the_pin():
    memory = two_sections({40000: (1, "pinned")})
    outcome = offline(memory, SECTION, SECTION, signal_at=5_000_000)
    assert (outcome.errno, outcome.began_ns) == (-EINTR, 0)
    assert 5_000_000 <= outcome.ended_ns < 10_000_000
    attempt = Offlining(memory, SECTION, SECTION)
    for _ in range(3):
        assert attempt.step() is None
    memory.mem.state[40000] &= ~L.PAGE_PINNED
    while (outcome := attempt.step()) is None:
        pass
    assert outcome.removed and outcome.pgmigrate_success == 1
    memory.check()


def test_F9_3_passes_that_change_nothing_are_counted_as_if_they_were_made():
    one, other = (two_sections({65000: (2, "pinned")}) for _ in range(2))
    outcome = offline(one, SECTION, SECTION, 3_000_000)
    attempt = Offlining(other, SECTION, SECTION, 3_000_000)
    while (same := attempt.step()) is None:
        pass
    assert outcome == same and outcome.tries > 20
    assert one.vmstat() == other.vmstat()
    assert np.array_equal(one.mem.zones, other.mem.zones)
    outcome = offline(one, SECTION, SECTION, 3600 * 10**9)
    assert outcome.tries > 10**8 and outcome.pgmigrate_fail == 2 * outcome.tries
    one.check()


def test_F9_4_pages_go_to_the_other_node_in_ascending_order():
    memory = two_nodes({SECTION: (1000, "anon")})
    outcome = offline(memory, SECTION, SECTION)
    assert outcome.removed and outcome.pgmigrate_success == 1000
    assert memory.page_table[:1000].tolist() == list(range(2 * SECTION + 1, 2 * SECTION + 1001))
    assert outcome.free_after == (SECTION, SECTION - 1000)
    memory.check()


def test_huge_pages_move_whole_or_in_pieces():
    torn = {pfn: (1, "kernel") for pfn in range(2 * SECTION, 3 * SECTION, 512)}
    for others, split in ((FREE, 0), (torn, 2)):
        memory = two_nodes({SECTION: (1024, "huge"), **dict(others)})
        outcome = offline(memory, SECTION, SECTION)
        assert outcome.removed and outcome.pgmigrate_success == 1024
        assert len(outcome.split) == split == memory.vmstat()["thp_migration_split"]
        memory.check()


def test_F9_4_where_no_other_node_has_memory_pages_go_to_other_blocks_of_their_own():
    memory = two_sections({SECTION: (1000, "file"), 0: (10, "kernel")})
    assert offline(memory, SECTION, SECTION).removed
    assert memory.page_table[10:1010].max() <= SECTION
    memory.check()


def test_F8_7_a_page_of_normal_does_not_go_to_movable():
    zones = [
        zone(0, SECTION),
        zone(SECTION, 2 * SECTION, node=1, zone_type=ZoneType.MOVABLE),
    ]
    memory = removable(zones, {5: (1, "anon")}, zonelist=(1, 0))
    outcome = offline(memory, 0, SECTION, TENTH_OF_A_SECOND)
    assert (outcome.errno, outcome.reason) == (-EINTR, Reason.NO_MEMORY)
    assert outcome.pgmigrate_success == 0 and outcome.pgmigrate_fail == outcome.tries
    assert (outcome.obstacles, outcome.pages_left) == ((), 1)


def test_F9_7_what_is_offline_cannot_go_again():
    memory = two_sections()
    assert offline(memory, SECTION, SECTION).removed
    outcome = offline(memory, SECTION, SECTION)
    assert (outcome.errno, outcome.reason) == (-EINVAL, Reason.OFFLINE)
    memory.check()


@pytest.mark.parametrize(
    ("start", "pages", "reason"),
    [
        (SECTION + 1, SECTION, Reason.UNALIGNED),
        (SECTION, SECTION // 2, Reason.UNALIGNED),
        (SECTION, 0, Reason.UNALIGNED),
        (0, 2 * SECTION, Reason.STRADDLES_ZONES),
        (2 * SECTION, SECTION, Reason.HOLE),
    ],
)
def test_ranges_that_cannot_be_one_zones_memory_are_refused(start, pages, reason):
    memory = removable([zone(0, SECTION), zone(SECTION, 2 * SECTION, node=1)])
    outcome = offline(memory, start, pages)
    assert (outcome.errno, outcome.reason) == (-EINVAL, reason)


def test_reserved_pages_keep_a_block_of_movable_and_nothing_else_does():
    movable = [zone(0, SECTION), zone(SECTION, 2 * SECTION, node=1, zone_type=ZoneType.MOVABLE)]
    memory = removable(movable, {SECTION: (3, "anon")}, zonelist=(1, 0))
    assert offline(memory, SECTION, SECTION).removed
    memory.check()
    memory = removable(movable, {50000: (1, "kernel")}, zonelist=(1, 0))
    memory.mem.state[50000] = L.PAGE_RESERVED
    outcome = offline(memory, SECTION, SECTION)
    assert (outcome.errno, outcome.reason) == (-EBUSY, Reason.RESERVED)


def test_a_page_of_the_kernel_in_movable_is_waited_for():
    movable = [zone(0, SECTION), zone(SECTION, 2 * SECTION, node=1, zone_type=ZoneType.MOVABLE)]
    memory = removable(movable, {50000: (1, "kernel")}, zonelist=(1, 0))
    outcome = offline(memory, SECTION, SECTION, 10_000_000)
    assert (outcome.errno, outcome.tries, outcome.obstacles) == (-EINTR, 0, ())


def test_marks_and_lists_follow_a_node_that_goes():
    memory = two_nodes()
    (outcome,) = offline_node(memory, 1)
    assert outcome.removed and node_blocks(memory, 1) == ()
    assert memory.setup.zonelists == (((0,), (0,)), ((0,), ()))
    assert memory.mem.zonelists.tolist()[:2] == [1, 0]
    (zone0, zone1) = memory.setup.zones
    assert (zone1.present, zone1.managed, zone1.end_pfn) == (0, 0, 0)
    # spec 1.6: 65536 pages of one zone alone (F1.5).
    assert zone0.watermark[:3] == (512, 640, 768)
    assert memory.pcp_field(0, 0, L.P_BATCH) == 15
    assert block_range(3) == (3 * SECTION, SECTION)
    memory.check()


def test_a_zone_shrinks_at_its_ends_only():
    memory = removable([zone(0, 4 * SECTION)])
    for number, span in ((1, (0, 4)), (0, (2, 4)), (3, (2, 3))):
        assert offline(memory, *block_range(number)).removed
        (info,) = memory.zone_infos()
        assert (info.start_pfn, info.spanned) == (
            span[0] * SECTION,
            (span[1] - span[0]) * SECTION,
        )
    assert [start // SECTION for start, _, _ in memory.setup.offline] == [0, 1, 3]
    memory.check()


def test_per_cpu_lists_are_emptied_and_get_their_sizes_back():
    memory = two_sections(
        {40000: (1, "kernel")},
    )
    memory.set_pcp(0, 0, 7, 3, free_factor=2)
    offline(memory, SECTION, SECTION)
    fields = [memory.pcp_field(0, 0, f) for f in (L.P_HIGH, L.P_BATCH, L.P_FREE_FACTOR)]
    assert fields == [7, 3, 2]
    assert np.count_nonzero(memory.mem.state & L.PAGE_PCP) == 0


def booted(**node):
    """A machine of 1 + 1 GiB, its second node as ``node`` says."""
    machine = Machine.model_validate(
        {
            "nodes": [{"id": 0, "cpus": [0], "memory": "1GiB"}, {"id": 1, "cpus": [1], **node}],
            "max_ram_below_4g": "512MiB",
        }
    )
    return boot(machine, Cmdline(), mobility.Policy().tables(LINUX_6_1))


def test_F2_9_the_last_block_of_boot_memory_stays_and_a_dimm_goes_whole():
    memory = booted(memory="1GiB")
    first, *middle, last = node_blocks(memory, 1)
    (zone_1,) = (z for z in memory.setup.zones if z.node == 1)
    assert zone_1.present - zone_1.managed == 6707
    row = memory.add_requests([Request(gfp_from_text("GFP_KERNEL"), Use.SLAB, nodes=(1,))])
    handle = memory.add_handles(1)
    zero = np.zeros(1, np.uint8)
    memory.run(
        zero, np.array([row], np.uint16), zero.astype(np.uint16), np.array([handle], np.int32)
    )
    outcomes = {o.start_pfn // SECTION: o for o in offline_node(memory, 1)}
    assert [n for n in sorted(outcomes) if outcomes[n].removed] == middle and len(middle) == 6
    assert outcomes[last].reason == Reason.RESERVED
    assert sum(o.pages for o in outcomes[last].obstacles if o.reason == Reason.RESERVED) == 6707
    assert outcomes[first].reason == Reason.KERNEL
    memory.check()
    memory = booted(dimms=[{"size": "1GiB", "online": "movable"}])
    assert [o.removed for o in offline_node(memory, 1)] == [True] * 8
    memory.check()
