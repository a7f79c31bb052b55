"""Reclaim of 2.6.14 against its naive twin: lists, flags, slots and counters after every event."""

import numpy as np
import pytest
from pressure import touch_at_random
from reclaim_2005 import EVERYTHING, FILES, HANDLES, NAMES, Pair, machine

from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE


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


def random_events(seed, n):
    draw = np.random.default_rng(seed)
    kinds = draw.choice(len(NAMES), HANDLES, p=np.array(EVERYTHING) / sum(EVERYTHING))
    handle = draw.integers(0, HANDLES, n).astype(np.int32)
    op = np.where(draw.random(n) < 0.3, OP_TOUCH | OP_WRITE, OP_TOUCH)
    op = np.where(draw.random(n) < 0.05, OP_FREE, op).astype(np.uint8)
    gaps = np.where(draw.random(n) < 0.3, draw.integers(0, 3_000_000, n), 0)
    request = kinds[handle].astype(np.uint16)
    return op, request, np.zeros(n, np.uint16), handle, np.cumsum(gaps)


def test_results_of_2005_do_not_depend_on_batches_or_on_who_looks_when():
    events = random_events(5, 1500)
    whole, split = machine(600, 100), machine(600, 100)
    assert len(whole.run(*events).pfn) == 1500
    before = 0
    for i, time in enumerate(events[4].tolist()):
        split.advance((before + time) // 2)
        assert len(split.run(*(column[i : i + 1] for column in events)).pfn) == 1
        before = time
    assert whole.vmstat() == split.vmstat()
    assert whole.vmstat()["pgsteal_kswapd"] > 0
    for name, array in whole.mem._asdict().items():
        np.testing.assert_array_equal(array, getattr(split.mem, name), name)
