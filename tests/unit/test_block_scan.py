"""What flags alone say of a memory block (spec linux-mm 9.2-9.4), and whether there is room."""

import numpy as np
import pytest

from memsim.mm import ZoneType
from memsim.snapshot.room import ZoneRoom, with_room, zone_room
from memsim.snapshot.scan import BlockScan, Span, scan_block
from memsim.traces import _page_flags as kpf

PAGES = 1 << 15
NORMAL = Span(1, ZoneType.NORMAL, 0, 4 * PAGES)
MOVABLE = Span(1, ZoneType.MOVABLE, 0, 4 * PAGES)
ELSEWHERE = Span(0, ZoneType.NORMAL, 4 * PAGES, 8 * PAGES)
USER = kpf.LRU | kpf.ANON | kpf.MMAP | kpf.SWAPBACKED


def block(**pages):
    """Flags of block 1, all free but for the pages that are named by their offset."""
    flags = np.zeros(2 * PAGES, np.uint64)
    flags[PAGES:] = kpf.BUDDY
    for offset, mask in pages.items():
        flags[PAGES + int(offset[1:])] = mask
    return flags


def scan(flags, span=NORMAL, **more):
    return scan_block(1, PAGES, [span], flags, **more)


@pytest.mark.parametrize(
    ("mask", "normal", "movable"),
    [
        (kpf.BUDDY, "no obstacle seen", "no obstacle seen"),
        (USER, "no obstacle seen", "no obstacle seen"),
        (kpf.HUGE | kpf.COMPOUND_HEAD, "no obstacle seen", "no obstacle seen"),
        (kpf.BALLOON, "no obstacle seen", "no obstacle seen"),
        (0, "no obstacle seen", "no obstacle seen"),
        (kpf.SLAB, "no", "no obstacle seen"),
        (kpf.PGTABLE, "no", "no obstacle seen"),
        (kpf.COMPOUND_HEAD, "no", "no obstacle seen"),
        (kpf.RESERVED, "no", "no"),
        (kpf.NOPAGE, "no", "no"),
    ],
)
def test_one_page_decides_by_its_kind_and_zone(mask, normal, movable):
    flags = block(p7=mask)
    assert scan(flags).answer == normal
    assert scan(flags, MOVABLE).answer == movable


def test_offending_pages_are_counted_and_named():
    found = scan(block(p1=kpf.SLAB, p2=kpf.SLAB | kpf.COMPOUND_TAIL, p9=kpf.RESERVED))
    assert found.why == "1 reserved, 2 slab"
    assert [one.first_pfns for one in found.obstacles] == [(PAGES + 9,), (PAGES + 1, PAGES + 2)]


def test_more_pages_without_flags_than_per_cpu_lists_hold_are_in_use():
    flags = block(p1=0, p2=0, p3=0)
    assert scan(flags, most_cached=3).answer == "no obstacle seen"
    found = scan(flags, most_cached=2)
    assert (found.answer, found.obstacles[0].pages, found.unknown) == ("no", 1, 3)


def test_a_page_without_flags_that_a_process_maps_is_in_use():
    mapped = np.zeros(2 * PAGES, bool)
    mapped[PAGES + 3] = True
    assert scan(block(p3=0), mapped=mapped).obstacles[0].first_pfns == (PAGES + 3,)
    assert scan(block(p4=0), mapped=mapped).answer == "no obstacle seen"


def test_a_probability_comes_only_with_a_pin_rate():
    found = scan(block(p1=USER, p2=USER))
    assert found.chance(0.5) == pytest.approx(0.25)
    assert scan(block(p1=kpf.SLAB)).chance(0.5) == 0
    assert scan_block(1, PAGES, [NORMAL], None).chance(0.5) is None


def test_without_flags_it_is_unknown_and_in_two_zones_it_is_not():
    assert scan_block(1, PAGES, [NORMAL], None).answer == "unknown"
    assert scan_block(1, PAGES, [NORMAL, MOVABLE], None).answer == "no"
    assert scan_block(1, PAGES, [], None).why == "holds no memory"


def test_pages_marked_as_accessed_are_counted():
    marked = USER | kpf.REFERENCED
    found = scan(block(p1=marked, p2=marked | kpf.ACTIVE, p3=USER))
    assert (found.marked, found.to_move) == (1, 3)


def test_free_memory_and_clean_cache_above_the_mark_is_room():
    flags = np.zeros(8 * PAGES, np.uint64)
    flags[ELSEWHERE.start_pfn :][:5] = kpf.LRU
    flags[ELSEWHERE.start_pfn + 5 :][:5] = kpf.LRU | kpf.DIRTY
    assert zone_room(ELSEWHERE, 1000, 300, (0, 0, 100), flags).pages == 605


def test_room_is_used_up_block_by_block():
    def asks(number, pages):
        return BlockScan(number, NORMAL, "no obstacle seen", "", to_move=pages)

    zones = [ZoneRoom(ELSEWHERE, 100), ZoneRoom(NORMAL, 10_000)]
    answers = [one.answer for one in with_room([asks(1, 60), asks(2, 50), asks(3, 40)], zones)]
    assert answers == ["no obstacle seen", "no", "no obstacle seen"]


def test_without_another_node_blocks_make_room_for_each_other():
    full = BlockScan(1, NORMAL, "no obstacle seen", "", to_move=60)
    empty = BlockScan(2, NORMAL, "no obstacle seen", "", free=90)
    zones = [ZoneRoom(NORMAL, 100)]
    assert [s.answer for s in with_room([full, empty], zones)] == ["no obstacle seen"] * 2
    assert [s.answer for s in with_room([empty, full], zones)] == ["no obstacle seen", "no"]


def test_memory_of_normal_does_not_go_to_movable():
    scans = [BlockScan(1, NORMAL, "no obstacle seen", "", to_move=1)]
    only_movable = [ZoneRoom(Span(0, ZoneType.MOVABLE, 0, 1), 100)]
    assert [s.answer for s in with_room(scans, only_movable)] == ["no"]
