"""Snapshots as start states: what kpageflags say of each page, and states in three files."""

import gzip
import re

import numpy as np
import pytest
from trace_samples import STATE

from memsim.errors import InputError
from memsim.kernels import layout as L
from memsim.memory.restore import restore
from memsim.memory.undetermined import BUFFERS_AT_HAND, BUFFERS_IN_USE, draw_undetermined
from memsim.policies import LINUX_6_1, mobility
from memsim.traces import _page_flags as kpf
from memsim.traces.capture import CaptureCompaction, read_snapshot

CURSORS = (
    " compact_free 1e00 mig 1200 1400 init_mig 1000 init_free 1e00"
    " considered 3 defer_shift 2 order_failed 9"
)
UNFLUSHED = re.sub(r"init_mig \w+ init_free \w+", "init_mig 0 init_free 0", CURSORS)
USER = kpf.LRU | kpf.ANON | kpf.SWAPBACKED | kpf.MMAP


def with_cursors(text):
    return re.sub(r" compact_free .*", CURSORS, text, count=1)


@pytest.fixture
def folder(tmp_path):
    """A folder with a state, and flags of the pages that the test names, all others plain."""

    def make(flags):
        (tmp_path / "state.txt").write_text(with_cursors(STATE))
        words = np.zeros(0x2000, "<u8")
        for pfn, mask in flags.items():
            words[pfn] = mask
        (tmp_path / "kpageflags.bin.gz").write_bytes(gzip.compress(words.tobytes()))
        return tmp_path

    return make


def restored(folder):
    state, pages = read_snapshot(folder)
    memory = restore(state, mobility.Policy().tables(LINUX_6_1), pages=pages)
    memory.check()
    return memory


def lru_list(memory, kind):
    """Walk an LRU list of node 0 from its head."""
    head = memory.mem.lru_lists + kind
    entries, at = [], int(memory.mem.next[head])
    while at != head:
        entries.append(at)
        at = int(memory.mem.next[at])
    return entries


def test_a_transparent_huge_page_is_one_block_of_its_order(folder):
    tail = kpf.ANON | kpf.COMPOUND_TAIL | kpf.THP
    flags = dict.fromkeys(range(0x1601, 0x1800), tail)
    flags |= {0x1600: USER | kpf.COMPOUND_HEAD | kpf.THP, 0x1100: USER | kpf.COMPOUND_HEAD}
    memory = restored(folder(flags))
    assert lru_list(memory, L.LRU_INACTIVE_ANON) == [0x1600]
    state = memory.mem.state
    assert (state[0x1600] & L.ORDER_MASK) >> L.ORDER_SHIFT == 9
    assert state[0x1601] == state[0x17FF] == L.PAGE_LRU
    assert memory.zone_field(0, L.Z_NR_MAPPED) == 512
    assert not state[0x1100] & L.PAGE_LRU


def test_flags_put_pages_on_their_lists_oldest_first(folder):
    memory = restored(
        folder(
            {
                0x1020: USER,
                0x1022: USER,
                0x1021: USER | kpf.ACTIVE,
                0x1023: kpf.LRU | kpf.DIRTY | kpf.REFERENCED,
                0x1024: USER | kpf.UNEVICTABLE,
                0x1025: kpf.LRU | kpf.SWAPBACKED,
            }
        )
    )
    assert lru_list(memory, L.LRU_INACTIVE_ANON) == [0x1025, 0x1022, 0x1020]
    assert lru_list(memory, L.LRU_ACTIVE_ANON) == [0x1021]
    assert lru_list(memory, L.LRU_INACTIVE_FILE) == [0x1023]
    assert lru_list(memory, L.LRU_UNEVICTABLE) == [0x1024]
    file = int(memory.mem.state[0x1023])
    assert file & L.PAGE_DIRTY and file & L.PAGE_REFERENCED and not file & L.PAGE_MAPPED


def test_what_is_on_no_list_does_not_move(folder):
    memory = restored(folder({0x1020: kpf.SLAB, 0x1021: kpf.RESERVED, 0x1022: kpf.NOPAGE}))
    movable = L.PAGE_LRU | L.PAGE_SLAB
    assert not (memory.mem.state[0x1020:0x1100] & movable).any()
    assert memory.mem.state[0x1021] == L.PAGE_RESERVED
    assert memory.mem.state[0x1020] & L.PAGE_ALLOCATED
    assert not any(lru_list(memory, kind) for kind in range(L.NR_LRU_LISTS))


def test_a_page_that_went_while_the_files_were_read_was_a_users(folder):
    assert lru_list(restored(folder({0x1020: kpf.BUDDY})), L.LRU_INACTIVE_ANON) == [0x1020]


def test_what_moved_while_the_files_were_read_is_as_much_as_what_came(tmp_path):
    """Free in the lists, on the LRU later: as many pages left, those without flags on pcp lists."""
    blocks = STATE.replace("FREE o 9 m 1 : 1200 \n", "FREE o 8 m 1 : 1300 \n")
    (tmp_path / "state.txt").write_text(blocks.replace(" free 524", " free 268"))
    words = np.zeros(0x2000, "<u8")
    words[0x1200:0x1280] = kpf.ANON
    words[0x1280] = kpf.BUDDY
    words[0x1300:0x1302] = USER
    (tmp_path / "kpageflags.bin.gz").write_bytes(gzip.compress(words.tobytes()))
    entries = lru_list(restored(tmp_path), L.LRU_INACTIVE_ANON)
    assert entries == list(range(0x12FF, 0x11FF, -1))


def test_some_pages_of_buffers_are_in_use_and_some_at_hand(folder):
    """Captures frag and frag_nogroup: 2 of 29 are never had, 16 not before compaction."""
    buffers = dict.fromkeys(range(0x1020, 0x1034), kpf.LRU | kpf.PRIVATE)
    active = {0x1040: kpf.LRU | kpf.PRIVATE | kpf.ACTIVE}
    data = {0x1041: kpf.LRU | kpf.PRIVATE | kpf.UPTODATE, 0x1042: USER | kpf.PRIVATE}
    memory = restored(folder({**buffers, **active, **data}))
    why = memory.mem.swap_slot
    assert np.flatnonzero(why == L.BUFFERS_IN_USE).tolist() == [0x1020, 0x1021]
    at_hand = np.flatnonzero(why == L.BUFFERS_AT_HAND).tolist()
    assert at_hand == [*range(0x1022, 0x1031), 0x1040]
    pinned = np.flatnonzero(memory.mem.state[: memory.nr_pages] & L.PAGE_PINNED).tolist()
    assert pinned == [0x1020, 0x1021, *at_hand]


def test_free_pages_stay_free_whatever_the_flags_say(folder):
    memory = restored(folder({0x1001: USER, 0x1013: USER}))
    assert memory.free_list(0, 0, 0).tolist() == [0x1003, 0x1001]
    assert lru_list(memory, L.LRU_INACTIVE_ANON) == []


def test_without_flags_movable_pageblocks_hold_user_pages(tmp_path):
    text = STATE.replace("FREE o 9 m 1 : 1200 \n", "").replace(" free 524", " free 12")
    (tmp_path / "state.txt").write_text(text)
    entries = lru_list(restored(tmp_path), L.LRU_INACTIVE_ANON)
    assert entries == list(range(0x13FF, 0x11FF, -1))


def test_cursors_and_deferral_of_compaction(folder):
    flagged = folder({})
    (zone,) = read_snapshot(flagged).state.zones
    assert zone.compaction == CaptureCompaction(
        0x1E00, (0x1200, 0x1400), 0x1000, 0x1E00, considered=3, defer_shift=2, order_failed=9
    )
    memory = restored(flagged)
    fields = (L.COMPACT_FREE_PFN, L.COMPACT_MIGRATE_SYNC_PFN, L.COMPACT_ORDER_FAILED)
    assert [memory.zone_field(0, L.Z_COMPACT + f) for f in fields] == [0x1E00, 0x1400, 9]


@pytest.mark.parametrize(("seen", "marked"), [(CURSORS, False), (UNFLUSHED, True)])
def test_a_zone_scanned_to_its_end_and_never_flushed_has_its_skip_bits(tmp_path, seen, marked):
    (tmp_path / "state.txt").write_text(re.sub(r" compact_free .*", seen, STATE, count=1))
    memory = restored(tmp_path)
    kinds = memory.mem.pageblocks[0x1000 >> 9 : 0x1400 >> 9].tolist()
    bits = memory.mem.pageblock_skip[0x1000 >> 9 : 0x1400 >> 9] & 1
    assert kinds == [0, 1]
    assert bits.tolist() == [0, int(marked)]


def test_a_state_in_three_files_believes_its_lists(tmp_path):
    lines = [line for line in STATE.splitlines() if not line.startswith("TIME")]
    zones = [line for line in lines if line.startswith("ZONE") and " min " in line]
    blocks = [line for line in lines if line.startswith(("group", "PB"))]
    lists = [line for line in lines if line not in (*zones, *blocks)]
    wrong = [line.replace(" free 524", " free 99999") for line in zones]
    assert wrong != zones
    for name, part in (("zones", wrong), ("pageblocks", blocks), ("freelists", lists)):
        (tmp_path / f"{name}.txt").write_text("\n".join(part))
    state, pages = read_snapshot(tmp_path)
    assert pages is None
    assert (state.time_ns, state.zones[0].nr_free_pages) == (0, 524)


@pytest.mark.parametrize("size", [0, 12])
def test_flags_that_are_not_whole_words_are_refused(folder, size):
    flagged = folder({})
    (flagged / "kpageflags.bin.gz").write_bytes(gzip.compress(b"x" * size))
    with pytest.raises(InputError, match="expected 8 for each page frame"):
        read_snapshot(flagged)


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no state of the free lists"):
        read_snapshot(tmp_path)


# --- what no file tells, drawn ------------------------------------------------------------------


def drawn(folder, seed):
    snapshot = read_snapshot(folder)
    memory = restore(snapshot.state, mobility.Policy().tables(LINUX_6_1), pages=snapshot.pages)
    draw_undetermined(memory, snapshot, np.random.default_rng(seed))
    memory.check()
    return memory


def test_draws_change_the_order_of_lists_and_not_what_is_on_them(folder):
    flags = {0x1020 + i: USER for i in range(12)} | {0x1040: USER | kpf.ACTIVE}
    usual = lru_list(restored(folder(flags)), L.LRU_INACTIVE_ANON)
    orders = [lru_list(drawn(folder(flags), seed), L.LRU_INACTIVE_ANON) for seed in range(3)]
    assert all(sorted(order) == sorted(usual) for order in orders)
    assert orders[0] != orders[1] and orders[0] == lru_list(
        drawn(folder(flags), 0), L.LRU_INACTIVE_ANON
    )


def test_draws_say_which_buffers_are_in_use(folder):
    flags = {0x1020 + i: kpf.LRU | kpf.PRIVATE for i in range(29)}
    pinned = []
    for seed in range(8):
        memory = drawn(folder(flags), seed)
        why = memory.mem.swap_slot[0x1020 : 0x1020 + 29]
        in_use = np.count_nonzero(why == L.BUFFERS_IN_USE)
        at_hand = np.count_nonzero(why == L.BUFFERS_AT_HAND)
        assert BUFFERS_IN_USE[0] <= in_use <= BUFFERS_IN_USE[1]
        assert BUFFERS_AT_HAND[0] <= at_hand <= BUFFERS_AT_HAND[1]
        state = memory.mem.state[0x1020 : 0x1020 + 29]
        assert ((state & L.PAGE_PINNED != 0) == (why != 0)).all()
        pinned.append(tuple(np.flatnonzero(why)))
    assert len(set(pinned)) > 1


def test_a_page_on_its_way_waits_on_a_cpu_or_is_on_its_list(folder):
    flags = {0x1020: USER, 0x1021: USER & ~kpf.LRU}
    waits = set()
    for seed in range(8):
        memory = drawn(folder(flags), seed)
        queued = memory.mem.lru_batches.reshape(-1, L.LRU_FIELDS)
        waiting = int(queued[:, 0].sum())
        assert (0x1021 in queued[:, 1:]) == bool(waiting)
        assert (0x1021 in lru_list(memory, L.LRU_INACTIVE_ANON)) != bool(waiting)
        waits.add(waiting)
    assert waits == {0, 1}


def test_only_pageblocks_that_scanners_have_passed_are_marked(folder):
    marked = set()
    for seed in range(8):
        marked |= set(np.flatnonzero(drawn(folder({}), seed).mem.pageblock_skip & 1).tolist())
    # Scanners at 0x1400 and 0x1e00 (CURSORS), which have begun at both ends.
    assert marked == {0x1000 >> 9, 0x1200 >> 9}
