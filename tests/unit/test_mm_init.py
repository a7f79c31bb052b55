"""The boot of real guests, and the facts of spec linux-mm 1, 2.5-2.9, 4.1, 5.8 about layout.

SOURCE of all numbers called a guest's: /proc/zoneinfo, zones.txt, memory_blocks.csv, kpageflags
and dmesg of QEMU guests under Debian 6.1.192-cloud (captures e1/n1, e1/n2, e1/n2kc,
e1/dimm_movable, orders, frag, hotremove).
"""

from dataclasses import replace

import pytest

from memsim.errors import InputError
from memsim.mm import ZoneType
from memsim.mm_init import machine_layout
from memsim.mm_init.memblock import (
    BARE,
    QEMU_PC,
    DimmSpec,
    NodeRequest,
    NodeSpec,
    memory_block_size,
    place_nodes,
)
from memsim.mm_init.options import BootOptions, VmOptions
from memsim.mm_init.watermarks import (
    ManagedZone,
    calculate_min_free_kbytes,
    calculate_normal_threshold,
    init_per_zone_wmark_min,
    page_group_by_mobility_disabled,
    setup_per_zone_lowmem_reserve,
    zone_batchsize,
    zone_highsize,
)
from memsim.mm_init.zonelists import build_node_orders
from memsim.mm_init.zones import ZoneSpan, find_zone_movable_pfns_for_nodes, zone_for_pfn_range
from memsim.units import CmdlineSize

GIB = 262144
MIB = 256
BLOCK = 32768
N1_EARLY = 2890
"""Reserved at the end of guest n1 besides its memory map and CPU: 387 pages are hash tables."""
N1S_EARLY = 2698
DIMM_EARLY = 2933


def core(pages):
    return CmdlineSize(pages * 4096, 0)


def cuts(ram, usable, **options):
    return find_zone_movable_pfns_for_nodes(ram, BootOptions(**options), usable, [False] * len(ram))


def single(pages):
    return [ManagedZone(0, ZoneType.NORMAL, pages)]


def marks(layout, field):
    return [getattr(mark, field) for mark in layout.watermark]


def managed(layout):
    return [zone.managed for zone in layout.zones]


def two_nodes(second_cpus=(1,), **options):
    nodes = place_nodes(
        [NodeRequest(GIB, (0,)), NodeRequest(GIB, second_cpus)], max_low_pfn=512 * MIB
    )
    return machine_layout(nodes, **options)


def one_node(pages, max_low_pfn, early, **options):
    nodes = place_nodes([NodeRequest(pages, (0,))], max_low_pfn=max_low_pfn)
    return machine_layout(nodes, reservations=replace(QEMU_PC, early=early), **options)


def test_F1_1_kernelcore_is_spread_over_two_nodes():
    ram = [[(0, 524288)], [(524288, 1048576)]]
    assert cuts(ram, 4096, kernelcore=core(262144)) == [131072, 655360]


def test_F1_1_as_zones():
    nodes = (NodeSpec(0, (0,), ((0, 524288),)), NodeSpec(1, (1,), ((524288, 1048576),)))
    layout = machine_layout(nodes, boot=BootOptions(core(262144)), reservations=BARE)
    assert [(z.nid, z.name, z.start_pfn, z.end_pfn) for z in layout.zones] == [
        (0, "DMA", 0, 4096),
        (0, "DMA32", 4096, 131072),
        (0, "Movable", 131072, 524288),
        (1, "DMA32", 524288, 655360),
        (1, "Movable", 655360, 1048576),
    ]


def test_F1_2_movablecore_is_exact():
    assert cuts([[(0, 524288)]], 4096, movablecore=core(131072)) == [393216]


def test_F1_3_a_small_node_gives_all_and_the_rest_comes_from_the_other():
    ram = [[(0, 131072)], [(131072, 1048576)]]
    assert cuts(ram, 0, kernelcore=core(524288)) == [0, 524288]


def test_F1_4_cuts_are_rounded_up_to_4_mib():
    ram = [[(0, 16384)]]
    assert cuts(ram, 0, kernelcore=core(5000)) == [5120]
    assert cuts(ram, 0, movablecore=core(5000)) == [11264]


@pytest.mark.parametrize(
    ("pages", "kbytes", "expected"),
    [
        (1024, 256, (64, 80, 96, 112)),
        (4096, 512, (128, 160, 192, 224)),
        (16384, 1024, (256, 320, 384, 448)),
        (65536, 2048, (512, 640, 768, 896)),
        (262144, 4096, (1024, 1286, 1548, 1810)),
        (2097152, 11585, (2896, 4993, 7090, 9187)),
    ],
)
def test_F1_5_watermarks_of_a_single_zone(pages, kbytes, expected):
    state = init_per_zone_wmark_min(single(pages), [0], khugepaged=False)
    assert state == (kbytes, (expected,))


def test_F1_6_khugepaged_raises_min_free_kbytes():
    state = init_per_zone_wmark_min(single(16384), [0], khugepaged=True)
    assert state == (3200, ((800, 1000, 1200, 1400),))


def test_F1_7_lowmem_reserve():
    zones = [
        ManagedZone(0, ZoneType.DMA, 3840),
        ManagedZone(0, ZoneType.DMA32, 765000),
        ManagedZone(0, ZoneType.NORMAL, 1000000),
    ]
    dma, dma32, normal = setup_per_zone_lowmem_reserve(zones)
    assert dma[:3] == (0, 2988, 6894)
    assert dma32[:3] == (0, 0, 3906)
    assert normal[ZoneType.MOVABLE] == 0


def test_F1_8_fallback_orders_of_three_equal_nodes():
    distances = [[10 if a == b else 20 for b in range(3)] for a in range(3)]
    orders = build_node_orders(distances, [True] * 3, [True] * 3)
    assert orders == ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def test_node_load_spreads_equally_distant_nodes():
    """Four nodes, all 20 apart, no penalty but the id: worked out by hand from spec 1.4."""
    distances = [[10 if a == b else 20 for b in range(4)] for a in range(4)]
    orders = build_node_orders(distances, [True] * 4, [True] * 4)
    assert orders == ((0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2))


def test_node_without_memory_still_lists_all_others():
    assert build_node_orders([[10, 21], [21, 10]], [True, False], [True, True])[1] == (1, 0)


def test_F2_9_boot_reservations_lie_in_the_last_block_of_a_node():
    layout = two_nodes()
    mine = [block for block in layout.blocks if block.nid == 1]
    reserved = [r for r in layout.boot_reserved if r[0] >= mine[0].start_pfn]
    assert len(mine) == 8
    assert sum(end - start for start, end in reserved) == 6707
    assert all(start >= mine[7].start_pfn for start, _ in reserved)


def test_F2_9_a_dimm_has_no_reservation():
    layout = dimm_guest()
    mine = [block for block in layout.blocks if block.nid == 1]
    assert len(mine) == 8
    assert layout.zones[3].free_ranges == ((mine[0].start_pfn, mine[7].end_pfn),)


@pytest.mark.parametrize(
    ("mib", "batch", "high"),
    [(4, 1, 80), (16, 1, 160), (64, 3, 320), (128, 7, 452), (256, 15, 640), (1024, 63, 1286)],
)
def test_F4_1_batch_and_high(mib, batch, high):
    pages = mib * MIB
    low = init_per_zone_wmark_min(single(pages), [0], khugepaged=False).marks[0].low
    assert zone_batchsize(pages) == batch
    assert zone_highsize(pages, low, batch, 1) == high


@pytest.mark.parametrize("pages", [GIB, 4 * GIB, 1024 * GIB])
def test_F4_1_batch_stays_63(pages):
    assert zone_batchsize(pages) == 63


def test_highsize_shares_among_cpus_and_obeys_the_fraction():
    assert zone_highsize(262144, 1286, 63, 2) == 643
    assert zone_highsize(262144, 1286, 63, 64) == 4 * 63
    assert zone_highsize(262144, 1286, 63, 1, percpu_pagelist_high_fraction=8) == 32768


@pytest.mark.parametrize(
    ("pages", "cpus", "threshold"),
    [
        *((pages, 1, threshold) for pages, threshold in [(3840, 2), (4144, 2), (93450, 6)]),
        *((pages, 1, threshold) for pages, threshold in [(36912, 4), (189514, 8)]),
        *((pages, 2, threshold) for pages, threshold in [(3840, 4), (102448, 12), (262144, 20)]),
        (1024 * GIB, 256, 125),
    ],
)
def test_F5_8_stat_thresholds(pages, cpus, threshold):
    assert calculate_normal_threshold(pages, cpus) == threshold


@pytest.mark.parametrize(
    ("pages", "cma", "disabled"),
    [(3071, True, True), (3072, True, False), (2559, False, True), (2560, False, False)],
)
def test_mobility_grouping_needs_a_pageblock_per_type(pages, cma, disabled):
    assert page_group_by_mobility_disabled(single(pages), [0], cma=cma) is disabled


@pytest.mark.parametrize(
    ("first", "kbytes"), [(-1, 1024), (1023, 1024), (1024, 1024), (9000, 9000)]
)
def test_larger_min_free_kbytes_of_the_user_wins(first, kbytes):
    assert calculate_min_free_kbytes(single(16384), [0], first) == kbytes


def test_min_free_kbytes_is_clamped():
    assert calculate_min_free_kbytes(single(10), [0]) == 128
    assert calculate_min_free_kbytes(single(8192 * GIB), [0]) == 262144


def test_guest_n1():
    layout = one_node(GIB, 256 * MIB, N1_EARLY)
    assert [z.present for z in layout.zones] == [3998, 61399, 196608]
    assert [z.spanned for z in layout.zones] == [4095, 1044480, 196608]
    assert managed(layout) == [3840, 36912, 189514]
    assert marks(layout, "min") == [190, 1707, 9415]
    assert marks(layout, "low") == [237, 2133, 11768]
    assert marks(layout, "high") == [284, 2559, 14121]
    assert layout.lowmem_reserve == ((0, 134, 874, 874, 874), (0, 0, 740, 740, 740), (0,) * 5)
    assert layout.pcp_batch == (1, 7, 63)
    assert layout.pcp_high == (237, 2133, 11768)
    assert layout.stat_threshold == (2, 4, 8)
    assert not layout.page_group_by_mobility_disabled


def test_guest_n1s_is_too_small_for_khugepaged():
    """Guest ``orders``, idle. Its initrd is one page larger than QEMU_PC's: 1592 kB."""
    keep = replace(QEMU_PC, early=N1S_EARLY, freed_late=QEMU_PC.freed_late + 1)
    nodes = place_nodes([NodeRequest(512 * MIB, (0,))], max_low_pfn=128 * MIB)
    layout = machine_layout(nodes, reservations=keep)
    assert managed(layout) == [3840, 4144, 93450]
    assert marks(layout, "min") == [24, 10, 593]
    assert marks(layout, "low") == [30, 12, 741]
    assert marks(layout, "high") == [36, 14, 889]
    assert layout.lowmem_reserve == ((0, 6, 371, 371, 371), (0, 0, 365, 365, 365), (0,) * 5)
    assert layout.pcp_batch == (1, 1, 31)
    assert layout.pcp_high == (30, 12, 741)


def test_guest_frag_with_min_free_kbytes_written_after_boot():
    """All pages are free by then, but lowmem_reserve is still that of boot."""
    layout = one_node(512 * MIB, 128 * MIB, N1S_EARLY, vm=VmOptions(min_free_kbytes=8192))
    assert marks(layout, "min") == [77, 83, 1886]
    assert marks(layout, "low") == [96, 103, 2357]
    assert marks(layout, "high") == [115, 123, 2828]
    assert layout.lowmem_reserve[:2] == ((0, 6, 371, 371, 371), (0, 0, 365, 365, 365))
    assert layout.stat_threshold == (2, 2, 6)


def test_guest_n2():
    layout = two_nodes()
    assert managed(layout) == [3840, 102448, 126868, 255437]
    assert layout.min_free_kbytes == 90112
    assert marks(layout, "min") == [177, 4630, 5880, 11839]
    assert marks(layout, "low") == [221, 5787, 7350, 14798]
    assert marks(layout, "high") == [265, 6944, 8820, 17757]
    assert layout.lowmem_reserve[:2] == ((0, 390, 885, 885, 885), (0, 0, 495, 495, 495))
    assert layout.pcp_batch == (1, 31, 31, 63)
    assert layout.pcp_high == (221, 5787, 7350, 14798)
    assert layout.stat_threshold == (4, 12, 12, 16)
    assert [lists.fallback for lists in layout.zonelists] == [(2, 1, 0, 3), (3, 2, 1, 0)]
    assert [lists.nofallback for lists in layout.zonelists] == [(2, 1, 0), (3,)]


def test_guest_n2_reserves_the_very_frames_of_the_capture():
    assert two_nodes().boot_reserved == (
        (0x1, 0x9F),
        (0x1000, 0x1E02), (0x2000, 0x2827), (0x2A00, 0x301A), (0x32B0, 0x3603), (0x3800, 0x3811),
        (0x1BE43, 0x1FE43),
        (0x11EC00, 0x11EC3D), (0x11EE00, 0x11FE00), (0x11FFD1, 0x120000),
        (0x15E400, 0x15E43D), (0x15E600, 0x15F600), (0x15F60A, 0x160000),
    )  # fmt: skip


def test_guest_n2_blocks():
    blocks = two_nodes().blocks
    assert [b.index for b in blocks] == [0, 1, 2, 3, *range(32, 44)]
    assert [b.nid for b in blocks] == [0] * 8 + [1] * 8
    assert [b.zones for b in blocks] == [(0, 1)] + [(1,)] * 3 + [(2,)] * 4 + [(3,)] * 8
    assert not any(b.hotpluggable for b in blocks)


def test_guest_hotremove_has_one_cpu_for_two_nodes():
    layout = two_nodes(second_cpus=())
    assert managed(layout) == [3840, 102448, 126868, 255498]
    assert marks(layout, "min") == [177, 4629, 5879, 11840]
    assert marks(layout, "low") == [221, 5786, 7348, 14800]
    assert marks(layout, "high") == [265, 6943, 8817, 17760]
    assert layout.pcp_high == (221, 5786, 7348, 14800)
    assert layout.stat_threshold == (2, 6, 6, 8)


def test_guest_n2kc_has_movable_zones():
    layout = two_nodes(boot=BootOptions(kernelcore=core(768 * MIB)))
    assert [(z.nid, z.name, z.start_pfn, z.managed) for z in layout.zones] == [
        (0, "DMA", 0x1, 3840),
        (0, "DMA32", 0x1000, 102448),
        (0, "Normal", 0x100000, 33792),
        (0, "Movable", 0x108400, 93076),
        (1, "Normal", 0x120000, 33792),
        (1, "Movable", 0x128400, 221645),
    ]
    assert marks(layout, "min") == [67, 1754, 593, 1634, 593, 3892]
    assert marks(layout, "low") == [83, 2192, 741, 2042, 741, 4865]
    assert marks(layout, "high") == [99, 2630, 889, 2450, 889, 5838]
    assert layout.lowmem_reserve == (
        (0, 390, 522, 885, 885), (0, 0, 132, 495, 495), (0, 0, 0, 2908, 2908), (0,) * 5,
        (0, 0, 0, 6926, 6926), (0,) * 5,
    )  # fmt: skip
    assert layout.pcp_batch == (1, 31, 7, 31, 7, 63)
    assert layout.stat_threshold == (4, 12, 8, 12, 8, 16)
    assert [b.index for b in layout.blocks if len(b.zones) > 1] == [0, 33, 37]


def dimm_guest(online="movable"):
    nodes = place_nodes(
        [NodeRequest(GIB, (0,)), NodeRequest(0, (1,), dimms=((GIB, online),))],
        max_low_pfn=512 * MIB,
    )
    return machine_layout(nodes, reservations=replace(QEMU_PC, early=DIMM_EARLY))


def test_guest_dimm_movable():
    layout = dimm_guest()
    assert [(z.nid, z.name, z.start_pfn, z.managed) for z in layout.zones] == [
        (0, "DMA", 0x1, 3840),
        (0, "DMA32", 0x1000, 102448),
        (0, "Normal", 0x100000, 123874),
        (1, "Movable", 0x140000, 262144),
    ]
    assert marks(layout, "min") == [89, 2385, 2884, 6103]
    assert marks(layout, "low") == [111, 2981, 3605, 7628]
    assert marks(layout, "high") == [133, 3577, 4326, 9153]
    assert layout.lowmem_reserve[:2] == ((0, 400, 884, 884, 884), (0, 0, 483, 483, 483))
    assert layout.pcp_high == (111, 2981, 3605, 7628)
    assert layout.stat_threshold == (4, 12, 12, 20)
    assert [b.index for b in layout.blocks if b.hotpluggable] == list(range(40, 48))
    assert [z.hotpluggable for z in layout.zones] == [0, 0, 0, GIB]


@pytest.mark.parametrize(("online", "zone"), [("kernel", "Normal"), ("auto", "Normal")])
def test_dimm_online_types(online, zone):
    assert dimm_guest(online).zones[3].name == zone


@pytest.mark.parametrize(
    ("types", "online", "movable_node", "joined"),
    [
        ((ZoneType.MOVABLE,), "auto", False, ZoneType.MOVABLE),
        ((ZoneType.NORMAL,), "auto", True, ZoneType.NORMAL),
        ((ZoneType.NORMAL, ZoneType.MOVABLE), "auto", True, ZoneType.MOVABLE),
        ((ZoneType.NORMAL, ZoneType.MOVABLE), "auto", False, ZoneType.NORMAL),
        ((), "auto", True, ZoneType.MOVABLE),
        ((ZoneType.DMA32,), "kernel", False, ZoneType.DMA32),
        ((ZoneType.NORMAL,), "movable", False, ZoneType.MOVABLE),
    ],
)
def test_hot_added_memory_joins_the_zone_that_spans_it(types, online, movable_node, joined):
    zones = [ZoneSpan(0, kind, 0, 100 * BLOCK, 1, 1, 0, ((0, 1),), ()) for kind in types]
    dimm = DimmSpec(50 * BLOCK, 51 * BLOCK, online)
    assert zone_for_pfn_range(zones, 0, dimm, movable_node=movable_node) is joined


def test_movable_node_makes_a_hotpluggable_node_movable_and_free_of_reservations():
    nodes = place_nodes(
        [NodeRequest(GIB, (0,)), NodeRequest(GIB, (), hotpluggable=True)], max_low_pfn=512 * MIB
    )
    layout = machine_layout(nodes, boot=BootOptions(movable_node=True))
    last = layout.zones[-1]
    assert (last.nid, last.name, last.managed, last.hotpluggable) == (1, "Movable", GIB, GIB)
    assert sum(end - start for start, end in layout.boot_reserved) == 158 + 24487 + 10850
    assert layout.zones[2].managed == 131072 - 10850


def test_movable_node_spares_the_node_of_the_kernel_image():
    nodes = place_nodes([NodeRequest(GIB, (0,), hotpluggable=True)])
    layout = machine_layout(nodes, boot=BootOptions(movable_node=True))
    assert [zone.name for zone in layout.zones] == ["DMA", "DMA32"]


def test_movable_comes_from_the_highest_zone_only():
    """The node below 4 GiB of a machine with Normal memory has none to give."""
    nodes = place_nodes([NodeRequest(2 * GIB, (0,)), NodeRequest(4 * GIB, (1,))])
    layout = machine_layout(nodes, boot=BootOptions(movablecore=core(GIB)))
    assert [(z.nid, z.name) for z in layout.zones] == [
        (0, "DMA"), (0, "DMA32"), (1, "DMA32"), (1, "Normal"), (1, "Movable"),
    ]  # fmt: skip
    assert layout.zones[-1].present == GIB


@pytest.mark.parametrize(
    ("sizes", "max_low_pfn", "ram"),
    [
        ([2 * GIB, GIB], None, [((0, 2 * GIB),), ((2 * GIB, 3 * GIB),)]),
        ([2 * GIB, 2 * GIB], None, [((0, 2 * GIB),), ((2 * GIB, 3 * GIB), (4 * GIB, 5 * GIB))]),
        ([4 * GIB], None, [((0, 3 * GIB), (4 * GIB, 5 * GIB))]),
        ([GIB, GIB], GIB, [((0, GIB),), ((4 * GIB, 5 * GIB),)]),
        ([GIB, 0, GIB], 4 * GIB, [((0, GIB),), (), ((GIB, 2 * GIB),)]),
        ([5 * GIB], 4 * GIB, [((0, 5 * GIB),)]),
    ],
)
def test_nodes_are_placed_around_the_pci_hole(sizes, max_low_pfn, ram):
    placed = place_nodes([NodeRequest(size) for size in sizes], max_low_pfn=max_low_pfn)
    assert [node.ram for node in placed] == ram


def test_dimms_stand_above_ram_in_node_order():
    placed = place_nodes(
        [NodeRequest(GIB, dimms=((BLOCK, "auto"),)), NodeRequest(0, dimms=((2 * BLOCK, "kernel"),))]
    )
    assert [node.dimms for node in placed] == [
        (DimmSpec(4 * GIB, 4 * GIB + BLOCK, "auto"),),
        (DimmSpec(4 * GIB + BLOCK, 4 * GIB + 3 * BLOCK, "kernel"),),
    ]


@pytest.mark.parametrize(
    ("end", "guest", "block"),
    [
        (64 * GIB - 1, False, BLOCK),
        (64 * GIB, False, 2 * GIB),
        (65 * GIB, True, GIB),
        (64 * GIB + BLOCK, True, BLOCK),
        (64 * GIB + BLOCK, False, 2 * GIB),
    ],
)
def test_memory_block_size(end, guest, block):
    assert memory_block_size(end, guest=guest) == block


def test_percentages_are_of_all_ram():
    assert cuts([[(0, 100 * 1024)]], 0, kernelcore=CmdlineSize(0, 25)) == [25 * 1024]


@pytest.mark.parametrize("pages", [0, 100, 101])
def test_kernelcore_of_nothing_or_everything_makes_no_movable_zone(pages):
    assert cuts([[(0, 100)]], 0, kernelcore=core(pages)) == [0]


def test_sysctls_recompute_what_depends_on_them():
    plain = two_nodes()
    vm = VmOptions(
        watermark_scale_factor=1000,
        lowmem_reserve_ratio=(0, 128, 32, 0),
        percpu_pagelist_high_fraction=8,
    )
    written = two_nodes(vm=vm)
    assert written.min_free_kbytes == plain.min_free_kbytes
    assert marks(written, "low")[3] - marks(written, "min")[3] == 25543
    assert written.lowmem_reserve == ((0,) * 5, (0, 0, 991, 991, 991), (0,) * 5, (0,) * 5)
    assert written.pcp_high == tuple(pages // 8 for pages in managed(written))


def test_thp_off_leaves_the_first_min_free_kbytes():
    layout = two_nodes(boot=BootOptions(transparent_hugepage="never"))
    at_boot = 3840 + (102448 - 2542) + 126868 + 255437
    assert 5577**2 <= 16 * 4 * at_boot < 5578**2
    assert layout.min_free_kbytes == 5577


def test_bare_zone_gives_all_its_pages():
    layout = machine_layout([NodeSpec(0, (0,), ((0, 1024),))], reservations=BARE)
    (zone,) = layout.zones
    assert (zone.managed, zone.free_ranges) == (1024, ((0, 1024),))
    assert layout.watermark == ((64, 80, 96, 112),)
    assert (layout.pcp_batch, layout.pcp_high) == ((1,), (80,))
    assert layout.page_group_by_mobility_disabled
    assert (sum(zone.managed for zone in layout.zones), layout.end_pfn) == (1024, 1024)


@pytest.mark.parametrize(
    ("nodes", "distances", "message"),
    [
        pytest.param([NodeSpec(1, (0,), ((0, GIB),))], None, "numbered", id="node ids"),
        pytest.param([NodeSpec(0, (0,), ((0, GIB),))], [[10, 20]], "1 x 1 matrix", id="matrix"),
        pytest.param([NodeSpec(0, (), ((0, GIB),))], None, "CPU", id="no CPU"),
        pytest.param([NodeSpec(0, (0, 0), ((0, GIB),))], None, "CPU", id="CPU twice"),
        pytest.param([NodeSpec(0, (0,))], None, "no node has boot memory", id="no memory"),
        pytest.param(
            [NodeSpec(0, (0,), ((0, GIB), (GIB - 1, 2 * GIB)))], None, "overlap", id="overlap"
        ),
        pytest.param([NodeSpec(0, (0,), ((5, 5),))], None, "empty", id="empty"),
        pytest.param([NodeSpec(0, (0,), ((0, 1 << 32),))], None, "8160 GiB", id="too large"),
        pytest.param(
            [NodeSpec(0, (0,), ((0, GIB),), dimms=(DimmSpec(2 * GIB, 2 * GIB + 5, "auto"),))],
            None,
            "whole memory blocks",
            id="part of a block",
        ),
        pytest.param([NodeSpec(0, (0,), ((0, 1),))], None, "firmware", id="firmware has all"),
        pytest.param([NodeSpec(0, (0,), ((0, 8192),))], None, "kernel image", id="no room"),
        pytest.param(
            [NodeSpec(0, (0,), ((0, 0x3900),)), NodeSpec(1, (1,), ((BLOCK, BLOCK + 300),))],
            None,
            "no room for",
            id="no room for the memory map",
        ),
    ],
)
def test_impossible_machines(nodes, distances, message):
    with pytest.raises(InputError) as caught:
        machine_layout(nodes, distances)
    assert message in str(caught.value)


def test_odd_block_size_is_refused():
    with pytest.raises(InputError, match="expected a multiple of 32768"):
        machine_layout([NodeSpec(0, (0,), ((0, GIB),))], block_pages=BLOCK + 1)
