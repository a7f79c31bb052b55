"""The checkable facts of spec linux-mm 10.7 and history-2005 2.1, 2.2 (light, full), no pcp.

Every backend. ``usemap`` and ``page_flag`` are the light patch, V20 and V21.
"""

import pytest
from backend_2005 import (
    BACKENDS_2005,
    EASY,
    FALLBACK,
    KERN,
    NORCLM,
    TYPES,
    Machine2005,
    Request2005,
    Zone2005,
)

from memsim.mm import Status

OK, NOPAGE = Status.OK, Status.NOPAGE
LIGHT = ("usemap", "page_flag")
KINDS = {NORCLM: "kernel", EASY: "user", KERN: "reclaimable"}
VIRGIN = [(pfn, 10, NORCLM) for pfn in range(0, 4096, 1024)]


@pytest.fixture(params=sorted(BACKENDS_2005))
def make(request):
    backend = BACKENDS_2005[request.param]

    def make(policy, free, pageblocks=None, end=4096, max_page_order=10, **zone):
        spec = Zone2005(0, end, tuple(free), **zone)
        return backend(
            Machine2005((spec,), policy, pageblocks=pageblocks or {}, max_page_order=max_page_order)
        )

    return make


def ask(machine, kind, order=0):
    return machine.alloc(0, Request2005(order=order, kind=KINDS[kind]))


def take(machine, kind, order=0, n=1):
    answers = [ask(machine, kind, order) for _ in range(n)]
    assert all(status == OK for status, _ in answers)
    return [pfn for _, pfn in answers]


def lists(machine, kind, top=10):
    """The type's non-empty lists by order."""
    every = {k: machine.free_list(0, k, kind) for k in range(top + 1)}
    return {k: pfns for k, pfns in every.items() if pfns}


def usemap(machine, end=4096, size=1024):
    return [machine.pageblock_type(pfn) for pfn in range(0, end, size)]


# Light: 10.7, history-2005 2.1


@pytest.mark.parametrize("variant", LIGHT)
def test_f10_1_light_each_type_fills_blocks_of_its_own(make, variant):
    machine = make(variant, VIRGIN)
    assert take(machine, EASY) == [0]
    assert lists(machine, EASY) == {k: [1 << k] for k in range(10)}
    assert lists(machine, NORCLM) == {10: [1024, 2048, 3072]}
    assert take(machine, NORCLM) == [1024]
    assert lists(machine, NORCLM) == {k: [1024 + (1 << k)] for k in range(10)} | {10: [2048, 3072]}


def test_history_2_1_i_the_first_easy_request_flips_one_max_block(make):
    machine = make("usemap", VIRGIN)
    take(machine, EASY)
    assert usemap(machine) == [EASY, NORCLM, NORCLM, NORCLM]


@pytest.mark.parametrize("variant", LIGHT)
@pytest.mark.parametrize(
    ("order", "pfn", "large"), [(4, 48, False), (5, 64, True)], ids=["order-4", "order-5"]
)
def test_f10_2_light_a_large_block_changes_hands_a_small_one_does_not(
    make, variant, order, pfn, large
):
    """Also history-2005 2.1 (ii) and (iii)."""
    machine = make(variant, [(pfn, order, EASY)], {0: EASY})
    assert take(machine, NORCLM) == [pfn]
    rest = {k: [pfn + (1 << k)] for k in range(order)}
    assert lists(machine, NORCLM) == (rest if large else {})
    assert lists(machine, EASY) == ({} if large else rest)
    flips = large and variant == "usemap"
    assert machine.pageblock_type(pfn) == (NORCLM if flips else EASY)


def test_light_usemap_flips_a_pageblock_back_at_the_second_large_block(make):
    """The bit is flipped, not set (history-2005 2.1, steal rule)."""
    machine = make("usemap", [(64, 5, EASY), (128, 5, EASY)], {0: EASY})
    assert take(machine, NORCLM, order=5) == [64]
    assert machine.pageblock_type(0) == NORCLM
    assert take(machine, NORCLM, order=5) == [128]
    assert machine.pageblock_type(0) == EASY


@pytest.mark.parametrize(("order", "large"), [(5, False), (6, True)])
def test_light_large_is_half_of_max_order_on_ppc64(make, order, large):
    machine = make("usemap", [(0, order, EASY)], {0: EASY}, end=8192, max_page_order=12)
    assert take(machine, NORCLM) == [0]
    assert machine.pageblock_type(0) == (NORCLM if large else EASY)


@pytest.mark.parametrize("variant", LIGHT)
def test_light_takes_the_lenders_largest_block_even_of_the_very_order(make, variant):
    machine = make(variant, [(4, 1, EASY), (16, 3, EASY), (64, 3, EASY)])
    assert take(machine, NORCLM) == [16]
    machine = make(variant, [(4, 1, EASY)])
    assert take(machine, NORCLM, order=1) == [4]
    assert ask(machine, NORCLM) == (NOPAGE, -1)


def test_light_usemap_decides_where_a_page_is_freed_to(make):
    """A page of before the flip goes to the new type; other free blocks stay where they are."""
    machine = make("usemap", [(64, 5, NORCLM), (128, 4, NORCLM), (256, 0, NORCLM)])
    assert take(machine, NORCLM) == [256]
    assert take(machine, EASY) == [64]
    assert machine.pageblock_type(0) == EASY
    assert lists(machine, NORCLM) == {4: [128]}
    machine.free(0, 256, 0)
    assert machine.free_list(0, 0, EASY) == [256, 65]


def test_light_page_flag_decides_where_a_page_is_freed_to(make):
    machine = make("page_flag", [(64, 5, NORCLM), (128, 4, NORCLM), (256, 0, NORCLM)])
    assert take(machine, NORCLM) == [256]
    assert take(machine, EASY) == [64]
    machine.free(0, 256, 0)
    machine.free(0, 64, 0)
    assert lists(machine, NORCLM) == {0: [256], 4: [128]}
    assert lists(machine, EASY) == {5: [64]}


@pytest.mark.parametrize("policy", (*LIGHT, "full"))
def test_history_2_1_iv_kernel_requests_have_per_cpu_lists_of_their_own(make, policy):
    machine = make(policy, VIRGIN, batch=4, high=24)
    (easy,) = take(machine, EASY)
    assert machine.pcp_list(0, 0, False, 1) == [easy + 1, easy + 2, easy + 3]
    kernel = take(machine, NORCLM)[0]
    assert kernel not in range(easy, easy + 4)
    assert machine.pcp_list(0, 0, False, 0) == [kernel + 1, kernel + 2, kernel + 3]
    machine.free(0, kernel, 0)
    assert machine.pcp_list(0, 0, False, 0)[0] == kernel


@pytest.mark.parametrize(
    ("policy", "hot", "cold"), [("usemap", 11, 3), ("page_flag", 23, 7), ("none", 23, 7)]
)
def test_light_usemap_halves_what_a_list_holds(make, policy, hot, cold):
    machine = make(policy, VIRGIN, batch=4, high=24, cold_high=8, cold_batch=4)
    pages = take(machine, NORCLM, n=64)
    seen = {False: [], True: []}
    for i, pfn in enumerate(pages):
        machine.free(0, pfn, 0, i % 2 == 0)
        seen[i % 2 == 0].append(len(machine.pcp_list(0, 0, i % 2 == 0, 0)))
    assert (max(seen[False]), max(seen[True])) == (hot, cold)


@pytest.mark.parametrize("policy", ("none", "disabled"))
def test_without_types_all_requests_share_all_blocks(make, policy):
    machine = make(policy, VIRGIN, batch=4, high=24)
    assert [take(machine, kind)[0] for kind in (EASY, NORCLM, KERN)] == [0, 1, 2]
    assert machine.pcp_list(0, 0, False, 0) == [3]
    assert [lists(machine, kind) for kind in TYPES[1:]] == [{}, {}, {}]
    assert usemap(machine) == [NORCLM] * 4


# Full: 10.7, history-2005 2.2


def test_f10_3_full_the_first_block_taken_becomes_the_reserve(make):
    machine = make("full", VIRGIN)
    assert take(machine, EASY) == [0]
    assert machine.reserve(0) == 1024
    assert usemap(machine) == [FALLBACK, NORCLM, NORCLM, NORCLM]
    assert take(machine, EASY, order=10) == [1024]
    assert take(machine, KERN) == [2048]
    assert machine.reserve(0) == 1024
    assert usemap(machine) == [FALLBACK, EASY, KERN, NORCLM]


def test_f10_4_full_type_comes_before_size(make):
    machine = make("full", [(8, 3, FALLBACK), (64, 6, NORCLM)])
    assert take(machine, KERN) == [8]
    assert lists(machine, FALLBACK) == {k: [8 + (1 << k)] for k in range(3)}
    assert lists(machine, NORCLM) == {6: [64]}
    assert lists(machine, KERN) == {}


def test_history_2_2_full_the_reserve_comes_before_other_types_own_blocks(make):
    machine = make("full", [(pfn, 10, NORCLM) for pfn in range(0, 32768, 1024)], end=32768)
    owners = []
    for pfn in range(0, 16384, 1024):
        assert take(machine, EASY, order=10) == [pfn]
        owners.append(machine.pageblock_type(pfn))
    assert owners == [FALLBACK] * 4 + [EASY] * 12
    assert machine.reserve(0) == 32768 // 8


@pytest.mark.parametrize(
    ("kind", "order_of_types"),
    [
        (NORCLM, (FALLBACK, KERN, EASY)),
        (EASY, (FALLBACK, NORCLM, KERN)),
        (KERN, (FALLBACK, NORCLM, EASY)),
    ],
)
def test_history_2_2_full_the_fallback_table(make, kind, order_of_types):
    place = {other: 64 * (other + 1) for other in order_of_types}
    machine = make("full", [(pfn, 1, other) for other, pfn in place.items()])
    for other in order_of_types:
        pages = [place[other], place[other] + 1]
        assert take(machine, kind) == pages[:1]
        lender = NORCLM if kind == NORCLM else other
        assert lists(machine, lender)[0] == pages[1:]
        if kind == NORCLM:
            assert take(machine, kind) == pages[1:]


@pytest.mark.parametrize("kind", (NORCLM, EASY, KERN))
def test_history_2_2_full_never_takes_the_very_order_from_another_type(make, kind):
    lender = EASY if kind != EASY else NORCLM
    machine = make("full", [(64, 3, lender)])
    assert ask(machine, kind, order=3) == (NOPAGE, -1)
    assert take(machine, kind, order=2) == [64]


def test_history_2_2_full_the_pool_gives_the_very_order(make):
    machine = make("full", [(0, 10, EASY), (1024, 10, NORCLM)])
    assert take(machine, KERN, order=10) == [1024]
    assert take(machine, KERN, order=10) == [0]


@pytest.mark.parametrize(
    ("order", "reserve", "becomes"),
    [
        (4, {1: FALLBACK}, EASY),
        (5, {1: FALLBACK}, NORCLM),
        (5, {}, FALLBACK),
    ],
)
def test_history_2_2_full_kernel_requests_group_large_blocks(make, order, reserve, becomes):
    machine = make("full", [(64, order, EASY)], {0: EASY} | reserve)
    assert take(machine, NORCLM) == [64]
    assert lists(machine, NORCLM) == {k: [64 + (1 << k)] for k in range(order)}
    assert lists(machine, EASY) == {}
    assert machine.pageblock_type(0) == becomes
    assert machine.reserve(0) == 1024


def test_history_2_2_full_other_requests_group_nothing(make):
    machine = make("full", [(512, 9, NORCLM)])
    assert take(machine, EASY) == [512]
    assert lists(machine, NORCLM) == {k: [512 + (1 << k)] for k in range(9)}
    assert usemap(machine) == [NORCLM] * 4


def test_full_a_block_of_the_reserve_that_is_taken_leaves_it(make):
    """The reserve may then be short, which the next block taken makes good."""
    machine = make("full", [(0, 10, FALLBACK), (1024, 10, NORCLM)], {0: FALLBACK})
    assert machine.reserve(0) == 1024
    assert take(machine, NORCLM, order=10) == [1024]
    assert take(machine, NORCLM, order=10) == [0]
    assert (machine.reserve(0), machine.pageblock_type(0)) == (0, NORCLM)
    machine.free(0, 1024, 10)
    assert take(machine, EASY, order=10) == [1024]
    assert (machine.reserve(0), machine.pageblock_type(1024)) == (1024, FALLBACK)
