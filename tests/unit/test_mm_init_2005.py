"""What a kernel of 2005 works out at boot: the facts of spec linux-2.6.14 1, 2.3, 4 and 8."""

from dataclasses import replace

import pytest

from memsim.errors import InputError
from memsim.mm import ZoneType2005 as Z
from memsim.mm_init.linux_2_6_14 import Options, machine_layout
from memsim.mm_init.linux_2_6_14_bootmem import KEEPS, large_system_hash_pages
from memsim.mm_init.linux_2_6_14_marks import (
    PresentZone,
    setup_pageset,
    setup_per_zone_lowmem_reserve,
    setup_per_zone_pages_min,
    zone_batchsize,
)
from memsim.mm_init.linux_2_6_14_zones import build_node_orders
from memsim.mm_init.memblock import NodeRequest, place_nodes
from memsim.profiles import PROFILES

MIB = 256
GIB = 1024 * MIB
OLD, MM, LATER = (PROFILES[name] for name in ("linux-2.6.14", "linux-2.6.14-mm", "linux-2.6.15"))


def boot(arch, *pages, profile=OLD, keep=None, **options):
    requests = [NodeRequest(count, (nid,)) for nid, count in enumerate(pages)]
    nodes = place_nodes(requests, max_low_pfn=None if arch == "x86-64" else sum(pages))
    ids = range(len(pages))
    distances = [[10 if a == b else 20 for b in ids] for a in ids]
    return machine_layout(nodes, distances, arch, profile, Options(**options), keep)


def highmem(profile=OLD, **options):
    return boot("i386", 1536 * MIB, profile=profile, **options)


def spans(layout):
    return [(z.nid, z.zone_type.name, z.start_pfn, z.end_pfn) for z in layout.zones]


def marks(layout):
    return [tuple(mark) for mark in layout.watermark]


def test_zones_of_i386():
    assert spans(highmem()) == [
        (0, "DMA", 0, 4096),
        (0, "NORMAL", 4096, 229376),
        (0, "HIGHMEM", 229376, 393216),
    ]
    assert spans(boot("i386", 512 * MIB))[1:] == [(0, "NORMAL", 4096, 512 * MIB)]


def test_zones_of_x86_64_with_and_without_dma32():
    assert spans(boot("x86-64", 6 * GIB)) == [(0, "DMA", 0, 4096), (0, "NORMAL", 4096, 7 * GIB)]
    assert spans(boot("x86-64", 6 * GIB, profile=MM)) == [
        (0, "DMA", 0, 4096),
        (0, "DMA32", 4096, 4 * GIB),
        (0, "NORMAL", 4 * GIB, 7 * GIB),
    ]


def test_x86_64_counts_holes_only_without_dma32():
    assert boot("x86-64", 6 * GIB).zones[1].present == 7 * GIB - 4096
    dma32 = boot("x86-64", 6 * GIB, profile=LATER).zones[1]
    assert dma32.present == 3 * GIB - 4096 - (4 * GIB - 4096) * 56 // 4096


def test_all_memory_of_ppc64_is_dma():
    layout = boot("ppc64", 4 * GIB, 2 * GIB, max_page_order=12)
    assert spans(layout) == [(0, "DMA", 0, 4 * GIB), (1, "DMA", 4 * GIB, 6 * GIB)]
    assert layout.lowmem_reserve == ((0,) * 5,) * 2


def test_F12_1_lowmem_reserve_of_the_highmem_machine():
    dma, normal, _ = highmem().lowmem_reserve
    assert (dma[Z.NORMAL], dma[Z.HIGHMEM], normal[Z.HIGHMEM]) == (880, 1520, 5120)


def test_F12_2_lowmem_reserve_of_1_gib():
    dma, normal, _ = boot("i386", GIB).lowmem_reserve
    assert (dma[Z.NORMAL], dma[Z.HIGHMEM], normal[Z.HIGHMEM]) == (880, 1008, 1024)


def test_F12_3_where_the_first_pass_stops_taking():
    layout = highmem()

    def limits(highest):
        return [
            mark.low + reserve[highest]
            for mark, reserve in zip(layout.watermark, layout.lowmem_reserve, strict=True)
        ]

    assert limits(Z.HIGHMEM) == [21 + 1520, 1173 + 5120, 160]
    assert limits(Z.NORMAL)[:2] == [21 + 880, 1173]


def test_F12_4_node_orders():
    distances = [[10 if a == b else 20 for b in range(3)] for a in range(3)]
    assert build_node_orders(distances, [True] * 3) == ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def test_node_orders_prefer_near_nodes_without_cpus():
    distances = [[10, 20, 20], [20, 10, 15], [20, 15, 10]]
    orders = build_node_orders(distances, [True, True, False])
    assert orders == ((0, 2, 1), (1, 2, 0), (2, 1, 0))


def test_node_load_weighs_first_choices_most():
    """Four nodes 20 apart, worked out by hand: node 1 gets load 3 of node 0, and so on."""
    distances = [[10 if a == b else 20 for b in range(4)] for a in range(4)]
    orders = build_node_orders(distances, [True] * 4)
    assert orders == ((0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2))


def test_zonelists_go_node_by_node_from_high_to_low():
    layout = boot("x86-64", GIB, GIB)
    assert spans(layout)[2] == (1, "NORMAL", GIB, 2 * GIB)
    assert [lists.fallback for lists in layout.zonelists] == [(1, 0, 2), (2, 1, 0)]
    assert [lists.nofallback for lists in layout.zonelists] == [(1, 0), (2,)]


@pytest.mark.parametrize(
    ("arch", "pages", "kbytes", "dma", "normal"),
    [
        ("i386", 64 * MIB, 1024, (64, 80, 96), (192, 240, 288)),
        ("i386", 128 * MIB, 1448, (45, 56, 67), (316, 395, 474)),
        ("x86-64", GIB, 4096, (16, 20, 24), (1008, 1260, 1512)),
        ("x86-64", 2 * GIB, 5792, (11, 13, 16), (1436, 1795, 2154)),
    ],
)
def test_F12_5_marks_of_low_memory(arch, pages, kbytes, dma, normal):
    layout = boot(arch, pages)
    assert layout.min_free_kbytes == kbytes
    assert marks(layout) == [dma, normal]


@pytest.mark.parametrize(
    ("profile", "last"), [(OLD, (128, 160, 192)), (MM, (128, 160, 192)), (LATER, (128, 298, 469))]
)
def test_F12_7_marks_of_the_highmem_machine(profile, last):
    layout = highmem(profile)
    assert layout.min_free_kbytes == 3831
    assert marks(layout) == [(17, 21, 25), (939, 1173, 1408), last]


@pytest.mark.parametrize(("profile", "last"), [(OLD, (128, 160, 192)), (LATER, (128, 982, 1836))])
def test_F12_8_marks_of_4_gib_i386(profile, last):
    layout = boot("i386", 4 * GIB, profile=profile)
    assert layout.zones[2].present == 819200
    assert marks(layout) == [(17, 21, 25), (939, 1173, 1408), last]


def test_min_free_kbytes_is_clamped_and_can_be_set():
    assert boot("ppc64", 1024 * GIB, max_page_order=12).min_free_kbytes == 65536
    assert marks(boot("ppc64", GIB, min_free_kbytes=8192)) == [(2048, 2560, 3072)]


PRESENT = (4096, 8192, 12288, 16384, 32768, 65536, 131072, 262144, 10**7)


@pytest.mark.parametrize(
    ("profile", "batches"),
    [
        (OLD, [1, 3, 7, 7, 15, 31, 31, 31, 31]),
        (MM, [1, 3, 7, 7, 15, 31, 63, 63, 63]),
        (LATER, [0, 1, 3, 3, 7, 15, 31, 31, 31]),
    ],
)
def test_batches_of_section_4(profile, batches):
    assert [zone_batchsize(present, profile) for present in PRESENT] == batches


@pytest.mark.parametrize(
    ("profile", "batch", "sizes"),
    [
        (OLD, 31, (62, 186, 31, 62, 31)),
        (MM, 63, (0, 378, 63, 126, 31)),
        (LATER, 31, (0, 186, 31, 62, 15)),
        (LATER, 0, (0, 0, 1, 0, 1)),
    ],
)
def test_sizes_of_per_cpu_lists(profile, batch, sizes):
    assert tuple(setup_pageset(batch, profile)) == sizes


@pytest.mark.parametrize(
    ("pages", "dentry", "inode"), [(229376, 128, 64), (131072, 128, 64), (131071, 128, 64),
                                   (130816, 64, 32)],
)  # fmt: skip
def test_hash_tables_get_the_power_of_two_strictly_above(pages, dentry, inode):
    assert large_system_hash_pages(pages, 13, 4) == dentry
    assert large_system_hash_pages(pages, 14, 4) == inode


def test_boot_reservations_of_the_highmem_machine():
    layout = highmem()
    assert layout.boot_reserved[:3] == ((0, 1), (159, 256), (256, 1280))
    assert sum(end - start for start, end in layout.boot_reserved if start >= 4096) == 3073 + 213
    assert layout.boot_reserved[3:][0][0] == 4096
    assert layout.boot_reserved[-1][1] == 4096 + 3286
    (words, bitmap, high) = (
        [r for r in layout.boot_order if r.word == 32],
        layout.boot_order[-2],
        layout.boot_order[-1],
    )
    assert bitmap == (0, 1280, 1287, 0)
    assert high == (2, 229376, 393216, 0)
    assert words[-1] == (1, 7382, 229376, 32)


def test_other_cpus_begin_at_pfn_1():
    (node,) = place_nodes([NodeRequest(GIB, (0, 1))], max_low_pfn=GIB)
    layout = machine_layout((node,), [[10]], "i386", OLD)
    assert layout.boot_reserved[:2] == ((0, 1), (1, 2))


def test_a_machine_without_a_memory_map_keeps_nothing():
    bare = replace(KEEPS["ppc64"], struct_page=0)
    layout = boot("ppc64", GIB, keep=bare, max_page_order=12)
    assert layout.boot_reserved == ()
    assert layout.boot_order == ((0, 0, GIB, 64),)


def test_several_nodes_boot_without_per_cpu_lists():
    """Spec 4.2: with a batch of 0 every free drains at once, so single pages are words of one."""
    order = boot("x86-64", GIB, GIB).boot_order
    assert {piece.word for piece in order} == {1, 64}
    assert all(piece.start_pfn % 64 == 0 == piece.end_pfn % 64 for piece in order if piece.word > 1)


@pytest.mark.parametrize(
    ("core", "cut"),
    [
        pytest.param(1024 * MIB, [(0, "HIGHMEM", 229376, GIB), (0, "EASYRCLM", GIB, 393216)],
                     id="in HIGHMEM"),
        pytest.param(512 * MIB, [(0, "NORMAL", 4096, 131072), (0, "EASYRCLM", 131072, 393216)],
                     id="in NORMAL"),
        pytest.param(300, [(0, "DMA", 0, 4096), (0, "EASYRCLM", 4096, 393216)], id="in DMA"),
    ],
)  # fmt: skip
def test_kernelcore_cuts_from_the_top_down(core, cut):
    layout = highmem(kernelcore=core)
    assert spans(layout)[-2:] == cut
    below = layout.lowmem_reserve[-2]
    ratio = 256 if cut[0][1] == "DMA" else 32
    assert below[Z.EASYRCLM] == layout.zones[-1].present // ratio
    assert marks(layout)[-1][0] == 128


def test_the_first_node_that_can_hold_the_kernel_core_gets_it():
    layout = boot("x86-64", GIB, 2 * GIB, 2 * GIB, kernelcore=GIB + 5, profile=MM)
    assert spans(layout) == [
        (0, "DMA", 0, 4096),
        (0, "EASYRCLM", 4096, GIB),
        (1, "DMA32", GIB, 2 * GIB + 1024),
        (1, "EASYRCLM", 2 * GIB + 1024, 3 * GIB),
        (2, "EASYRCLM", 4 * GIB, 6 * GIB),
    ]


@pytest.mark.parametrize("core", [0, 2 * GIB, 9 * GIB])
def test_no_kernel_core_or_all_memory_makes_no_zone(core):
    kinds = {zone.zone_type for zone in boot("x86-64", GIB, GIB, kernelcore=core).zones}
    assert kinds == {Z.DMA, Z.NORMAL}


def test_a_kernel_core_that_no_node_can_hold_is_an_input_error():
    with pytest.raises(InputError, match="no node can hold the kernel core"):
        boot("x86-64", GIB, GIB, kernelcore=GIB + 1)


@pytest.mark.parametrize(
    ("arch", "pages"), [("i386", 4 * MIB), ("ppc64", 4 * MIB), ("x86-64", 4 * MIB)]
)
def test_a_machine_without_room_for_the_kernel_is_an_input_error(arch, pages):
    with pytest.raises(InputError, match="kernel image does not fit"):
        boot(arch, pages)


def test_reserve_ratios_below_1_count_as_1():
    zones = [PresentZone(0, Z.DMA, 4096), PresentZone(0, Z.NORMAL, 100)]
    assert setup_per_zone_lowmem_reserve(zones, (0, 0, 0, 0))[0][Z.NORMAL] == 100


def test_small_highmem_keeps_32_pages():
    zones = [PresentZone(0, Z.NORMAL, 4096), PresentZone(0, Z.HIGHMEM, 1024)]
    assert setup_per_zone_pages_min(zones, 512, 14)[1] == (32, 40, 48)
