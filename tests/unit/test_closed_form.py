"""How likely memory can go whose unmovable pages lie at random (history-2005 4.1): (1 - u)^N."""

import numpy as np
import pytest
from compaction_desk import zone
from hotplug_desk import SECTION, removable
from scipy.stats import binomtest

from memsim.chances import removable_chance
from memsim.memory.hotplug import offline
from memsim.memory.obstacles import Reason

SURE = 0.99


def holds(gone, tried, unmovable, pages):
    """Say whether the chance lies within the binomial interval of what was seen."""
    interval = binomtest(gone, tried).proportion_ci(SURE, method="exact")
    return interval.low <= removable_chance(unmovable, pages) <= interval.high


@pytest.mark.parametrize(
    ("unmovable", "pages"), [(0.001, 4096), (0.0001, 4096), (0.00001, 32768), (0.0001, 32768)]
)
def test_history_4_1_placement_at_random(unmovable, pages):
    rng = np.random.default_rng(41)
    tried = 2000
    total = tried * pages
    placed = rng.choice(total, round(unmovable * total), replace=False)
    gone = tried - len(np.unique(placed // pages))
    assert holds(gone, tried, unmovable, pages)


NEXT_TO = 2048
"""Pages that are to go: the end of a section, so that removal is aligned and memory is small."""
SECTIONS = 12


def offlined(unmovable, rng):
    """Take the ends of sections offline in which each page is unmovable by chance; count."""
    spans = tuple(((k + 1) * SECTION - NEXT_TO, (k + 1) * SECTION) for k in range(1, SECTIONS + 1))
    mine = [np.arange(start, end) for start, end in spans]
    runs, stuck = {}, []
    for pages in mine:
        kind = rng.random(NEXT_TO)
        runs |= {int(pfn): (1, "kernel") for pfn in pages[kind < unmovable]}
        runs |= {int(pfn): (1, "anon") for pfn in pages[kind > 0.97]}
        stuck.append(bool((kind < unmovable).any()))
    node_1 = zone(spans[0][0], spans[-1][1], node=1, ranges=spans, present=SECTIONS * NEXT_TO)
    memory = removable([zone(0, 4096), node_1], runs)
    outcomes = [offline(memory, start, end - start) for start, end in spans]
    memory.check()
    assert {o.reason for o in outcomes} <= {Reason.NONE, Reason.KERNEL}
    assert [not o.removed for o in outcomes] == stuck
    return sum(o.removed for o in outcomes)


@pytest.mark.parametrize("unmovable", [0.0001, 0.0005])
def test_history_4_1_removals_come_out_as_the_closed_form_says(unmovable):
    rng = np.random.default_rng(41)
    machines = 10
    gone = sum(offlined(unmovable, rng) for _ in range(machines))
    assert 0 < gone < machines * SECTIONS
    assert holds(gone, machines * SECTIONS, unmovable, NEXT_TO)
