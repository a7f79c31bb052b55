"""Reclaim of 2.6.14 against its naive twin: lists, flags, slots and counters after every event."""

import pytest
from pressure import assert_same_one_by_one, random_events, touch_at_random
from reclaim_2005 import EVERYTHING, FILES, NAMES, Pair, machine


@pytest.mark.parametrize(
    ("slots", "swappiness", "weights", "seen"),
    [
        pytest.param(600, 100, EVERYTHING, ("pswpin", "pgsteal_anon", "pgrotated"), id="swap"),
        pytest.param(40, 60, EVERYTHING, ("pswpout", "slab_pages_freed"), id="small swap"),
        pytest.param(0, 60, EVERYTHING, ("pgdeactivate", "kills"), id="no swap"),
        pytest.param(0, 60, FILES, ("nr_vmscan_write", "pgactivate"), id="files"),
    ],
)
def test_reclaim_of_2005_is_that_of_the_naive_twin(slots, swappiness, weights, seen):
    pair = Pair(slots, swappiness)
    kills = touch_at_random(pair, slots, dict(zip(NAMES, weights, strict=True)), 700)
    counts = {"kills": kills, **pair.twin.counts}
    missing = [n for n in (*seen, "pgsteal_kswapd", "pgsteal_direct") if not counts.get(n)]
    assert missing == []


def test_results_of_2005_do_not_depend_on_batches_or_on_who_looks_when():
    whole = machine(600, 100)
    assert_same_one_by_one(whole, machine(600, 100), random_events(5, 1500, EVERYTHING))
    assert whole.vmstat()["pgsteal_kswapd"] > 0
