"""The checkable facts of spec 8.10 about migrate_pages, and what 8.4 to 8.6 say of each page."""

from errno import EAGAIN, EBUSY, EINVAL, ENOMEM

import numpy as np
import pytest
from compaction_desk import machine, zone
from migration_desk import allocated, attempts, migrate, two_nodes

from memsim.kernels import layout as L
from memsim.kernels.migrate_pages import NOT_TRIED, chunk_end, putback_pieces
from memsim.kernels.migrate_split import split_huge_page
from memsim.kernels.swapfile import add_to_swap
from memsim.memory.migrate_call import Call, keep_spare_handles
from memsim.memory.setup import Pressure
from memsim.mm import MigrateMode, MigrateReason, Migratetype, ZoneType

ASYNC, SYNC_LIGHT, SYNC = MigrateMode
HOTPLUG, SYSCALL = MigrateReason.MEMORY_HOTPLUG, MigrateReason.SYSCALL
TEN = list(range(10))


def test_F8_1_a_page_with_an_extra_reference_fails_ten_times():
    memory = two_nodes({0: (9, "anon"), 9: (1, "pinned")})
    result, outcome = migrate(memory, TEN, reason=HOTPLUG, nodes=(1,))
    assert result == 1
    assert outcome.codes.tolist() == [0] * 9 + [-EAGAIN]
    assert outcome.tries.tolist() == [1] * 9 + [10]
    assert outcome.counters["pgmigrate_success"] == 9
    assert outcome.counters["pgmigrate_fail"] == 1
    assert outcome.counters["pgalloc_normal"] == 9 + 10
    made = attempts(memory)
    assert allocated(made) == 19
    assert [passed for _, _, passed, _ in made] == [0] * 10 + list(range(1, 10))


def test_F8_2_writeback_is_permanent_but_for_sync_which_waits_in_the_fourth_pass():
    memory = two_nodes({0: (9, "file"), 9: (1, "writing")})
    result, outcome = migrate(memory, TEN, ASYNC)
    assert (result, outcome.codes[9], outcome.tries[9]) == (1, -EBUSY, 1)
    assert outcome.counters["pgmigrate_fail"] == 1
    memory = two_nodes({0: (9, "file"), 9: (1, "writing")})
    result, outcome = migrate(memory, TEN)
    assert (result, outcome.tries.tolist()) == (0, [1] * 9 + [4])
    assert allocated(attempts(memory)) == 9 + 4
    assert outcome.took_ns >= 1 << 40


def test_F8_4_a_page_with_buffers_moves_unless_somebody_holds_it_besides():
    memory = two_nodes({0: (1, "file"), 1: (1, "pinned_file")})
    memory.mem.traits[:2] = L.TRAIT_BUFFERS
    _, outcome = migrate(memory, [0, 1])
    assert (outcome.codes.tolist(), outcome.tries.tolist()) == ([0, -EAGAIN], [1, 10])


def torn(start, end):
    """A kernel page in each quarter of a pageblock."""
    return {pfn: (1, "kernel") for pfn in range(start, end, 128)}


def test_F8_5_a_huge_page_without_a_target_is_split_and_its_pages_move():
    memory = two_nodes({0: (512, "huge"), **torn(1024, 2048)})
    result, outcome = migrate(memory, [0])
    assert result == 0
    assert outcome.counters["pgmigrate_success"] == 512
    assert outcome.counters["thp_migration_fail"] == outcome.counters["thp_migration_split"] == 1
    assert "pgmigrate_fail" not in outcome.counters
    ((handle, first),) = outcome.split.tolist()
    assert (handle, outcome.tries.tolist()) == (0, [-1])
    moved = np.concatenate([memory.page_table[[0]], memory.page_table[first : first + 511]]) - 1
    assert (np.diff(moved) > 0).sum() > 400 and len(set(moved)) == 512 and moved.min() >= 1024


def test_a_split_page_that_stays_is_back_on_its_list_and_counts_in_no_result():
    memory = two_nodes({0: (512, "huge"), 512: (1, "anon"), **torn(1024, 1536)}, second=512)
    result, outcome = migrate(memory, [0, 1])
    assert result == -ENOMEM
    assert outcome.codes.tolist() == [-ENOMEM, NOT_TRIED]
    assert outcome.counters["pgmigrate_success"] == 508
    assert outcome.counters["pgmigrate_fail"] == 1


def test_F8_6_chunks_are_of_512_base_pages():
    memory = machine([zone(0, 2048), zone(2048, 4096, node=1)], {0: (1025, "anon")})
    pages = np.arange(1025, dtype=np.int32)
    codes = np.full(1025, NOT_TRIED, np.int8)
    ends = [chunk_end(memory.mem, pages, codes, start, 1025, 0) for start in (0, 512, 1024)]
    assert ends == [512, 1024, 1025]


def test_F8_6_a_huge_page_starts_a_chunk_of_its_own():
    memory = machine([zone(0, 2048)], {0: (1024, "huge"), 1024: (3, "anon")})
    pages = np.array([1024, 0, 512, 1025, 1026], np.int32)
    codes = np.full(5, NOT_TRIED, np.int8)
    ends = [chunk_end(memory.mem, pages, codes, start, 5, 0) for start in (0, 1, 2, 3)]
    assert ends == [1, 2, 3, 5]


def test_F8_6_a_chunk_has_its_ten_passes_before_the_next_begins():
    memory = two_nodes({0: (1, "pinned"), 1: (512, "anon")}, second=2048)
    migrate(memory, range(513))
    made = attempts(memory)
    assert [pfn for pfn, _, _, _ in made] == [*range(512), *[0] * 9, 512]


def test_F8_7_what_lies_in_Normal_does_not_go_to_Movable():
    zones = [
        zone(0, 1024),
        zone(1024, 2048, node=1),
        zone(2048, 3072, node=1, zone_type=ZoneType.MOVABLE),
    ]
    runs = {0: (1, "anon"), 1024: (1024, "kernel")}
    result, outcome = migrate(machine(zones, runs), [0], reason=HOTPLUG, nodes=(1,))
    assert (result, outcome.codes.tolist()) == (-ENOMEM, [-ENOMEM])
    result, outcome = migrate(machine(zones, runs), [0], reason=SYSCALL)
    assert (result, outcome.targets[0] >= 2048) == (0, True)


def test_without_a_target_the_call_ends_and_untried_pages_are_in_no_counter():
    memory = two_nodes({0: (1, "pinned"), 1: (9, "anon"), 1024: (1021, "kernel")})
    result, outcome = migrate(memory, TEN)
    assert result == -ENOMEM
    assert outcome.codes.tolist() == [-EAGAIN, 0, 0, 0, -ENOMEM] + [NOT_TRIED] * 5
    assert outcome.counters["pgmigrate_success"] == 3
    # The page itself, and the one that would have been tried again.
    assert outcome.counters["pgmigrate_fail"] == 2


@pytest.mark.parametrize(
    ("kind", "trait", "mode", "code", "tries"),
    [
        ("dirty", L.TRAIT_BUFFERS, SYNC, 0, 1),
        ("dirty", L.TRAIT_NO_MIGRATE_OP, ASYNC, -EBUSY, 1),
        ("dirty", L.TRAIT_NO_MIGRATE_OP, SYNC_LIGHT, -EBUSY, 1),
        ("dirty", L.TRAIT_NO_MIGRATE_OP, SYNC, 0, 4),
        ("file", L.TRAIT_NO_MIGRATE_OP, ASYNC, 0, 1),
        ("file", L.TRAIT_NO_MIGRATE_OP | L.TRAIT_BUFFERS_IN_USE, ASYNC, -EBUSY, 1),
        ("file", L.TRAIT_NO_MIGRATE_OP | L.TRAIT_BUFFERS_IN_USE, SYNC, -EAGAIN, 10),
        ("file", L.TRAIT_BUFFERS_IN_USE, SYNC, -EAGAIN, 10),
        ("dirty", L.TRAIT_RAMFS, SYNC, -EINVAL, 1),
        ("dirty", L.TRAIT_RAMFS, ASYNC, -EBUSY, 1),
        ("dirty", L.TRAIT_SHMEM, ASYNC, 0, 1),
        ("anon", L.TRAIT_LOCKED, ASYNC, -EAGAIN, 10),
        ("anon", L.TRAIT_LOCKED, SYNC_LIGHT, 0, 4),
        ("writing", 0, SYNC_LIGHT, -EBUSY, 1),
        ("mlocked", 0, ASYNC, 0, 1),
        ("swapped", 0, ASYNC, 0, 1),
        ("pinned", 0, SYNC, -EAGAIN, 10),
    ],
)
def test_what_a_page_is_decides_whether_it_moves(kind, trait, mode, code, tries):
    memory = two_nodes({0: (1, kind)}, pressure=Pressure(compaction_proactiveness=0, swap_slots=64))
    memory.mem.traits[0] = trait
    _, outcome = migrate(memory, [0], mode)
    assert (outcome.codes[0], outcome.tries[0]) == (code, tries)
    assert (outcome.targets[0] >= 1024) == (code == 0)


def test_a_huge_page_that_is_split_takes_its_swap_slots_along():
    memory = two_nodes({0: (512, "huge")}, pressure=Pressure(swap_slots=1024))
    assert add_to_swap(memory.mem, 0) and Call(memory, 0).isolate(np.zeros(1, np.int32)).all()
    first = keep_spare_handles(memory, np.array([0], np.int32))
    assert split_huge_page(memory.mem, 0) == 0
    assert memory.page_table[first : first + 511].tolist() == list(range(2, 513))
    assert memory.mem.swap_map[:512].tolist() == [1, *range(first + 1, first + 512)]
    assert putback_pieces(memory.mem, 0, 512) == -EAGAIN
    memory.check()


def test_a_huge_page_is_not_split_while_somebody_holds_it_or_without_names_for_its_pages():
    memory = two_nodes({0: (512, "huge")})
    assert split_huge_page(memory.mem, 0) == -EBUSY
    keep_spare_handles(memory, np.array([0], np.int32))
    memory.mem.state[0] |= L.PAGE_PINNED
    assert split_huge_page(memory.mem, 0) == -EAGAIN


def test_a_large_page_may_go_to_Movable_but_not_to_be_pinned():
    zones = [zone(0, 1024), zone(1024, 2048, node=1, zone_type=ZoneType.MOVABLE)]
    memory = machine(zones, {0: (512, "huge")})
    result, outcome = migrate(memory, [0], reason=HOTPLUG, nodes=(1,))
    assert (result, outcome.targets.tolist()) == (0, [1024])
    memory = machine(zones, {0: (512, "huge")})
    result, _ = migrate(memory, [0], reason=MigrateReason.LONGTERM_PIN, nodes=(1,))
    assert result == -ENOMEM


def test_a_misplaced_page_moves_only_if_its_node_stays_above_its_high_mark():
    marks = (10, 20, 30)
    taken = {0: (1, "anon"), 1024: (1024 - 32, "kernel")}
    memory = two_nodes(taken, marks=marks)
    result, outcome = migrate(memory, [0], ASYNC, MigrateReason.NUMA_MISPLACED)
    assert (result, outcome.counters["numa_pages_migrated"]) == (0, 1)
    memory = two_nodes({0: (1, "anon"), 1024: (1024 - 31, "kernel")}, marks=marks)
    result, _ = migrate(memory, [0], ASYNC, MigrateReason.NUMA_MISPLACED)
    assert result == -ENOMEM


def test_types_of_pageblocks_do_not_matter_to_a_target_in_the_same_node():
    memory = machine([zone(0, 2048)], {0: (1, "anon")}, types={1: Migratetype.UNMOVABLE})
    result, outcome = migrate(memory, [0], reason=HOTPLUG, preferred=None)
    assert (result, outcome.sources.tolist()) == (0, [0])
    assert outcome.targets[0] > 0
