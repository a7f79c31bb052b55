"""Lumpy reclaim of 2007: the kernels take, age and free what the naive twin does."""

import random

import pytest
from pressure import touch_at_random
from reclaim_2005 import EVERYTHING, NAMES, Pair

from memsim.kernels import trace_log
from memsim.kernels.layout import REQ_FS, REQ_IO
from memsim.kernels.linux_2_6_14 import vmscan
from memsim.kernels.linux_2_6_14.page_reclaim import S_COST, ScanControl


@pytest.mark.parametrize("seed", range(3))
def test_lumpy_reclaim_is_that_of_the_naive_twin(seed):
    draw = random.Random(f"lumpy {seed}")
    pair = Pair(slots=400, swappiness=100, lumpy=True)
    memory, twin = pair.memory, pair.twin
    touch_at_random(pair, draw.random(), dict(zip(NAMES, EVERYTHING, strict=True)), 300)
    most = 0
    for _ in range(12):
        z, order, kswapd = draw.randrange(2), draw.choice((1, 3, 5, 9)), draw.randrange(2)
        active, inactive = draw.choice((0, 5, 32, 60)), draw.choice((0, 5, 32, 60))
        sc = ScanControl(order, REQ_FS | REQ_IO, 6, kswapd, 0)
        memory.mem.system[S_COST] = twin.work = 0
        twin.order = order
        left = {"active": active, "inactive": inactive}
        found = twin.once(z, left, "kswapd" if kswapd else "direct")
        args = (memory.mem, memory.tables, z, sc, active, inactive)
        assert vmscan.shrink_once(*args) == found
        assert memory.mem.system[S_COST] == twin.work
        log = memory.take_log().tolist()
        assert [row[2] for row in log if row[1] == trace_log.LOG_FREE] == twin.freed
        twin.freed = []
        pair.compare()
        most = max(most, found[0])
    memory.check()
    assert most > 64
