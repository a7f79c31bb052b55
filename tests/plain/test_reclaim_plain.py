"""The checkable facts of spec 7.8 on what reclaim weighs and counts, straight from the kernels."""

import numpy as np
import pytest

from memsim.kernels import layout as L
from memsim.kernels import system as S
from memsim.kernels.lru import lru_add
from memsim.kernels.lru_balance import flush_stats, inactive_is_low, scan_fractions
from memsim.kernels.migrate import migrate_page
from memsim.kernels.scan_control import (
    SC_HIGHEST_ZONE,
    SC_KSWAPD,
    SC_MAY_FS,
    SC_MAY_WRITE,
    SC_NR,
    SC_PRIORITY,
    SC_UNQUEUED_DIRTY,
    direct_control,
    kswapd_control,
)
from memsim.kernels.shrink_list import ACTIVATE, KEEP, RECLAIM, isolate_lru_pages, page_fate
from memsim.kernels.shrink_node import begin_node
from memsim.kernels.swapfile import get_swap_pages, swap_free
from memsim.kernels.vmstat import PGSCAN_KSWAPD
from memsim.kernels.wakeup import pgdat_balanced
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, Pressure, ZoneSetup
from memsim.mm import ZoneType
from memsim.policies import LINUX_6_1, mobility


def zone(start, index, high):
    return ZoneSetup(
        node=0, zone_type=index, start_pfn=start, end_pfn=start + 1024, present=1024,
        managed=1024, watermark=(0, 0, high, high), lowmem_reserve=(0,) * 5, pcp_high=0,
        pcp_batch=1, stat_threshold=0, nofragment=False,
    )  # fmt: skip


def machine(*highs, swap=0):
    zones = tuple(zone(1024 * i, ZoneType.DMA32 + i, high) for i, high in enumerate(highs))
    every = tuple(range(len(zones)))
    setup = MachineSetup(zones, ((every, every),), (0,), pressure=Pressure(swap_slots=swap))
    return Memory(setup, mobility.Policy().tables(LINUX_6_1))


@pytest.mark.parametrize(
    ("swappiness", "costs", "anon", "file"),
    [(60, (0, 0), 60, 140), (60, (0, 1000), 179, 209), (60, (1000, 0), 89, 419)],
)
def test_F7_1_anonymous_pages_and_files_by_swappiness_and_cost(swappiness, costs, anon, file):
    assert scan_fractions(swappiness, *costs) == (anon, file)


def test_F7_1_swappiness_100_is_one_half():
    anon, file = scan_fractions(100, 0, 0)
    assert anon == file > 0


@pytest.mark.parametrize(
    ("pages", "scanned"),
    [(1000, (0, 0, 15, 250, 1000)), (100_000, (24, 97, 1562, 25_000, 100_000))],
)
def test_F7_2_a_list_is_scanned_by_its_size_shifted_by_priority(pages, scanned):
    memory = machine(0)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, pages)
    mem, sc = memory.mem, direct_control(memory.mem)
    mem.nodes[sc + SC_HIGHEST_ZONE] = ZoneType.NORMAL
    counts = []
    for priority in (12, 10, 6, 2, 0):
        mem.nodes[sc + SC_PRIORITY] = priority
        begin_node(mem, sc)
        counts.append(int(mem.nodes[sc + SC_NR + L.LRU_INACTIVE_FILE]))
        assert mem.nodes[sc + SC_NR + L.LRU_INACTIVE_ANON] == 0
    assert tuple(counts) == scanned


@pytest.mark.parametrize(
    ("free", "balanced"),
    [((384, 0), False), ((385, 0), True), ((0, 1000), False), ((0, 1001), True), ((1, 1), False)],
)
def test_F7_4_a_node_is_balanced_when_either_zone_is_above_its_high_mark(free, balanced):
    memory = machine(384, 1000)
    for z, pages in enumerate(free):
        memory.add_zone_field(z, L.Z_NR_FREE_PAGES, pages)
    assert pgdat_balanced(memory.mem, 0, 0, ZoneType.NORMAL) == balanced


def test_F7_4_a_zone_above_the_requests_does_not_count():
    memory = machine(384, 1000)
    memory.add_zone_field(1, L.Z_NR_FREE_PAGES, 1024)
    assert not pgdat_balanced(memory.mem, 0, 0, ZoneType.DMA32)


@pytest.mark.parametrize(
    ("inactive", "active", "low"),
    [
        (1000, 1000, False),
        (1000, 1001, True),
        (1 << 18, 3 << 18, False),
        (1 << 17, 3 << 17, False),
        ((1 << 17) - 1, 3 << 17, True),
        (50_000, 3 << 17, True),
    ],
)
def test_7_2_inactive_lists_may_be_smaller_on_large_nodes(inactive, active, low):
    memory = machine(0)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, inactive)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_ACTIVE_FILE, active)
    flush_stats(memory.mem)
    assert inactive_is_low(memory.mem, 0, L.LRU_ACTIVE_FILE) == low


def test_what_has_become_of_lists_is_seen_after_150_changes_or_two_seconds():
    memory = machine(0)
    mem = memory.mem
    flush_stats(mem)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_ACTIVE_FILE, 1)

    def low_after(scanned, now):
        mem.events[PGSCAN_KSWAPD] = scanned
        mem.system[S.S_NOW] = now
        flush_stats(mem)
        return inactive_is_low(mem, 0, L.LRU_ACTIVE_FILE)

    assert not low_after(49, 1_999_999_999)
    assert low_after(50, 1_999_999_999)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, 1)
    assert low_after(99, 3_999_999_998)
    assert not low_after(99, 3_999_999_999)


def test_pages_that_a_call_has_moved_so_far_are_changes_too():
    memory = machine(0)
    mem = memory.mem
    flush_stats(mem)
    memory.add_zone_field(0, L.Z_LRU + L.LRU_ACTIVE_FILE, 1)
    mem.system[S.S_MIGRATED] = 37
    flush_stats(mem)
    assert not inactive_is_low(mem, 0, L.LRU_ACTIVE_FILE)
    mem.system[S.S_MIGRATED] = 38
    flush_stats(mem)
    assert inactive_is_low(mem, 0, L.LRU_ACTIVE_FILE)


def test_buffers_at_hand_pin_their_pages_until_one_of_them_is_to_be_moved():
    """Capture frag: kswapd gets the last 16 pages of buffers after 19.165, when some were moved."""
    memory = machine(0)
    mem, sc = memory.mem, direct_control(memory.mem)
    for pfn, why in ((1, L.BUFFERS_AT_HAND), (2, L.BUFFERS_AT_HAND), (3, L.BUFFERS_IN_USE)):
        mem.state[pfn] = L.PAGE_ALLOCATED | L.PAGE_LRU | L.PAGE_PINNED
        mem.swap_slot[pfn] = why
    assert [page_fate(mem, sc, pfn) for pfn in (1, 3)] == [ACTIVATE, ACTIVATE]
    mem.state[8] = L.PAGE_ALLOCATED
    assert migrate_page(mem, 0, 2, 8)
    assert not mem.state[8] & L.PAGE_PINNED and mem.swap_slot[2] == mem.swap_slot[8] == 0
    assert [page_fate(mem, sc, pfn) for pfn in (1, 3)] == [RECLAIM, ACTIVATE]
    assert not migrate_page(mem, 0, 3, 9)


def test_slots_are_taken_in_a_row_and_then_from_the_lowest_empty_run():
    mem = machine(0, swap=700).mem
    assert [get_swap_pages(mem, handle, 1) for handle in range(300)] == list(range(300))
    for slot in range(10, 280):
        swap_free(mem, slot)
    assert get_swap_pages(mem, 900, 1) == 300
    assert [get_swap_pages(mem, 1000 + n, 1) for n in range(211)] == list(range(301, 512))
    assert get_swap_pages(mem, 2000, 1) == 10
    assert mem.system[S.S_SWAP_FREE] == 700 - np.count_nonzero(mem.swap_map)


def test_a_large_block_has_its_slots_in_a_row_and_gives_them_all_back():
    mem = machine(0, swap=40).mem
    assert get_swap_pages(mem, 5, 1) == 0
    assert get_swap_pages(mem, 6, 32) == 1
    assert get_swap_pages(mem, 7, 8) == -1
    swap_free(mem, 1)
    assert mem.swap_map.tolist() == [6] + [0] * 39
    assert get_swap_pages(mem, 7, 8) == 1


@pytest.mark.parametrize(
    ("flagged", "marked", "used", "fate", "written"),
    [
        (0, 0, 0, ACTIVATE, 0),
        (1, 0, 0, ACTIVATE, 0),
        (0, L.PAGE_RECLAIM, 0, ACTIVATE, 0),
        (1, L.PAGE_RECLAIM, 0, KEEP, 1),
        (1, L.PAGE_RECLAIM, L.PAGE_REFERENCED, KEEP, 0),
    ],
)
def test_7_3_kswapd_writes_a_page_of_a_file_only_where_all_are_dirty(
    flagged, marked, used, fate, written
):
    mem = machine(0).mem
    sc = kswapd_control(0)
    for field in (SC_KSWAPD, SC_MAY_FS, SC_MAY_WRITE):
        mem.nodes[sc + field] = 1
    mem.nodes[S.N_PGDAT_DIRTY] = flagged
    mem.state[7] = L.PAGE_ALLOCATED | L.PAGE_LRU | L.PAGE_DIRTY | marked | used
    assert page_fate(mem, sc, 7) == fate
    assert bool(mem.state[7] & L.PAGE_WRITEBACK) == bool(written)
    assert mem.system[S.S_WRITEBACK_LENGTH] == written


@pytest.mark.parametrize(("kind", "counted"), [(0, 1), (L.PAGE_ANON | L.PAGE_SWAPCACHE, 0)])
def test_7_3_only_pages_of_files_are_dirty_for_the_flusher(kind, counted):
    mem = machine(0, swap=8).mem
    sc = kswapd_control(0)
    mem.state[7] = L.PAGE_ALLOCATED | L.PAGE_LRU | L.PAGE_DIRTY | kind
    page_fate(mem, sc, 7)
    assert mem.nodes[sc + SC_UNQUEUED_DIRTY] == counted


def test_a_large_block_counts_with_all_its_pages_in_a_batch():
    memory = machine(0)
    mem, sc = memory.mem, direct_control(memory.mem)
    mem.nodes[sc + SC_HIGHEST_ZONE] = ZoneType.NORMAL
    for pfn in (0, 512):
        mem.state[pfn] = L.PAGE_ALLOCATED | L.PAGE_LRU | L.PAGE_ANON | 9 << L.ORDER_SHIFT
        lru_add(mem, pfn)
    assert isolate_lru_pages(mem, sc, L.LRU_INACTIVE_ANON, 32) == 512
    assert memory.lru_list(0, L.LRU_INACTIVE_ANON).tolist() == [512]
