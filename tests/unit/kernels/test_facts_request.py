"""The checkable facts of spec 4.8, 5.9 and 11.11 that need no reclaim, for every backend."""

import pytest
from backend import BACKENDS, C, M, MachineSpec, Request, U, ZoneSpec

from memsim import mm

OK, NOPAGE, NEEDS_RECLAIM = mm.Status.OK, mm.Status.NOPAGE, mm.Status.NEEDS_RECLAIM
DMA, DMA32, NORMAL, MOVABLE = range(4)
KERNEL = {"direct_reclaim": True, "kswapd": True}
ATOMIC = {"high": True, "atomic": True, "kswapd": True}
NOWAIT = {"kswapd": True}
MIB_64, GIB = 16384, 262144


@pytest.fixture(params=sorted(BACKENDS))
def backend(request):
    return BACKENDS[request.param]


@pytest.fixture
def make(backend):
    def make(pages, free=None, pageblocks=None, **zone):
        blocks = [(pfn, 10, M) for pfn in range(0, pages, 1024)] if free is None else free
        spec = ZoneSpec(0, pages, tuple(blocks), **zone)
        return backend(MachineSpec((spec,), pageblocks=pageblocks or {}))

    return make


def take(machine, order=0, mt=M, n=1, **attributes):
    pfns = []
    for _ in range(n):
        status, pfn = machine.alloc(0, Request(order=order, migratetype=mt, **attributes))
        assert status == OK
        pfns.append(pfn)
    return pfns


def drained(machine):
    return [pfn for kind, pfn, *_ in machine.events() if kind == "drain"]


def single_pages(n, mt=M):
    """n free pages that cannot merge."""
    return [(2 * i, 0, mt) for i in range(n)]


# 4.8


def test_F4_2_lifo_for_the_allocator(make):
    machine = make(MIB_64, pcp_high=320, pcp_batch=3)
    assert take(machine, n=7) == list(range(7))
    assert machine.pcp_list(0, 0, M) == [7, 8]
    assert machine.pcp_count(0, 0) == 2
    machine.free(0, 5, 0)
    machine.free(0, 1, 0)
    assert machine.pcp_list(0, 0, M) == [1, 5, 7, 8]
    assert take(machine, n=4) == [1, 5, 7, 8]


def test_F4_3_refill_by_order(make):
    machine = make(GIB, pcp_high=1286, pcp_batch=63)
    assert take(machine, 1, n=3) == [0, 2, 4]
    assert machine.pcp_count(0, 0) == 56
    assert len(machine.events()) == 31
    assert take(machine, 9) == [512]
    assert machine.pcp_list(0, 0, 13) == [1024]
    assert machine.pcp_count(0, 0) == 568


def test_F4_4_a_refill_per_type(make):
    machine = make(GIB, pcp_high=1286, pcp_batch=63)
    assert take(machine, mt=U, n=3) + take(machine, n=3) == [0, 1, 2, 1024, 1025, 1026]
    assert machine.pcp_count(0, 0) == 120
    assert [machine.pageblock_type(p) for p in (0, 512, 1024)] == [U, U, M]


def test_F4_5_bulk_frees_grow(make):
    machine = make(GIB, pcp_high=1000, pcp_batch=63)
    assert take(machine, n=2000) == list(range(2000))
    assert machine.pcp_count(0, 0) == 16
    machine.events()
    bulks, factors, first = {}, [], None
    for pfn in range(2000):
        machine.free(0, pfn, 0)
        pages = drained(machine)
        if pages:
            first = first or pages
            bulks[pfn] = len(pages)
            factors.append(machine.free_factor(0, 0))
    assert bulks == {983: 63, 1046: 126, 1172: 252, 1424: 504, 1928: 937}
    assert factors == [1, 2, 3, 4, 4]
    assert first == [*range(2015, 1999, -1), *range(47)]


def test_F4_6_bulk_frees_in_a_small_zone(make):
    machine = make(1024, pcp_high=80, pcp_batch=1)
    assert take(machine, n=100) == list(range(100))
    machine.events()
    bulks, returned = {}, []
    for nth in range(1, 101):
        machine.free(0, nth - 1, 0)
        pages = drained(machine)
        if pages:
            bulks[nth] = len(pages)
            returned += pages
    assert bulks == {80: 1, 81: 2, 83: 4, 87: 8, 95: 16}
    assert returned[0] == 0


def test_F4_7_one_high_order_free_empties_the_pcp(make):
    machine = make(1024, pcp_high=80, pcp_batch=1)
    (pair,) = take(machine, 1)
    kernel = take(machine, mt=U, n=4)
    pages = take(machine, n=80)
    for pfn in kernel + pages[:76]:
        machine.free(0, pfn, 0)
    assert machine.free_factor(0, 0) == 1
    assert machine.pcp_list(0, 0, U) and machine.pcp_list(0, 0, M)
    machine.free(0, pair, 1)
    assert machine.pcp_count(0, 0) == 0
    assert all(machine.pcp_list(0, 0, pindex) == [] for pindex in range(mm.NR_PCP_LISTS))


# 5.9


@pytest.mark.parametrize(
    ("free", "attributes", "status"),
    [
        (25, ATOMIC, OK),
        (24, ATOMIC, NOPAGE),
        (33, {"high": True} | KERNEL, OK),
        (32, {"high": True} | KERNEL, NEEDS_RECLAIM),
        (65, KERNEL, OK),
        (64, KERNEL, NEEDS_RECLAIM),
    ],
)
def test_F5_1_how_deep_a_request_may_go(make, free, attributes, status):
    machine = make(1024, single_pages(free), wmark=(64, 80, 96))
    assert machine.alloc(0, Request(migratetype=M, **attributes))[0] == status


@pytest.mark.parametrize(
    ("free", "attributes", "status"),
    [
        (65, NOWAIT, OK),
        (64, NOWAIT, NOPAGE),
        (577, KERNEL, OK),
        (576, KERNEL, NEEDS_RECLAIM),
    ],
)
def test_F5_2_who_pays_for_the_highatomic_reserve(make, free, attributes, status):
    machine = make(2048, single_pages(free), wmark=(64, 80, 96), nr_reserved_highatomic=512)
    assert machine.alloc(0, Request(migratetype=M, **attributes))[0] == status


@pytest.mark.parametrize(
    ("blocks", "status"),
    [
        ([(0, 6, M), (64, 4, M), (88, 3, M), (100, 1, M)], OK),
        ([(0, 6, M), (64, 4, M), (88, 2, M), (100, 1, M), (102, 0, M)], NOPAGE),
        ([(8 * i, 2, M) for i in range(22)] + [(200, 1, M)], NOPAGE),
    ],
)
def test_F5_3_a_high_order_needs_a_block_it_may_use(make, blocks, status):
    cma = [(512, 3, C), (528, 1, C)]
    machine = make(1024, blocks + cma, {1: C}, wmark=(80, 80, 96))
    assert machine.alloc(0, Request(order=3, migratetype=U, **NOWAIT))[0] == status


def test_F5_4_lowmem_reserve(backend):
    free = tuple((pfn, 5, M) for pfn in range(0, 8000, 64))
    reserve = (0, 0, 3906, 3906, 3906)
    dma32 = ZoneSpec(0, 8192, free, wmark=(900, 1000, 1100), lowmem_reserve=reserve)
    normal = ZoneSpec(8192, 9216, (), index=NORMAL, wmark=(8, 8, 8))
    machine = backend(MachineSpec((dma32, normal), zonelists={0: (1, 0)}))
    assert machine.nr_free_pages(0) == 4000
    request = Request(migratetype=U, highest_zoneidx=NORMAL, **KERNEL)
    assert machine.alloc(0, request)[0] == NEEDS_RECLAIM
    assert machine.alloc(0, Request(migratetype=U, highest_zoneidx=DMA32, **KERNEL))[0] == OK
    assert machine.nr_free_pages(0) == 3999


def test_F5_5_node_before_zone(backend):
    def zone(start, nid, index):
        return ZoneSpec(start, start + 1024, ((start, 10, M),), nid, index, wmark=(64, 80, 96))

    low = ZoneSpec(1024, 2048, ((1024, 6, M),), 0, MOVABLE, wmark=(60, 80, 96))
    zones = (zone(0, 0, NORMAL), low, zone(2048, 1, NORMAL), zone(3072, 1, MOVABLE))
    spec = MachineSpec(zones, (0, 1), zonelists={0: (1, 0, 3, 2), 1: (3, 2, 1, 0)})
    machine = backend(spec)
    request = Request(migratetype=M, highest_zoneidx=MOVABLE, **KERNEL)
    assert machine.alloc(0, request) == (OK, 0)
    assert machine.numa(0)["numa_hit"] == 1
    assert machine.numa(1)["numa_foreign"] == 0


def test_F5_6_between_low_and_min_kswapd_is_woken(backend):
    zones = tuple(
        ZoneSpec(start, start + 1024, ((start, 6, M), (start + 64, 4, M)), 0, index, wmark=wmark)
        for start, index, wmark in ((0, DMA32, (64, 90, 96)), (1024, NORMAL, (64, 90, 96)))
    )
    machine = backend(MachineSpec(zones, zonelists={0: (1, 0)}))
    assert machine.kswapd_wakes() == 0
    assert machine.alloc(0, Request(migratetype=M, **KERNEL)) == (OK, 1024 + 64)
    assert machine.kswapd_wakes() > 0


def test_F5_8_the_tested_count_lags(backend):
    reserve = (0, 0, 0, 365, 365)
    dma = ZoneSpec(0, 1024, ((0, 10, M),), index=DMA)
    free = tuple((1024 + 2 * i, 0, M) for i in range(470))
    dma32 = ZoneSpec(
        1024, 3072, free, wmark=(80, 103, 120), lowmem_reserve=reserve, stat_threshold=2
    )
    machine = backend(MachineSpec((dma, dma32), zonelists={0: (1, 0)}))
    request = Request(migratetype=M, highest_zoneidx=MOVABLE, **KERNEL)
    zones = [int(machine.alloc(0, request)[1] >= 1024) for _ in range(2)]
    assert machine.nr_free_pages(1) == 468 == 103 + 365
    assert machine.counter(1) == (470, [-2])
    zones += [int(machine.alloc(0, request)[1] >= 1024) for _ in range(2)]
    assert zones == [1, 1, 1, 0]
    assert machine.counter(1) == (467, [0])


def test_5_7_numa_counters(backend):
    zones = tuple(
        ZoneSpec(start, start + 1024, free, nid, NORMAL)
        for start, free, nid in ((0, ((0, 0, M), (2, 0, M)), 0), (1024, ((1024, 10, M),), 1))
    )
    spec = MachineSpec(zones, (0, 1), zonelists={0: (0, 1), 1: (1, 0)})
    machine = backend(spec)
    pfns = [machine.alloc(cpu, Request(migratetype=M))[1] for cpu in (0, 1, 0)]
    assert pfns == [0, 2, 1024]
    names = ("numa_hit", "numa_miss", "numa_foreign", "numa_local", "numa_other")
    assert [machine.numa(0)[name] for name in names] == [2, 0, 1, 1, 1]
    assert [machine.numa(1)[name] for name in names] == [0, 1, 0, 0, 1]


def two_nodes(**zone):
    """Node 0 with four pages, all of another node's zone free; both Normal."""
    few = tuple((8 * i, 0, M) for i in range(4))
    zones = (
        ZoneSpec(0, 1024, few, 0, NORMAL, **zone),
        ZoneSpec(1024, 2048, ((1024, 10, M),), 1, NORMAL),
    )
    return MachineSpec(zones, (0, 1), zonelists={0: (0, 1), 1: (1, 0)})


@pytest.mark.parametrize(
    ("attributes", "answer"),
    [
        (NOWAIT, (NOPAGE, -1)),
        (KERNEL, (NEEDS_RECLAIM, -1)),
        ({"high": True} | KERNEL, (NEEDS_RECLAIM, -1)),
        (ATOMIC, (OK, 1024)),
    ],
)
def test_5_5_only_an_atomic_request_leaves_its_node_mask(backend, attributes, answer):
    machine = backend(two_nodes(wmark=(64, 80, 96)))
    request = Request(migratetype=U, nodemask=frozenset({0}), **attributes)
    assert machine.alloc(0, request) == answer


@pytest.mark.parametrize("attributes", [NOWAIT, KERNEL, ATOMIC])
def test_5_5_without_a_zone_to_walk_nothing_is_reclaimed(backend, attributes):
    zones = (
        ZoneSpec(0, 1024, ((0, 10, M),), 0, NORMAL),
        ZoneSpec(1024, 2048, ((1024, 10, M),), 1, MOVABLE),
    )
    machine = backend(MachineSpec(zones, (0, 1), zonelists={0: (0, 1), 1: (1, 0)}))
    request = Request(migratetype=U, nid=1, thisnode=True, **attributes)
    assert machine.alloc(1, request) == (NOPAGE, -1)
    assert machine.kswapd_wakes() == 0


# 11.11


@pytest.mark.parametrize(("pages", "batch", "taken"), [(4096, 1, 3), (GIB, 63, 63)])
def test_F11_1_F11_2_the_pcp_hides_pages(make, pages, batch, taken):
    machine = make(pages, pcp_high=1286, pcp_batch=batch)
    pfns = take(machine, n=3)
    assert machine.vmstat() == {"pgalloc": 3, "pgfree": 0}
    assert machine.nr_free_pages(0) == pages - taken
    assert [event[0::4] for event in machine.events()] == [("zone_locked", 1)] * taken
    assert machine.pcp_count(0, 0) == taken - 3
    for pfn in pfns:
        machine.free(0, pfn, 0)
    assert machine.vmstat() == {"pgalloc": 3, "pgfree": 3}
    assert machine.nr_free_pages(0) == pages - taken
    assert machine.pcp_count(0, 0) == taken
    assert machine.events() == []


def test_F11_3_order_9_stays_on_the_pcp(make):
    machine = make(GIB, pcp_high=1286, pcp_batch=63)
    (pfn,) = take(machine, 9)
    count = machine.pcp_count(0, 0)
    machine.free(0, pfn, 9)
    assert machine.vmstat()["pgfree"] == 512
    assert machine.pcp_count(0, 0) == count + 512


def test_F11_4_list_type_and_pageblock_type_disagree(make):
    machine = make(1024)
    take(machine, n=1024, lru=True)
    for pfn in range(312, 512):
        machine.free(0, pfn, 0)
    take(machine, mt=U)
    assert [machine.pageblock_type(p) for p in (0, 512)] == [M, M]
    by_order = [len(machine.free_list(0, k, U)) for k in range(mm.NR_PAGE_ORDERS)]
    assert by_order == [1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0]
    assert [machine.nr_free(0, k) for k in range(mm.NR_PAGE_ORDERS)] == by_order


def test_F11_6_marks_are_shown_with_the_boost(make):
    machine = make(MIB_64, [(512, 0, M)], index=NORMAL, wmark=(256, 320, 384))
    take(machine, mt=U, memalloc=True, kswapd=True)
    assert machine.boost(0) == 512
    assert [machine.wmark_pages(0, w) for w in range(3)] == [768, 832, 896]
