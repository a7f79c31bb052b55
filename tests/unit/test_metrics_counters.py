"""Metrics that read counters, probes and the census."""

from dataclasses import replace

from trial_records import NEEDS_RECLAIM, NOPAGE, OK, record

from memsim.metrics import allocation, fallback, high_order, hotplug, numa, overhead, pageblocks


def test_allocation_counts_every_attempt_once():
    row = allocation.measure(
        record(
            alloc_success=90,
            alloc_nopage=4,
            alloc_needs_reclaim=6,
            slowpath=12,
            pgalloc_normal=100,
            pgalloc_dma32=20,
        )
    )
    assert (row["attempts"], row["succeeded"], row["success_ratio"]) == (100, 90, 0.9)
    assert (row["nopage"], row["needs_reclaim"], row["slowpath"]) == (4, 6, 12)
    assert row["pages"] == 120


def test_nothing_asked_is_not_a_failure():
    assert allocation.measure(record())["success_ratio"] is None
    assert numa.measure(record())["hit_ratio"] is None
    assert high_order.measure(record())["success_ratio"] is None


def test_high_order_by_order():
    probes = [(3, OK), (3, OK), (9, OK), (9, NEEDS_RECLAIM), (9, NOPAGE), (9, NOPAGE), (5, OK)]
    row = high_order.measure(record(probes=probes))
    assert (row["attempts"], row["succeeded"], row["success_ratio"]) == (7, 4, 4 / 7)
    assert (row["attempts_order_3"], row["success_ratio_order_3"]) == (2, 1.0)
    assert (row["attempts_order_9"], row["success_ratio_order_9"]) == (4, 0.25)
    assert (row["attempts_order_10"], row["success_ratio_order_10"]) == (0, None)


def test_fallback_reads_its_own_counters():
    row = fallback.measure(
        record(
            extfrag_events=7,
            extfrag_fragmenting=5,
            extfrag_change_ownership=2,
            pageblocks_claimed=3,
            pages_stolen=900,
            watermark_boosts=4,
            highatomic_reserved_blocks=1,
        )
    )
    assert list(row.values()) == [7, 5, 2, 3, 900, 4, 1]
    assert list(row) == [column.name for column in fallback.COLUMNS]


def test_pageblocks_by_type():
    row = pageblocks.measure(record(pageblocks={"UNMOVABLE": 3, "MOVABLE": 40}, mixed=6))
    assert (row["unmovable"], row["movable"], row["reclaimable"], row["mixed"]) == (3, 40, 0, 6)
    assert (row["fallback"], row["pages_each"]) == (None, 512)


def test_pageblocks_of_2005_have_the_types_of_their_policy():
    blocks = {"UNMOVABLE": 3, "MOVABLE": 40, "HIGHATOMIC": 5}
    old = {"pageblocks": blocks, "pageblock_order": 10, "mixed": 6, "mixed_areas": 7}
    full = pageblocks.measure(record(old_types=4, **old))
    assert (full["unmovable"], full["movable"], full["reclaimable"]) == (3, 40, 0)
    assert (full["fallback"], full["highatomic"], full["isolate"]) == (5, None, None)
    assert (full["pages_each"], full["mixed"], full["mixed_areas"]) == (1024, 6, 7)
    light = pageblocks.measure(record(old_types=2, **old))
    assert (light["unmovable"], light["movable"], light["reclaimable"]) == (3, 40, None)
    assert pageblocks.measure(record(old_types=1, **old))["unmovable"] is None
    grouped = pageblocks.measure(replace(record(old_types=3, **old), grouped=True))
    assert (grouped["reclaimable"], grouped["highatomic"], grouped["fallback"]) == (0, 5, None)


def test_overhead_is_also_per_million_allocations():
    counters = {"list_probes": 30, "pages_stolen": 900, "pageblocks_claimed": 3}
    row = overhead.measure(
        record(alloc_success=7, pcp_refills=2, pcp_drained_blocks=63, **counters)
    )
    assert list(row.values())[:5] == [30, 900, 3, 2, 63]
    assert row["list_probes_per_million"] == 4_285_714
    assert row["drained_blocks_per_million"] == 9_000_000
    assert overhead.measure(record())["refills_per_million"] is None


def test_unmovable_pages_are_blank_without_hotpluggable_memory():
    assert hotplug.measure(record())["unmovable_pages"] is None
    row = hotplug.measure(record(hotpluggable=1000, unmovable=12, memory_blocks=(8, 5, 2)))
    assert list(row.values())[:5] == [1000, 12, 8, 5, 2]
    assert set(list(hotplug.measure(record()).values())[1:]) == {None}


def test_numa_hit_ratio_is_of_the_requests_served():
    row = numa.measure(
        record(numa_hit=75, numa_miss=25, numa_foreign=25, numa_local=60, numa_other=40)
    )
    assert row["hit_ratio"] == 0.75
    assert [row[k] for k in ("hit", "miss", "foreign", "local", "other")] == [75, 25, 25, 60, 40]
