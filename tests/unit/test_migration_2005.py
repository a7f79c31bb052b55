"""Page migration of 2005: passes, what is retried and what fails for good, target pages, swap.

Source: spec history-2005 3.2 (rows 1 to 10), linux-mm 10.1, 10.2.
"""

import errno

import numpy as np
import pytest
from migration_2005 import ANON, DIRTY, FILE, KERNEL, MAPPED, MLOCKED, PAGES, TwoNodes

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14 import migration as M
from memsim.memory.migrating_2005 import (
    Disturbance,
    Fate,
    Touches,
    What,
)
from memsim.mm import Use, gfp_from_text
from memsim.schema import Request

CODES = ("v1", "linux-2.6.16")
NO_OP = L.TRAIT_NO_MIGRATE_OP
WRITE = 80_000


def fates(outcome):
    return [Fate(fate) for fate in outcome.fate]


def everywhere(test):
    return pytest.mark.parametrize("code", CODES)(test)


# --- facts --------------------------------------------------------------------------------------


def test_f10_5_eviction_of_a_page_that_stays_dirty_is_tried_eleven_times():
    machine = TwoNodes()
    page = machine.take(DIRTY, traits=L.TRAIT_RAMFS)
    outcome = machine.migrate(page, mode="swap", code="linux-2.6.16")
    assert outcome.passes.tolist() == [11]
    assert outcome.not_migrated == 1
    assert fates(outcome) == [Fate.FAILED_DIRTY]
    assert machine.node(page[0]) == 0


def test_f10_5_also_where_a_process_writes_to_the_page_after_every_write():
    machine = TwoNodes()
    page = machine.take(DIRTY)
    again = [Disturbance(0, M.EVERY_PASS, M.STEP_UNMAP, What.WRITE_FAULT)]
    outcome = machine.migrate(page, mode="swap", code="linux-2.6.16", disturbances=again)
    assert (outcome.passes.tolist(), outcome.not_migrated) == ([11], 1)
    assert outcome.counters["migrate_writeback_started"] == 11


def test_f10_6_buffers_that_stay_are_retried_five_times_then_the_page_is_to_be_evicted():
    machine = TwoNodes()
    page = machine.take(FILE, traits=NO_OP | L.TRAIT_BUFFERS_IN_USE)
    outcome = machine.migrate(page, code="linux-2.6.16", watch=0)
    assert (fates(outcome), outcome.not_migrated) == ([Fate.FAILED_BUFFERS], 1)
    assert outcome.passes.tolist() == [11]
    assert {step.pass_ for step in outcome.steps if step.name == "unmap"} == {5, 6, 7, 8, 9, 10}
    assert machine.memory.nr_free_pages(1) == PAGES


@pytest.mark.parametrize(
    ("code", "pass_", "fate"),
    [
        ("linux-2.6.16", 4, Fate.MOVED_DIRECT),
        ("linux-2.6.16", 7, Fate.MOVED_SWAP),
        ("v1", 2, Fate.MOVED_DIRECT),
        ("v1", 3, Fate.MOVED_DIRECT),
    ],
)
def test_f10_6_a_page_whose_buffers_are_let_go_in_time(code, pass_, fate):
    machine = TwoNodes()
    page = machine.take(FILE, traits=NO_OP | L.TRAIT_BUFFERS_IN_USE)
    # Between the look at buffers that is not enough, and the eviction that looks again.
    step = M.STEP_LOCK if fate == Fate.MOVED_DIRECT else M.STEP_UNMAP
    free = [Disturbance(0, pass_, step, What.PUT_BUFFERS)]
    outcome = machine.migrate(page, code=code, disturbances=free)
    assert (fates(outcome), outcome.passes.tolist()) == ([fate], [pass_ + 1])
    assert machine.memory.nr_free_pages(1) == PAGES - (fate == Fate.MOVED_DIRECT)


def test_v1_evicts_a_page_whose_buffers_stay_from_the_fourth_pass_on():
    machine = TwoNodes()
    page = machine.take(FILE, traits=NO_OP | L.TRAIT_BUFFERS_IN_USE)
    outcome = machine.migrate(page, code="v1", watch=0)
    assert {step.pass_ for step in outcome.steps if step.name == "unmap"} == set(range(3, 11))
    assert fates(outcome) == [Fate.FAILED_BUFFERS]


# --- one page, row by row -----------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("mode", ["swap", "direct"])
def test_an_anonymous_page_comes_to_the_wanted_node(mode, code):
    machine = TwoNodes()
    pages = machine.take(ANON, 40)
    outcome = machine.migrate(pages, mode=mode, code=code)
    assert set(fates(outcome)) == {Fate.MOVED_SWAP if mode == "swap" else Fate.MOVED_DIRECT}
    for page in pages:
        machine.touch(page, cpu=1)
    machine.memory.check()
    assert [machine.node(page) for page in pages] == [1] * 40
    assert machine.memory.nr_free_pages(0) == PAGES


def test_a_page_comes_back_where_the_policy_of_its_process_wants_it():
    machine = TwoNodes()
    page = machine.take(ANON)
    machine.migrate(page, mode="swap")
    prefers = Request(gfp_from_text("GFP_HIGHUSER"), Use.ANON, lru=True, preferred=1)
    machine.touch(page[0], prefers, cpu=0)
    assert machine.node(page[0]) == 1


def test_v1_writes_anonymous_pages_and_keeps_their_slots():
    machine = TwoNodes()
    pages = machine.take(ANON, 8)
    outcome = machine.migrate(pages, code="v1")
    assert outcome.passes.tolist() == [2] * 8
    assert outcome.counters["migrate_writeback_started"] == 8
    assert machine.free_slots() == 512 - 8
    assert all(machine.state(page) & L.PAGE_SWAPCACHE for page in pages)
    assert all(machine.state(page) & L.PAGE_MAPPED for page in pages)


def test_2_6_16_writes_nothing_and_gives_the_slots_back():
    machine = TwoNodes()
    pages = machine.take(ANON, 8)
    outcome = machine.migrate(pages, code="linux-2.6.16")
    assert outcome.passes.tolist() == [1] * 8
    assert outcome.counters["migrate_writeback_started"] == 0
    assert outcome.counters["migrate_swap_slots"] == 8
    assert machine.free_slots() == 512
    assert outcome.model_ns == 8 * (50 + 1100 + 1200)


@everywhere
def test_without_room_in_swap_an_anonymous_page_fails_for_good(code):
    machine = TwoNodes(slots=3)
    pages = machine.take(ANON, 5)
    outcome = machine.migrate(pages, mode="swap", code=code)
    assert fates(outcome) == [Fate.MOVED_SWAP] * 3 + [Fate.FAILED_NO_SWAP] * 2
    assert outcome.passes.tolist() == [2, 2, 2, 1, 1]
    assert outcome.not_migrated == 2


@everywhere
@pytest.mark.parametrize("mode", ["swap", "direct"])
def test_a_clean_page_of_a_file_needs_neither_swap_nor_writing(mode, code):
    machine = TwoNodes(slots=1)
    pages = machine.take(MAPPED, 3)
    outcome = machine.migrate(pages, mode=mode, code=code)
    assert outcome.passes.tolist() == [1] * 3
    assert outcome.counters["migrate_writeback_started"] == 0
    gone = (machine.memory.page_table[pages] == L.GONE).tolist()
    assert gone == [mode == "swap"] * 3


@everywhere
@pytest.mark.parametrize(("traits", "passes"), [(0, 1), (NO_OP, 2), (L.TRAIT_BUFFERS, 1)])
def test_a_dirty_page_is_written_first_unless_its_file_system_moves_it(traits, passes, code):
    machine = TwoNodes()
    page = machine.take(DIRTY, traits=traits)
    outcome = machine.migrate(page, code=code)
    assert (fates(outcome), outcome.passes.tolist()) == ([Fate.MOVED_DIRECT], [passes])
    assert bool(machine.state(page[0]) & L.PAGE_DIRTY) == (passes == 1)
    assert machine.memory.mem.traits[page[0]] == traits


@everywhere
def test_a_page_that_moves_by_hand_loses_its_buffers(code):
    machine = TwoNodes()
    page = machine.take(FILE, traits=NO_OP | L.TRAIT_BUFFERS)
    assert fates(machine.migrate(page, code=code)) == [Fate.MOVED_DIRECT]
    assert machine.memory.mem.traits[page[0]] == NO_OP


@everywhere
@pytest.mark.parametrize("mode", ["swap", "direct"])
@pytest.mark.parametrize(
    ("traits", "bits", "request_", "fate"),
    [
        pytest.param(0, L.PAGE_PINNED, FILE, Fate.FAILED_PINNED, id="pinned"),
        pytest.param(0, 0, MLOCKED, Fate.FAILED_MLOCKED, id="mlocked"),
        pytest.param(L.TRAIT_RAMFS, 0, DIRTY, Fate.FAILED_DIRTY, id="ramfs"),
    ],
)
def test_what_may_pass_is_tried_eleven_times(traits, bits, request_, fate, mode, code):
    machine = TwoNodes()
    page = machine.take(request_, traits=traits)
    machine.set_state(page[0], bits)
    outcome = machine.migrate(page, mode=mode, code=code)
    assert (fates(outcome), outcome.passes.tolist()) == ([fate], [11])
    assert (outcome.not_migrated, machine.node(page[0])) == (1, 0)


@everywhere
@pytest.mark.parametrize("mode", ["swap", "direct"])
def test_a_lock_is_waited_for_from_the_fourth_pass_on(mode, code):
    machine = TwoNodes()
    page = machine.take(FILE, traits=L.TRAIT_LOCKED)
    outcome = machine.migrate(page, mode=mode, code=code)
    assert outcome.not_migrated == 0
    assert (outcome.passes.tolist(), outcome.waits.tolist()) == ([4], [1])
    assert outcome.counters["migrate_lock_waited"] == 1
    assert outcome.counters["migrate_wait_model_ns"] == 60_000


@everywhere
def test_a_lock_that_is_given_back_in_time_is_not_waited_for(code):
    machine = TwoNodes()
    page = machine.take(FILE, traits=L.TRAIT_LOCKED)
    unlock = [Disturbance(0, 2, M.STEP_LOCK, What.UNLOCK_PAGE)]
    outcome = machine.migrate(page, code=code, disturbances=unlock)
    assert fates(outcome) == [Fate.MOVED_DIRECT]
    assert (outcome.passes.tolist(), outcome.waits.tolist()) == ([3], [0])


@everywhere
def test_a_locked_page_fails_when_time_runs_out_before_its_lock_may_be_waited_for(code):
    machine = TwoNodes()
    pages = machine.take(FILE, 2, traits=L.TRAIT_LOCKED)
    outcome = machine.migrate(pages, code=code, budget_ns=200)
    assert fates(outcome) == [Fate.FAILED_LOCKED] * 2
    assert outcome.not_migrated == 2


@everywhere
@pytest.mark.parametrize("mode", ["swap", "direct"])
def test_writeback_is_retried_in_the_first_pass_and_waited_for_in_the_second(mode, code):
    machine = TwoNodes()
    page = machine.take(DIRTY)
    begin = [Disturbance(0, 0, M.STEP_LOCK, What.WRITE_PAGE)]
    outcome = machine.migrate(page, mode=mode, code=code, disturbances=begin)
    assert (outcome.passes.tolist(), outcome.waits.tolist()) == ([2], [1])
    assert outcome.not_migrated == 0
    assert WRITE <= outcome.model_ns < WRITE + 5_000


@everywhere
def test_a_page_that_is_freed_meanwhile_takes_no_target(code):
    machine = TwoNodes()
    pages = machine.take(ANON, 3)
    gone = [Disturbance(1, 0, M.STEP_LOCK, What.EXIT)]
    outcome = machine.migrate(pages, code=code, disturbances=gone)
    expected = [Fate.MOVED_DIRECT, Fate.FREED_MEANWHILE, Fate.MOVED_DIRECT]
    assert fates(outcome) == expected
    assert machine.memory.nr_free_pages(1) == PAGES - 2
    assert machine.memory.nr_free_pages(0) == PAGES


def test_what_is_not_to_be_moved_stays_untouched():
    machine = TwoNodes()
    shared = machine.take(ANON, traits=L.TRAIT_SHARED)
    kernel = machine.take(KERNEL)
    there = machine.take(ANON, cpu=1)
    swapped = machine.take(ANON)
    machine.migrate(swapped, mode="swap")
    pages = np.concatenate([shared, kernel, there, swapped])
    outcome = machine.migrate(pages)
    assert fates(outcome) == [
        Fate.FAILED_SHARED,
        Fate.FAILED_NOT_LRU,
        Fate.ALREADY_THERE,
        Fate.NOT_IN_MEMORY,
    ]
    assert (outcome.not_migrated, outcome.passes.tolist()) == (2, [0] * 4)
    assert machine.migrate(shared, move_all=True).count(Fate.MOVED_DIRECT) == 1


# --- target pages -------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("target_full", ["swap", "enomem", "other_node"])
def test_a_full_target_node(target_full, code):
    machine = TwoNodes(nodes=3)
    machine.fill(1, leave=10)
    pages = machine.take(MAPPED, 30)
    outcome = machine.migrate(pages, code=code, target_full=target_full)
    moved, swapped = outcome.count(Fate.MOVED_DIRECT), outcome.count(Fate.MOVED_SWAP)
    if target_full == "swap":
        assert (moved, swapped, outcome.errno) == (10, 20, 0)
    elif target_full == "enomem":
        assert (outcome.count(Fate.FAILED_NO_MEMORY), outcome.errno) == (30, -errno.ENOMEM)
        assert machine.memory.nr_free_pages(1) == 10
    else:
        nodes = [machine.node(page) for page in pages]
        assert (moved, nodes.count(1), nodes.count(2)) == (30, 10, 20)


def test_2_6_16_moves_whole_chunks_before_it_runs_out_of_memory():
    machine = TwoNodes()
    pages = machine.take(MAPPED, 600)
    machine.fill(1, leave=300)
    outcome = machine.migrate(pages, code="linux-2.6.16", target_full="enomem")
    assert outcome.count(Fate.MOVED_DIRECT) == 257
    assert outcome.count(Fate.FAILED_NO_MEMORY) == 343
    assert machine.memory.nr_free_pages(1) == 300 - 257


def test_chunks_end_with_one_that_has_target_pages_left():
    machine = TwoNodes()
    pages = machine.take(MAPPED, 520)
    machine.set_state(pages[3], L.PAGE_PINNED)
    outcome = machine.migrate(pages, code="linux-2.6.16")
    assert outcome.count(Fate.MOVED_DIRECT) == 519
    # The first two chunks end before a second pass, for want of target pages.
    assert outcome.passes[3] == 1 + 1 + 11
    assert machine.memory.nr_free_pages(1) == PAGES - 519


def test_no_page_is_tried_when_the_budget_is_used_up():
    machine = TwoNodes()
    pages = machine.take(MAPPED, 20)
    outcome = machine.migrate(pages, code="linux-2.6.16", budget_ns=10_000)
    assert 0 < outcome.count(Fate.MOVED_DIRECT) < 20
    assert outcome.count(Fate.NOT_TRIED) + outcome.count(Fate.MOVED_DIRECT) == 20
    assert outcome.not_migrated == outcome.count(Fate.NOT_TRIED)


@pytest.mark.parametrize(
    ("to", "slots", "mode", "why"),
    [
        (5, 512, "direct", "node 5 does not exist"),
        (1, 0, "swap", "migration by way of swap needs a swap device"),
    ],
)
def test_a_call_that_cannot_begin_has_an_errno_and_a_sentence(to, slots, mode, why):
    machine = TwoNodes(slots=slots)
    outcome = machine.migrate(machine.take(), to, mode=mode)
    assert (outcome.errno, outcome.why) == (-errno.ENODEV, why)
    assert fates(outcome) == [Fate.NOT_TRIED]


# --- a process that faults meanwhile ------------------------------------------------------------


def test_a_touch_while_the_page_is_in_flight_waits_until_it_is_there():
    machine = TwoNodes()
    page = machine.take(ANON)
    # Locked at 50, unmapped at 750 to 1950, there at 2350.
    times = np.array([10, 740, 2000, 2200, 5000], np.int64)
    touches = Touches(np.repeat(page, 5), times)
    outcome = machine.migrate(page, code="linux-2.6.16", touches=touches)
    assert fates(outcome) == [Fate.MOVED_DIRECT]
    assert outcome.counters["migrate_faults_waited"] == 2
    assert outcome.counters["migrate_fault_wait_model_ns"] == 350 + 150
    assert machine.state(page[0]) & L.PAGE_YOUNG


def test_a_node_is_emptied_before_pages_come_to_it():
    machine = TwoNodes(nodes=3)
    first, second = machine.take(MAPPED, 400), machine.take(MAPPED, 400, cpu=1)
    machine.fill(1)
    machine.fill(0)
    pages = np.concatenate([first, second])
    to = np.repeat(np.array([1, 2], np.int32), 400)
    outcome = machine.migrate(pages, to, target_full="enomem")
    assert outcome.count(Fate.MOVED_DIRECT) == 800
    assert [machine.node(page) for page in pages] == to.tolist()
