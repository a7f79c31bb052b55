"""Which pageblocks the migrate scanner marks, as the capture ``frag_nogroup`` has it."""

import pytest
from compaction_desk import machine, zone

from memsim.kernels import compact_control as C
from memsim.kernels.compaction_sources import isolate_migratepages_block


def look_for_sources(runs, mode, **fields):
    """Look for pages to be moved in pageblock 1; return how many, and the pageblock's skip bit."""
    memory = machine([zone(0, 2048)], runs)
    m = memory.mem
    C.new_control(m, memory.tables, 0, 3, mode, 0)
    for name, value in fields.items():
        C.control_set(m, getattr(C, name), value)
    isolate_migratepages_block(m, 512, 1024)
    return C.control(m, C.CC_NR_MIGRATEPAGES), int(m.pageblock_skip[1])


@pytest.mark.parametrize(("first", "marked"), [(512, 1), (513, 0)])
def test_a_pageblock_is_marked_if_its_first_page_is_taken(first, marked):
    """0x400 is looked at at 8.849723, and passed over at 8.851059."""
    assert look_for_sources({first: (40, "anon")}, C.MIGRATE_SYNC) == (32, marked)


def test_runs_that_ignore_marks_leave_none():
    assert look_for_sources({512: (40, "anon")}, C.MIGRATE_SYNC, CC_IGNORE_SKIP_HINT=1) == (32, 0)


@pytest.mark.parametrize(("kind", "marked"), [("anon", 0), ("pinned", 1)])
def test_pages_that_are_put_back_keep_their_pageblock_from_being_marked(kind, marked):
    """0x800 yields nothing at 8.638374, and is looked at again at 8.859605."""
    runs = {513: (1, kind), 514: (510, "kernel")}
    assert look_for_sources(runs, C.MIGRATE_ASYNC, CC_DIRECT=1) == (0, marked)
