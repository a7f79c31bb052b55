"""Start states from copies of /proc: what the files say holds, what they do not say is drawn."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memsim.errors import InputError
from memsim.export import proc_text
from memsim.kernels import layout as L
from memsim.memory.restore import restore
from memsim.memory.setup import NO_ZONE
from memsim.memory.start import start
from memsim.memory.undetermined import draw_undetermined
from memsim.mm import NR_PAGE_ORDERS, PAGEBLOCK_NR_PAGES, Migratetype
from memsim.policies import LINUX_6_1, mobility
from memsim.scenario.cmdline import parse_cmdline
from memsim.scenario.machine import Machine
from memsim.snapshot.folios import split_small_folios
from memsim.snapshot.observed import observe
from memsim.snapshot.places import page_costs, place_free
from memsim.snapshot.state import draw_state
from memsim.traces import _page_flags as kpf
from memsim.traces.capture import PAGEBLOCK_HOLE

IDLE = Path(__file__).parents[1] / "data/captures/e1/n2kc"
LOADED = Path(__file__).parents[1] / "data/captures/e3/n2_pinvm/before"
SECTION = 1 << 15
TABLES = mobility.Policy().tables(LINUX_6_1)


def memory_of(seen, seed=1):
    chance = np.random.default_rng(seed)
    drawn = draw_state(seen, chance)
    assert drawn.differences == ()
    memory = restore(drawn.snapshot.state, TABLES, pages=drawn.snapshot.pages)
    draw_undetermined(memory, drawn.snapshot, chance)
    memory.check()
    return memory, drawn.snapshot


@pytest.fixture(scope="module")
def seen():
    return observe(IDLE)


def free_pages(memory):
    free = np.zeros(memory.nr_pages, bool)
    for z in range(len(memory.setup.zones)):
        for order in range(NR_PAGE_ORDERS):
            for kind in Migratetype:
                for pfn in memory.free_list(z, order, kind).tolist():
                    free[pfn : pfn + (1 << order)] = True
    return free


@pytest.mark.parametrize("seed", [1, 2])
def test_proc_computed_back_is_what_was_read(seen, seed):
    memory, _ = memory_of(seen, seed)
    for name in ("buddyinfo", "pagetypeinfo"):
        assert proc_text(memory, name) == (IDLE / f"{name}.txt").read_text()


def test_pages_are_free_where_the_flags_say_so(seen):
    memory, _ = memory_of(seen)
    marked = seen.flags[: memory.nr_pages] & kpf.BUDDY != 0
    # 16 pages of node 1 were taken between the reading of buddyinfo and of kpageflags.
    assert np.count_nonzero(free_pages(memory) != marked) == 16


def test_kinds_of_pages_are_those_of_the_flags(seen):
    memory, snapshot = memory_of(seen)
    changed = snapshot.pages[: len(seen.flags)] != seen.flags
    assert np.count_nonzero(changed) == 16
    state = memory.mem.state[: memory.nr_pages]
    user = seen.flags[: memory.nr_pages] & (kpf.LRU | kpf.ANON) == kpf.LRU | kpf.ANON
    assert ((state[user] & (L.PAGE_LRU | L.PAGE_LRU_PENDING)) != 0).all()
    # Page 0 is of no zone.
    reserved = 1 + np.flatnonzero(seen.flags[1 : memory.nr_pages] & kpf.RESERVED != 0)
    own = memory.mem.zone_of[reserved >> 10] != NO_ZONE
    assert (state[reserved[own]] & L.PAGE_RESERVED != 0).all()


def test_marks_reserves_and_per_cpu_lists_are_zoneinfos(seen):
    memory, _ = memory_of(seen)
    for z, zone in enumerate(seen.zones):
        marks = tuple(memory.zone_field(z, L.Z_WMARK + i) for i in range(3))
        assert marks == zone.wmark
        assert memory.setup.zones[z].lowmem_reserve == zone.protection
        assert (memory.setup.zones[z].present, memory.setup.zones[z].managed) == (
            zone.present,
            zone.managed,
        )
        assert memory.nr_free_pages(z) == zone.free_pages
        for pcp in zone.pcps:
            assert memory.pcp_field(z, pcp.cpu, L.P_COUNT) == pcp.count


def test_types_of_pageblocks_are_mostly_the_kernels(seen):
    """Which pageblocks have which type is in no file of /proc; the lab's own file has it."""
    _, snapshot = memory_of(seen)
    right = total = 0
    for zone, text in zip(snapshot.state.zones, kernel_types(), strict=True):
        theirs = np.array([int(c) if c.isdigit() else 9 for c in text])
        own = theirs < 9
        right += np.count_nonzero(zone.pageblocks[own] == theirs[own])
        total += np.count_nonzero(own)
    assert right / total > 0.95


def kernel_types():
    lines = (IDLE / "pageblocks.txt").read_text().splitlines()
    words = [line.split() for line in lines if line.startswith("PB")]
    return [w[-1] for w in words if w[-1] != ":"]


def test_another_seed_draws_other_lists_of_the_same_blocks(seen):
    one, other = memory_of(seen, 1)[0], memory_of(seen, 2)[0]
    lists = [m.free_list(5, 10, Migratetype.MOVABLE).tolist() for m in (one, other)]
    assert lists[0] != lists[1]
    assert sorted(lists[0]) == sorted(lists[1])
    again = memory_of(seen, 1)[0]
    assert again.free_list(5, 10, Migratetype.MOVABLE).tolist() == lists[0]


@pytest.mark.parametrize("types", [True, False])
def test_without_flags_all_counts_hold_still(seen, types):
    zones = seen.zones
    if not types:
        zones = tuple(replace(z, free_of_type=None, pageblocks=None) for z in zones)
    memory, snapshot = memory_of(replace(seen, flags=None, zones=zones))
    assert proc_text(memory, "buddyinfo") == (IDLE / "buddyinfo.txt").read_text()
    if types:
        assert proc_text(memory, "pagetypeinfo") == (IDLE / "pagetypeinfo.txt").read_text()
    for zone in seen.zones:
        mine = snapshot.pages[zone.start_pfn : zone.end_pfn]
        assert np.count_nonzero(mine & kpf.LRU) == sum(zone.users)


def test_a_scenario_begins_with_the_copies_and_its_seed():
    machine = Machine.model_validate({"from": str(IDLE)})
    lists = [
        start(machine, "linux-6.1", parse_cmdline(""), TABLES, "/", seed)
        .free_list(5, 10, Migratetype.MOVABLE)
        .tolist()
        for seed in (1, 1, 2)
    ]
    assert lists[0] == lists[1] != lists[2]


def test_as_many_pages_are_pinned_as_zoneinfo_counts(tmp_path):
    folder = shutil.copytree(LOADED, tmp_path / "loaded")
    path = folder / "zoneinfo.txt"
    text = path.read_text().replace("nr_foll_pin_acquired 0", "nr_foll_pin_acquired 9")
    path.write_text(text.replace("nr_foll_pin_released 0", "nr_foll_pin_released 4"))
    machine = Machine.model_validate({"from": str(folder)})
    memory = start(machine, "linux-6.1", parse_cmdline(""), TABLES, "/", 1)
    wanted = L.PAGE_PINNED | L.PAGE_ANON
    pinned = np.flatnonzero(memory.mem.state[: memory.nr_pages] & wanted == wanted)
    of_node_1 = pinned >= memory.setup.zones[-1].start_pfn
    assert (len(pinned), np.count_nonzero(of_node_1)) == (10, 5)


def test_a_folder_without_any_state_is_one_line(tmp_path):
    machine = Machine.model_validate({"from": str(tmp_path)})
    with pytest.raises(InputError, match=r"no start/state\.txt.* and no copies of /proc"):
        start(machine, "linux-6.1", parse_cmdline(""), TABLES, "/")


def test_a_zone_without_memory_blocks_is_refused(tmp_path):
    shutil.copytree(IDLE, tmp_path / "idle")
    path = tmp_path / "idle/memory_blocks.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.split(",")[2].strip() != "1"))
    with pytest.raises(InputError, match="no memory block that is online"):
        draw_state(observe(tmp_path / "idle"), np.random.default_rng(1))


# --- places --------------------------------------------------------------------------------


def blocks_of(free):
    """Cut runs of free pages into the largest aligned blocks."""
    found = [[] for _ in range(NR_PAGE_ORDERS)]
    pfn = 0
    while pfn < len(free):
        orders = (o for o in range(10, -1, -1) if pfn % (1 << o) == 0)
        order = next((o for o in orders if free[pfn : pfn + (1 << o)].all()), None)
        if order is None:
            pfn += 1
            continue
        found[order].append(pfn)
        pfn += 1 << order
    return found


def random_memory(seed):
    chance = np.random.default_rng(seed)
    free = np.zeros(SECTION, bool)
    for _ in range(chance.integers(5, 200)):
        order = int(chance.integers(0, 11))
        at = int(chance.integers(0, SECTION >> order)) << order
        free[at : at + (1 << order)] = chance.random() < 0.7
    return free


@pytest.mark.parametrize("seed", range(8))
def test_consistent_flags_leave_one_way_to_place_blocks(seed):
    free = random_memory(seed)
    wanted = blocks_of(free)
    counts = np.array([len(blocks) for blocks in wanted])
    flags = np.where(free, np.uint64(kpf.BUDDY), np.uint64(kpf.SLAB))
    own = np.arange(SECTION // PAGEBLOCK_NR_PAGES)
    costs = page_costs(own, 0, SECTION, flags)
    placed = place_free(counts, *costs, np.random.default_rng(seed))
    assert [blocks.tolist() for blocks in placed.blocks] == wanted


@pytest.mark.parametrize("seed", range(8))
def test_blocks_that_are_drawn_do_not_merge(seed):
    counts = np.array([len(blocks) for blocks in blocks_of(random_memory(seed))])
    own = np.arange(SECTION // PAGEBLOCK_NR_PAGES)
    costs = page_costs(own, 0, SECTION, None)
    placed = place_free(counts, *costs, np.random.default_rng(seed))
    assert placed.lacking.sum() == 0
    free = np.zeros(SECTION, int)
    for order, blocks in enumerate(placed.blocks):
        for pfn in blocks.tolist():
            free[pfn : pfn + (1 << order)] += 1
    assert free.max() <= 1
    assert [len(blocks) for blocks in blocks_of(free > 0)] == counts.tolist()


# --- kernels that have what 6.1 has not ----------------------------------------------------

FOLIO = kpf.LRU | kpf.ANON | kpf.THP


def folio(flags, first, pages):
    flags[first] = FOLIO | kpf.ACTIVE | kpf.COMPOUND_HEAD
    flags[first + 1 : first + pages] = kpf.THP | kpf.COMPOUND_TAIL


def test_small_folios_become_single_pages_and_huge_ones_stay():
    flags = np.zeros(2048, np.uint64)
    folio(flags, 16, 4)
    folio(flags, 20, 16)
    folio(flags, 512, 512)
    flags[1024:1026] = (kpf.SLAB | kpf.COMPOUND_HEAD, kpf.SLAB | kpf.COMPOUND_TAIL)
    before = flags.copy()
    split_small_folios(flags)
    assert set(flags[16:36].tolist()) == {kpf.LRU | kpf.ANON | kpf.ACTIVE}
    assert (flags[36:] == before[36:]).all()


def test_huge_pages_stand_on_lists_as_a_whole(seen):
    flags = seen.flags.copy()
    # A pageblock of node 1's Movable zone that is free in the copies.
    first = next(
        pfn
        for pfn in range(seen.zones[-1].start_pfn, seen.zones[-1].end_pfn, PAGEBLOCK_NR_PAGES)
        if (flags[pfn : pfn + PAGEBLOCK_NR_PAGES] & kpf.BUDDY).all()
    )
    flags[first : first + PAGEBLOCK_NR_PAGES] = kpf.COMPOUND_TAIL | kpf.THP
    flags[first] = FOLIO | kpf.SWAPBACKED | kpf.MMAP | kpf.COMPOUND_HEAD
    zone = seen.zones[-1]
    free = zone.free.copy()
    free[10] -= 1
    free[9] += 1
    huge = replace(zone, free=free, free_of_type=None, counted_free=zone.counted_free - 512)
    memory, _ = memory_of(replace(seen, flags=flags, zones=(*seen.zones[:-1], huge)))
    head = L.PAGE_ALLOCATED | L.PAGE_LRU | 9 << L.ORDER_SHIFT
    assert memory.mem.state[first] & (L.PAGE_ALLOCATED | L.PAGE_LRU | L.ORDER_MASK) == head


def test_pageblocks_that_pagetypeinfo_does_not_count_are_left_out(seen):
    *others, zone = seen.zones
    counts = zone.pageblocks.copy()
    counts[Migratetype.MOVABLE] -= 2
    flags = seen.flags.copy()
    # The uppermost free chunk: not initialised yet, so without flags.
    top = next(
        pfn
        for pfn in range(zone.end_pfn - 1024, zone.start_pfn, -1024)
        if (flags[pfn : pfn + 1024] & kpf.BUDDY).all()
    )
    flags[top : top + 1024] = 0
    free, of_type = zone.free.copy(), zone.free_of_type.copy()
    free[10] -= 1
    of_type[Migratetype.MOVABLE, 10] -= 1
    less = replace(zone, pageblocks=counts, free=free, free_of_type=of_type)
    drawn = draw_state(replace(seen, flags=flags, zones=(*others, less)), np.random.default_rng(1))
    (said,) = drawn.differences
    assert f"pagetypeinfo counts {counts.sum()} pageblocks, memory blocks have" in said
    kinds = drawn.snapshot.state.zones[-1].pageblocks
    assert (kinds <= Migratetype.ISOLATE).sum() == counts.sum()
    first = (top >> 9) - (zone.start_pfn >> 9)
    assert (kinds[first : first + 2] == PAGEBLOCK_HOLE).all()
