"""What Memory does at the start and beside requests: boot blocks, isolated pageblocks, holding."""

import numpy as np
import pytest
from backend import I, M, MachineSpec, Request, U, ZoneSpec
from kernel_backend import KernelMachine

from memsim.kernels import boot
from memsim.kernels import layout as L
from memsim.mm import MAX_PFN, NR_PAGE_ORDERS, OP_FREE, Status
from memsim.schema import HeldBlocks

OK = Status.OK


def machine(pages, free=(), **zone):
    return KernelMachine(MachineSpec((ZoneSpec(0, pages, tuple(free), **zone),)))


def booted(pages, *ranges):
    memory = machine(pages).memory
    for start, end in ranges:
        memory.free_boot_range(0, start, end)
    memory.check()
    return memory


def lists(memory, kind=M):
    every = {k: memory.free_list(0, k, kind).tolist() for k in range(NR_PAGE_ORDERS)}
    return {k: pfns for k, pfns in every.items() if pfns}


def take(kernels, order=0, kind=M, n=1):
    answers = [kernels.alloc(0, Request(order=order, migratetype=kind)) for _ in range(n)]
    assert {status for status, _ in answers} == {OK}
    return [pfn for _, pfn in answers]


# 2.8: boot


def test_F2_5_only_pfn_0_reserved():
    memory = booted(4096, (1, 4096))
    assert lists(memory) == {k: [1 << k] for k in range(10)} | {10: [1024, 2048, 3072]}
    kernels = machine(4096)
    kernels.memory.free_boot_range(0, 1, 4096)
    assert take(kernels, n=6) == [1, 2, 3, 4, 5, 6]


def test_F2_6_two_free_ranges():
    assert lists(booted(4096, (1, 159), (256, 4096))) == {
        0: [1, 158], 1: [2, 156], 2: [4, 152], 3: [8, 144], 4: [16, 128], 5: [32], 6: [64],
        8: [256], 9: [512], 10: [1024, 2048, 3072],
    }  # fmt: skip
    kernels = machine(4096)
    for start, end in ((1, 159), (256, 4096)):
        kernels.memory.free_boot_range(0, start, end)
    assert take(kernels, n=4) == [1, 158, 2, 3]
    assert take(kernels, 9) == [512]


def test_F2_7_zone_of_1500_pages():
    assert lists(booted(1500, (0, 1500))) == {
        2: [1496], 3: [1488], 4: [1472], 6: [1408], 7: [1280], 8: [1024], 10: [0],
    }  # fmt: skip


# 2.3 and 4.4: pageblocks that are being taken offline


def isolate(kernels, block):
    kernels.memory.mem.pageblocks[block] = I
    kernels.memory.add_zone_field(0, L.Z_NR_ISOLATE_PAGEBLOCK, 1)


def test_2_3_what_is_freed_into_an_isolated_pageblock_is_not_counted():
    kernels = machine(1024, [(0, 10, M)], pcp_high=80, pcp_batch=1)
    pages = take(kernels, n=1024)
    isolate(kernels, 0)
    for pfn in pages:
        kernels.free(0, pfn, 0)
    kernels.drain_all(0)
    assert lists(kernels.memory, I) == {9: [0]}
    assert lists(kernels.memory) == {9: [512]}
    assert kernels.nr_free_pages(0) == 512
    kernels.memory.check()


def test_4_4_a_drain_looks_again_where_a_pageblock_is_isolated():
    kernels = machine(1024, [(0, 10, M)], pcp_high=80, pcp_batch=1)
    pages = take(kernels, n=512)
    for pfn in pages[:8]:
        kernels.free(0, pfn, 0)
    isolate(kernels, 0)
    assert kernels.pcp_count(0, 0) == 8
    kernels.drain_all(0)
    assert lists(kernels.memory, I) == {3: [0]}
    assert kernels.nr_free_pages(0) == 512
    kernels.memory.check()


# Memory


def test_a_held_block_is_on_the_lru_as_its_head_is():
    kernels = machine(2048, [(1024, 10, M)])
    memory = kernels.memory
    memory.mem.state[:1024] = L.PAGE_ALLOCATED
    memory.mem.state[512:1024] |= L.PAGE_LRU
    boot.place_lru_pages(memory.mem, np.arange(512, 1024, dtype=np.int32))
    memory.check()
    assert memory.hold(0, HeldBlocks(np.array([0]), np.array([10]))) == 1
    batch = (np.array([OP_FREE], np.uint8), *[np.zeros(1, np.uint16)] * 2, np.zeros(1, np.int32))
    assert memory.run(*batch).status.tolist() == [Status.FREED]
    assert np.flatnonzero(memory.mem.state[:1024]).tolist() == []
    assert memory.lru_list(0, L.LRU_INACTIVE_FILE).tolist() == []


def test_a_copy_shares_nothing():
    kernels = machine(1024, [(0, 10, M)], pcp_high=80, pcp_batch=3)
    before = take(kernels, n=5) + take(kernels, kind=U)
    twin = kernels.memory.copy()
    after = take(kernels, n=5, kind=U) + take(kernels, n=5)
    kernels.free(0, before[0], 0)
    twin.check()
    kernels.memory = twin
    assert take(kernels, n=5, kind=U) + take(kernels, n=5) == after


@pytest.mark.parametrize("zones", [1, 255])
def test_links_of_the_largest_machine_are_int32(zones):
    order_10_links = 2 * (MAX_PFN >> 10)
    list_heads = 2 * zones * NR_PAGE_ORDERS * L.MIGRATE_STRIDE
    assert MAX_PFN + order_10_links + list_heads <= np.iinfo(np.int32).max
