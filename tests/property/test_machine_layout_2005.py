"""What must hold for every machine that boots a kernel of 2005."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from memsim.mm import ZoneType2005
from memsim.mm_init.linux_2_6_14 import Options, machine_layout
from memsim.mm_init.memblock import NodeRequest, place_nodes
from memsim.profiles import PROFILES

BLOCK = 4096
OLD = [profile for profile in PROFILES.values() if profile.mechanism == "linux-2.6.14"]


@st.composite
def machines(draw):
    """A layout and the number of its RAM pages."""
    arch = draw(st.sampled_from(["x86-64", "i386", "ppc64"]))
    most = 1 if arch == "i386" else 4
    blocks = draw(st.lists(st.integers(4, 400), min_size=1, max_size=most))
    total = sum(blocks) * BLOCK
    cpus = [(0,), *((nid,) * draw(st.integers(0, 1)) for nid in range(1, len(blocks)))]
    requests = [NodeRequest(n * BLOCK, c) for n, c in zip(blocks, cpus, strict=True)]
    nodes = place_nodes(requests, max_low_pfn=None if arch == "x86-64" else total)
    ids = range(len(blocks))
    far = draw(st.lists(st.integers(11, 30), min_size=16, max_size=16))
    distances = [[10 if a == b else far[4 * min(a, b) + max(a, b)] for b in ids] for a in ids]
    options = Options(
        max_page_order=12 if arch == "ppc64" else 10,
        kernelcore=draw(st.integers(0, max(blocks) * BLOCK)),
    )
    return machine_layout(nodes, distances, arch, draw(st.sampled_from(OLD)), options), total


@settings(max_examples=80, deadline=None)
@given(machines())
def test_boot_frees_or_reserves_each_page_once(machine):
    layout, total = machine
    pieces = sorted([*layout.boot_reserved, *((b.start_pfn, b.end_pfn) for b in layout.boot_order)])
    assert all(before[1] <= after[0] for before, after in pairwise(pieces))
    assert sum(end - start for start, end in pieces) == total
    for piece in layout.boot_order:
        zone = layout.zones[piece.zone]
        assert any(s <= piece.start_pfn < piece.end_pfn <= e for s, e in zone.ranges)


@settings(max_examples=80, deadline=None)
@given(machines())
def test_zones_are_ascending_and_aligned(machine):
    layout, total = machine
    ranges = [piece for zone in layout.zones for piece in zone.ranges]
    assert ranges == sorted(ranges)
    assert sum(end - start for start, end in ranges) == total
    unit = 1 << layout.max_page_order
    assert all(start % unit == 0 == end % unit for start, end in ranges)
    assert all(zone.present > 0 for zone in layout.zones)


@settings(max_examples=80, deadline=None)
@given(machines())
def test_zonelists_are_permutations(machine):
    layout, _ = machine
    for nid, (fallback, nofallback) in enumerate(layout.zonelists):
        assert sorted(fallback) == list(range(len(layout.zones)))
        assert fallback[: len(nofallback)] == nofallback
        assert {layout.zones[z].nid for z in nofallback} == {nid}
        nodes = [layout.zones[z].nid for z in fallback]
        assert len(layout.nodes) == 1 + sum(a != b for a, b in pairwise(nodes))


@settings(max_examples=80, deadline=None)
@given(machines())
def test_marks_and_reserves_rise(machine):
    layout, _ = machine
    assert 128 <= layout.min_free_kbytes <= 65536
    low = [z for z, zone in enumerate(layout.zones) if zone.zone_type < ZoneType2005.HIGHMEM]
    assert sum(layout.watermark[z].min for z in low) <= layout.min_free_kbytes // 4
    for zone, mark, reserve, pcp in zip(
        layout.zones, layout.watermark, layout.lowmem_reserve, layout.pcp, strict=True
    ):
        assert 0 <= mark.min <= mark.low <= mark.high < zone.present
        assert set(reserve[: zone.zone_type + 1]) == {0}
        assert list(reserve) == sorted(reserve)
        assert pcp.batch >= 1 <= pcp.cold_batch
        assert pcp.low <= pcp.high
