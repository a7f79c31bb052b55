"""The census of a machine on which every page is known."""

from dataclasses import replace

import numpy as np
import pytest
from workload_runs import carry_out, small_memory

from memsim.kernels.layout import PAGE_RESERVED
from memsim.memory import Memory
from memsim.mm import GFP_COMPOSITES, OP_FREE, Gfp, Use
from memsim.policies import LINUX_6_1, none
from memsim.schema import AllocBatch, MemoryBlocks, Request, Stream

KERNEL = Request(GFP_COMPOSITES["GFP_KERNEL"], Use.KERNEL, preferred=0)
USER = Request(GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP, Use.ANON, preferred=0, lru=True)
KINDS = (np.uint8, np.uint16, np.uint16, np.int32)
FIRST = 1 << 20
"""The first page of ``small_memory``."""


def took(*orders, hotpluggable=()):
    """A machine without grouping after one allocation of each (request, order)."""
    memory = small_memory(nodes=2)
    memory.set_policy(none.Policy().tables(LINUX_6_1))
    memory.setup = replace(memory.setup, hotpluggable=hotpluggable)
    n = len(orders)
    batch = AllocBatch(
        np.arange(n),
        np.array([order for _, order in orders], np.uint8),
        np.array([(KERNEL, USER).index(request) for request, _ in orders], np.uint16),
        np.zeros(n, np.uint16),
        np.arange(n, dtype=np.int32),
    )
    stream = Stream((KERNEL, USER), n, [batch])
    assert (carry_out(memory, stream, [batch]) == 0).all()
    return memory


def test_an_area_of_two_pageblocks_is_mixed_where_neither_of_them_is():
    memory = took((KERNEL, 9), (USER, 9))
    heads = memory.page_table[:2] - 1
    assert heads[0] >> 10 == heads[1] >> 10 and heads[0] >> 9 != heads[1] >> 9
    census = memory.census()
    assert census.mixed_pageblocks.sum() == 0
    assert census.mixed_areas.tolist() == [1, 0]


def test_a_pageblock_that_is_mixed_is_so_within_its_area():
    memory = took((KERNEL, 4), (KERNEL, 4), (USER, 10))
    assert memory.census().mixed_areas.sum() == 0


def test_pages_on_per_cpu_lists_leave_an_area_empty():
    memory = took((USER, 0))
    areas = 2 * (1 << 16) // 1024
    assert memory.census().empty_areas.sum() == areas - 1
    free = [
        np.array([column], kind) for column, kind in zip((OP_FREE, 0, 0, 0), KINDS, strict=True)
    ]
    memory.run(*free)
    census = memory.census()
    assert census.pcp_pages.sum() > 0
    assert census.free_blocks[:, 10].sum() == areas - 1
    assert census.empty_areas.tolist() == [areas // 2, areas // 2]


@pytest.mark.parametrize(
    ("taken", "judged", "unmovable"),
    [
        ((), MemoryBlocks(4, 4, 4), 0),
        (((USER, 9), (USER, 4)), MemoryBlocks(4, 4, 3), 0),
        (((KERNEL, 9),), MemoryBlocks(4, 3, 3), 512),
        (((KERNEL, 9), (USER, 10)), MemoryBlocks(4, 3, 3), 512),
    ],
    ids=["empty", "movable", "unmovable", "both"],
)
def test_memory_blocks_are_judged_by_what_they_hold(taken, judged, unmovable):
    hotpluggable = ((FIRST, FIRST + (1 << 16)),)
    memory = took(*taken, hotpluggable=hotpluggable)
    census = memory.census(memory_block_order=14)
    assert census.memory_blocks == judged
    assert census.unmovable_hotpluggable.tolist() == [unmovable, 0]


def test_what_boot_keeps_cannot_be_removed():
    setup = took(hotpluggable=((FIRST, FIRST + (1 << 16)),)).setup
    memory = Memory(setup, none.Policy().tables(LINUX_6_1))
    assert memory.census().memory_blocks == MemoryBlocks(2, 2, 2)
    memory.mem.state[FIRST + 70] = PAGE_RESERVED
    assert memory.census().memory_blocks == MemoryBlocks(2, 1, 1)


def test_without_hotpluggable_memory_no_block_is_judged():
    assert took((KERNEL, 0)).census().memory_blocks == MemoryBlocks(0, 0, 0)
