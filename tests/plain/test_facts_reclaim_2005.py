"""The checkable facts of spec linux-2.6.14 5 and 6.9: slow path and reclaim of 2.6.14."""

import numpy as np
import pytest
from pressure_2005 import (
    ANON,
    BARE,
    BLOCK,
    DIRTY,
    FILE,
    MAPPED,
    SLAB,
    OldMachine,
    pressed,
    zone,
)

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.kernels.linux_2_6_14 import kswapd, slowpath, vmscan
from memsim.kernels.linux_2_6_14.page_reclaim import ScanControl
from memsim.kernels.linux_2_6_14.shrinker import shrink_slab
from memsim.kernels.linux_2_6_14.vmscan import nr_to_scan, scan_amounts, scan_list, swap_tendency
from memsim.kernels.zonelist import AllocContext
from memsim.mm import Status, ZoneType2005
from memsim.policies import Kernel, light

BOTH = L.REQ_IO | L.REQ_FS


def control(flags=BOTH, priority=12, kswapd=0, order=0):
    return ScanControl(order, flags, priority, kswapd, 0)


def filled(request=FILE, n=2 * BLOCK - 100, pages=2 * BLOCK, **fields):
    """A machine of one zone that holds ``n`` pages of a kind."""
    pressure = fields.pop("pressure", pressed())
    of = OldMachine(zone(0, pages, **fields), pressure=pressure)
    of.ask(request, n=n)
    of.drain_batches()
    return of


def amounts(pages, priorities):
    of = OldMachine(zone(0, BLOCK), pressure=pressed())
    of.memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, pages)
    found = []
    for priority in priorities:
        of.set_scan(0, L.SCAN_NR_INACTIVE, 0)
        asked = (of.memory.mem, 0, L.LRU_INACTIVE_FILE, L.SCAN_NR_INACTIVE, priority)
        found.append(nr_to_scan(*asked))
    return found


def carried(pages, priorities):
    of = OldMachine(zone(0, BLOCK), pressure=pressed())
    of.memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, pages)
    return [scan_amounts(of.memory.mem, 0, priority)[1] for priority in priorities]


def test_f12_29_what_is_scanned_of_a_list():
    downward = range(12, -1, -1)
    assert carried(1000, downward) == [0, 0, 0, 0, 0, 0, 33, 32, 63, 126, 251, 501, 1001]
    large = [0, 74, 98, 196, 391, 782, 1563, 3126, 6251, 12501, 25001, 50001, 100001]
    assert carried(100_000, downward) == large


def test_f12_30_what_is_too_little_is_carried_on():
    assert carried(100_000, (12, 12)) == [0, 50]
    assert amounts(100_000, (12, 12)) == [0, 0]


@pytest.mark.parametrize(
    ("swappiness", "mapped", "priority", "tendency"),
    [(60, 60, 12, 90), (60, 60, 3, 102), (60, 80, 12, 100), (0, 100, 1, 100), (0, 100, 2, 75),
     (100, 0, 12, 100)],
)  # fmt: skip
def test_f12_31_swap_tendency(swappiness, mapped, priority, tendency):
    of = OldMachine(
        zone(0, BLOCK, wmark=(0, 0, 24)), pressure=pressed(swappiness=swappiness)
    )  # fmt: skip
    assert int(of.memory.mem.system[S.S_TOTAL_MEMORY]) == 1000
    of.memory.add_zone_field(0, L.Z_NR_MAPPED, 10 * mapped)
    of.set_scan(0, L.SCAN_PREV_PRIORITY, priority)
    assert swap_tendency(of.memory.mem, 0) == tendency


def test_f12_32_slab_is_shrunk_as_the_lists_were_scanned():
    of = OldMachine(zone(0, 2 * BLOCK), pressure=pressed(slab_objects=20))
    of.ask(SLAB, n=500)
    pools = []
    for _ in range(4):
        shrink_slab(of.memory.mem, BARE, control(), 100, 50_000)
        pools.append(int(of.memory.mem.system[S.S_SLAB_SCAN]))
    assert pools == [39, 78, 117, 28]
    assert of.count("slabs_scanned") == 128
    assert of.count("slab_pages_freed") == 128 // 20
    of = OldMachine(zone(0, 2 * BLOCK), pressure=pressed(slab_objects=20))
    of.ask(SLAB, n=500)
    shrink_slab(of.memory.mem, BARE, control(flags=L.REQ_IO), 0, 50_000)
    assert (int(of.memory.mem.system[S.S_SLAB_SCAN]), of.count("slabs_scanned")) == (12, 0)


def test_f12_33_direct_reclaim_stops_after_a_batch():
    pages = 20 * BLOCK
    of = OldMachine(
        zone(0, BLOCK, ZoneType2005.DMA),
        zone(BLOCK, BLOCK),
        zone(2 * BLOCK, pages, ZoneType2005.HIGHMEM),
        pressure=pressed(),
    )
    of.ask(FILE, n=20_000)
    of.drain_batches()
    assert len(of.lists(2)[1]) == 20_000
    highest = int(ZoneType2005.EASYRCLM)
    ac = AllocContext(0, 0, highest, BOTH | L.REQ_DIRECT_RECLAIM, 0, -1, 0)
    assert slowpath.try_to_free_pages(of.memory.mem, BARE, ac)
    assert len(of.lists(2)[1]) == 20_000 - 32
    assert of.scan(2, L.SCAN_PREV_PRIORITY) == 10
    assert of.scan(2, L.SCAN_NR_INACTIVE) == 0
    of.memory.check()


def test_f12_34_anonymous_pages_without_swap_stay_active_until_a_task_is_killed():
    of = filled(ANON, n=BLOCK - 20, pages=BLOCK, pressure=pressed(swappiness=100))
    before = of.lists()
    assert (len(before[0]), before[1]) == (BLOCK - 20, [])
    outcome = of.ask(ANON, n=6)
    assert of.memory.needs_oom_kill
    assert len(outcome.status) < 6
    assert of.count("allocstall") == 1
    assert len(of.lists()[0]) + len(of.lists()[1]) >= len(before[0])
    assert of.lists()[1] == []
    of.memory.check()


def test_f12_35_a_zone_that_gives_nothing_is_given_up_until_a_page_is_freed():
    of = filled(ANON, n=100, pages=BLOCK)
    of.set_scan(0, L.SCAN_PAGES_SCANNED, 400)
    memory = of.memory.mem
    kswapd.node_set(memory, 0, S.N_KSWAPD_DUE, 0)
    kswapd.begin_run(memory, 0)
    kswapd.node_set(memory, 0, S.N_KSWAPD_HIGHEST_ZONE, 0)
    kswapd.begin_zone(memory, 0, 0)
    kswapd.finish_zone(memory, BARE, 0, control(kswapd=1))
    assert of.scan(0, L.SCAN_ALL_UNRECLAIMABLE) == 1
    of.free(0)
    assert (of.scan(0, L.SCAN_ALL_UNRECLAIMABLE), of.scan(0, L.SCAN_PAGES_SCANNED)) == (0, 0)


def shredded(pages=3 * BLOCK, request=FILE, **fields):
    """A machine full of pages of a kind, with some kernel pages in each block."""
    of = OldMachine(zone(0, pages, **fields), pressure=pressed())
    for _ in range(pages // 64 - 1):
        of.take()
        of.ask(request, n=62)
    of.drain_batches()
    return of


def test_f12_24_a_large_block_gets_one_round_of_reclaim_and_no_kill():
    of = shredded()
    walks = []
    walk = slowpath.walk_again
    try:
        slowpath.walk_again = lambda m, t, ac, flags: walks.append(flags) or walk(m, t, ac, flags)
        held = len(of.lists()[1])
        outcome = of.ask(FILE, order=10)
    finally:
        slowpath.walk_again = walk
    assert outcome.status.tolist() == [Status.NOPAGE]
    assert walks == [slowpath.WMARK_MIN, slowpath.WMARK_MIN]
    assert of.count("allocstall") == 1
    assert 32 <= held - len(of.lists()[1]) <= 31 + 63
    of.memory.check()


def test_f12_25_a_large_block_that_reclaim_frees_nothing_for_has_a_task_killed():
    of = shredded(request=ANON)
    outcome = of.ask(FILE, order=10)
    assert (len(outcome.status), of.memory.needs_oom_kill) == (0, True)
    of.memory.mem.system[S.S_OOM_MAY_KILL] = 0
    assert of.ask(FILE, order=10).status.tolist() == [Status.NOPAGE]


def test_f12_26_a_small_block_is_waited_for_unless_the_request_may_fail():
    of = shredded(request=ANON)
    of.memory.mem.system[S.S_OOM_MAY_KILL] = 0
    while of.take("GFP_ATOMIC", order=3) >= 0:
        pass
    assert of.take("GFP_KERNEL|__GFP_NORETRY", order=3) == -1
    assert of.count("allocstall") == 1
    assert of.take("GFP_ATOMIC", order=3) == -1
    assert of.count("allocstall") == 1
    assert of.take("GFP_NOFS", order=3) == -1
    assert of.count("allocstall") == 1 + slowpath.MAX_RECLAIM_RETRIES


def test_f12_27_without_fs_nobody_is_killed_and_reclaim_goes_on():
    of = filled(ANON, n=BLOCK - 20, pages=BLOCK)
    stalled = of.count("stall_model_ns")
    pfns = [of.take("GFP_NOFS") for _ in range(6)]
    assert pfns[-1] == -1
    assert not of.memory.needs_oom_kill
    waits = slowpath.MAX_RECLAIM_RETRIES - 1
    failed = pfns.count(-1)
    assert of.count("stall_model_ns") - stalled == failed * waits * slowpath.RETRY_WAIT_NS


def test_f12_28_who_reclaims_near_the_marks_of_a_large_machine():
    dma, normal = {"wmark": (17, 21, 25)}, {"wmark": (939, 1173, 1408)}
    of = OldMachine(
        zone(0, 4 * BLOCK, ZoneType2005.DMA, **dma),
        zone(4 * BLOCK, 4 * BLOCK, **normal),
        free=[(2 * p, 0, 0) for p in range(800)] + [(4 * BLOCK + 2 * p, 0, 0) for p in range(500)],
        pressure=pressed(),
    )
    of.memory.mem.zones[L.Z_LOWMEM_RESERVE + int(ZoneType2005.NORMAL)] = 880
    of.memory.mem.system[S.S_OOM_MAY_KILL] = 0
    assert of.take() == -1
    assert of.count("allocstall") == 1
    assert of.take("GFP_ATOMIC") >= 4 * BLOCK


# --- 6.1, 6.4, 6.5


def test_6_1_where_new_pages_go_and_two_accesses_activate_a_file_page():
    of = OldMachine(zone(0, BLOCK), pressure=pressed())
    pfns = of.ask(ANON, n=14).pfn.tolist()
    assert of.lists() == (pfns[::-1], [])
    files = of.ask(FILE, n=14).pfn.tolist()
    assert of.lists()[1] == files[::-1]
    of.touch(14, FILE)
    assert of.lists()[0][0] == files[0]
    assert not of.state(files[0]) & L.PAGE_REFERENCED


def test_6_5_pages_in_use_are_activated_and_unmapped_ones_freed():
    of = filled(MAPPED, n=40, pages=BLOCK)
    scan_list(of.memory.mem, BARE, 0, control(), 0, 32)
    assert [len(pages) for pages in of.lists()] == [32, 8]
    of = filled(FILE, n=40, pages=BLOCK)
    assert scan_list(of.memory.mem, BARE, 0, control(), 0, 32) == (32, 32)
    assert of.scan(0, L.SCAN_PAGES_SCANNED) == 0  # the pages freed have cleared what came before
    assert of.memory.page_table[:33].tolist() == [L.GONE] * 32 + [of.lists()[1][-1] + 1]
    of.memory.check()


def test_6_5_a_batch_counts_one_page_more_than_it_takes():
    of = filled(MAPPED, n=31, pages=BLOCK)
    scan_list(of.memory.mem, BARE, 0, control(), 0, 32)
    assert of.scan(0, L.SCAN_PAGES_SCANNED) == 32


def test_6_5_a_dirty_page_is_written_and_then_comes_to_the_tail():
    of = filled(DIRTY, n=40, pages=BLOCK)
    oldest = of.lists()[1][-1]
    scan_list(of.memory.mem, BARE, 0, control(), 0, 1)  # referenced: kept once
    assert (of.lists()[1][0], of.count("nr_vmscan_write")) == (oldest, 0)
    scan_list(of.memory.mem, BARE, 0, control(), 0, 40)
    assert of.count("nr_vmscan_write") == 1
    assert of.state(oldest) & L.PAGE_WRITEBACK
    of.memory.advance(10**6)
    assert of.lists()[1][-1] == oldest
    assert scan_list(of.memory.mem, BARE, 0, control(), 0, 1) == (1, 1)
    of.memory.check()


def test_6_8_swap_is_written_in_a_row_and_read_by_eights():
    pressure = pressed(swap_slots=1024, swappiness=100)
    of = filled(ANON, n=40, pages=4 * BLOCK, pressure=pressure)
    memory = of.memory.mem
    for _ in range(4):  # young, then inactive and given a slot, then written, then freed
        scan_list(memory, BARE, 0, control(), 1, 40)
        scan_list(memory, BARE, 0, control(), 0, 40)
        of.memory.advance(of.memory.now + 10**9)
    assert of.memory.page_table[:40].tolist() == [-1 - slot for slot in range(40)]
    assert np.count_nonzero(memory.swap_map) == 40
    of.touch(11, ANON)
    read = np.flatnonzero(of.memory.page_table[:40] > 0).tolist()
    assert read == list(range(8, 16))
    assert (of.count("pswpin"), of.count("pgmajfault")) == (8, 1)
    of.touch(8, ANON)
    assert of.count("pswpin") == 8
    of.memory.check()


def test_6_7_kswapd_works_up_to_the_high_mark_and_sleeps():
    of = filled(n=BLOCK - 21, pages=BLOCK)
    due = of.memory.mem.nodes
    assert due[S.N_KSWAPD_DUE] == S.FOREVER
    of.ask(FILE, n=3)
    assert due[S.N_KSWAPD_DUE] != S.FOREVER
    of.memory.advance(10**9)
    assert due[S.N_KSWAPD_DUE] == S.FOREVER
    assert of.memory.nr_free_pages(0) > 24
    assert of.count("pgsteal_kswapd") > 0
    of.memory.check()


def test_6_7_kswapd_gives_up_when_nothing_can_go():
    of = filled(ANON, n=BLOCK - 19, pages=BLOCK)
    of.ask(ANON, n=2)
    of.memory.advance(100 * 10**9)
    assert of.memory.mem.nodes[S.N_KSWAPD_DUE] == S.FOREVER
    assert of.scan(0, L.SCAN_ALL_UNRECLAIMABLE) == 1
    assert vmscan.zone_lru_pages(of.memory.mem, 0) >= BLOCK - 19


@pytest.mark.parametrize(("variant", "served"), [("page_flag", True), ("v22", False)])
def test_history_2_1_v21_drains_the_per_cpu_lists_if_reclaim_does_not_suffice(variant, served):
    tables = light.Policy(variant=variant).tables(Kernel("linux-2.6.14", 10, 10))
    of = OldMachine(
        zone(0, 4 * BLOCK, wmark=(0, 0, 0), pcp_high=6, pcp_cold_batch=3),
        tables=tables,
        pressure=pressed(),
    )
    of.ask(FILE, n=4 * BLOCK)
    of.drain_batches()
    for handle, entry in enumerate(of.memory.mem.page_table[: of.handles].tolist()):
        if 0 < entry <= BLOCK:
            of.free(handle)
    waiting = [pfn for lst in range(4) for pfn in of.memory.pcp_list(0, 0, lst).tolist()]
    assert 0 < len([pfn for pfn in waiting if pfn < BLOCK]) < BLOCK
    outcome = of.ask(FILE, order=10)
    assert outcome.pfn.tolist() == [0 if served else -1]
    assert of.count("pgsteal_direct") >= 32
