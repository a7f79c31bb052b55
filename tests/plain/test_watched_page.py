"""What is kept of one page that is moved: each attempt, and when."""

from errno import EAGAIN, ENOMEM

import numpy as np
import pytest
from migration_desk import two_nodes

from memsim.memory.migrate_call import Attempt
from memsim.memory.migrating import mbind, migrate_pages, move_pages

MOVE_NS = 1100
"""What moving a page costs."""


def test_every_attempt_at_a_pinned_page_and_when():
    memory = two_nodes({0: (1, "anon"), 1: (1, "pinned"), 2: (1, "anon")})
    began, attempts, ended = move_pages(memory, [0, 1, 2], 1, watch=1).watched
    assert (began, ended) == (0, 2 * MOVE_NS)
    assert [one.pass_ for one in attempts] == list(range(10))
    assert {one.code for one in attempts} == {-EAGAIN}
    assert min(one.target for one in attempts) >= 1024
    assert [one.ended_ns for one in attempts] == [MOVE_NS] + [2 * MOVE_NS] * 9


def test_a_page_of_a_later_list_begins_when_the_one_before_has_ended():
    memory = two_nodes({0: (2, "anon"), 1024: (2, "anon")})
    outcome = move_pages(memory, [0, 1, 2, 3], [1, 1, 0, 0], watch=3)
    target = int(outcome.targets[3])
    attempts = (Attempt(0, target, 0, 4 * MOVE_NS),)
    assert target < 1024
    assert outcome.watched == (2 * MOVE_NS, attempts, 4 * MOVE_NS)


def test_a_huge_page_that_is_split_goes_on_as_its_first_page():
    memory = two_nodes({0: (512, "huge"), **{1024 + 4 * i: (1, "kernel") for i in range(256)}})
    memory.add_handles(511)
    outcome = migrate_pages(memory, [0], [0], [1], watch=0)
    assert outcome.tries[0] == -1
    first, second = outcome.watched.attempts
    assert (first.target, first.code, first.ended_ns) == (-1, -ENOMEM, 0)
    assert (second.pass_, second.code) == (0, 0) and second.target == outcome.targets[0]


@pytest.mark.parametrize("watch", [0, 40, 69])
def test_nothing_comes_out_otherwise_for_being_watched(watch):
    runs = {0: (30, "anon"), 30: (10, "pinned"), 40: (30, "file"), 1024: (5, "anon")}
    found = []
    for place in (-1, watch):
        memory = two_nodes(runs)
        log = memory.mem.log
        outcome = mbind(memory, np.arange(70), [1], watch=place)
        memory.check()
        assert (outcome.watched is None) == (place < 0)
        assert memory.mem.log is log
        columns = outcome.codes, outcome.tries, outcome.targets, memory.page_table
        found.append(([column.tolist() for column in columns], outcome.counters, outcome.took_ns))
    assert found[0] == found[1]
