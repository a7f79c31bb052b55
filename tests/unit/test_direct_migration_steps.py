"""The steps of a direct move one by one: what comes in between, and what then happens.

The order is the article's (LWN, 16 November 2005) and that of spec history-2005 3.2, linux-mm 10.2.
"""

import pytest
from migration_2005 import ANON, DIRTY, MAPPED, TwoNodes

from memsim.kernels import layout as L
from memsim.kernels.linux_2_6_14 import migration as M
from memsim.memory.migrating_2005 import STEP_NAMES, Disturbance, Fate, What
from memsim.mm import Use, gfp_from_text
from memsim.schema import Request

CODES = ("v1", "linux-2.6.16")
FIRST = (M.STEP_LOCK, M.STEP_WAIT_ON_WRITEBACK, M.STEP_ADD_TO_SWAP, M.STEP_CHECK_REFERENCES)
UNMAP = (M.STEP_UNMAP, M.STEP_CHECK_AGAIN)
LAST = (
    M.STEP_EARLY_FLAGS, M.STEP_COPY, M.STEP_LATE_FLAGS, M.STEP_CLEAR_OLD, M.STEP_REMOVE_FROM_SWAP,
    M.STEP_START_WRITEBACK, M.STEP_UNLOCK,
)  # fmt: skip
ORDER = {
    "v1": (*FIRST, M.STEP_SWITCH_MAPPING, *UNMAP, *LAST),
    "linux-2.6.16": (*FIRST, *UNMAP, M.STEP_SWITCH_MAPPING, *LAST),
}
EVERY_STEP = [(code, step) for code in CODES for step in ORDER[code]]
NAMES = [f"{code}: before {STEP_NAMES[step]}" for code, step in EVERY_STEP]
at_each_step = pytest.mark.parametrize(("code", "step"), EVERY_STEP, ids=NAMES)
MAPPED_DIRTY = Request(
    gfp_from_text("GFP_HIGHUSER|__GFP_WRITE"), Use.PAGE_CACHE, lru=True, mapped=True
)


def move(machine, page, code, *disturbances):
    """Move one page, watched; return the outcome, and the names of the steps of its first pass."""
    happens = [Disturbance(0, *rest) for rest in disturbances]
    outcome = machine.migrate(page, code=code, watch=0, disturbances=happens)
    return outcome, [step.name for step in outcome.steps if step.pass_ == 0]


def names(steps):
    return [STEP_NAMES[step] for step in steps]


def comes_before(code, step, other):
    return ORDER[code].index(step) <= ORDER[code].index(other)


def clean_anon(machine):
    """An anonymous page that has been written to swap and read back: V1 moves it at once."""
    page = machine.take(ANON)
    machine.migrate(page, mode="swap")
    machine.touch(page[0], cpu=0)
    return page


@pytest.mark.parametrize("code", CODES)
def test_a_move_takes_its_steps_in_their_order(code):
    machine = TwoNodes()
    outcome, steps = move(machine, machine.take(MAPPED), code)
    assert steps == names(ORDER[code])
    times = [step.begins_model_ns for step in outcome.steps]
    assert times == sorted(times)
    assert outcome.model_ns == outcome.page_model_ns[0] == 50 + 700 + 1200 + 400


def test_the_data_are_copied_between_the_early_and_the_late_flags():
    machine = TwoNodes()
    page = machine.take(MAPPED_DIRTY)
    outcome, _ = move(machine, page, "v1")
    began = {step.name: step.begins_model_ns for step in outcome.steps}
    assert began["copy data"] == began["copy early flags"]
    assert began["copy late flags"] == began["copy data"] + 400
    assert machine.state(page[0]) & L.PAGE_DIRTY


@at_each_step
def test_a_process_that_faults_at_any_step_finds_the_page(code, step):
    machine = TwoNodes()
    page = clean_anon(machine)
    outcome, _ = move(machine, page, code, (0, step, What.FAULT))
    assert outcome.fate[0] == Fate.MOVED_DIRECT
    assert machine.node(page[0]) == 1
    assert machine.state(page[0]) & L.PAGE_MAPPED
    unmapped = comes_before(code, M.STEP_CHECK_AGAIN, step)
    mapped_again = comes_before(code, M.STEP_START_WRITEBACK, step)
    waited = outcome.counters["migrate_faults_waited"]
    assert waited == int(unmapped and not mapped_again)


@pytest.mark.parametrize(("code", "passes", "waited_ns"), [("v1", 1, 400), ("linux-2.6.16", 2, 0)])
def test_a_process_that_waits_for_the_old_page_holds_a_reference_to_it(code, passes, waited_ns):
    machine = TwoNodes()
    page = clean_anon(machine)
    outcome, _ = move(machine, page, code, (0, M.STEP_CHECK_AGAIN, What.FAULT))
    assert outcome.passes.tolist() == [passes]
    assert outcome.counters["migrate_fault_wait_model_ns"] == waited_ns


@at_each_step
def test_what_a_process_writes_at_any_step_is_not_lost(code, step):
    machine = TwoNodes()
    page = machine.take(MAPPED)
    move(machine, page, code, (0, step, What.WRITE_FAULT))
    assert machine.node(page[0]) == 1
    assert machine.state(page[0]) & L.PAGE_DIRTY


@at_each_step
def test_after_a_remaining_reference_no_later_step_happens(code, step):
    machine = TwoNodes()
    page = machine.take(MAPPED)
    _, steps = move(machine, page, code, (0, step, What.GET_PAGE))
    if comes_before(code, step, M.STEP_CHECK_AGAIN):
        last = M.STEP_CHECK_AGAIN
        if comes_before(code, step, M.STEP_CHECK_REFERENCES):
            last = M.STEP_CHECK_REFERENCES
        order = ORDER[code]
        assert steps == names((*order[: order.index(last) + 1], M.STEP_UNLOCK))
        assert machine.node(page[0]) == 0
    else:
        assert (steps, machine.node(page[0])) == (names(ORDER[code]), 1)
    assert machine.state(page[0]) & L.PAGE_PINNED


@pytest.mark.parametrize("code", CODES)
def test_a_reference_that_is_given_back_lets_the_next_pass_move_the_page(code):
    machine = TwoNodes()
    page = machine.take(MAPPED)
    events = ((0, M.STEP_UNMAP, What.GET_PAGE), (1, M.STEP_LOCK, What.PUT_PAGE))
    outcome, _ = move(machine, page, code, *events)
    assert (outcome.fate[0], outcome.passes[0]) == (Fate.MOVED_DIRECT, 2)


@at_each_step
def test_writeback_that_is_queued_is_started_on_the_new_page(code, step):
    machine = TwoNodes()
    page = machine.take(MAPPED_DIRTY)
    outcome, steps = move(machine, page, code, (0, step, What.WRITE_PAGE))
    state = machine.state(page[0])
    assert machine.node(page[0]) == 1
    assert not state & L.PAGE_DIRTY
    if step == M.STEP_LOCK:
        # Not locked yet: the old page is written, and waited for.
        assert outcome.waits.tolist() == [1]
    else:
        assert steps == names(ORDER[code])
        assert state & L.PAGE_WRITEBACK
        queued = outcome.counters["migrate_queued_writeback_started"]
        assert queued == (step != M.STEP_UNLOCK)
    assert outcome.counters["migrate_writeback_started"] == 1


@at_each_step
def test_a_process_that_ends_at_any_step_leaves_no_page_behind(code, step):
    machine = TwoNodes()
    page = machine.take(ANON)
    free = [machine.memory.nr_free_pages(node) for node in range(2)]
    outcome, _ = move(machine, page, code, (M.EVERY_PASS, step, What.EXIT))
    assert outcome.fate[0] == Fate.FREED_MEANWHILE
    assert [machine.memory.nr_free_pages(node) for node in range(2)] == [free[0] + 1, free[1]]
    assert machine.free_slots() == 512


@at_each_step
def test_who_wants_the_page_lock_gets_it_when_the_move_is_over(code, step):
    machine = TwoNodes()
    page = machine.take(DIRTY)
    outcome, _ = move(machine, page, code, (0, step, What.LOCK_PAGE))
    assert outcome.fate[0] == Fate.MOVED_DIRECT
    first = step == M.STEP_LOCK
    assert outcome.passes[0] == (4 if first else 1)
    assert machine.memory.mem.traits[page[0]] == (0 if first else L.TRAIT_LOCKED)
