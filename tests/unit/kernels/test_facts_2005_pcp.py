"""The checkable facts of spec linux-2.6.14 3.3, 4 and 8 about whole zones and their per-CPU lists.

The machines are given by hand, with the batches that spec 4.2 computes; every backend.
"""

import pytest
from backend_2005 import BACKENDS_2005, DMA, HIGHMEM, Machine2005, Request2005, Zone2005

from memsim.mm import Status

OK, NEEDS_RECLAIM = Status.OK, Status.NEEDS_RECLAIM
LINUX_2_6_14 = {"batch": 31, "low": 62, "high": 186, "cold_high": 62, "cold_batch": 31}
MM = {"batch": 63, "low": 0, "high": 378, "cold_high": 126, "cold_batch": 31}
GIB = 262144
PPC64 = {"max_page_order": 12, "word_order": 6}
SECTION = 4096


@pytest.fixture(params=sorted(BACKENDS_2005))
def make(request):
    backend = BACKENDS_2005[request.param]

    def make(start, end, max_page_order=10, word_order=5, **zone):
        spec = Zone2005(start, end, **zone)
        return backend(Machine2005((spec,), max_page_order=max_page_order, word_order=word_order))

    return make


def take(machine, n=1, cold=False):
    pfns = []
    for _ in range(n):
        status, pfn = machine.alloc(0, Request2005(zone="highmem", cold=cold))
        assert status == OK
        pfns.append(pfn)
    return pfns


def lists(machine, top=10):
    """The non-empty lists by order."""
    every = {k: machine.free_list(0, k, 0) for k in range(top + 1)}
    return {k: pfns for k, pfns in every.items() if pfns}


def hot(machine):
    return machine.pcp_list(0, 0, False, 0)


def cold(machine):
    return machine.pcp_list(0, 0, True, 0)


# 3.3


def test_f12_17_highmem_is_freed_singly(make):
    machine = make(229376, 393216, reserved=(), index=HIGHMEM, **LINUX_2_6_14)
    assert hot(machine) == list(range(393215, 393055, -1))
    assert lists(machine) == {
        5: [393024],
        6: [392960],
        8: [392704],
        9: [392192],
        10: list(range(391168, 229375, -1024)),
    }
    assert take(machine, 400) == [
        *range(393215, 393055, -1),
        *range(393024, 393056),
        *range(392960, 393024),
        *range(392704, 392848),
    ]


def test_f12_18_the_mm_kernel_keeps_more_of_highmem(make):
    machine = make(229376, 393216, reserved=(), index=HIGHMEM, **MM)
    assert hot(machine) == list(range(393215, 392860, -1))


def test_f12_19_the_memory_map_makes_a_ragged_start(make):
    machine = make(4096, 229376, reserved=((4096, 7382),), **LINUX_2_6_14)
    assert lists(machine) == {
        5: [7392],
        8: [7424],
        9: [7680],
        10: list(range(228352, 8191, -1024)),
    }
    assert len(machine.free_list(0, 10, 0)) == 216
    assert hot(machine) == list(range(7391, 7381, -1))


# 4


def test_f12_20_a_hot_list_is_refilled_while_it_is_low(make):
    machine = make(0, GIB, reserved=(), **LINUX_2_6_14)
    for i, (free, count) in enumerate(((31, 30), (62, 60), (93, 90))):
        assert take(machine) == [261120 + i]
        assert machine.nr_free_pages(0) == GIB - free
        assert len(hot(machine)) == count
    assert take(machine, 28) == list(range(261123, 261151))
    assert machine.nr_free_pages(0) == GIB - 93
    assert len(hot(machine)) == 62
    assert take(machine) == [261151]
    assert machine.nr_free_pages(0) == GIB - 124


def test_f12_21_a_cold_list_is_refilled_when_it_is_empty(make):
    machine = make(0, GIB, reserved=(), **LINUX_2_6_14)
    take(machine, 32)
    assert take(machine, cold=True) == [261244]
    assert cold(machine) == list(range(261245, 261275))
    free = machine.nr_free_pages(0)
    assert take(machine, 30, cold=True) == list(range(261245, 261275))
    assert machine.nr_free_pages(0) == free
    assert take(machine, cold=True) == [261275]
    assert machine.nr_free_pages(0) == free - 31


@pytest.fixture
def emptied(make):
    """A zone of which every page is allocated and none is on a list."""

    def emptied(pages, **sizes):
        machine = make(0, pages, free=tuple((p, 10, 0) for p in range(0, pages, 1024)), **sizes)
        while machine.alloc(0, Request2005(memalloc=True))[0] == OK:
            pass
        assert machine.nr_free_pages(0) == 0
        assert hot(machine) == cold(machine) == []
        return machine

    return emptied


def test_f12_22_the_oldest_pages_are_given_back(emptied):
    machine = emptied(2048, **LINUX_2_6_14)
    for pfn in range(1000, 1185):
        machine.free(0, pfn, 0)
    assert machine.nr_free_pages(0) == 0
    machine.free(0, 1185, 0)
    assert lists(machine) == {0: [1030], 1: [1028], 2: [1024], 3: [1000], 4: [1008]}
    assert hot(machine) == list(range(1185, 1030, -1))
    assert len(hot(machine)) == 155


@pytest.mark.parametrize(
    ("sizes", "most_hot", "most_cold"),
    [(LINUX_2_6_14, 185, 61), (MM, 377, 125)],
    ids=["2.6.14", "mm"],
)
def test_f12_23_how_many_pages_a_list_holds(emptied, sizes, most_hot, most_cold):
    machine = emptied(2048, **sizes)
    seen_hot, seen_cold = [], []
    for pfn in range(1024):
        machine.free(0, pfn, 0)
        machine.free(0, 1024 + pfn, 0, cold=True)
        seen_hot.append(len(hot(machine)))
        seen_cold.append(len(cold(machine)))
    assert max(seen_hot) == most_hot
    assert max(seen_cold) == most_cold


# 8


def test_f12_42_the_first_kernel_page_comes_from_the_last_section(make):
    machine = make(0, GIB, reserved=(), index=DMA, **PPC64)
    assert lists(machine, 12) == {12: list(range(258048, -1, -SECTION))}
    assert take(machine) == [63 * SECTION]


def removable(machine):
    """Sections that are one free block each."""
    return len(machine.free_list(0, 12, 0))


def test_f12_43_where_unmovable_pages_lie_decides_what_can_be_removed(make):
    machine = make(0, GIB, reserved=(), index=DMA, **PPC64)
    assert take(machine) == [258048]
    assert removable(machine) == 63
    assert 100 * removable(machine) // 64 == 98
    together = make(0, GIB, reserved=((258048, 258048 + 64),), index=DMA, **PPC64)
    spread = make(
        0, GIB, reserved=tuple((p, p + 1) for p in range(0, GIB, SECTION)), index=DMA, **PPC64
    )
    assert together.nr_free_pages(0) == spread.nr_free_pages(0) == GIB - 64
    assert (removable(together), removable(spread)) == (63, 0)


@pytest.mark.parametrize(
    ("sections", "mark", "passes"),
    [
        (1, 1, True),
        (1, 2, False),
        (1, 8193, False),
        (2, 2, True),
        (2, 8193, True),
        (2, 8194, False),
    ],
)
def test_f12_44_single_pages_do_not_help_a_whole_section(make, sections, mark, passes):
    whole = tuple((SECTION * i, 12, 0) for i in range(sections))
    singles = tuple((GIB // 8 + 2 * i, 0, 0) for i in range(100_000))
    machine = make(0, GIB, free=whole + singles, index=DMA, wmark=(mark,) * 3, **PPC64)
    status, _ = machine.alloc(0, Request2005(order=12, zone="dma", wait=True))
    assert status == (OK if passes else NEEDS_RECLAIM)
