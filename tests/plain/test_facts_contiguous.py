"""The checkable facts of spec 9.9 on ranges of pages for one caller, and what 9.6 says besides."""

from errno import EBUSY, EINVAL, ENOMEM

import numpy as np
import pytest
from compaction_desk import lists, zone
from hotplug_desk import removable, types

from memsim.kernels import layout as L
from memsim.kernels.contig_range import isolate_contig_range
from memsim.memory.contiguous import (
    alloc_contig,
    cma_alloc,
    cma_areas,
    cma_release,
    free_contig,
)
from memsim.memory.obstacles import Reason
from memsim.mm import Migratetype

CMA, MOVABLE, UNMOVABLE = Migratetype.CMA, Migratetype.MOVABLE, Migratetype.UNMOVABLE


def small(runs=(), **more):
    """One zone of 4096 pages."""
    return removable([zone(0, 4096)], dict(runs), **more)


def test_F9_5_a_dirty_page_of_a_file_with_a_reference_is_tried_fifty_times():
    memory = small({512: (1, "dirty"), 600: (3, "anon")})
    memory.mem.state[512] |= L.PAGE_PINNED
    outcome = alloc_contig(memory, 512, 512)
    assert (outcome.errno, outcome.reason, outcome.page) == (-EBUSY, Reason.PINNED, 512)
    assert outcome.migrate_calls == 5
    assert (outcome.pgmigrate_success, outcome.pgmigrate_fail) == (3, 5)
    assert memory.vmstat()["pgalloc_normal"] == 50 + 3
    assert types(memory, 0, 2048) == [MOVABLE] * 4
    memory.check()


def test_F9_5_a_pinned_anonymous_page_is_never_tried():
    memory = small({512: (1, "pinned")})
    outcome = alloc_contig(memory, 512, 512)
    assert (outcome.errno, outcome.page, outcome.migrate_calls) == (-EBUSY, 512, 0)
    memory.check()


def test_F9_6_a_free_block_across_the_edge_is_parted():
    memory = small()
    found = np.zeros(2, np.int64)
    isolate_contig_range(memory.mem, 0, 0, 512, 1024, MOVABLE, found)
    assert found.tolist() == [0, -1]
    assert lists(memory)[9] == [0]
    assert lists(memory, migratetype=Migratetype.ISOLATE)[9] == [512]
    assert memory.nr_free_pages(0) == 4096 - 512
    memory = small()
    free = memory.nr_free_pages(0)
    outcome = alloc_contig(memory, 512, 512)
    assert outcome.errno == 0
    assert lists(memory)[9] == [0] and memory.nr_free_pages(0) == free - 512
    assert memory.page_table[outcome.handle : outcome.handle + 512].tolist() == [*range(513, 1025)]
    memory.check()
    free_contig(memory, outcome.handle, 512)
    memory.drain_all()
    assert lists(memory)[10] == [0, 1024, 2048, 3072]
    memory.check()


def test_clean_pages_of_files_are_dropped_and_others_moved_in_batches_of_32():
    memory = small({512: (40, "file"), 552: (40, "anon"), 600: (1, "dirty")})
    outcome = alloc_contig(memory, 512, 512)
    assert (outcome.errno, outcome.pages_dropped, outcome.migrate_calls) == (0, 40, 2)
    assert outcome.pgmigrate_success == 41
    assert np.all(memory.page_table[:40] == L.GONE)
    memory.check()


def test_what_sticks_out_of_the_range_is_free_again():
    memory = small()
    outcome = alloc_contig(memory, 520, 30)
    assert outcome.errno == 0 and memory.nr_free_pages(0) == 4096 - 30
    assert types(memory, 512, 1024) == [MOVABLE]
    memory.check()


def test_pages_move_within_their_node_and_no_memory_ends_it():
    memory = small({0: (512, "kernel"), 512: (8, "anon"), 1024: (3072, "kernel")})
    outcome = alloc_contig(memory, 512, 512)
    assert (outcome.errno, outcome.reason) == (-ENOMEM, Reason.NO_MEMORY)
    assert memory.nr_free_pages(0) == 504
    memory.check()


@pytest.mark.parametrize(("start", "pages"), [(4096, 10), (0, 0), (4000, 200)])
def test_ranges_that_are_not_memory_are_refused(start, pages):
    assert alloc_contig(small(), start, pages).errno == -EINVAL


def test_pageblocks_of_cma_are_for_cma_alone():
    memory = small(types={2: CMA, 3: CMA})
    assert alloc_contig(memory, 1024, 512).reason == Reason.CMA
    (area,) = cma_areas(memory)
    assert (area.start_pfn, len(area.used)) == (1024, 1024)
    (outcome,) = cma_alloc(memory, area, 300)
    assert (outcome.errno, outcome.start_pfn) == (0, 1024)
    assert types(memory, 1024, 2048) == [CMA, CMA]
    (second,) = cma_alloc(memory, area, 64, align_order=6)
    assert second.start_pfn == 1024 + 320
    assert cma_alloc(memory, area, 700) == ()
    memory.check()
    cma_release(memory, area, 1024, 300)
    cma_release(memory, area, second.start_pfn, 64)
    assert not area.used.any()
    memory.check()


def test_cma_passes_over_a_busy_place():
    memory = small({1030: (1, "pinned")}, types={2: CMA, 3: CMA})
    (area,) = cma_areas(memory)
    attempts = cma_alloc(memory, area, 16, align_order=4)
    assert [a.errno for a in attempts] == [-EBUSY, 0]
    assert attempts[-1].start_pfn == 1040
    memory.check()
