"""The checkable facts of spec 5.5 to 5.9 and 3.9 that need reclaim, compaction or OOM."""

import pytest
from backend import H, M, U
from pressure import PressedMachine

from memsim.kernels import layout as L
from memsim.kernels.compaction import PRIO_ASYNC, PRIO_SYNC_LIGHT
from memsim.kernels.trace_log import OOM_KILL, OOM_NO_VICTIM, OOM_NOT_FOR_THIS
from memsim.memory.killing import let_fail
from memsim.mm import OP_FALLBACK, Status, Use, WhyNot

OK, NOPAGE = Status.OK, Status.NOPAGE
MARKS = (64, 80, 96)


def scattered(pages, kind=M):
    """Half of so many pages: those free singly that cannot merge."""
    return [(pfn, 0, kind) for pfn in range(0, pages, 2)]


def names(machine):
    return [name for name, *_ in machine.steps()]


def test_F5_6_a_page_at_the_min_mark_wakes_kswapd_only():
    machine = PressedMachine(2048, scattered(150, U), wmark=MARKS)
    assert machine.memory.nr_free_pages(0) == 75
    assert machine.ask("GFP_KERNEL").status == OK
    assert names(machine) == ["ENTER", "WAKE", "WALK"]
    assert machine.vmstat("kswapd_wakeups") == 1
    assert machine.vmstat("allocstall") == 0


def test_F5_2_a_request_that_cannot_wait_fails_at_the_min_mark():
    machine = PressedMachine(2048, scattered(128), wmark=MARKS)
    outcome = machine.ask("GFP_NOWAIT")
    assert (outcome.status, outcome.why) == (NOPAGE, WhyNot.NO_MEMORY)
    assert names(machine) == ["ENTER", "WAKE", "WALK", "WAKE", "WALK", "FAIL"]


def test_a_costly_request_that_is_not_retried_gives_up_where_compaction_is_skipped():
    machine = PressedMachine(2048, scattered(1024), wmark=MARKS)
    outcome = machine.ask("GFP_KERNEL|__GFP_NORETRY", 9)
    assert (outcome.status, outcome.why) == (NOPAGE, WhyNot.FRAGMENTATION)
    assert "RECLAIM" not in names(machine)
    assert machine.vmstat("compact_stall") == 0
    assert outcome.extfrag == 1000 - (1000 + 512 * 1000 // 512) // 512


def test_a_block_that_the_mark_forbids_is_no_fragmentation():
    free = [(1024, 9, M), *scattered(100)]
    machine = PressedMachine(2048, free, wmark=MARKS)
    outcome = machine.ask("GFP_NOWAIT", 9)
    assert (outcome.status, outcome.why) == (NOPAGE, WhyNot.WATERMARK)
    assert outcome.extfrag == -1000


def test_F5_7_a_costly_block_that_cannot_be_made():
    windows = range(0, 4096, 16)
    free = [block for w in windows for block in ((w + 4, 2, M), (w + 8, 2, M))]
    machine = PressedMachine(4096, free, wmark=MARKS)
    machine.fill(1000, use=Use.PAGE_CACHE)
    outcome = machine.ask("GFP_KERNEL", 4)
    assert (outcome.status, outcome.why) == (NOPAGE, WhyNot.FRAGMENTATION)
    steps = [step for step in machine.steps() if step[0] in ("COMPACT", "RECLAIM", "OOM", "FAIL")]
    assert [name for name, *_ in steps] == ["COMPACT", "RECLAIM", "COMPACT", "FAIL"]
    assert [steps[0][1], steps[2][1]] == [PRIO_ASYNC, PRIO_SYNC_LIGHT]
    assert steps[1][1] > 0
    assert machine.vmstat("allocstall") == 1
    assert machine.vmstat("compact_stall") == machine.vmstat("compact_fail") == 2


@pytest.mark.parametrize(
    ("gfp", "order", "step"),
    [
        ("GFP_KERNEL", 0, OOM_KILL),
        ("GFP_KERNEL", 3, OOM_KILL),
        ("GFP_KERNEL|__GFP_RETRY_MAYFAIL", 0, OOM_NOT_FOR_THIS),
        ("GFP_KERNEL|__GFP_THISNODE", 0, OOM_NOT_FOR_THIS),
        ("GFP_DMA32|GFP_KERNEL", 0, OOM_NOT_FOR_THIS),
        ("GFP_KERNEL|__GFP_NORETRY", 0, None),
        ("GFP_KERNEL", 4, None),
    ],
)
def test_5_5_who_may_kill(gfp, order, step):
    index = 1 if "DMA32" in gfp else 2
    machine = PressedMachine(2048, scattered(100), wmark=MARKS, index=index)
    outcome = machine.ask(gfp, order)
    assert (outcome is None) == (step == OOM_KILL)
    assert [s for name, s, *_ in machine.steps() if name == "OOM"] == [step] * (step is not None)


def test_5_5_before_a_kill_the_high_mark_is_tried():
    machine = PressedMachine(2048, scattered(100), wmark=MARKS)
    machine.ask("GFP_KERNEL")
    steps = machine.steps()
    walk, oom = steps[-3:-1]
    assert (walk[0], walk[1] & 3, oom[0]) == ("WALK", 2, "OOM")


def test_with_nobody_left_to_kill_a_request_fails():
    machine = PressedMachine(2048, scattered(100), wmark=MARKS)
    let_fail(machine.memory, True)
    assert machine.ask("GFP_KERNEL").status == NOPAGE
    assert ("OOM", OOM_NO_VICTIM, 0, 0, 0) in machine.steps()


def test_a_request_that_cannot_fail_ends_all_the_same():
    machine = PressedMachine(2048, scattered(40), wmark=MARKS)
    let_fail(machine.memory, True)
    assert machine.ask("GFP_KERNEL|__GFP_NOFAIL", 3).status == NOPAGE
    assert names(machine).count("RETRY") == 16


@pytest.mark.parametrize(("gfp", "order"), [("GFP_KERNEL", 4), ("GFP_KERNEL|__GFP_NORETRY", 0)])
def test_5_5_a_request_that_cannot_fail_goes_on_after_its_only_round(gfp, order):
    machine = PressedMachine(2048, scattered(40), wmark=MARKS)
    assert machine.ask(gfp, order).status == NOPAGE
    assert names(machine).count("RETRY") == 0
    assert machine.ask(f"{gfp}|__GFP_NOFAIL", order).status == NOPAGE
    assert names(machine).count("RETRY") == 16


def test_a_request_that_cannot_fail_takes_from_the_min_reserve():
    machine = PressedMachine(2048, scattered(100), wmark=MARKS)
    let_fail(machine.memory, True)
    assert machine.ask("GFP_KERNEL|__GFP_NOFAIL").status == OK


# 3.9


def reserved(reserve, **zone):
    """A zone whose only free blocks are in pageblock 1, which is HighAtomic."""
    free = [(512 + 128 * i, 7, H) for i in range(3)]
    machine = PressedMachine(
        4096, free, pageblocks={1: H}, wmark=MARKS, nr_reserved_highatomic=reserve, **zone
    )
    return machine


def test_3_9_the_last_pageblock_is_given_back_only_before_oom():
    machine = reserved(512)
    assert machine.ask("GFP_KERNEL").status == OK
    steps = machine.steps()
    assert [args for name, *args in steps if name == "UNRESERVE"] == [[1, 1, 0, 0]]
    assert machine.memory.zone_field(0, L.Z_NR_RESERVED_HIGHATOMIC) == 0
    assert machine.memory.mem.pageblocks[1] == U
    assert machine.memory.nr_free_pages(0) == 3 * 128 - 1
    assert [len(machine.memory.free_list(0, 7, kind)) for kind in (H, U)] == [0, 2]
    assert machine.vmstat("highatomic_unreserved_blocks") == 1


def test_3_9_one_pageblock_at_a_time_is_given_back():
    free = [(512, 8, H), (768, 7, H), (1024, 8, H), (1280, 7, H)]
    blocks = {1: H, 2: H}
    machine = PressedMachine(
        4096, free, pageblocks=blocks, wmark=MARKS, nr_reserved_highatomic=1024
    )
    assert machine.ask("GFP_KERNEL").status == OK
    assert machine.memory.mem.pageblocks[1:3].tolist() == [U, H]
    assert machine.memory.zone_field(0, L.Z_NR_RESERVED_HIGHATOMIC) == 512


# Faults that ask for huge pages


@pytest.mark.parametrize("huge", [True, False])
def test_base_pages_are_taken_only_if_the_huge_page_was_not_to_be_had(huge):
    machine = PressedMachine(4096, [(1024, 9, M)] if huge else scattered(1024))
    asked = machine.ask("GFP_TRANSHUGE_LIGHT", 9, Use.ANON, lru=True)
    instead = machine.ask("GFP_HIGHUSER_MOVABLE", OP_FALLBACK, Use.ANON, lru=True)
    assert asked.status == (OK if huge else NOPAGE)
    assert instead.status == (Status.SKIPPED if huge else OK)
    counts = [machine.vmstat(f"thp_fault_{name}") for name in ("alloc", "fallback")]
    assert counts == [int(huge), int(not huge)]


def test_a_block_that_is_no_huge_fault_says_nothing_of_base_pages():
    machine = PressedMachine(4096, scattered(1024))
    assert machine.ask("GFP_HIGHUSER_MOVABLE|__GFP_NORETRY", 9).status == NOPAGE
    instead = machine.ask("GFP_HIGHUSER_MOVABLE", OP_FALLBACK, Use.ANON, lru=True)
    assert instead.status == Status.SKIPPED
    assert machine.vmstat("thp_fault_fallback") == 0
