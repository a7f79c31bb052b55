"""An attempt that failed is found again, and what is said of it can be counted by hand."""

import json

import numpy as np
import pytest
from backend import M, MachineSpec, Request, U, ZoneSpec
from kernel_backend import KernelMachine
from trials import small

from memsim.errors import InputError
from memsim.explain import chosen_trial, explain
from memsim.explain.areas import areas_of
from memsim.explain.steps import WORDS, steps_of
from memsim.explain.text import as_json, as_markdown
from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.mm import Status
from memsim.simulate import simulate
from memsim.simulate.attempts import failed_attempt


@pytest.fixture(scope="module")
def trial():
    return chosen_trial(small(), "mobility", 2, ())


@pytest.fixture(scope="module")
def failures(trial):
    rows = simulate(trial).high_order
    return sum(row.attempted - row.succeeded for row in rows)


def test_every_failed_attempt_has_a_number(trial, failures):
    assert failures > 3
    assert failed_attempt(trial, failures + 1) == failures
    times = [failed_attempt(trial, n).time_ns for n in (1, 2, failures)]
    assert times == sorted(times)


@pytest.mark.parametrize("number", [1, 3])
def test_the_state_before_an_attempt_does_not_depend_on_batches(trial, number):
    found, other = (failed_attempt(trial, number, batch_size=n) for n in (100_000, 7))
    assert found.status not in (Status.OK, Status.SKIPPED)
    assert found[1:9] == other[1:9]
    np.testing.assert_array_equal(found.before.mem.state, other.before.mem.state)
    np.testing.assert_array_equal(found.before.mem.zones, other.before.mem.zones)
    np.testing.assert_array_equal(found.log, other.log)
    found.before.check()


def test_an_explanation_says_what_the_zone_had(trial):
    found = explain(trial, 1)
    zone, areas = found.zones[0], found.areas[0]
    pages = sum(n << k for k, n in enumerate(zone.free_blocks))
    assert (found.order, zone.free) == (9, pages)
    assert 0 <= areas.movable <= areas.total
    text = as_markdown(found)
    assert f"| {zone.name} | {zone.free:,} |" in text
    assert "## Why it failed" in text
    data = json.loads(as_json(found))
    assert data["zones"][0]["free"] == zone.free
    assert data["would_have_helped"]


def test_there_is_no_such_attempt(trial, failures):
    with pytest.raises(InputError, match=f"{failures} attempts failed in this trial"):
        explain(trial, 10**6)


@pytest.mark.parametrize(
    ("policy", "seed", "message"),
    [("mobile", None, 'did you mean "mobility"'), (None, 9, "there is no seed 9")],
)
def test_a_trial_that_is_not_there_is_refused(policy, seed, message):
    with pytest.raises(InputError, match=message):
        chosen_trial(small(), policy, seed, ())


def test_areas_are_counted_page_by_page():
    kernels = KernelMachine(MachineSpec((ZoneSpec(0, 4096, ((0, 10, M), (1024, 10, M))),)))
    moved = [kernels.alloc(0, Request(migratetype=M, lru=True))[1] for _ in range(700)]
    fixed = [kernels.alloc(0, Request(order=2, migratetype=U))[1] for _ in range(3)]
    memory = kernels.memory
    memory.mem.state[moved[3]] |= L.PAGE_PINNED
    memory.mem.state[4000:4096] = L.PAGE_RESERVED
    for order in (0, 4, 9, 10):
        of_area = {}
        for pfn in range(4096 >> order << order):
            mine = of_area.setdefault(pfn >> order, {"movable": 0, "other": 0})
            inside = any(head <= pfn < head + 4 for head in fixed)
            mine["other"] += inside or pfn == moved[3] or pfn >= 4000
            mine["movable"] += pfn in moved and pfn != moved[3]
        whole = [area["movable"] for area in of_area.values() if not area["other"]]
        found = areas_of(memory, 0, order)
        assert (found.total, found.movable) == (len(of_area), len(whole))
        assert found.fewest_to_move == (min(whole) if whole else None)


def test_steps_are_told_in_their_order(trial):
    steps = explain(trial, 1).steps
    assert [steps[0].name, steps[-1].name] == ["slow path", "give up"]
    assert any(step.outcome.startswith("found nothing") for step in steps)


def test_every_step_of_the_log_has_words():
    codes = {value for name, value in vars(trace_log).items() if name.startswith("STEP_")}
    assert set(WORDS) == codes
    rows = np.zeros((len(codes), trace_log.LOG_FIELDS), np.int32)
    rows[:, 1], rows[:, 2] = trace_log.LOG_STEP, sorted(codes)
    assert len({step.name for step in steps_of(rows)}) == len(codes)
