"""The checkable facts of spec 2.8 and 3.12 (buddy, fallback, stealing), for every backend.

Facts say "no pcp": the boot pagesets (high 0, batch 1) keep no page.
"""

import pytest
from backend import BACKENDS, C, H, M, MachineSpec, R, Request, U, ZoneSpec

from memsim import mm

OK = mm.Status.OK


@pytest.fixture(params=sorted(BACKENDS))
def make(request):
    backend = BACKENDS[request.param]

    def make(pages, free, pageblocks=None, **zone):
        spec = ZoneSpec(0, pages, tuple(free), **zone)
        return backend(MachineSpec((spec,), pageblocks=pageblocks or {}))

    return make


def top_blocks(pages):
    return [(pfn, 10, M) for pfn in range(0, pages, 1024)]


def take(machine, order=0, mt=M, n=1, **attributes):
    pfns = []
    for _ in range(n):
        status, pfn = machine.alloc(0, Request(order=order, migratetype=mt, **attributes))
        assert status == OK
        pfns.append(pfn)
    return pfns


def lists(machine, mt):
    """The type's non-empty lists by order."""
    all_lists = {k: machine.free_list(0, k, mt) for k in range(mm.NR_PAGE_ORDERS)}
    return {k: pfns for k, pfns in all_lists.items() if pfns}


def extfrag(machine):
    return [event[1:] for event in machine.events() if event[0] == "extfrag"]


def lru_then_free(machine, lru, kernel=0):
    """Pageblock 0: LRU pages, then kernel pages, the rest free; pageblock 1 all LRU."""
    assert take(machine, n=lru, lru=True) == list(range(lru))
    take(machine, n=kernel)
    rest = take(machine, n=1024 - lru - kernel, lru=True)
    for pfn in rest[: 512 - lru - kernel]:
        machine.free(0, pfn, 0)
    assert machine.nr_free_pages(0) == 512 - lru - kernel
    machine.events()


# 2.8


def test_F2_1_a_virgin_block_is_split_from_the_bottom(make):
    machine = make(1024, top_blocks(1024))
    assert take(machine) == [0]
    assert lists(machine, M) == {k: [1 << k] for k in range(10)}
    machine.free(0, 0, 0)
    assert lists(machine, M) == {10: [0]}


def test_F2_2_order_3_then_order_0(make):
    machine = make(1024, top_blocks(1024))
    assert take(machine, 3) + take(machine, 0) == [0, 8]
    small = {0: [9], 1: [10], 2: [12]}
    assert lists(machine, M) == small | {k: [1 << k] for k in range(4, 10)}


def test_F2_3_frees_go_to_the_head_until_a_merge_is_likely(make):
    machine = make(1024, top_blocks(1024))
    assert take(machine, n=8) == list(range(8))
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
        assert {k: v for k, v in lists(machine, M).items() if k < 3} == expected
    machine.free(0, 3, 0)
    assert lists(machine, M) == {10: [0]}


def test_F2_4_a_likely_merge_goes_to_the_tail(make):
    machine = make(1024, top_blocks(1024))
    assert take(machine, n=32) == list(range(32))
    for pfn in (*range(20, 24), *range(8, 16), *range(4, 8)):
        machine.free(0, pfn, 0)
    assert machine.free_list(0, 2, M) == [20, 4]
    assert machine.free_list(0, 3, M) == [8]
    assert take(machine, 2) == [20]


def test_F2_8_movable_and_highatomic_do_not_merge(make):
    machine = make(1024, [(0, 9, M), (512, 9, H)], {1: H})
    assert take(machine, 9) == [0]
    machine.free(0, 0, 9)
    assert lists(machine, M) == {9: [0]}
    assert lists(machine, H) == {9: [512]}


def test_F2_8_movable_and_unmovable_merge_to_the_freed_type(make):
    machine = make(1024, [(0, 9, M), (512, 9, U)], {1: U})
    assert take(machine, 9) == [0]
    machine.free(0, 0, 9)
    assert lists(machine, M) == {10: [0]}
    assert lists(machine, U) == {}


# 3.12


def test_F3_1_whole_pageblocks_change_owner_without_boost(make):
    machine = make(4096, top_blocks(4096), wmark=(0, 0, 384))
    assert take(machine, mt=U) == [0]
    assert [machine.pageblock_type(p) for p in (0, 512, 1024)] == [U, U, M]
    assert lists(machine, U) == {k: [1 << k] for k in range(10)}
    assert lists(machine, M) == {10: [1024, 2048, 3072]}
    assert machine.boost(0) == 0
    assert machine.events()[:2] == [("extfrag", 0, 0, 10, U, M, 1), ("zone_locked", 0, 0, U, 1)]


def test_F3_2_size_comes_before_type(make):
    machine = make(4096, top_blocks(4096))
    take(machine, mt=U)
    assert take(machine, mt=R) == [1024]
    assert [machine.pageblock_type(p) for p in (1024, 1536)] == [R, R]
    assert take(machine, mt=M) == [2048]


def test_F3_3_a_mostly_free_pageblock_is_claimed(make):
    machine = make(1024, top_blocks(1024))
    lru_then_free(machine, 212)
    assert take(machine, mt=U) == [212]
    assert machine.pageblock_type(0) == U
    assert extfrag(machine) == [(256, 0, 8, U, M, 1)]


def test_F3_4_an_unclaimed_pageblock_lends_its_free_pages(make):
    machine = make(1024, top_blocks(1024))
    lru_then_free(machine, 312)
    assert take(machine, mt=U) == [312]
    assert machine.pageblock_type(0) == M
    assert lists(machine, M) == {}
    assert sum(len(pfns) << k for k, pfns in lists(machine, U).items()) == 199
    machine.free(0, 0, 0)
    assert machine.free_list(0, 0, M) == [0]
    machine.free(0, 312, 0)
    assert machine.free_list(0, 3, M) == [312]


def test_F3_5_alike_pages_count_for_a_claim(make):
    machine = make(1024, top_blocks(1024))
    lru_then_free(machine, 212, kernel=100)
    take(machine, mt=U)
    assert machine.pageblock_type(0) == U


@pytest.mark.parametrize(("lru", "owner"), [(256, U), (257, M)])
def test_F3_6_half_a_pageblock_is_the_limit(make, lru, owner):
    machine = make(1024, top_blocks(1024))
    lru_then_free(machine, lru)
    take(machine, mt=U)
    assert machine.pageblock_type(0) == owner


def test_F3_7_a_small_movable_steal_splits_the_smallest(make):
    machine = make(512, [(100, 0, U), (72, 1, U), (40, 2, U)], {0: U})
    assert take(machine) == [100]
    assert lists(machine, U) == {1: [72], 2: [40]}
    assert lists(machine, M) == {}
    assert machine.pageblock_type(0) == U
    assert extfrag(machine) == [(100, 0, 0, M, U, 0)]


def test_F3_8_an_order_4_steal_takes_all_free_pages(make):
    machine = make(512, [(100, 0, U), (48, 4, U)], {0: U})
    assert take(machine) == [100]
    assert lists(machine, M) == {4: [48]}
    assert lists(machine, U) == {}
    assert machine.pageblock_type(0) == U
    assert extfrag(machine) == [(48, 0, 4, M, U, 0)]


@pytest.mark.parametrize(("movable_order", "pfn"), [(5, 544), (3, 8)])
def test_F3_9_larger_wins_and_reclaimable_at_equal_order(make, movable_order, pfn):
    machine = make(1024, [(8, 3, R), (544, movable_order, M)], {0: R})
    assert take(machine, mt=U) == [pfn]


def test_F3_10_boost_is_capped(make):
    free = [(pfn, 0, M) for pfn in range(0, 16384, 512)]
    machine = make(16384, free, wmark=(256, 320, 384))
    boosts = []
    for _ in range(3):
        take(machine, mt=U, memalloc=True, kswapd=True)
        boosts.append(machine.boost(0))
    assert boosts == [512, 576, 576]
    assert machine.kswapd_wakes() > 0


def test_F3_10_a_small_zone_is_never_boosted(make):
    machine = make(1024, [(0, 0, M), (512, 0, M)], wmark=(64, 80, 96))
    take(machine, mt=U, memalloc=True, kswapd=True)
    assert machine.boost(0) == 0


@pytest.mark.parametrize(("factor", "boost"), [(0, 0), (26, 0), (27, 512)])
def test_3_6_a_factor_that_gives_no_page_boosts_nothing(factor, boost):
    zone = ZoneSpec(0, 16384, ((0, 0, M), (512, 0, M)), wmark=(256, 320, 384))
    for backend in BACKENDS.values():
        machine = backend(MachineSpec((zone,), watermark_boost_factor=factor))
        take(machine, mt=U, memalloc=True, kswapd=True)
        assert machine.boost(0) == boost


@pytest.mark.parametrize(("pages", "blocks"), [(16384, 2), (262144, 7)])
def test_F3_11_highatomic_limit(make, pages, blocks):
    # Below the low mark every request takes the slow path, where the flag exists.
    machine = make(pages, top_blocks(pages), wmark=(0, 2 * pages, 0))
    take(machine, 1, U, n=2 * blocks, high=True, atomic=True, kswapd=True)
    assert machine.reserved_highatomic(0) == blocks * 512
    types = [machine.pageblock_type(p) for p in range(0, pages, 512)]
    assert types.count(H) == blocks


# 3.8 and 3.10 in use


def test_3_8_without_grouping_everything_is_unmovable_and_claimed():
    zone = ZoneSpec(0, 1024, ((0, 0, M), (513, 0, M)))
    for backend in BACKENDS.values():
        machine = backend(MachineSpec((zone,), grouping=False))
        assert machine.alloc(0, Request(migratetype=M)) == (OK, 0)
        assert machine.pageblock_type(0) == U
        assert machine.events()[0] == ("extfrag", 0, 0, 0, U, M, 1)


def test_3_10_cma_serves_when_it_holds_over_half(make):
    free = [(0, 4, M), (512, 3, C), (528, 4, C)]
    machine = make(1024, free, {1: C})
    assert take(machine) == [512]
    assert machine.nr_free_cma(0) == 23
    assert take(machine, cma=False) == [0]
    assert take(machine, mt=U) == [1]


def test_3_10_a_negative_free_count_is_read_as_zero():
    cma = tuple((pfn, 0, C) for pfn in range(512, 522, 2))
    zone = ZoneSpec(0, 1024, ((0, 0, M), *cma), stat_threshold=4)
    request = Request(migratetype=M, memalloc=True)
    for backend in BACKENDS.values():
        machine = backend(MachineSpec((zone,), (0, 0, 0), pageblocks={1: C}))
        pfns = [machine.alloc(0, request)[1] for _ in range(6)]
        for pfn in pfns[:4]:
            machine.free(1, pfn, 0)
        again = [machine.alloc(0, request)[1] for _ in range(4)]
        machine.free(2, 0, 0)
        machine.free(2, again[0], 0)
        assert machine.counter(0) == (-4, [0, 4, 2])
        assert machine.nr_free_cma(0) == 1
        assert machine.alloc(0, request) == (OK, 0)


# 3.5 step 5: which pages are on the LRU. They wait on their CPU in batches of mm.LRU_BATCH.


def lru_pages_decide(machine):
    """Use up the Movable pages, then steal: is the pageblock claimed (free + LRU >= 256)?"""
    while lists(machine, M):
        take(machine)
    assert extfrag(machine) == []
    take(machine)
    assert len(extfrag(machine)) == 1
    return machine.pageblock_type(0) == M


@pytest.fixture
def lru_machine(make):
    return make(512, [(0, 8, M), (256, 4, U), (288, 3, U)], {0: U})


@pytest.mark.parametrize(("pages", "claimed"), [(239, False), (240, True)])
def test_3_5_a_page_is_on_the_lru_when_its_batch_is_full(lru_machine, pages, claimed):
    take(lru_machine, n=pages, lru=True)
    assert lru_pages_decide(lru_machine) is claimed


def test_3_5_a_high_order_page_flushes_the_batch(lru_machine):
    take(lru_machine, n=239, lru=True)
    take(lru_machine, 1, lru=True)
    assert lru_pages_decide(lru_machine)


@pytest.mark.parametrize(("freed", "claimed"), [(0, False), (238, True)])
def test_3_5_a_free_of_a_waiting_page_flushes_the_batch(lru_machine, freed, claimed):
    # 225 pages are on the LRU and 14 wait; 24 pages are free.
    pages = take(lru_machine, n=239, lru=True)
    lru_machine.free(0, pages[freed], 0)
    assert lru_pages_decide(lru_machine) is claimed
