"""The policies of 2005 through Memory: types by use, counters, boot, and what must always hold."""

from itertools import pairwise

import numpy as np
import pytest

from memsim.kernels import layout as L
from memsim.kernels.placement import OPT_POOL
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import OP_COLD, OP_FREE, Gfp, Status, Use, ZoneType2005
from memsim.policies import LINUX_2_6_14, Kernel, by_gfp, policy_tables
from memsim.policies.full import Policy as Full
from memsim.policies.light import Policy as Light
from memsim.policies.none import Policy as Bare
from memsim.schema import Request

NORCLM, EASY, KERN, FALLBACK = range(4)
WAIT = Gfp.DIRECT_RECLAIM
REQUESTS = (
    Request(WAIT, Use.KERNEL),
    Request(WAIT | Gfp.HIGHMEM, Use.ANON, lru=True),
    Request(WAIT, Use.INODE),
    Request(WAIT | Gfp.HIGHMEM, Use.PAGE_CACHE, lru=True),
)
KERNEL, USER, INODE, COLD_USER = range(4)
POLICIES = {
    "none": Bare(),
    "usemap": Light(),
    "page_flag": Light(variant="page_flag"),
    "v22": Light(variant="v22"),
    "full": Full(),
}


def machine(policy, pages=4096, top=10, cpus=1, high=0, batch=1, low=0):
    zone = ZoneSetup(
        node=0,
        zone_type=ZoneType2005.NORMAL,
        start_pfn=0,
        end_pfn=pages,
        present=pages,
        managed=pages,
        watermark=(8, 10, 12, 12),
        lowmem_reserve=(0,) * len(ZoneType2005),
        pcp_high=high,
        pcp_batch=batch,
        stat_threshold=0,
        nofragment=False,
        pcp_low=low,
        pcp_cold_high=high // 3,
        pcp_cold_batch=batch,
    )
    lists = (((0,), (0,)),)
    setup = MachineSetup((zone,), lists, (0,) * cpus, (), "linux-2.6.14", top, top)
    memory = Memory(setup, policy.tables(Kernel("linux-2.6.14", top, top)))
    memory.add_requests(REQUESTS)
    memory.add_handles(pages)
    return memory


def place(memory, kind, order, *pfns):
    memory.place_free(0, order, kind, np.array(pfns, np.int32))


def run(memory, *events):
    """Each event is (op, request, CPU, handle)."""
    op, request, cpu, handle = zip(*events, strict=True)
    return memory.run(
        np.array(op, np.uint8),
        np.array(request, np.uint16),
        np.array(cpu, np.uint16),
        np.array(handle, np.int32),
    )


def lists(memory):
    every = ((k, kind) for k in range(13) for kind in range(4))
    return {at: memory.free_list(0, *at).tolist() for at in every if len(memory.free_list(0, *at))}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(Light(), {Use.INODE: NORCLM, Use.DENTRY: NORCLM}, id="light"),
        pytest.param(Full(), {Use.INODE: KERN, Use.DENTRY: KERN}, id="full"),
    ],
)
def test_types_by_use(policy, expected):
    easy = dict.fromkeys((Use.ANON, Use.PAGE_CACHE, Use.BUFFERS, Use.EXEC), EASY)
    rows = policy.tables(LINUX_2_6_14).type_of_request.reshape(-1, 3)
    for use in Use:
        plain = {**easy, **expected}.get(use, NORCLM)
        assert rows[use, 0] == plain
        marked = KERN if isinstance(policy, Full) else NORCLM
        assert rows[use].tolist() in ([plain] * 3, [NORCLM, EASY, marked])


def test_light_that_is_not_enabled_is_none():
    disabled = Light(enabled=False, variant="page_flag").tables(LINUX_2_6_14)
    for left, right in zip(disabled, Bare().tables(LINUX_2_6_14), strict=True):
        assert left.tolist() == right.tolist()


@pytest.mark.parametrize(
    ("policy", "order", "counted"),
    [
        pytest.param(Light(), 4, (1, 1, 0, 0, 1), id="light leaves a small block's rest"),
        pytest.param(Light(), 5, (1, 1, 1, 1, 32), id="light claims with a large block"),
        pytest.param(Light(variant="page_flag"), 5, (1, 1, 0, 0, 32), id="page_flag claims none"),
        pytest.param(Light(), 10, (1, 0, 1, 1, 1024), id="light takes a whole pageblock"),
        pytest.param(Full(), 4, (1, 1, 0, 0, 16), id="full keeps a small block's rest"),
        pytest.param(Full(), 10, (1, 0, 0, 1, 1024), id="full takes from the pool for the reserve"),
    ],
)
def test_what_a_fallback_counts(policy, order, counted):
    memory = machine(policy)
    memory.mem.pageblocks[:] = EASY
    place(memory, EASY, order, 2048)
    place(memory, EASY, 0, *range(0, 32, 2))
    assert run(memory, (0, KERNEL, 0, 0)).pfn.tolist() == [2048]
    names = ("events", "fragmenting", "change_ownership")
    vmstat = memory.vmstat()
    found = [vmstat[f"extfrag_{name}"] for name in names]
    assert (*found, vmstat["pageblocks_claimed"], vmstat["pages_stolen"]) == counted
    memory.check()


@pytest.mark.parametrize(
    ("policy", "request_row", "probes"),
    [
        pytest.param(Bare(), KERNEL, 2 * 11, id="none looks at its own lists, in two walks"),
        pytest.param(Light(), KERNEL, 11 + 7, id="light goes down to the block of order 4"),
        pytest.param(Full(), KERNEL, 11 + 3 + 10 + 10 + 7, id="full looks at pool, reserve, KERN"),
        pytest.param(Full(), INODE, 11 + 3 + 10 + 10 + 7, id="full looks at pool, reserve, NORCLM"),
    ],
)
def test_every_look_at_a_free_list_is_counted(policy, request_row, probes):
    memory = machine(policy)
    place(memory, EASY, 4, 2048, 2080)
    run(memory, (0, request_row, 0, 0))
    assert memory.vmstat()["list_probes"] == probes


@pytest.mark.parametrize("top", [10, 12])
def test_a_whole_block_is_freed_as_its_words_would_be(top):
    at_once, by_words = machine(Bare(), 1 << 14, top), machine(Bare(), 1 << 14, top)
    at_once.free_boot_range(0, 70, 16200, 64)
    edges = [70, *range(128, 16200, 64), 16200]
    for start, end in pairwise(edges):
        by_words.free_boot_range(0, start, end, 64)
    assert lists(at_once) == lists(by_words)
    whole = [block << top for block in range(1, (1 << 14 >> top) - 1)]
    assert lists(at_once)[top, 0] == whole[::-1]
    at_once.check()


def random_events(seed, count, cpus):
    """Draw allocations and frees of what may still be held, by handle."""
    rng = np.random.default_rng(seed)
    held = {}
    for handle in range(count):
        if held and rng.random() < 0.45:
            old = int(rng.choice(list(held)))
            cold = OP_COLD if rng.random() < 0.3 else 0
            yield OP_FREE | cold | held.pop(old), 0, int(rng.integers(cpus)), old
        order = int(rng.choice([0, 0, 0, 0, 1, 2, 3, 6, 9]))
        held[handle] = order
        yield order, int(rng.integers(len(REQUESTS))), int(rng.integers(cpus)), handle


@pytest.mark.parametrize("top", [10, 12])
@pytest.mark.parametrize("policy", POLICIES)
def test_all_that_must_hold_holds_and_batches_do_not_matter(policy, top):
    one, many = (machine(POLICIES[policy], 1 << 14, top, 2, 24, 4, 8) for _ in range(2))
    for memory in (one, many):
        memory.free_boot_range(0, 3, 1 << 14, 32)
    pages = one.nr_free_pages(0) + one.census().pcp_pages[0]
    events = list(random_events(7, 1500, cpus=2))
    whole = run(one, *events)
    for first in range(0, len(events), 31):
        part = run(many, *events[first : first + 31])
        assert part.pfn.tolist() == whole.pfn[first : first + 31].tolist()
        many.check()
    assert {Status.OK, Status.FREED, Status.NEEDS_RECLAIM} <= set(whole.status.tolist())
    assert (policy == "none") == (one.vmstat()["extfrag_events"] == 0)
    run(one, *[(OP_FREE, 0, 1, int(handle)) for handle in np.flatnonzero(one.page_table)])
    one.drain_all()
    one.check()
    assert one.nr_free_pages(0) == pages
    assert one.census().pcp_pages[0] == 0


def test_a_reserve_that_is_miscounted_is_found():
    memory = machine(Full())
    memory.free_boot_range(0, 0, 4096, 32)
    run(memory, (0, USER, 0, 0))
    memory.check()
    assert memory.zone_field(0, L.Z_NR_RESERVED_HIGHATOMIC) == 1024
    memory.mem.pageblocks[0] = FALLBACK
    with pytest.raises(AssertionError, match="reserve is said to be 1024 pages"):
        memory.check()


def test_a_pool_needs_no_fallback_table():
    class Pool(Bare):
        """Takes whole pageblocks of other types, and nothing less."""

        def tables(self, kernel):
            return policy_tables(by_gfp(NORCLM, EASY, NORCLM), options={OPT_POOL: 1})

    memory = machine(Pool())
    place(memory, EASY, 10, 2048)
    place(memory, EASY, 9, 512)
    assert run(memory, (0, KERNEL, 0, 0)).pfn.tolist() == [2048]
    assert run(memory, (9, KERNEL, 0, 1), (9, KERNEL, 0, 2)).pfn.tolist() == [2560, -1]
    memory.check()


def test_another_policy_goes_on_from_what_there_is():
    memory = machine(Bare(), high=24, batch=4)
    memory.free_boot_range(0, 0, 4096, 32)
    run(memory, (0, USER, 0, 0), (OP_FREE, 0, 0, 0))
    memory.set_policy(Light().tables(LINUX_2_6_14))
    # Block 3 is kernel memory with pages on a CPU's list; the next block becomes EasyRclm.
    assert run(memory, (0, USER, 0, 1), (0, KERNEL, 0, 2)).pfn.tolist() == [2048, 3072]
    assert memory.mem.pageblocks.tolist() == [NORCLM, NORCLM, EASY, NORCLM]
    memory.check()
