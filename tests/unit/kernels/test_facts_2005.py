"""The checkable facts of spec linux-2.6.14 2.3, 3.3 and 5 (watermarks, buddy), for every backend.

Facts say "no pcp": lists of batch 1, low 0 and high 0 keep no page.
"""

import pytest
from backend_2005 import BACKENDS_2005, DMA, HIGHMEM, NORMAL, Machine2005, Request2005, Zone2005

from memsim.mm import Status

OK, NOPAGE, NEEDS_RECLAIM = Status.OK, Status.NOPAGE, Status.NEEDS_RECLAIM
ATOMIC = {"high": True}
KERNEL = {"wait": True}


@pytest.fixture(params=sorted(BACKENDS_2005))
def backend(request):
    return BACKENDS_2005[request.param]


@pytest.fixture
def make(backend):
    def make(start, end, free=(), max_page_order=10, word_order=5, **zone):
        spec = Zone2005(start, end, tuple((pfn, order, 0) for pfn, order in free), **zone)
        return backend(Machine2005((spec,), max_page_order=max_page_order, word_order=word_order))

    return make


def take(machine, order=0, n=1, **attributes):
    pfns = []
    for _ in range(n):
        status, pfn = machine.alloc(0, Request2005(order=order, **attributes))
        assert status == OK
        pfns.append(pfn)
    return pfns


def lists(machine, top=10):
    """The non-empty lists by order."""
    every = {k: machine.free_list(0, k, 0) for k in range(top + 1)}
    return {k: pfns for k, pfns in every.items() if pfns}


def blocks(*counts):
    """Blocks (order, number), largest first, laid out so that no two of them are buddies."""
    pfn, found = 0, []
    for order, count in counts:
        pfn = -(-pfn // (1 << order)) << order
        for _ in range(count):
            found.append((pfn, order))
            pfn += 1 << order if order == 10 else 2 << order
    return found


# 2.3


def marks(mark):
    return {"wmark": (mark, mark, mark)}


@pytest.mark.parametrize(
    ("free", "passes"),
    [
        (blocks((10, 2)), True),
        (blocks((10, 1)), False),
        (blocks((10, 1), (9, 1)), True),
        (blocks((10, 1), (7, 1), (0, 32)), True),
        (blocks((10, 1), (0, 160)), False),
        (blocks((10, 1), (6, 3)), False),
    ],
)
def test_f12_9_the_mark_halves_with_every_order(make, free, passes):
    machine = make(0, 4096, free, **marks(160))
    assert machine.alloc(0, Request2005(order=10, **KERNEL))[0] == (OK if passes else NEEDS_RECLAIM)


@pytest.mark.parametrize(
    ("free", "passes"),
    [(blocks((10, 2)), False), (blocks((10, 3)), True), (blocks((10, 2), (9, 1)), True)],
)
def test_f12_10_two_large_blocks_are_too_few_for_normal(make, free, passes):
    machine = make(0, 8192, free, **marks(1173))
    assert machine.alloc(0, Request2005(order=10, **KERNEL))[0] == (OK if passes else NEEDS_RECLAIM)


@pytest.mark.parametrize(("n", "passes"), [(7, False), (8, True)])
def test_f12_10_the_reserve_counts_before_the_halving_only(backend, n, passes):
    normal = Zone2005(
        0,
        16384,
        tuple((pfn, order, 0) for pfn, order in blocks((10, n))),
        lowmem_reserve=(0, 0, 0, 5120, 0),
        **marks(1173),
    )
    highmem = Zone2005(16384, 17408, index=HIGHMEM)
    machine = backend(Machine2005((normal, highmem), zonelists={0: (1, 0)}))
    status, _ = machine.alloc(0, Request2005(order=10, kind="user", zone="highmem", **KERNEL))
    assert status == (OK if passes else NEEDS_RECLAIM)


@pytest.mark.parametrize(("pairs", "passes"), [(0, False), (40, False), (41, True)])
def test_f12_11_single_pages_do_not_count_for_pairs(make, pairs, passes):
    machine = make(0, 8192, blocks((1, pairs), (0, 2000)), **marks(160))
    # Without any pair nothing could be taken anyway: the test decides in the other cases.
    assert machine.alloc(0, Request2005(order=1, **KERNEL))[0] == (OK if passes else NEEDS_RECLAIM)


@pytest.mark.parametrize(
    ("attributes", "mark"),
    [(KERNEL, 939), ({}, 705), (KERNEL | ATOMIC, 470), (ATOMIC, 353)],
)
def test_f12_6_who_may_go_below_min(make, attributes, mark):
    """Passes with one page more than the mark; with the mark itself it does not."""
    for free, passes in ((mark, False), (mark + 1, True)):
        machine = make(0, 4096, blocks((0, free)), wmark=(939, 1173, 1408))
        assert (machine.alloc(0, Request2005(**attributes))[0] == OK) == passes


ZONES_1_5_GIB = (
    ((0, 4096), DMA, (17, 21, 25), (0, 0, 880, 1520, 0)),
    ((4096, 229376), NORMAL, (939, 1173, 1408), (0, 0, 0, 5120, 0)),
    ((229376, 393216), HIGHMEM, (128, 160, 192), (0, 0, 0, 0, 0)),
)


def machine_1_5_gib(backend, *free):
    """The i386 machine of 1.5 GiB with so many single free pages in DMA, NORMAL and HIGHMEM."""
    zones = tuple(
        Zone2005(
            start,
            end,
            tuple((start + 2 * i, 0, 0) for i in range(pages)),
            index=index,
            wmark=wmark,
            lowmem_reserve=reserve,
        )
        for ((start, end), index, wmark, reserve), pages in zip(ZONES_1_5_GIB, free, strict=True)
    )
    return backend(Machine2005(zones, zonelists={0: (2, 1, 0)}))


HIGHUSER = {"kind": "user", "zone": "highmem"}


@pytest.mark.parametrize(
    ("free", "attributes", "zone"),
    [
        ((1600, 6400, 161), HIGHUSER, 2),
        ((1600, 6294, 160), HIGHUSER, 1),
        ((1542, 6293, 160), HIGHUSER, 0),
        ((910, 1174, 0), {}, 1),
        ((902, 1173, 0), {}, 0),
    ],
)
def test_f12_3_which_zone_serves_at_the_low_marks(backend, free, attributes, zone):
    machine = machine_1_5_gib(backend, *free)
    (pfn,) = take(machine, **KERNEL, **attributes)
    assert pfn == ZONES_1_5_GIB[zone][0][0]


def test_f12_3_no_zone_serves_below_its_marks(backend):
    machine = machine_1_5_gib(backend, 1537, 6059, 128)
    assert machine.alloc(0, Request2005(**KERNEL, **HIGHUSER)) == (NEEDS_RECLAIM, -1)


def test_f12_28_an_atomic_request_goes_below_min(backend):
    machine = machine_1_5_gib(backend, 800, 500, 0)
    assert machine.alloc(0, Request2005(**KERNEL)) == (NEEDS_RECLAIM, -1)
    assert take(machine, **ATOMIC) == [4096]


def test_kswapd_is_woken_for_zones_below_their_low_mark_without_a_reserve(backend):
    """Spec 6.7, on the machine of F12.28: NORMAL has 500 of 1173 pages, DMA 800 of 21."""
    machine = machine_1_5_gib(backend, 800, 500, 0)
    machine.alloc(0, Request2005(**KERNEL))
    assert machine.kswapd_wakeups == 1
    machine.alloc(0, Request2005(**KERNEL, **HIGHUSER))
    assert machine.kswapd_wakeups == 3


def test_f12_26_an_atomic_request_never_reclaims(make):
    machine = make(0, 1024, blocks((2, 8)), **marks(0))
    assert machine.alloc(0, Request2005(order=3, **ATOMIC)) == (NOPAGE, -1)
    assert machine.alloc(0, Request2005(order=3, **KERNEL)) == (NEEDS_RECLAIM, -1)


def test_orders_beyond_the_largest_block_fail_at_once(make):
    machine = make(0, 4096, blocks((10, 4)))
    assert machine.alloc(0, Request2005(order=11, **KERNEL)) == (NOPAGE, -1)


# 3.3


def test_f12_12_splits_from_the_bottom_and_frees_to_the_head(make):
    machine = make(0, 1024, [(0, 10)])
    assert take(machine) == [0]
    assert lists(machine) == {k: [1 << k] for k in range(10)}
    assert take(machine, n=7) == list(range(1, 8))
    steps = [
        (0, {0: [0]}),
        (2, {0: [2, 0]}),
        (1, {0: [2], 1: [0]}),
        (6, {0: [6, 2], 1: [0]}),
        (4, {0: [4, 6, 2], 1: [0]}),
        (5, {0: [6, 2], 1: [4, 0]}),
        (7, {0: [2], 1: [0], 2: [4]}),
    ]
    for pfn, expected in steps:
        machine.free(0, pfn, 0)
        assert {k: v for k, v in lists(machine).items() if k < 3} == expected
    machine.free(0, 3, 0)
    assert lists(machine) == {10: [0]}


def test_f12_13_no_free_goes_to_the_tail(make):
    machine = make(0, 1024, [(0, 10)])
    assert take(machine, n=32) == list(range(32))
    for pfn in (*range(20, 24), *range(8, 16), *range(4, 8)):
        machine.free(0, pfn, 0)
    assert machine.free_list(0, 2, 0) == [4, 20]
    assert machine.free_list(0, 3, 0) == [8]
    assert take(machine, 2) == [4]


def test_f12_14_memory_is_used_from_the_top_block_down(make):
    machine = make(0, 4096, reserved=())
    assert lists(machine) == {10: [3072, 2048, 1024, 0]}
    assert take(machine, n=3) == [3072, 3073, 3074]
    assert take(machine, 10) + take(machine, 9) == [2048, 3584]


def test_f12_15_pages_of_a_ragged_word_are_freed_singly(make):
    machine = make(0, 4096, reserved=((0, 1),), batch=1, low=2, high=6)
    assert machine.pcp_list(0, 0, False, 0) == [31, 30, 29, 28, 27]
    assert lists(machine) == {
        0: [26, 1],
        1: [24, 2],
        2: [4],
        3: [16, 8],
        **{k: [1 << k] for k in range(5, 10)},
        10: [3072, 2048, 1024],
    }
    assert take(machine, n=12) == [31, 30, 29, 28, 27, 26, 1, 24, 25, 2, 3, 4]


def test_f12_16_a_larger_list_keeps_the_ragged_word(make):
    machine = make(0, 16384, reserved=((0, 2),), batch=7, low=14, high=42)
    assert machine.pcp_list(0, 0, False, 0) == list(range(31, 1, -1))
    assert lists(machine) == {
        **{k: [1 << k] for k in range(5, 10)},
        10: list(range(15360, 0, -1024)),
    }
