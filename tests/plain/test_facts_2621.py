"""The checkable facts of spec linux-2.6.14 7.4: grouping and lumpy reclaim of 2.6.21."""

import pytest
from pressure_2005 import BLOCK, FILE, GROUPING, OldMachine, pressed, zone

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14.boot import setup_zone_migrate_reserve
from memsim.kernels.linux_2_6_14.page_reclaim import ScanControl
from memsim.kernels.linux_2_6_14.vmscan import scan_list
from memsim.mm import Use

U, M, R, HA, RESERVE = 0, 1, 2, 3, 4
RECLAIMABLE = "GFP_KERNEL|__GFP_RECLAIMABLE"
MOVABLE = "GFP_HIGHUSER_MOVABLE"
NO_MARK = {"wmark": (0, 0, 0)}


def machine(*free, pages=2 * BLOCK, **fields):
    """A zone with one more pageblock than ``pages``: the last one of a zone is never moved."""
    return OldMachine(
        zone(0, pages + BLOCK, **{**NO_MARK, **fields}),
        free=[(pfn, k, kind) for pfn, k, kind in free],
        tables=GROUPING,
    )


def types(machine, units=2):
    return machine.memory.mem.pageblocks[:units].tolist()


def lists(machine, kind):
    every = {k: machine.memory.free_list(0, k, kind).tolist() for k in range(11)}
    return {k: pfns for k, pfns in every.items() if pfns}


def singles(pfns):
    return tuple((pfn, 0, M) for pfn in pfns)


def test_f12_36_types_take_turns_in_two_units():
    of = machine((1024, 10, M), (0, 10, M))
    assert of.take() == 0
    assert types(of) == [U, M]
    assert of.take(MOVABLE, use=Use.ANON) == 1024
    assert of.take(RECLAIMABLE, use=Use.INODE) == 512
    assert types(of) == [R, M]
    assert of.take() == 1536
    assert types(of) == [R, U]
    of.memory.check()


def test_f12_37_a_small_block_leaves_its_remainder_with_the_lender():
    of = machine((512, 4, M))
    assert of.take() == 512
    assert lists(of, M) == {0: [513], 1: [514], 2: [516], 3: [520]}
    assert types(of) == [M, M]


@pytest.mark.parametrize(("alone", "claimed"), [(0, M), (15, U)])
def test_f12_37_blocks_times_size_overestimates_what_is_free(alone, claimed):
    of = machine((512, 5, M), *singles(range(1, 2 * alone, 2)))
    assert of.take() == 512
    assert types(of) == [claimed, M]
    assert lists(of, M) == {}
    assert sorted(lists(of, U)) == [0, 1, 2, 3, 4]


def test_f12_38_a_reclaimable_request_moves_any_block():
    of = machine((512, 4, M), *singles(range(1, 64, 2)))
    assert of.take(RECLAIMABLE, use=Use.INODE) == 512
    assert types(of) == [R, M]
    assert lists(of, M) == {}
    of = machine(*singles(range(1, 66, 2)))
    assert of.take(RECLAIMABLE, use=Use.INODE) == 1
    assert types(of) == [M, M]
    assert lists(of, M) == {}
    assert len(lists(of, R)[0]) == 32


def test_f12_39_kernel_requests_take_the_lowest_page():
    of = machine(*singles((900, 300, 700)))
    assert lists(of, M) == {0: [900, 300, 700]}
    assert of.take() == 300
    assert of.take(MOVABLE, use=Use.ANON) == 900


@pytest.mark.parametrize(("mark", "units"), [(1008, 1), (1025, 2), (16, 1)])
def test_f12_40_the_reserve_covers_the_min_mark(mark, units):
    of = OldMachine(zone(0, 8 * BLOCK, wmark=(mark, mark, mark)), tables=GROUPING)
    setup_zone_migrate_reserve(of.memory.mem, 0)
    assert types(of, 8) == [RESERVE] * units + [M] * (8 - units)
    assert len(of.memory.free_list(0, 10, RESERVE)) == units
    of.memory.check()


def test_the_reserve_serves_when_nothing_else_is_left():
    of = OldMachine(zone(0, 3 * BLOCK, wmark=(16, 16, 16)), tables=GROUPING)
    setup_zone_migrate_reserve(of.memory.mem, 0)
    assert [of.take(MOVABLE, 10, use=Use.ANON) for _ in range(2)] == [2048, 1024]
    assert of.take(MOVABLE, use=Use.ANON) == 0
    assert types(of, 3) == [RESERVE, M, M]


def test_the_last_unit_of_a_zone_is_not_moved():
    of = machine((BLOCK + 512, 5, M), (BLOCK + 1, 0, M), pages=BLOCK)
    assert of.take() == BLOCK + 512
    assert lists(of, M) == {0: [BLOCK + 1]}
    assert types(of) == [M, M]


def test_high_atomic_blocks_are_for_unmovable_requests_first():
    both = ((0, 9, HA), (BLOCK, 8, R))
    of = machine(*both)
    assert of.take(MOVABLE, use=Use.ANON) == BLOCK
    of = machine(*both)
    assert of.take() == 0
    of = machine((0, 9, HA))
    assert of.take(MOVABLE, use=Use.ANON) == 0


def test_a_block_for_a_request_that_cannot_wait_is_high_atomic():
    of = machine((0, 10, M))
    assert of.take("GFP_ATOMIC", 1) == 0
    assert types(of) == [HA, M]
    assert of.take("GFP_ATOMIC") >= 0
    assert types(of)[0] == HA


def test_a_per_cpu_list_is_searched_for_a_type_and_refilled_backwards():
    of = OldMachine(
        zone(0, 3 * BLOCK, pcp_high=18, pcp_batch=3, **NO_MARK),
        free=[(0, 10, M), (BLOCK, 10, M)],
        tables=GROUPING,
    )
    assert of.take() == 2
    assert of.memory.pcp_list(0, 0, 0).tolist() == [1, 0]
    assert of.take(MOVABLE, use=Use.ANON) == BLOCK + 2
    assert of.memory.pcp_list(0, 0, 0).tolist() == [BLOCK + 1, BLOCK, 1, 0]
    assert of.take() == 1
    assert of.memory.pcp_list(0, 0, 0).tolist() == [BLOCK + 1, BLOCK, 0]


def test_f12_41_lumpy_reclaim_takes_the_pages_of_a_block_that_are_like_its_tail_page():
    of = OldMachine(
        zone(0, 2 * BLOCK, **NO_MARK),
        free=[(0, 10, 0), (BLOCK, 10, 0)],
        pressure=pressed(lumpy=True),
    )
    of.ask(FILE, n=2 * BLOCK)
    of.drain_batches()
    memory = of.memory.mem
    block = range(512, 1024)
    handle_of = {int(memory.page_table[h]) - 1: h for h in range(of.handles)}
    for pfn in block[150:]:
        of.free(handle_of[pfn])
    for pfn in block[100:150]:
        of.touch(handle_of[pfn], FILE)
    active, inactive = of.lists()
    assert sorted(active) == list(block[100:150])
    assert len(set(inactive) & set(block)) == 100
    tail = inactive[-1]
    while tail not in block:
        of.free(handle_of[tail])
        tail = of.lists()[1][-1]
    of.set_scan(0, L.SCAN_PAGES_SCANNED, 0)
    freed = of.count("pgscan_direct")
    scan_list(memory, GROUPING, 0, ScanControl(9, L.REQ_IO | L.REQ_FS, 12, 0, 0), 0, 32)
    assert of.count("pgscan_direct") - freed == 100
    assert set(of.lists()[1]) & set(block) == set()
    of.memory.check()
