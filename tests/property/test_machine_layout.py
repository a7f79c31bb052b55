"""What must hold for every machine that boots."""

from itertools import pairwise

import pytest
from backend import MachineSpec, ZoneSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_backend import KernelMachine

from memsim.mm import MAX_PAGE_ORDER, Migratetype, ZoneType
from memsim.mm_init import machine_layout
from memsim.mm_init.memblock import NodeRequest, place_nodes
from memsim.mm_init.options import BootOptions
from memsim.mm_init.zones import find_zone_movable_pfns_for_nodes
from memsim.units import CmdlineSize

BLOCK = 32768

ram = st.lists(st.integers(4, 24), min_size=1, max_size=5)
sizes = st.integers(0, 3000)


def core_size(pages):
    return CmdlineSize(pages * 4096, 0)


def layout_of(blocks, options, max_low=None, dimms=()):
    requests = [
        NodeRequest(count * BLOCK, (nid,), hotpluggable=nid % 2 == 1, dimms=tuple(dimms))
        for nid, count in enumerate(blocks)
    ]
    return machine_layout(place_nodes(requests, max_low_pfn=max_low), boot=options)


machines = st.builds(
    layout_of,
    ram,
    st.builds(
        BootOptions,
        kernelcore=st.integers(0, 300 * BLOCK).map(core_size),
        movablecore=st.builds(CmdlineSize, st.just(0), st.integers(0, 100)),
        movable_node=st.booleans(),
        transparent_hugepage=st.sampled_from(["always", "never"]),
    ),
    st.sampled_from([None, BLOCK, 8 * BLOCK]),
    st.lists(
        st.tuples(st.just(2 * BLOCK), st.sampled_from(["movable", "kernel", "auto"])), max_size=1
    ),
)


def stacked(lengths):
    ranges, start = [], 1024
    for length in lengths:
        ranges.append([(start, start + length)])
        start += length
    return ranges


@given(
    st.lists(st.integers(1, 40000), min_size=1, max_size=6), st.integers(0, 50000),
    st.integers(1, 100000), st.integers(0, 100000),
)  # fmt: skip
def test_total_kernel_memory_grows_with_kernelcore(lengths, usable, core, more):
    ranges = stacked(lengths)
    ends = [node[0][1] for node in ranges]

    def kernel_pages(pages):
        cuts = find_zone_movable_pfns_for_nodes(
            ranges, BootOptions(core_size(pages)), usable, [False] * len(ranges)
        )
        kept = sum(
            (cut or end) - node[0][0] for cut, end, node in zip(cuts, ends, ranges, strict=True)
        )
        return kept, any(cuts)

    less, has_movable = kernel_pages(core)
    assert kernel_pages(core + more)[0] + 1024 * len(lengths) >= less
    if has_movable:
        assert less + len(lengths) >= min(core, sum(lengths))


@given(st.integers(1, 200000), st.integers(0, 50000), st.integers(1, 200000), st.integers(0, 9999))
def test_cut_of_one_node_is_monotone_in_kernelcore(length, usable, core, more):
    def cut(pages):
        options = BootOptions(core_size(pages))
        return find_zone_movable_pfns_for_nodes([[(0, length)]], options, usable, [False])[0]

    assert (cut(core) or length) <= (cut(core + more) or length)


@settings(max_examples=60)
@given(machines)
def test_zones_nest_and_do_not_overlap(layout):
    ranges = sorted(r for zone in layout.zones for r in zone.present_ranges)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    for zone in layout.zones:
        assert 0 <= zone.managed <= zone.present <= zone.spanned
        assert zone.hotpluggable in range(zone.present + 1)
        assert sum(end - start for start, end in zone.present_ranges) == zone.present
        assert sum(end - start for start, end in zone.free_ranges) == zone.managed
        assert list(zone.free_ranges) == sorted(zone.free_ranges)
        assert all(zone.start_pfn <= s < e <= zone.end_pfn for s, e in zone.present_ranges)


@settings(max_examples=60)
@given(machines)
def test_what_is_not_managed_is_reserved(layout):
    present = sum(zone.present for zone in layout.zones)
    reserved = sum(end - start for start, end in layout.boot_reserved)
    assert sum(zone.managed for zone in layout.zones) + reserved == present


@settings(max_examples=60)
@given(machines)
def test_zonelists_are_permutations(layout):
    everything = list(range(len(layout.zones)))
    for nid, lists in enumerate(layout.zonelists):
        assert sorted(lists.fallback) == everything
        assert lists.fallback[: len(lists.nofallback)] == lists.nofallback
        assert [layout.zones[z].nid for z in lists.nofallback] == [nid] * len(lists.nofallback)
        types = [layout.zones[z].zone_type for z in lists.nofallback]
        assert types == sorted(types, reverse=True)


@settings(max_examples=60)
@given(machines)
def test_marks_share_out_pages_min(layout):
    pages_min = layout.min_free_kbytes // 4
    shares = sum(mark.min for mark in layout.watermark)
    assert pages_min - len(layout.zones) < shares <= pages_min
    for zone, mark, reserve in zip(
        layout.zones, layout.watermark, layout.lowmem_reserve, strict=True
    ):
        assert mark.low - mark.min == mark.high - mark.low == mark.promo - mark.high
        assert list(reserve) == sorted(reserve)
        assert reserve[zone.zone_type] == 0


@settings(max_examples=60)
@given(machines)
def test_each_present_page_lies_in_one_block(layout):
    indices = [block.index for block in layout.blocks]
    assert indices == sorted(set(indices))
    present = {
        pfn // layout.block_pages
        for zone in layout.zones
        for s, e in zone.present_ranges
        for pfn in (*range(s, e, layout.block_pages), e - 1)
    }
    assert present == set(indices)


@given(ram, sizes)
def test_movable_never_exceeds_the_zone_it_is_cut_from(blocks, core):
    options = BootOptions(kernelcore=core_size(core * 1024))
    without = layout_of(blocks, BootOptions())
    source = max(zone.zone_type for zone in without.zones)
    room = {z.nid: z.present for z in without.zones if z.zone_type == source}
    movable = [z for z in layout_of(blocks, options).zones if z.zone_type == ZoneType.MOVABLE]
    assert all(zone.present <= room[zone.nid] for zone in movable)


@given(st.integers(0, 5000), st.integers(1, 9000))
def test_free_blocks_tile_their_range(start, length):
    memory = KernelMachine(MachineSpec((ZoneSpec(0, 16384, ()),))).memory
    memory.free_boot_range(0, start, start + length)
    blocks = sorted(
        (int(pfn), order)
        for order in range(MAX_PAGE_ORDER + 1)
        for pfn in memory.free_list(0, order, Migratetype.MOVABLE)
    )
    cursor = start
    for pfn, order in blocks:
        assert pfn == cursor
        assert pfn % (1 << order) == 0
        cursor += 1 << order
    assert cursor == start + length
    memory.check()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_node_keeps_its_own_memory_map(count):
    layout = layout_of([8] * count, BootOptions())
    ends = {zone.nid: zone.end_pfn for zone in layout.zones}
    for end in ends.values():
        mine = sum(e - s for s, e in layout.boot_reserved if end - BLOCK <= s < end)
        assert mine >= 8 * 512
