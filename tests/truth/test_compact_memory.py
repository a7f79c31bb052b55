"""memsim against a real kernel: compaction of all memory moves exactly as many pages.

Capture ``frag``, from ``s5_hugetlb``: 55 huge pages are freed, then compact_memory is written. What
each page is was last recorded at ``s4_after_o9_norety``; no page moved in between.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from memsim.kernels import layout as L
from memsim.memory.restore import restore
from memsim.memory.setup import Pressure
from memsim.mm import OP_FREE, PAGEBLOCK_ORDER
from memsim.policies import LINUX_6_1, mobility
from memsim.schema import HeldBlocks
from memsim.traces import TraceEvent
from memsim.traces._page_flags import read_page_flags
from memsim.traces.capture import FLAGS_NAMES, read_capture, read_snapshot

FRAG = Path(__file__).parent.parent / "data" / "captures" / "frag"
FREED_NS = (19_778_100_000, 19_778_900_000)
HUGE = 1 << PAGEBLOCK_ORDER


def huge_pages_freed():
    trace = read_capture(FRAG).trace
    start, end = FREED_NS
    mine = (trace.time > start) & (trace.time < end) & (trace.order == PAGEBLOCK_ORDER)
    return trace.pfn[mine & (trace.event == TraceEvent.MM_PAGE_FREE)]


@pytest.fixture(scope="module")
def compacted():
    heads = huge_pages_freed()
    flags = read_page_flags(FRAG / "s4_after_o9_norety" / FLAGS_NAMES[0]).copy()
    for head in heads:
        flags[head : head + HUGE] = 0
    state = read_snapshot(FRAG / "s5_hugetlb").state
    tables = mobility.Policy().tables(LINUX_6_1)
    memory = restore(state, tables, pages=flags, pressure=Pressure(compaction_proactiveness=0))
    n = len(heads)
    first = memory.add_handles(n)
    assert memory.hold(first, HeldBlocks(heads, np.full(n, PAGEBLOCK_ORDER, np.int64))) == n == 55
    memory.run(
        np.full(n, OP_FREE | PAGEBLOCK_ORDER, np.uint8),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.arange(first, first + n, dtype=np.int32),
    )
    memory.compact_memory()
    return memory


def test_pages_moved_and_targets_looked_at_are_the_kernels(compacted):
    steps = [json.loads(line) for line in (FRAG / "e4.jsonl").read_text().splitlines()]
    (theirs,) = [step["vmstat"] for step in steps if step["label"] == "compact_memory"]
    mine = compacted.vmstat()
    for name in ("pgmigrate_success", "compact_isolated", "compact_free_scanned"):
        assert mine[name] == theirs[name] > 0


def test_the_state_is_sound_afterwards(compacted):
    compacted.check()
    assert compacted.zone_field(2, L.Z_NR_FREE + 10) > 0
