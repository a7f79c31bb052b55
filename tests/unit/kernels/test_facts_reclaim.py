"""Spec 7 through whole requests: what is reclaimed, what is not, what kswapd does when boosted."""

import numpy as np
import pytest
from backend import M
from pressure import PressedMachine

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.memory.setup import Pressure
from memsim.mm import Status, Use

MARKS = (64, 80, 96)
DIRECT_ONLY = "__GFP_DIRECT_RECLAIM|__GFP_IO|__GFP_FS|__GFP_NORETRY"
SECOND = 1_000_000_000


def crowded(**attributes):
    """A machine whose pages are pinned files but for those of the min mark."""
    machine = PressedMachine(2048, wmark=MARKS, **attributes)
    machine.fill(1000, use=Use.PAGE_CACHE, pinned=True)
    spare = machine.memory.nr_free_pages(0) - MARKS[0]
    machine.fill(spare, "GFP_KERNEL|__GFP_MEMALLOC", lru=False)
    return machine


def wait(machine, ns):
    machine.memory.advance(machine.memory.now + ns)
    machine.memory.check()


def test_F7_2_what_cannot_be_reclaimed_is_scanned_at_all_priorities():
    machine = crowded()
    assert machine.ask(DIRECT_ONLY).status == Status.NOPAGE
    assert machine.vmstat("allocstall") == 1
    assert machine.vmstat("pgscan_direct") == sum(1000 >> p for p in range(13))
    assert machine.vmstat("pgsteal_direct") == 0


def test_F7_3_anonymous_pages_without_swap_end_in_an_oom_kill():
    free = [(pfn, 0, M) for pfn in range(0, 2 * (100 + MARKS[0]), 2)]
    machine = PressedMachine(2048, free, wmark=MARKS)
    machine.fill(100)
    assert machine.ask("GFP_KERNEL") is None
    reclaimed = [step[1] for step in machine.steps() if step[0] == "RECLAIM"]
    assert set(reclaimed) == {0}
    assert len(reclaimed) <= 17
    assert machine.vmstat("pgscan_direct") == 0
    assert machine.memory.lru_list(0, L.LRU_INACTIVE_ANON).size >= 85


def test_a_huge_page_is_swapped_out_whole_and_comes_back_whole():
    machine = PressedMachine(2048, pressure=Pressure(swap_slots=1024), wmark=MARKS)
    huge = machine.ask("GFP_TRANSHUGE", 9, Use.ANON, lru=True)
    assert huge.status == Status.OK
    spare = machine.memory.nr_free_pages(0) - MARKS[0]
    others = machine.fill(spare, "GFP_KERNEL|__GFP_MEMALLOC", lru=False)
    while machine.ask(DIRECT_ONLY).status != Status.OK:
        wait(machine, SECOND)
    assert machine.vmstat("pswpout") == 512
    assert machine.memory.page_table[0] == -1
    assert np.count_nonzero(machine.memory.mem.swap_map == 1) == 512
    assert machine.vmstat("pgsteal_anon") == 512
    for handle in others[:20]:
        machine.free(handle)
    touched = machine.touch(0, "GFP_TRANSHUGE", 9)
    assert touched.status == Status.OK
    assert machine.vmstat("pswpin") == 512
    assert machine.memory.mem.system[S.S_SWAP_FREE] == 1024


def test_a_boosted_zone_makes_kswapd_reclaim_without_writing():
    machine = PressedMachine(8192, pressure=Pressure(swap_slots=500), wmark=MARKS)
    machine.fill(200)
    machine.fill(5000, use=Use.PAGE_CACHE)
    machine.memory.add_zone_field(0, L.Z_BOOST, 100)
    machine.memory.add_zone_field(0, L.Z_BOOSTED, 1)
    assert machine.ask("GFP_HIGHUSER_MOVABLE").status == Status.OK
    assert machine.vmstat("kswapd_wakeups") == 1
    wait(machine, SECOND)
    assert machine.memory.zone_field(0, L.Z_BOOST) == 0
    assert machine.memory.zone_field(0, L.Z_BOOSTED) == 0
    assert machine.vmstat("pageoutrun") == 1
    assert machine.vmstat("pgsteal_file") > 0
    assert machine.vmstat("pgscan_anon") == machine.vmstat("pgpgout") == 0


def test_kswapd_gives_up_after_16_vain_runs_until_reclaim_succeeds():
    machine = crowded()
    assert machine.ask("GFP_NOWAIT").status == Status.NOPAGE
    wait(machine, SECOND)
    assert machine.vmstat("pageoutrun") == 16
    assert machine.ask("GFP_NOWAIT").status == Status.NOPAGE
    wait(machine, SECOND)
    assert machine.vmstat("pageoutrun") == 16


def test_kswapd_reclaims_up_to_the_high_mark_and_sleeps():
    machine = PressedMachine(2048, wmark=MARKS)
    machine.fill(machine.memory.nr_free_pages(0) - MARKS[0], use=Use.PAGE_CACHE)
    machine.ask("GFP_NOWAIT")
    wait(machine, SECOND)
    assert machine.memory.nr_free_pages(0) > MARKS[2]
    runs = machine.vmstat("pageoutrun")
    wait(machine, SECOND)
    assert machine.vmstat("pageoutrun") == runs >= 1
    assert machine.vmstat("pgsteal_kswapd") <= 2 * MARKS[2]


@pytest.mark.parametrize(("age", "written"), [(29, 0), (31, 40)])
def test_dirty_pages_are_written_when_they_are_30_seconds_old(age, written):
    machine = PressedMachine(2048, wmark=MARKS)
    machine.fill(40, "GFP_HIGHUSER_MOVABLE|__GFP_WRITE", Use.PAGE_CACHE)
    wait(machine, age * SECOND)
    assert machine.vmstat("nr_written") == written
    assert machine.memory.zone_field(0, L.Z_NR_DIRTY) == 40 - written


def test_dirty_pages_beyond_a_tenth_of_memory_are_written_at_once():
    machine = PressedMachine(2048, wmark=MARKS)
    machine.fill(300, "GFP_HIGHUSER_MOVABLE|__GFP_WRITE", Use.PAGE_CACHE)
    wait(machine, SECOND)
    assert machine.vmstat("nr_written") == 300 - 2048 // 10


def test_kswapd_leaves_contiguity_to_kcompactd_after_twice_the_blocks_size():
    machine = PressedMachine(1024, wmark=MARKS)
    spare = machine.memory.nr_free_pages(0) - MARKS[0]
    handles = machine.fill(spare, "GFP_HIGHUSER_MOVABLE|__GFP_MEMALLOC", lru=False)
    for handle in handles[::2]:
        machine.free(handle)
    machine.fill(len(handles[::2]), use=Use.PAGE_CACHE)
    machine.ask("GFP_NOWAIT", 7)
    wait(machine, SECOND)
    assert 2 << 7 <= machine.vmstat("pgsteal_kswapd") < 400
    assert machine.vmstat("compact_daemon_wake") > 0


@pytest.mark.parametrize(("balances", "kept"), [(0, 99), (1, 31)])
def test_per_cpu_lists_are_kept_short_while_kswapd_balances_the_zone(balances, kept):
    machine = PressedMachine(4096, wmark=MARKS, pcp_high=100, pcp_batch=8)
    handles = machine.fill(200, "GFP_KERNEL", lru=False)
    machine.memory.mem.zones[L.Z_RECLAIM_ACTIVE] = balances
    counts = []
    for handle in handles:
        machine.free(handle)
        counts.append(machine.memory.pcp_field(0, 0, L.P_COUNT))
    assert max(counts) == kept


def test_kswapd_lets_per_cpu_lists_be_short_only_as_long_as_it_balances():
    machine = PressedMachine(2048, wmark=MARKS)
    machine.fill(1900, use=Use.PAGE_CACHE)
    machine.ask("GFP_NOWAIT", 10)
    active = [machine.memory.zone_field(0, L.Z_RECLAIM_ACTIVE)]
    for ns in (*[1000] * 20, SECOND):
        wait(machine, ns)
        active.append(machine.memory.zone_field(0, L.Z_RECLAIM_ACTIVE))
    assert machine.vmstat("pageoutrun") > 0
    assert set(active) == {0, 1}
    assert active[-1] == 0
