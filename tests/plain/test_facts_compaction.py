"""Facts about compaction (spec 6), and what the capture ``frag`` shows of it, step by step."""

import pytest
from compaction_desk import compaction_log, freed, machine, zone

from memsim.kernels import compaction_suitable as suitable
from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.kernels.compact_control import (
    CC_MIGRATE_PFN,
    CC_NR_FREEPAGES,
    MIGRATE_SYNC,
    control,
    new_control,
)
from memsim.kernels.compaction import (
    PRIO_ASYNC,
    PRIO_SYNC_LIGHT,
    try_to_compact_pages,
)
from memsim.kernels.compaction_skip import NEVER_SCANNED, compact_get, reset_isolation_suitable
from memsim.kernels.compaction_targets import isolate_free_page
from memsim.kernels.kcompactd import (
    N_KCOMPACTD_WORK,
    WORK_NONE,
    WORK_PROACTIVE,
    kcompactd_step,
    proactive_step,
    wakeup_kcompactd,
)
from memsim.kernels.system import FOREVER, N_KCOMPACTD_DUE, N_KSWAPD_WOKE, N_PROACTIVE_DUE
from memsim.kernels.zonelist import AllocContext
from memsim.memory.setup import Pressure
from memsim.mm import Migratetype, ZoneType
from memsim.policies import LINUX_6_1, none

U, M, R = Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE
NORMAL = int(ZoneType.NORMAL)
FULL = L.REQ_IO | L.REQ_FS


def compact(memory, order, mt=M, priority=PRIO_ASYNC, flags=FULL):
    ac = AllocContext(order, int(mt), NORMAL, flags, 0, -1, 0)
    result, pfn = try_to_compact_pages(memory.mem, memory.tables, ac, 0, priority)
    if pfn >= 0:
        memory.mem.state[pfn] |= L.PAGE_ALLOCATED | order << L.ORDER_SHIFT
    return result, pfn


def events(memory, kind):
    return [row[1:] for row in compaction_log(memory) if row[0] == kind]


def cached(memory, field, z=0):
    return compact_get(memory.mem, z, field)


def every_second(start, end, kind="anon"):
    return {pfn: (1, kind) for pfn in range(start, end, 2)}


# 6.8


def test_F6_5_failures_defer_all_orders_of_a_fresh_zone():
    memory = machine([zone(0, 2048)], {})
    m = memory.mem
    for _ in range(3):
        suitable.defer_compaction(m, 0, 9)
    assert cached(memory, L.COMPACT_DEFER_SHIFT) == 3
    assert cached(memory, L.COMPACT_ORDER_FAILED) == 0
    considered = [suitable.compaction_deferred(m, 0, order) for order in (1, 9, 3, 9, 2, 9, 4, 1)]
    assert considered == [True] * 7 + [False]


def test_F6_5_after_a_success_only_orders_that_failed_are_deferred():
    m = machine([zone(0, 2048)], {}).mem
    suitable.compaction_defer_reset(m, 0, 9, True)
    assert compact_get(m, 0, L.COMPACT_ORDER_FAILED) == 10
    suitable.defer_compaction(m, 0, 9)
    assert compact_get(m, 0, L.COMPACT_ORDER_FAILED) == 9
    assert not any(suitable.compaction_deferred(m, 0, 8) for _ in range(4))
    assert suitable.compaction_deferred(m, 0, 9)


def test_a_success_that_is_only_believed_keeps_the_shift():
    m = machine([zone(0, 2048)], {}).mem
    suitable.defer_compaction(m, 0, 9)
    suitable.compaction_defer_reset(m, 0, 9, False)
    assert compact_get(m, 0, L.COMPACT_DEFER_SHIFT) == 1
    suitable.compaction_defer_reset(m, 0, 9, True)
    assert compact_get(m, 0, L.COMPACT_DEFER_SHIFT) == 0


# 6.2


@pytest.mark.parametrize(
    ("free", "result"), [(1104, suitable.COMPACT_SKIPPED), (1105, suitable.COMPACT_CONTINUE)]
)
def test_F6_6_entry_needs_twice_the_block_above_the_low_mark(free, result):
    runs = {pfn: (1, "kernel") for pfn in range(1, 2 * free, 2)}
    runs |= {2 * free: (4096 - 2 * free, "kernel")}
    memory = machine([zone(0, 4096, marks=(64, 80, 96))], runs)
    assert memory.nr_free_pages(0) == free
    assert suitable.compaction_suitable(memory.mem, 0, 9, 0, NORMAL) == result


def test_there_is_nothing_to_do_where_a_block_is_free():
    memory = machine([zone(0, 4096, marks=(64, 80, 96))], {0: (2048, "anon")})
    assert compact(memory, 9) == (suitable.COMPACT_SUCCESS, -1)
    assert memory.vmstat()["compact_migrate_scanned"] == 0


def test_lack_of_memory_is_not_compactions_business():
    """Two free blocks of order 8: the index is 0."""
    runs = {0: (256, "anon"), 512: (256, "anon"), 1024: (1024, "anon")}
    memory = machine([zone(0, 2048)], runs)
    assert suitable.compaction_suitable(memory.mem, 0, 9, 0, NORMAL) == suitable.COMPACT_SKIPPED


def test_a_request_without_io_does_not_compact():
    memory = machine([zone(0, 4096)], every_second(0, 4096))
    assert compact(memory, 9, flags=0) == (suitable.COMPACT_SKIPPED, -1)
    assert memory.vmstat()["compact_isolated"] == 0


# 6.4


def spoilt(pinned):
    """Every second page a user's; one page of pageblock 0 cannot go, in the window of order 9."""
    return every_second(0, 8192) | {pinned: (1, "pinned")}


def test_F6_7_an_asynchronous_run_gives_up_the_window_of_a_pinned_page():
    memory = machine([zone(0, 8192)], spoilt(40))
    compact(memory, 9)
    first = events(memory, trace_log.COMPACTION_ISOLATE_MIGRATEPAGES)[0]
    assert first == (0, 512, 41, 0, 0)
    assert memory.page_table[:256].tolist() == [pfn + 1 for pfn in range(0, 512, 2)]
    memory.check()


def test_F6_7_a_synchronous_run_moves_the_rest():
    memory = machine([zone(0, 8192)], spoilt(40))
    compact(memory, 9, priority=PRIO_SYNC_LIGHT)
    stayed = [pfn for pfn in range(0, 512, 2) if memory.page_table[pfn // 2] == pfn + 1]
    assert stayed == [40]
    memory.check()


def test_a_pinned_page_of_a_file_is_taken_and_fails_once():
    memory = machine([zone(0, 8192)], every_second(0, 8192) | {40: (1, "pinned_file")})
    compact(memory, 9, priority=PRIO_SYNC_LIGHT)
    assert memory.page_table[20] == 41
    assert memory.vmstat()["pgmigrate_fail"] == 1
    memory.check()


def test_pages_of_files_stay_where_the_request_may_not_enter_file_systems():
    memory = machine([zone(0, 8192)], every_second(0, 8192, "file"))
    compact(memory, 9, priority=PRIO_SYNC_LIGHT, flags=L.REQ_IO)
    assert memory.vmstat()["compact_migrate_scanned"] > 0
    assert memory.vmstat()["pgmigrate_success"] == 0


def test_locked_pages_move_unless_that_is_forbidden():
    for allowed in (0, 1):
        memory = machine([zone(0, 2048)], {0: (8, "mlocked"), 1536: (1, "kernel")})
        memory.mem.system[11] = allowed
        memory.compact_memory()
        assert memory.vmstat()["pgmigrate_success"] == 8 * allowed


def test_a_pageblock_is_taken_32_pages_at_first_and_then_whole():
    """``frag``, 19.102307: 32 pages of the pageblock at 0x101800, then 480."""
    runs = {0: (512, "kernel"), 512: (512, "anon"), **every_second(1024, 8192)}
    memory = machine([zone(0, 8192)], runs)
    compact(memory, 9)
    rows = events(memory, trace_log.COMPACTION_ISOLATE_MIGRATEPAGES)
    assert [row[:4] for row in rows[1:3]] == [(512, 544, 32, 32), (544, 1024, 480, 480)]


def test_of_other_types_an_asynchronous_run_takes_nothing():
    memory = machine([zone(0, 8192)], every_second(0, 8192), types=dict.fromkeys(range(8), U))
    compact(memory, 9)
    assert memory.page_table[: 8 * 256].tolist() == [pfn + 1 for pfn in range(0, 4096, 2)]
    assert memory.page_table[8 * 256] != 4097


# 6.5


def test_the_scanner_looks_at_fewer_pages_after_every_pageblock_without_free_ones():
    """``frag``, 18.660124: 512, 256, 128, 64, 32, 16, 16 pages scanned."""
    runs = {0: (8, "anon"), 1024: (4096, "kernel")}
    memory = machine([zone(0, 5120)], runs)
    memory.compact_memory()
    rows = events(memory, trace_log.COMPACTION_ISOLATE_FREEPAGES)
    assert [row[2] for row in rows] == [512, 256, 128, 64, 32, 16, 16, 16]


def test_without_enough_targets_the_run_ends_and_one_page_counts_as_failed():
    """``frag``, 19.333035: of 32 pages 3 are moved, nr_failed is 1."""
    runs = {0: (512, "anon"), 512: (1025, "kernel"), 1540: (508, "kernel")}
    memory = machine([zone(0, 2048)], runs)
    memory.compact_memory()
    counted = memory.vmstat()
    assert (counted["pgmigrate_success"], counted["pgmigrate_fail"]) == (3, 1)
    memory.check()


def test_targets_leave_the_min_mark_alone():
    runs = {0: (8, "anon"), 512: (1032, "kernel"), 1552: (496, "kernel")}
    free = 504 + 8
    for low, moved in ((free - 8, 0), (free - 9, 8)):
        memory = machine([zone(0, 2048, marks=(low, low, low))], runs)
        assert memory.nr_free_pages(0) == free
        memory.compact_memory()
        assert memory.vmstat()["pgmigrate_success"] == moved


@pytest.mark.parametrize(("order", "becomes"), [(7, U), (8, M)])
def test_a_target_of_half_a_pageblock_makes_the_pageblock_movable(order, becomes):
    memory = machine([zone(0, 1024)], {0: (1 << order, "kernel")}, types={0: int(U)})
    m = memory.mem
    new_control(m, memory.tables, 0, 9, MIGRATE_SYNC, 0)
    assert isolate_free_page(m, 0, 1 << order, order)
    assert int(m.pageblocks[0]) == becomes
    assert control(m, CC_NR_FREEPAGES) == 1 << order


def test_where_pages_are_not_grouped_a_pageblock_never_becomes_movable():
    memory = machine([zone(0, 1024)], {0: (256, "kernel")})
    new_control(memory.mem, none.Policy().tables(LINUX_6_1), 0, 9, MIGRATE_SYNC, 0)
    assert isolate_free_page(memory.mem, 0, 256, 8)
    assert int(memory.mem.pageblocks[0]) == U


# 6.3, skip bits


def test_a_later_run_begins_one_pageblock_behind_what_was_seen():
    """``frag``, 18.792071: behind 0x100000 ~ 0x100200 a run begins at 0x100400."""
    runs = {0: (512, "kernel")} | every_second(512, 8192)
    memory = machine([zone(0, 8192)], runs)
    m = memory.mem
    compact(memory, 3)
    assert m.pageblock_skip[0] == 1
    assert cached(memory, L.COMPACT_MIGRATE_ASYNC_PFN) == 1024
    assert cached(memory, L.COMPACT_MIGRATE_SYNC_PFN) == 0


def test_a_pageblock_found_in_the_free_lists_is_marked_and_given_up():
    """``frag``, 19.148952: one page scanned, none taken, of each pageblock found."""
    runs = {0: (512, "kernel"), 1024: (500, "anon"), **every_second(1536, 8192)}
    memory = machine([zone(0, 8192)], runs | {512: (300, "anon")})
    compact(memory, 9)
    rows = events(memory, trace_log.COMPACTION_ISOLATE_MIGRATEPAGES)
    assert (512, 1024, 1, 0, 0) in rows
    assert memory.mem.pageblock_skip[1] == 1


def test_scanners_that_met_leave_no_distance_where_there_is_no_work():
    """``frag``, 18.813850: 0x80800 and 0x807ff, of a zone from 0x1000 to 0x100000."""
    memory = machine([zone(1024, 8192)], {1024: (7168, "kernel")})
    m = memory.mem
    m.pageblock_skip[:] = 1
    m.zones[L.Z_COMPACT + L.COMPACT_BLOCKSKIP_FLUSH] = 1
    reset_isolation_suitable(m, 0)
    assert cached(memory, L.COMPACT_MIGRATE_ASYNC_PFN) == 1024 + 7 * 512
    assert cached(memory, L.COMPACT_FREE_PFN) == 8191 - 7 * 512
    assert m.pageblock_skip.all()


def test_marks_go_where_a_sample_finds_work():
    runs = {1024: (7168, "kernel")}
    runs |= {1024: (1024, "kernel"), 2048: (512, "anon"), 2560: (2048, "kernel")}
    runs |= {4608: (3584 - 512, "kernel"), 7680: (256, "kernel"), 7944: (248, "kernel")}
    memory = machine([zone(1024, 8192)], runs)
    m = memory.mem
    m.pageblock_skip[:] = 1
    m.zones[L.Z_COMPACT + L.COMPACT_BLOCKSKIP_FLUSH] = 1
    reset_isolation_suitable(m, 0)
    assert [i for i in range(16) if not m.pageblock_skip[i]] == [4, 15]
    assert cached(memory, L.COMPACT_MIGRATE_SYNC_PFN) == 2048
    assert cached(memory, L.COMPACT_INIT_FREE_PFN) == 8191


def test_scanners_begin_anew_where_there_is_work_not_where_no_mark_is():
    """``frag``, 19.102307: 0x101800 and 0x1169ff, though pageblocks beyond had no mark."""
    runs = {1024: (1024, "kernel"), 2048: (512, "anon"), 6656: (1536, "kernel")}
    memory = machine([zone(1024, 8192)], runs)
    m = memory.mem
    m.zones[L.Z_COMPACT + L.COMPACT_BLOCKSKIP_FLUSH] = 1
    reset_isolation_suitable(m, 0)
    assert cached(memory, L.COMPACT_INIT_MIGRATE_PFN) == 2048
    assert cached(memory, L.COMPACT_INIT_FREE_PFN) == 8191 - 3 * 512


# 6.6


def test_a_block_that_comes_free_goes_straight_to_the_request():
    memory = machine([zone(0, 8192)], every_second(0, 8192))
    result, pfn = compact(memory, 9)
    assert (result, pfn) == (suitable.COMPACT_SUCCESS, 0)
    assert all(0 not in pfns for pfns in (memory.free_list(0, k, M).tolist() for k in range(11)))
    assert memory.nr_free_pages(0) == 4096 - 512
    rows = compaction_log(memory)
    assert rows[-1][0] == trace_log.COMPACTION_END
    assert rows[-2][0] == trace_log.COMPACTION_MIGRATEPAGES


def test_small_movable_blocks_are_not_captured():
    memory = machine([zone(0, 8192)], every_second(0, 8192))
    result, pfn = compact(memory, 4)
    assert (result, pfn) == (suitable.COMPACT_SUCCESS, -1)
    assert memory.nr_free_pages(0) == 4096
    memory.check()


# 6.10


def work_off(memory):
    """Let kcompactd do all that it was woken for; return in how many steps."""
    steps = 0
    while memory.mem.nodes[N_KCOMPACTD_DUE] != FOREVER:
        kcompactd_step(memory.mem, memory.tables, 0)
        steps += 1
    return steps


def test_kcompactd_sleeps_on_where_nothing_would_help():
    memory = machine([zone(0, 4096)], {0: (2048, "anon")})
    wakeup_kcompactd(memory.mem, 0, 9, NORMAL)
    assert memory.mem.nodes[N_KCOMPACTD_DUE] == FOREVER


def test_kcompactd_compacts_for_the_order_it_was_woken_for():
    memory = machine([zone(0, 4096)], every_second(0, 4096))
    wakeup_kcompactd(memory.mem, 0, 9, NORMAL)
    assert memory.mem.nodes[N_KCOMPACTD_DUE] == 0
    assert work_off(memory) > 1
    assert memory.vmstat()["compact_daemon_wake"] == 1
    assert memory.free_list(0, 9, M).tolist() or memory.free_list(0, 10, M).tolist()
    assert control(memory.mem, CC_MIGRATE_PFN) < 4096
    assert freed(memory)
    memory.check()


def free_pages(memory):
    return memory.nr_free_pages(0) + int(memory.pcp_field(0, 0, L.P_COUNT))


def test_between_two_steps_of_kcompactd_others_act_and_find_its_pages_taken():
    runs = {pfn: (1, "anon") for pfn in range(0, 8192, 4)}
    memory = machine([zone(0, 8192)], runs, Pressure())
    for _ in range(3):
        proactive_step(memory.mem, memory.tables, 0)
    assert 0 < memory.mem.nodes[N_PROACTIVE_DUE] < FOREVER
    assert free_pages(memory) < 6144
    memory.check()
    result, _ = compact(memory, 3)
    assert result == suitable.COMPACT_SUCCESS
    memory.check()
    while memory.mem.nodes[N_KCOMPACTD_WORK] != WORK_NONE:
        proactive_step(memory.mem, memory.tables, 0)
    assert free_pages(memory) == 6144
    memory.check()


def test_proactive_compaction_ends_when_kswapd_wakes():
    memory = machine([zone(0, 8192)], every_second(0, 8192), Pressure())
    for _ in range(2):
        proactive_step(memory.mem, memory.tables, 0)
    assert memory.mem.nodes[N_KCOMPACTD_WORK] == WORK_PROACTIVE
    memory.mem.nodes[N_KSWAPD_WOKE] = 1
    proactive_step(memory.mem, memory.tables, 0)
    assert memory.mem.nodes[N_KCOMPACTD_WORK] == WORK_NONE
    assert memory.vmstat()["compact_daemon_migrate_scanned"] == 0
    memory.check()


def test_kcompactd_puts_off_a_zone_that_it_could_not_help():
    memory = machine([zone(0, 4096)], every_second(0, 4096, "kernel"))
    for _ in range(2):
        wakeup_kcompactd(memory.mem, 0, 9, NORMAL)
        work_off(memory)
    assert cached(memory, L.COMPACT_DEFER_SHIFT) == 1
    assert cached(memory, L.COMPACT_CONSIDERED) == 1


def test_a_pageblock_in_which_the_zones_memory_ends_is_left_alone():
    """``frag``: DMA32's memory ends at 0x7fd7; no scanner looks at 0x7e00 ~ 0x8000."""
    runs = {0: (8, "anon"), 1536: (8, "anon"), 1024: (4, "anon")}
    for partial, target in (((), 1536), ((3,), 1024)):
        memory = machine([zone(0, 2048, partial_pageblocks=partial)], runs)
        memory.compact_memory()
        moved = {(int(pfn) - 1) // 512 * 512 for pfn in memory.page_table[:8]}
        assert moved == {target}
        assert memory.vmstat()["pgmigrate_success"] >= 8
        memory.check()


def test_a_search_never_clears_the_mark_of_a_pageblock_that_is_left_alone():
    memory = machine([zone(0, 4096, partial_pageblocks=(7,))], {0: (512, "kernel")})
    m = memory.mem
    m.zones[L.Z_COMPACT + L.COMPACT_BLOCKSKIP_FLUSH] = 1
    reset_isolation_suitable(m, 0)
    assert m.pageblock_skip[7] == NEVER_SCANNED
    assert cached(memory, L.COMPACT_INIT_FREE_PFN) == 4095 - 512
