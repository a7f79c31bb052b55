"""The pool of huge pages: who gets which, and what becomes of them when memory goes (8.6, 9.2)."""

from errno import EBUSY, EINTR

import numpy as np
from hotplug_desk import SECTION, two_nodes
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.naive_hugetlb import NaivePool

from memsim.kernels import layout as L
from memsim.kernels.hugetlb_pool import dissolve_free_huge_pages
from memsim.kernels.system import N_HUGETLB_FIRST, NODE_FIELDS, S_HUGETLB_HANDLE
from memsim.memory.hotplug import offline
from memsim.memory.hugetlb import fault, huge_pages, reserve, set_nr_hugepages, unmap
from memsim.memory.obstacles import Reason

TENTH_OF_A_SECOND = 100_000_000


def with_pool(first, second, runs=()):
    """Two nodes with so many huge pages each; node 1 is the section from 2 * SECTION on."""
    memory = two_nodes(runs)
    set_nr_hugepages(memory, (first, second))
    return memory


def mapped(memory, pages, node, nodes=None):
    """Map and touch huge pages of a node; return the handles."""
    first = memory.add_handles(pages)
    handles = np.arange(first, first + pages, dtype=np.int32)
    assert reserve(memory, pages) and fault(memory, handles, node, nodes)
    return handles


def nodes_of(memory, handles):
    return [int(pfn >= 2 * SECTION) for pfn in memory.page_table[handles] - 1]


def test_pages_come_from_the_node_asked_for_then_from_others_if_they_may():
    memory = with_pool(3, 2)
    assert huge_pages(memory) == ((3, 2), (3, 2), 0)
    handles = mapped(memory, 4, node=1)
    assert nodes_of(memory, handles) == [1, 1, 0, 0]
    assert huge_pages(memory) == ((3, 2), (1, 0), 0)
    unmap(memory, handles)
    assert huge_pages(memory) == ((3, 2), (3, 2), 0)
    memory.check()


def test_a_mapping_reserves_its_pages_and_its_policy_is_looked_at_when_it_touches_them():
    memory = with_pool(3, 2)
    assert not reserve(memory, 6) and reserve(memory, 3)
    assert not reserve(memory, 3)
    first = memory.add_handles(3)
    handles = np.arange(first, first + 3, dtype=np.int32)
    assert not fault(memory, handles, 1, (1,))
    unmap(memory, handles)
    assert huge_pages(memory) == ((3, 2), (3, 2), 0)


def test_free_huge_pages_are_dissolved_when_their_block_goes():
    memory = with_pool(0, 5)
    outcome = offline(memory, 2 * SECTION, SECTION)
    assert outcome.removed and outcome.pages_migrated == 0
    assert huge_pages(memory) == ((0, 0), (0, 0), 0)
    memory.check()


def test_huge_pages_in_use_take_free_ones_of_another_node_first():
    memory = with_pool(3, 5)
    handles = mapped(memory, 4, node=1)
    outcome = offline(memory, 2 * SECTION, SECTION)
    assert outcome.removed and outcome.pages_migrated == 4 * 512
    # Three were in the pool of node 0; the fourth is new, and now one of the pool.
    assert nodes_of(memory, handles) == [0] * 4
    assert huge_pages(memory) == ((4, 0), (0, 0), 0)
    memory.check()


def test_what_is_reserved_keeps_the_block():
    memory = with_pool(0, 5)
    assert reserve(memory, 2)
    outcome = offline(memory, 2 * SECTION, SECTION)
    assert (outcome.errno, outcome.reason) == (-EBUSY, Reason.HUGETLB_RESERVED)
    # Three went before, as in Linux: they do not come back.
    assert huge_pages(memory) == ((0, 2), (0, 2), 2)
    assert outcome.page >= 2 * SECTION
    memory.check()


def test_without_a_huge_page_elsewhere_it_is_tried_until_the_time_is_over():
    torn = {pfn: (1, "kernel") for pfn in range(0, 2 * SECTION, 512)}
    memory = with_pool(0, 2, torn)
    mapped(memory, 2, node=1)
    outcome = offline(memory, 2 * SECTION, SECTION, TENTH_OF_A_SECOND)
    assert (outcome.errno, outcome.reason) == (-EINTR, Reason.NO_HUGE_PAGE)
    assert huge_pages(memory) == ((0, 2), (0, 0), 0)
    memory.check()


def test_a_huge_page_that_stays_gives_back_what_it_was_to_be_moved_to():
    memory = with_pool(2, 1)
    handles = mapped(memory, 1, node=1)
    memory.mem.state[memory.page_table[handles] - 1] |= L.PAGE_PINNED
    outcome = offline(memory, 2 * SECTION, SECTION, TENTH_OF_A_SECOND // 100)
    assert (outcome.errno, outcome.reason) == (-EINTR, Reason.PINNED)
    assert huge_pages(memory) == ((2, 1), (2, 0), 0)
    memory.check()


def test_nothing_of_the_pool_counts_as_unmovable():
    memory = with_pool(0, 5)
    mapped(memory, 2, node=1)
    setup = memory.setup
    memory.setup = setup.__class__(**{**vars(setup), "hotpluggable": ((2 * SECTION, 3 * SECTION),)})
    blocks = memory.census(15).memory_blocks
    assert (blocks.total, blocks.removable, blocks.free) == (1, 1, 0)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_kernels_and_oracle_agree(seed):
    rng = np.random.default_rng(seed)
    memory = with_pool(int(rng.integers(0, 6)), int(rng.integers(0, 6)))
    joined = [[], []]
    for pfn in np.flatnonzero(memory.mem.rmap == memory.mem.system[S_HUGETLB_HANDLE]).tolist():
        if memory.mem.state[pfn] & L.PAGE_ALLOCATED:
            joined[int(pfn >= 2 * SECTION)].append(pfn)
    for mine in joined:
        mine.sort(key=lambda pfn: place_on_list(memory, pfn), reverse=True)
    twin = NaivePool(joined)
    maps = {}
    for _ in range(12):
        what = rng.choice(("map", "unmap", "dissolve"))
        if what == "map":
            pages, node = int(rng.integers(1, 5)), int(rng.integers(2))
            allowed = [(0, 1), (node,)][int(rng.integers(2))]
            first = memory.add_handles(pages)
            handles = np.arange(first, first + pages, dtype=np.int32)
            reserved = reserve(memory, pages)
            assert reserved == twin.reserve(pages)
            if reserved:
                got = fault(memory, handles, node, allowed)
                assert got == twin.fault(handles.tolist(), (node, 1 - node), allowed)
                maps[first] = handles
        elif what == "unmap" and maps:
            handles = maps.pop(int(rng.choice(list(maps))))
            unmap(memory, handles)
            twin.unmap(handles.tolist())
        elif what == "dissolve":
            start = int(rng.integers(0, 6)) * SECTION // 2
            theirs = twin.dissolve(start, start + SECTION // 2)
            assert dissolve_free_huge_pages(memory.mem, 0, start, start + SECTION // 2) == theirs
        found = huge_pages(memory)
        assert found == (tuple(twin.total), tuple(map(len, twin.free)), twin.reserved)
        held = {h: int(memory.page_table[h]) - 1 for m in maps.values() for h in m.tolist()}
        assert {h: pfn for h, pfn in held.items() if pfn >= 0} == twin.held
    memory.check()


def place_on_list(memory, pfn):
    """Say at which place of its node's list a free huge page stands, the next one first."""
    nodes = memory.mem.nodes.reshape(-1, NODE_FIELDS)
    for node in range(2):
        at, place = int(nodes[node, N_HUGETLB_FIRST]) - 1, 0
        while at >= 0:
            if at == pfn:
                return place
            at, place = int(memory.mem.next[at]), place + 1
    raise AssertionError(pfn)
