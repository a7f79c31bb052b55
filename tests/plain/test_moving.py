"""What the system calls of spec 8.8 say, and pins."""

from errno import EACCES, EBUSY, EIO, ENODEV, ENOENT, ENOMEM

import numpy as np
import pytest
from compaction_desk import machine, zone
from migration_desk import two_nodes

from memsim.kernels import layout as L
from memsim.kernels.system import S_NO_TRAITS
from memsim.memory.migrate_call import UNTOUCHED
from memsim.memory.migrating import (
    mbind,
    migrate_pages,
    move_pages,
    node_pairs,
    pin,
    query,
    unpin,
)
from memsim.mm import Migratetype, ZoneType

TEN = list(range(10))


def test_a_batch_that_succeeds_has_its_node_as_status():
    memory = two_nodes({0: (10, "anon")})
    outcome = move_pages(memory, TEN, 1)
    assert (outcome.ret, outcome.errno, outcome.status.tolist()) == (0, 0, [1] * 10)
    assert query(memory, TEN).tolist() == [1] * 10
    assert outcome.sources.tolist() == TEN
    assert (outcome.targets >= 1024).all()
    assert outcome.took_ns == 10 * 1100
    memory.check()


def test_a_trait_of_any_handle_makes_a_call_look_at_those_of_its_pages():
    memory = two_nodes({0: (130, "anon")})
    most = np.arange(10, 130)
    move_pages(memory, most, 1)
    assert memory.mem.system[S_NO_TRAITS] == 1
    memory.mem.traits[129] = L.TRAIT_NO_MIGRATE_OP
    move_pages(memory, most, 0)
    assert memory.mem.system[S_NO_TRAITS] == 0
    memory.mem.traits[129] = 0
    move_pages(memory, [0], 1)
    assert memory.mem.system[S_NO_TRAITS] == 0


def test_F8_3_room_for_two_of_ten_pages():
    memory = two_nodes({0: (10, "anon"), 1024: (1022, "kernel")})
    outcome = move_pages(memory, TEN, 1)
    assert (outcome.ret, outcome.errno) == (-1, ENOMEM)
    assert outcome.status.tolist() == [UNTOUCHED] * 10
    assert outcome.codes.tolist() == [0, 0, -ENOMEM] + [1] * 7
    assert outcome.counters["pgmigrate_success"] == 2
    assert outcome.counters["pgmigrate_fail"] == 1
    memory.check()


def test_what_cannot_be_queued_gets_its_status_at_once_and_ends_the_batch():
    memory = two_nodes({0: (4, "anon"), 4: (1, "kernel"), 1024: (1, "anon")})
    empty = memory.add_handles(1)
    memory.mem.traits[1] = L.TRAIT_SHARED
    asked = [0, 1, 5, 4, empty, 2]
    outcome = move_pages(memory, asked, 1)
    assert outcome.status.tolist() == [1, -EACCES, 1, -EBUSY, -ENOENT, 1]
    assert outcome.ret == 0
    assert move_pages(memory, [1], 1, move_all=True).status.tolist() == [1]
    assert query(memory, [empty, 1]).tolist() == [-ENOENT, 1]


def test_a_batch_that_fails_ends_the_call_which_counts_all_that_has_not_moved():
    memory = two_nodes({0: (2, "anon"), 2: (1, "pinned"), 3: (7, "anon")})
    nodes = [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    outcome = move_pages(memory, TEN, nodes)
    # The page that was tried in vain, and the seven that were not looked at.
    assert (outcome.ret, outcome.errno) == (1 + 7, 0)
    assert outcome.status.tolist() == [UNTOUCHED] * 10
    assert query(memory, TEN).tolist() == [1, 1] + [0] * 8


def test_a_node_that_does_not_exist_fails_the_call_after_what_was_queued():
    memory = two_nodes({0: (3, "anon")})
    outcome = move_pages(memory, [0, 1, 2], [1, 7, 1])
    assert (outcome.ret, outcome.errno) == (-1, ENODEV)
    assert outcome.status.tolist() == [1, UNTOUCHED, UNTOUCHED]


def test_addresses_of_one_huge_page():
    memory = two_nodes({0: (512, "huge")})
    outcome = move_pages(memory, [0] * 5, 1)
    assert outcome.status.tolist() == [1, -EBUSY, 1, 1, 1]
    memory = two_nodes({0: (512, "huge")})
    memory.mem.state[0] |= L.PAGE_PINNED
    outcome = move_pages(memory, [0] * 5, 1)
    assert outcome.ret == 5
    assert outcome.status.tolist() == [UNTOUCHED, -EBUSY, *[UNTOUCHED] * 3]


def test_addresses_of_one_hugetlb_page():
    memory = two_nodes({0: (512, "kernel9")})
    memory.mem.traits[0] = L.TRAIT_HUGETLB
    outcome = move_pages(memory, [0] * 3, 1)
    assert outcome.status.tolist() == [1, -EACCES, 1]
    assert memory.page_table[0] > 1024
    memory.check()


def test_hugetlb_pages_come_first_and_without_a_target_end_the_call():
    memory = two_nodes(
        {0: (512, "kernel9"), 512: (2, "anon"), **{1024: (500, "kernel")}}, second=512
    )
    memory.mem.traits[0] = L.TRAIT_HUGETLB
    outcome = migrate_pages(memory, [0, 1, 2], [0], [1])
    assert (outcome.ret, outcome.errno) == (-1, ENOMEM)
    assert outcome.codes.tolist() == [-ENOMEM, 1, 1]
    memory.check()


def test_migrate_pages_counts_what_stays():
    memory = two_nodes({0: (5, "anon"), 5: (2, "pinned"), 7: (3, "anon")})
    memory.mem.traits[9] = L.TRAIT_SHARED
    outcome = migrate_pages(memory, TEN, [0], [1])
    assert (outcome.ret, outcome.errno) == (2, 0)
    assert outcome.handles.tolist() == list(range(9))
    assert migrate_pages(memory, [9], [0], [1], move_all=True).ret == 0
    assert set(outcome.status.tolist()) == {UNTOUCHED}
    memory.check()


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ([0], [1], [(0, 1)]),
        ([0, 1], [1, 2], [(1, 2), (0, 1)]),
        ([0, 1], [1, 0], []),
        ([0, 1, 2], [1, 2], [(0, 1)]),
        ([0, 1], [2, 3], [(0, 2), (1, 3)]),
        ([0, 1, 2], [3], [(0, 3), (1, 3), (2, 3)]),
        ([0], [0], []),
    ],
)
def test_nodes_keep_their_relative_position_and_are_emptied_before_others_come(old, new, pairs):
    assert node_pairs(old, new) == pairs


def test_mbind_is_silent_unless_it_is_strict():
    def bind(**flags):
        memory = two_nodes({0: (5, "anon"), 5: (1, "pinned")})
        memory.mem.traits[4] = L.TRAIT_SHARED
        outcome = mbind(memory, range(6), [1], **flags)
        memory.check()
        return outcome, query(memory, range(6)).tolist()

    outcome, where = bind()
    assert (outcome.ret, where) == (0, [1] * 4 + [0, 0])
    outcome, where = bind(strict=True)
    assert (outcome.ret, outcome.errno, where) == (-1, EIO, [1] * 4 + [0, 0])
    outcome, where = bind(move_all=True)
    assert (outcome.ret, where) == (0, [1] * 5 + [0])


def test_mbind_goes_to_the_next_of_its_nodes():
    zones = [zone(0, 1024), zone(1024, 2048, node=1), zone(2048, 3072, node=2)]
    memory = machine(zones, {0: (10, "anon"), 1024: (1020, "kernel")})
    assert mbind(memory, TEN, [1, 2], strict=True).ret == 0
    assert query(memory, TEN).tolist() == [1] * 4 + [2] * 6


def with_movable(runs):
    return machine([zone(0, 1024), zone(1024, 2048, zone_type=ZoneType.MOVABLE)], runs)


def test_what_is_pinned_for_long_leaves_Movable_first():
    memory = with_movable({0: (1, "anon"), 1024: (3, "anon")})
    outcome = pin(memory, range(4), long_term=True)
    assert (outcome.ret, outcome.handles.tolist()) == (0, [1, 2, 3])
    assert (memory.page_table[:4] <= 1024).all()
    assert (memory.mem.state[memory.page_table[:4] - 1] & L.PAGE_PINNED != 0).all()
    memory.check()
    unpin(memory, range(4))
    assert not (memory.mem.state[memory.page_table[:4] - 1] & L.PAGE_PINNED).any()


def test_what_is_pinned_for_long_leaves_cma_first():
    memory = machine([zone(0, 2048)], {0: (1, "anon")}, types={0: Migratetype.CMA})
    assert pin(memory, [0], long_term=True).ret == 0
    assert memory.page_table[0] > 512


def test_a_page_that_is_pinned_already_cannot_leave_and_none_is_pinned():
    memory = with_movable({0: (1, "anon"), 1024: (2, "anon")})
    assert pin(memory, [2]).ret == 0
    outcome = pin(memory, [0, 1, 2], long_term=True)
    assert (outcome.ret, outcome.errno) == (-1, ENOMEM)
    pinned = memory.mem.state[memory.page_table[:3] - 1] & L.PAGE_PINNED != 0
    assert pinned.tolist() == [False, False, True]
    memory.check()


def test_pages_that_wait_on_a_cpu_can_be_taken():
    memory = two_nodes({0: (1, "anon")})
    mem = memory.mem
    L.zone_add(mem, 0, L.Z_LRU + L.LRU_INACTIVE_ANON, -1)
    head = mem.lru_lists + L.LRU_INACTIVE_ANON
    mem.next[head] = mem.prev[head] = head
    mem.state[0] = int(mem.state[0]) & ~L.PAGE_LRU | L.PAGE_LRU_PENDING
    mem.lru_batches[:2] = 1, 0
    assert move_pages(memory, [0], 1).status.tolist() == [1]
    memory.check()


def test_what_reclaim_has_taken_is_on_no_node():
    memory = two_nodes({0: (1, "anon")})
    memory.page_table[0] = L.GONE
    assert query(memory, np.array([0])).tolist() == [-ENOENT]
