"""Demotion: what reclaim takes from a node goes to a slower one (spec 8.6)."""

import numpy as np
import pytest
from compaction_desk import machine, zone

from memsim.kernels import layout as L
from memsim.memory.balancing import demote_to
from memsim.memory.migrating import query
from memsim.memory.setup import Pressure
from memsim.mm import Use, gfp_from_text
from memsim.schema import Request

MARKS = (40, 50, 60)
HELD = 900


def tiers(kind="anon", second=0, third=0, swap=0):
    """A fast node of 1024 pages, nearly full, and two slower ones with some kernel pages."""
    zones = [zone(1024 * n, 1024 * (n + 1), MARKS, node=n) for n in range(3)]
    runs = {0: (HELD, kind)}
    runs |= {1024: (second, "kernel")} if second else {}
    runs |= {2048: (third, "kernel")} if third else {}
    pressure = Pressure(compaction_proactiveness=0, swap_slots=swap)
    return machine(zones, runs, pressure)


def press(memory, pages=200):
    """Ask the first node for pages until its kswapd has worked."""
    gfp = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_THISNODE")
    row = memory.add_requests([Request(gfp, Use.ANON, preferred=0, lru=True)])
    first = memory.add_handles(pages)
    same = np.zeros(1, np.uint16)
    for i in range(pages):
        handle = np.array([first + i], np.int32)
        time = np.array([i * 1_000_000], np.int64)
        memory.run(same.astype(np.uint8), same + row, same, handle, time)
        memory.take_log()
    memory.check()
    return memory.vmstat()


def test_without_swap_pages_go_to_the_slower_node_instead_of_nowhere():
    memory = tiers()
    assert press(memory)["alloc_nopage"] > 0
    memory = tiers()
    demote_to(memory, 0, [1])
    counted = press(memory)
    assert counted["alloc_nopage"] == 0
    assert counted["pgdemote_kswapd"] + counted["pgdemote_direct"] > 100
    where = query(memory, range(HELD))
    assert np.count_nonzero(where == 1) > 100
    assert not (where == 2).any()


def test_pages_of_files_are_demoted_rather_than_dropped():
    memory = tiers("file")
    demote_to(memory, 0, [1, 2])
    counted = press(memory)
    assert counted["pgsteal_file"] == counted["pgmigrate_success"] > 100
    assert (memory.page_table[:HELD] > 0).all()


def test_if_the_next_node_is_full_another_slower_one_serves():
    memory = tiers(second=1000)
    demote_to(memory, 0, [1, 2])
    press(memory)
    assert np.count_nonzero(query(memory, range(HELD)) == 2) > 100


def test_what_finds_no_room_below_goes_to_swap():
    memory = tiers(second=1000, swap=1024)
    demote_to(memory, 0, [1])
    counted = press(memory)
    assert counted["pswpout"] > 100
    assert counted["pgmigrate_fail"] > 0


@pytest.mark.parametrize("trait", [L.TRAIT_LOCKED, L.TRAIT_BUFFERS_IN_USE])
def test_what_cannot_be_moved_is_not_demoted(trait):
    memory = tiers("file")
    memory.mem.traits[:HELD] = trait
    demote_to(memory, 0, [1])
    counted = press(memory, pages=120)
    assert (query(memory, np.flatnonzero(memory.page_table[:HELD] > 0)) == 0).all()
    assert counted["pgdemote_kswapd"] == counted["pgdemote_direct"] == 0


def test_demotion_ends_where_nothing_is_slower():
    memory = tiers()
    demote_to(memory, 0, [1])
    demote_to(memory, 0, [])
    assert press(memory)["pgmigrate_success"] == 0
