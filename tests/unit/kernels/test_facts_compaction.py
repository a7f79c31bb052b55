"""The checkable facts of spec 6.12 and 11.11 on compaction, through Memory."""

import numpy as np
import pytest
from compaction_desk import compaction_log, freed, lists, machine, zone

from memsim.kernels import layout as L
from memsim.kernels import trace_log
from memsim.memory.setup import Pressure
from memsim.mm import Gfp, Status, Use, gfp_from_text
from memsim.schema import Request

EVERY_SECOND = {pfn: (1, "anon") for pfn in range(0, 512, 2)}
HALF_A_SECOND = 500_000_000


def ask(memory, order, text, time=0, before=()):
    """Ask for a block at a time, after touching nothing at the times ``before``."""
    gfp = gfp_from_text(text)
    row = memory.add_requests([Request(gfp, Use.ANON if gfp & Gfp.MOVABLE else Use.KERNEL)])
    handle = memory.add_handles(1 + len(before))
    n = len(before) + 1
    outcome = memory.run(
        np.array([*[0] * len(before), order], np.uint8),
        np.full(n, row, np.uint16),
        np.zeros(n, np.uint16),
        np.arange(handle, handle + n, dtype=np.int32),
        np.array([*before, time], np.int64),
    )
    memory.check()
    return Status(outcome.status[-1]), int(outcome.pfn[-1])


def test_F6_3_a_node_of_one_zone_scores_a_little_less_than_the_zone():
    runs = {pfn: (1, "kernel") for pfn in range(0, 16384 - 2048, 2)}
    runs |= {16384 - 2048 + 512: (1536, "kernel")}
    memory = machine([zone(0, 16384)], runs)
    pages = 7168 + 512
    assert memory.nr_free_pages(0) == pages
    assert (pages - 512) * 100 // pages == 93
    assert memory.fragmentation_score(0) == 16384 * 93 // 16385 == 92


def test_F6_4_pages_go_from_the_bottom_to_the_top_in_descending_order():
    memory = machine([zone(0, 2048)], {0: (10, "file"), 1536: (10, "file")})
    memory.compact_memory()
    assert memory.page_table[:10].tolist() == [pfn + 1 for pfn in range(1558, 1568)]
    assert memory.page_table[10:20].tolist() == [pfn + 1 for pfn in range(1536, 1546)]
    assert freed(memory) == [*range(9, -1, -1), *range(1557, 1545, -1)]
    counted = memory.vmstat()
    assert (counted["pgmigrate_success"], counted["compact_isolated"]) == (10, 32)
    assert lists(memory)[10] == [0]
    memory.check()


def test_F6_4_the_run_is_complete_when_the_scanners_meet():
    memory = machine([zone(0, 2048)], {0: (10, "file"), 1536: (10, "file")})
    memory.compact_memory()
    log = compaction_log(memory)
    complete = 5
    assert log[0][:3] == (trace_log.COMPACTION_BEGIN, 0, 1536)
    assert log[-1] == (trace_log.COMPACTION_END, 1536, 1568, 0, -1, complete)
    isolated = [row for row in log if row[0] == trace_log.COMPACTION_ISOLATE_FREEPAGES]
    assert isolated == [(trace_log.COMPACTION_ISOLATE_FREEPAGES, 1536, 1568, 32, 22, 0)]


def test_moved_pages_are_at_the_head_of_their_list_and_keep_what_they_are():
    memory = machine([zone(0, 2048)], {0: (3, "dirty"), 1536: (4, "active"), 1600: (2, "dirty")})
    memory.compact_memory()
    inactive = memory.lru_list(0, L.LRU_INACTIVE_FILE).tolist()
    moved = [int(pfn) - 1 for pfn in memory.page_table[:3]]
    assert inactive == [*moved, 1601, 1600]
    assert all(memory.mem.state[pfn] & L.PAGE_DIRTY for pfn in moved)
    assert memory.lru_list(0, L.LRU_ACTIVE_FILE).tolist() == [1539, 1538, 1537, 1536]


def test_a_page_without_a_holder_moves_and_changes_nobodys_table():
    memory = machine([zone(0, 2048)], {0: (1, "file"), 1: (1, "file"), 1536: (1, "file")})
    memory.page_table[0] = 0
    memory.compact_memory()
    assert memory.page_table[0] == 0
    assert memory.page_table[1] > 1536
    assert len(memory.lru_list(0, L.LRU_INACTIVE_FILE)) == 3
    memory.check()


def test_F11_5_a_direct_compaction_that_yields_its_page_is_a_success():
    memory = machine([zone(0, 4096, marks=(64, 80, 96))], spoilt(4096))
    status, pfn = ask(memory, 9, "GFP_HIGHUSER_MOVABLE|__GFP_NORETRY")
    assert status == Status.OK
    assert pfn % 512 == 0
    counted = memory.vmstat()
    assert counted["compact_stall"] == counted["compact_success"] == 1
    assert counted["compact_fail"] == 0
    assert counted["pgmigrate_success"] > 0
    assert counted["stall_model_ns"] >= counted["pgmigrate_success"] * 1100


def spoilt(pages):
    """Let every pageblock have a user page at every second place, up to half of the zone."""
    return {pfn: (1, "anon") for pfn in range(0, pages, 2)}


def test_an_atomic_request_does_not_compact():
    memory = machine([zone(0, 4096, marks=(64, 80, 96))], spoilt(4096))
    status, _ = ask(memory, 9, "GFP_ATOMIC")
    assert status == Status.NOPAGE
    assert memory.vmstat()["compact_migrate_scanned"] == 0


def test_proactive_compaction_looks_every_half_second():
    memory = machine([zone(0, 4096)], spoilt(4096), pressure=Pressure())
    assert memory.fragmentation_score(0) == 99
    ask(memory, 0, "GFP_KERNEL", time=HALF_A_SECOND - 1)
    assert memory.vmstat()["compact_migrate_scanned"] == 0
    ask(memory, 0, "GFP_KERNEL", time=HALF_A_SECOND)
    early = memory.vmstat()
    ask(memory, 0, "GFP_KERNEL", time=2 * HALF_A_SECOND - 1)
    counted = memory.vmstat()
    assert 0 < early["pgmigrate_success"] < counted["pgmigrate_success"]
    assert counted["compact_migrate_scanned"] > 0
    assert counted["compact_daemon_migrate_scanned"] == 0
    assert memory.fragmentation_score(0) <= 80
    assert counted["kcompactd_model_ns"] > 0
    assert counted["stall_model_ns"] == 0


@pytest.mark.parametrize("unmovable", ["kernel", "pinned"])
def test_proactive_compaction_that_does_not_help_looks_again_64_times_later(unmovable):
    runs = {pfn: (1, unmovable) for pfn in range(0, 4096, 2)}
    memory = machine([zone(0, 4096)], runs, pressure=Pressure())
    scanned = []
    for time in (2 * HALF_A_SECOND, 63 * HALF_A_SECOND, 67 * HALF_A_SECOND):
        ask(memory, 0, "GFP_KERNEL", time=time)
        scanned.append(memory.vmstat()["compact_migrate_scanned"])
    assert 0 < scanned[0] == scanned[1] < scanned[2]
    assert memory.vmstat()["pgmigrate_success"] == 0
