"""Memory hot-remove of 2007 (history-2005 4.2): its rules one by one, then against the oracle."""

from errno import EAGAIN, EBUSY, EINTR, EINVAL, ENOMEM, errorcode

import numpy as np
import pytest
from hotplug_2005_desk import BLOCK, FLAG, FULL, LIGHT, NONE, attempt_at, removable, take, types
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.naive_hotplug_2005 import NaiveRemoval

from memsim.kernels import layout as L
from memsim.kernels.lru import lru_del
from memsim.kernels.swap import folio_add_lru
from memsim.kernels.system import S_PRESSURE
from memsim.memory.hotplug_2005 import Offlining2005
from memsim.memory.obstacles import Reason
from memsim.mm import Migratetype

ISOLATE = Migratetype.ISOLATE
FEW = 10**8


def test_history_4_2_pages_go_256_at_a_time_and_the_block_leaves_its_zone():
    memory = removable({BLOCK: (600, "anon"), 5000: (2, "kernel")})
    outcome = take(memory, 1)
    assert outcome.removed and (outcome.tries, outcome.pages_migrated) == (3, 600)
    (first, second) = memory.zone_infos()
    assert (first.present, second.present) == (3 * BLOCK, 2 * BLOCK)
    assert memory.setup.zones[0].pieces == ((0, BLOCK), (2 * BLOCK, 4 * BLOCK))
    assert memory.nr_free_pages(0) + memory.nr_free_pages(1) == 5 * BLOCK - 602


def test_history_4_2_the_range_is_of_whole_pageblocks_of_one_zone():
    memory = removable()
    for start, pages, reason in (
        (BLOCK + 1, BLOCK, Reason.UNALIGNED),
        (BLOCK, BLOCK // 2, Reason.UNALIGNED),
        (3 * BLOCK, 2 * BLOCK, Reason.STRADDLES_ZONES),
    ):
        outcome = Offlining2005(memory, start, pages).step()
        assert (outcome.errno, outcome.reason) == (-EINVAL, reason)
    assert take(memory, 1).removed
    assert (take(memory, 1).errno, take(memory, 1).reason) == (-EINVAL, Reason.OFFLINE)


def test_history_4_2_pages_that_are_freed_meanwhile_are_not_used_again():
    memory = removable({BLOCK: (3, "pinned")}, pcp_high=42, pcp_batch=7)
    attempt = attempt_at(memory, 1)
    assert attempt.step() is None and attempt.step() is None
    assert types(memory) == [0, ISOLATE, 0, 0, 0, 0]
    # A refill has taken seven pages elsewhere.
    assert memory.nr_free_pages(0) == 3 * BLOCK - 7
    memory.mem.state[BLOCK : BLOCK + 3] &= ~L.PAGE_PINNED
    assert attempt.step() is None
    listed = [pfn for order in range(11) for pfn in memory.free_list(0, order, ISOLATE).tolist()]
    assert min(listed) == BLOCK and max(listed) < 2 * BLOCK
    assert attempt.step().removed
    memory.check()


def test_history_4_2_a_page_of_the_kernel_ends_a_pass_at_once_and_five_of_them_the_attempt():
    memory = removable({BLOCK: (300, "anon"), BLOCK + 400: (1, "kernel"), BLOCK + 500: (2, "file")})
    outcome = take(memory, 1)
    # The first 256 pages have moved before; the rest are put back each time.
    assert (outcome.errno, outcome.reason, outcome.page) == (-EBUSY, Reason.KERNEL, BLOCK + 400)
    assert (outcome.tries, outcome.pages_migrated, outcome.pages_left) == (6, 256, 46)
    assert [o.pfn for o in outcome.obstacles] == [BLOCK + 400]
    assert types(memory) == [0] * 6


def test_history_4_2_pages_that_wait_in_a_batch_are_drained_before_the_next_pass():
    memory = removable({BLOCK: (20, "file")})
    for pfn in range(BLOCK, BLOCK + 5):
        lru_del(memory.mem, pfn)
        memory.mem.state[pfn] &= ~L.PAGE_LRU
        folio_add_lru(memory.mem, 0, pfn, 0)
    # The first page on a list comes behind them: a scan from there on meets none of them.
    outcome = take(memory, 1)
    assert outcome.removed and (outcome.tries, outcome.pages_migrated) == (2, 20)


def test_history_4_2_pages_that_stay_are_tried_until_the_time_is_over_or_a_signal_comes():
    for options, code in (({"timeout_ns": FEW}, EAGAIN), ({"signal_at": FEW}, EINTR)):
        memory = removable({BLOCK: (1, "pinned"), BLOCK + 9: (3, "anon")})
        outcome = take(memory, 1, **options)
        assert (outcome.errno, outcome.reason) == (-code, Reason.PINNED)
        assert outcome.tries > 20 and outcome.pages_migrated == 3
        assert outcome.pgmigrate_fail == outcome.tries and outcome.ended_ns >= FEW


def test_history_4_2_passes_that_change_nothing_are_counted_as_if_they_were_made():
    one, other = (removable({BLOCK: (2, "pinned")}) for _ in range(2))
    outcome = take(one, 1, timeout_ns=FEW)
    attempt = attempt_at(other, 1, timeout_ns=FEW)
    while (same := attempt.step()) is None:
        pass
    assert outcome == same and outcome.tries > 20
    assert one.vmstat() == other.vmstat()
    assert np.array_equal(one.mem.zones, other.mem.zones)


def test_history_4_2_without_memory_elsewhere_it_gives_up_after_five_passes():
    memory = removable({BLOCK: (600, "anon"), 0: (BLOCK, "kernel"), 2 * BLOCK: (3972, "kernel")})
    memory.mem.system[S_PRESSURE] = 0
    outcome = take(memory, 1)
    assert (outcome.errno, outcome.reason) == (-ENOMEM, Reason.NO_MEMORY)
    assert (outcome.tries, outcome.pages_migrated) == (5, 124)


def test_history_4_2_the_last_look_finds_a_page_of_the_kernel_behind_all_others():
    memory = removable({2 * BLOCK - 1: (1, "kernel")})
    outcome = take(memory, 1)
    assert (outcome.errno, outcome.page, outcome.reason) == (
        -EBUSY, 2 * BLOCK - 1, Reason.KERNEL,
    )  # fmt: skip


def test_history_4_2_boot_memory_cannot_be_set_apart():
    memory = removable({2 * BLOCK: (5, "kernel"), BLOCK: (9, "anon")})
    memory.page_table[9:] = 0
    memory.mem.state[2 * BLOCK : 2 * BLOCK + 5] = L.PAGE_RESERVED
    memory._accounts = None
    outcome = take(memory, 1, 2)
    assert (outcome.errno, outcome.reason, outcome.tries) == (-EBUSY, Reason.RESERVED, 0)
    assert (outcome.page, types(memory)) == (2 * BLOCK, [0] * 6)


@pytest.mark.parametrize("tables", [FULL, LIGHT, FLAG])
def test_types_and_the_reserve_come_back_when_it_fails(tables):
    memory = removable({BLOCK: (1, "kernel"), 2 * BLOCK: (1, "mlocked")}, tables)
    memory.mem.pageblocks[1:4] = [2, 1, 3] if tables is FULL else [0, 1, 1]
    if tables is FULL:
        memory.add_zone_field(0, L.Z_NR_RESERVED_HIGHATOMIC, BLOCK)
    before = types(memory)[1:]
    assert take(memory, 1).errno == -EBUSY
    assert (take(memory, 2, timeout_ns=FEW).reason, types(memory)[1:]) == (Reason.MLOCKED, before)
    assert take(memory, 3).removed


# --- against the oracle -------------------------------------------------------------------------

KINDS = ("anon", "anon", "file", "file", "pinned", "mlocked", "kernel")


def pages_at_random(rng, start, end, kinds, density):
    """Lay pages of some kinds into a range; return pfn to kind."""
    busy = start + np.flatnonzero(rng.random(end - start) < density)
    return dict(zip(busy.tolist(), rng.choice(kinds, len(busy)).tolist(), strict=True))


def both(rng):
    rare = rng.random() < 0.5
    kinds = KINDS[:4] if rare else KINDS
    inside = pages_at_random(rng, BLOCK, 3 * BLOCK, kinds, rng.choice((0.02, 0.3, 0.6)))
    if rng.random() < 0.3:
        inside[int(rng.integers(BLOCK, 3 * BLOCK))] = "kernel"
    full = rng.random() < 0.3
    spare = int(rng.integers(1, 500)) if full else 2 * BLOCK
    outside = dict.fromkeys(range(3 * BLOCK + spare, 6 * BLOCK), "kernel")
    outside |= dict.fromkeys(range(BLOCK), "kernel")
    slots = int(rng.choice((0, 3, 4096)))
    runs = {pfn: (1, kind) for pfn, kind in (inside | outside).items()}
    # Full types do not lend single pages: with them there is room enough.
    tables = NONE if full else [NONE, FULL, LIGHT, FLAG][int(rng.integers(4))]
    memory = removable(runs, tables, slots=slots)
    memory.mem.system[S_PRESSURE] = 0
    waiting = [pfn for pfn, kind in inside.items() if kind == "file" and rng.random() < 0.02][:13]
    for pfn in waiting:
        lru_del(memory.mem, pfn)
        memory.mem.state[pfn] &= ~L.PAGE_LRU
        folio_add_lru(memory.mem, 0, pfn, 0)
    return memory, inside, waiting, spare, slots


@settings(max_examples=12, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_kernels_and_oracle_agree(seed):
    rng = np.random.default_rng(seed)
    memory, inside, waiting, _, slots = both(rng)
    first = int(rng.integers(1, 3))
    count = int(rng.integers(1, 4 - first))
    start, end = first * BLOCK, (first + count) * BLOCK
    room = sum(memory.nr_free_pages(z) for z in range(2))
    room -= sum(pfn not in inside for pfn in range(start, end))
    twin = NaiveRemoval(inside, waiting, room, slots)
    passes = int(rng.integers(1, 12))
    theirs = twin.offline(start, end, passes)
    attempt = attempt_at(memory, first, count)
    outcome = attempt.step()
    while outcome is None:
        if attempt.tries >= passes:
            attempt.expires = attempt.now
        outcome = attempt.step()
    memory.check()
    assert errorcode.get(-outcome.errno, "") == theirs
    assert (outcome.tries, outcome.pages_migrated) == (twin.tries, twin.migrated)
    assert outcome.pgmigrate_fail == twin.failed
    if theirs == "EBUSY":
        assert outcome.page == twin.stopped_by
    still = np.flatnonzero(memory.mem.state[start:end] & L.PAGE_ALLOCATED) + start
    assert still.tolist() == sorted(pfn for pfn in twin.pages if start <= pfn < end)


def test_the_oracle_ends_in_every_way():
    ends = set()
    for seed in range(25):
        rng = np.random.default_rng(seed)
        _, inside, waiting, spare, slots = both(rng)
        twin = NaiveRemoval(inside, waiting, spare, slots)
        ends.add(twin.offline(BLOCK, 2 * BLOCK, 12))
    assert ends == {"", "EBUSY", "EAGAIN", "ENOMEM"}
