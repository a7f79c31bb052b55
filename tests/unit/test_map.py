"""The map of memory: what a cell says is what the free lists leave."""

import numpy as np
import pytest
from trials import SMALL, small

from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.mapping import FULL, MOST_CELLS, cell_order, level, zone_cells
from memsim.mm import MIGRATE_TYPES, MIGRATETYPE_NAMES, NR_ORDERS, Migratetype
from memsim.simulate import simulate
from memsim.simulate.retrace import at_instant

OFFLINE = """
memsim: 1
name: going
duration: 100ms
policies:
  mobility: {placement: mobility, cmdline: movable_node}
machine:
  nodes:
    - {id: 0, cpus: 0-1, memory: 128MiB}
    - {id: 1, cpus: [], memory: 256MiB, hotpluggable: true}
events:
  - {at: 50ms, do: offline, name: gone, node: 1}
"""


def first(scenario):
    return next(scenario.trials())


def parted(cells):
    return [cells[n : n + 3] for n in range(0, len(cells), 3)]


def used_pages(memory: Memory, z: int) -> np.ndarray:
    """Mark the pages of a zone that no free list and no CPU's list has, by walking all lists."""
    used = np.zeros(memory.mem.nr_pages, bool)
    for start, end in memory.setup.zones[z].pieces:
        used[start:end] = True
    for order in range(NR_ORDERS):
        for kind in range(MIGRATE_TYPES):
            for pfn in memory.free_list(z, order, kind).tolist():
                used[pfn : pfn + (1 << order)] = False
    state = memory.mem.state
    for pfn in np.flatnonzero(state[: memory.mem.nr_pages] & L.PAGE_PCP).tolist():
        used[pfn : pfn + (1 << (int(state[pfn]) & L.ORDER_MASK) // (1 << L.ORDER_SHIFT))] = False
    return used


@pytest.mark.parametrize("policy", ["none", "mobility"])
def test_cells_are_as_full_as_the_free_lists_leave_them(policy):
    trial = first(small(policies=(policy,)))
    memory = at_instant(trial)
    order = cell_order(memory.setup)
    assert order == memory.setup.pageblock_order
    for z, zone in enumerate(memory.setup.zones):
        start, text = zone_cells(memory.mem, memory.setup, zone, order)
        used = used_pages(memory, z)
        for n, cell in enumerate(parted(text)):
            pfn = start + (n << order)
            low, high = max(pfn, zone.start_pfn), min(pfn + (1 << order), zone.end_pfn)
            # The first cell has the hole below 1 MiB, which is no memory.
            count = np.array([used[low:high].sum() - (96 if pfn == 0 else 0)])
            assert int(cell[1], 16) == level(count, np.array([high - low]))[0]
            assert int(cell[2], 16) <= int(cell[1], 16)
            kind = Migratetype(int(memory.mem.pageblocks[pfn >> order]))
            assert MIGRATETYPE_NAMES[kind].startswith(cell[0])


def test_larger_cells_sum_up_smaller_ones():
    memory = at_instant(first(small()))
    zone = memory.setup.zones[-1]
    start, fine = zone_cells(memory.mem, memory.setup, zone, 9)
    coarse_start, coarse = zone_cells(memory.mem, memory.setup, zone, 11)
    assert coarse_start <= start and coarse_start % 2048 == 0
    used = used_pages(memory, len(memory.setup.zones) - 1)
    for n, cell in enumerate(parted(coarse)):
        low = max(coarse_start + (n << 11), zone.start_pfn)
        high = min(coarse_start + (n + 1 << 11), zone.end_pfn)
        assert (
            int(cell[1], 16) == level(np.array([used[low:high].sum()]), np.array([high - low]))[0]
        )
    assert len(fine) > len(coarse)


def test_levels_part_none_from_some_and_some_from_all():
    pages = np.array([0, 1, 256, 511, 512])
    assert level(pages, np.full(5, 512)).tolist() == [0, 1, 8, FULL - 1, FULL]


def test_the_map_has_51_instants_and_the_last_is_the_end():
    trial = first(small())
    result = simulate(trial)
    times = sorted({sample.time_ns for sample in result.map})
    assert len(times) == 51 and times[0] == 0 and times[-1] == trial.scenario.duration
    memory = at_instant(trial)
    last = [sample for sample in result.map if sample.time_ns == times[-1]]
    for sample, zone in zip(last, memory.setup.zones, strict=True):
        found = zone_cells(memory.mem, memory.setup, zone, 9)
        assert (sample.start_pfn, sample.cells) == found
        assert sample.cell_pages == 512


def test_looking_changes_nothing_and_batches_do_not_matter():
    trial = first(small())
    quiet = first(small(SMALL + "record: {map: false}\n"))
    looked, unlooked = simulate(trial, batch_size=7), simulate(quiet)
    assert looked.map == simulate(trial).map and unlooked.map == ()
    assert looked.counters == unlooked.counters and looked.timeline == unlooked.timeline


def test_sweeps_keep_no_map_unless_they_say_so():
    axes = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"
    assert not first(small(SMALL + axes)).keeps_map
    assert first(small(SMALL + axes + "record: {map: true}\n")).keeps_map
    assert first(small()).keeps_map
    assert first(small()).name != first(small(SMALL + "record: {map: false}\n")).name


def test_memory_that_went_has_no_cells():
    result = simulate(first(small(OFFLINE)))
    of_node_1 = [sample for sample in result.map if sample.zone.startswith("node1")]
    before = [s for s in of_node_1 if s.time_ns < 50_000_000]
    after = [s for s in of_node_1 if s.time_ns > 50_000_000]
    assert all(len(parted(s.cells)) == 128 for s in before)
    gone = [row for row in result.removals if row.result == "offline"]
    assert [row.block for row in gone] == [1]
    assert all(s.start_pfn == 2 << 15 and len(parted(s.cells)) == 64 for s in after)


def test_a_tebibyte_has_cells_of_a_memory_block():
    class Zone:
        pieces = ((0, 3 << 18), (1 << 20, (1 << 28) + (1 << 18)))

    class Setup:
        zones = (Zone,)
        pageblock_order = 9

    assert cell_order(Setup) == 15
    assert sum(end - start for start, end in Zone.pieces) >> 15 == MOST_CELLS
