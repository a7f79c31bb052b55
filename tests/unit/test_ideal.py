"""The bound: what policy ``ideal`` gets, no other policy does, and nobody could get more."""

import random
from dataclasses import replace

import numpy as np
import pytest

from memsim.conformance import small_machine
from memsim.kernels import layout as L
from memsim.memory import Memory
from memsim.memory.setup import Pressure
from memsim.memory.start import put_under_pressure
from memsim.mm import OP_FREE, OP_TOUCH, Gfp, Status, Use, Wmark, gfp_from_text
from memsim.policies import KERNELS, full, ideal, light, mobility, none
from memsim.profiles import PROFILES
from memsim.schema import Request

KERNEL = gfp_from_text("GFP_NOWAIT")
USER = gfp_from_text("GFP_HIGHUSER_MOVABLE") & ~Gfp.DIRECT_RECLAIM
REQUESTS = (
    Request(KERNEL, Use.KERNEL),
    Request(KERNEL | Gfp.RECLAIMABLE, Use.INODE),
    Request(USER, Use.ANON, lru=True),
    Request(USER, Use.PAGE_CACHE, lru=True),
    Request(KERNEL, Use.KERNEL, preferred=0),
)
PROBE = len(REQUESTS) - 1
WAITING = tuple(
    replace(request, gfp=request.gfp | Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM | Gfp.IO | Gfp.FS)
    for request in REQUESTS[:PROBE]
)
POLICIES = {
    "linux-6.1": (none, mobility),
    "linux-2.6.14": (none, light, full),
}
CAPACITY = 20_000


def machine(profile, policy):
    kernel = KERNELS[PROFILES[profile].mechanism]
    setup = small_machine(PROFILES[profile], kernel)
    memory = Memory(setup, policy.Policy().tables(kernel))
    for z, zone in enumerate(setup.zones):
        memory.free_boot_range(z, zone.start_pfn, zone.end_pfn)
    memory.drain_all()
    memory.add_requests(REQUESTS)
    memory.add_handles(CAPACITY)
    return memory


def run(memory, op, request, handle):
    one = [np.array([value], kind) for value, kind in ((op, np.uint8), (request, np.uint16))]
    out = memory.run(*one, np.zeros(1, np.uint16), np.array([handle], np.int32))
    return Status(int(out.status[0]))


def churn(rng, events, fixed=0.17):
    """Fill most of memory, a part of it with kernel pages; then free two thirds, in no order."""
    held, stream = [], []
    for handle in range(events):
        request = rng.randrange(2) + 2 * (rng.random() >= fixed)
        order = rng.choice((0, 0, 0, 0, 0, 0, 1, 2)) if request < 2 else 0
        stream.append((order, request, handle))
        held.append((order, handle))
        if rng.random() < 0.15:
            order, gone = held.pop(rng.randrange(len(held)))
            stream.append((order | OP_FREE, 0, gone))
    rng.shuffle(held)
    stream += [(order | OP_FREE, 0, gone) for order, gone in held[: 2 * len(held) // 3]]
    return stream


def blocks_to_be_had(memory, order):
    """How many blocks of an order a copy of a machine hands out before it fails."""
    twin = memory.copy()
    got = 0
    while run(twin, order, PROBE, CAPACITY - 1 - got) == Status.OK:
        got += 1
        twin.check()
    return got


def naive_bound(memory, z, order):
    """Count areas without a page that cannot move, and what the min mark lets go of free pages."""
    zone = memory.setup.zones[z]
    fixed = set()
    for handle, entry in enumerate(memory.page_table.tolist()):
        head = entry - 1
        if entry and not int(memory.mem.state[head]) & (L.PAGE_LRU | L.PAGE_LRU_PENDING):
            pages = 1 << ((int(memory.mem.state[head]) & L.ORDER_MASK) >> L.ORDER_SHIFT)
            fixed |= set(range(head, head + pages))
        assert not entry or memory.mem.rmap[head] == handle
    areas = range(zone.start_pfn, zone.end_pfn, 1 << order)
    clean = sum(not any(p in fixed for p in range(a, a + (1 << order))) for a in areas)
    cpus = range(len(memory.setup.cpu_node))
    free = memory.nr_free_pages(z) + sum(memory.pcp_field(z, cpu, L.P_COUNT) for cpu in cpus)
    return clean, free, zone.watermark[Wmark.MIN]


def only_normal(memory):
    """Leave the second zone, Normal, to requests: the others are full from the start."""
    for z in (0, 2):
        memory.add_zone_field(z, L.Z_WMARK, 1 << 40)
        memory.add_zone_field(z, L.Z_WMARK + 1, 1 << 40)


@pytest.mark.parametrize(
    ("policy", "fixed", "least", "most"),
    [(none, 0.0, 8, 8), (none, 0.001, 5, 7), (none, 0.004, 1, 4), (none, 0.17, 0, 0),
     (ideal, 0.17, 2, 7), (ideal, 0.05, 4, 7)],
)  # fmt: skip
def test_ideal_gets_what_a_naive_count_says_is_there(policy, fixed, least, most):
    memory = machine("linux-6.1", policy)
    only_normal(memory)
    for op, request, handle in churn(random.Random("bound"), 6000, fixed):
        run(memory, op, request, handle)
    memory.set_policy(ideal.Policy().tables(KERNELS["linux-6.1"]))
    clean, free, mark = naive_bound(memory, 1, 9)
    # Only __GFP_HIGH lowers the min mark; 512 pages go with each block.
    by_mark = sum(free - 512 * n - 511 > mark for n in range(free // 512))
    assert blocks_to_be_had(memory, 9) == min(clean, by_mark)
    assert least <= clean <= most


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("profile", sorted(POLICIES))
def test_no_policy_gets_more_large_blocks_than_ideal(profile, seed):
    stream = churn(random.Random(f"stream {seed}"), 9000)
    got = {}
    for policy in (*POLICIES[profile], ideal):
        memory = machine(profile, policy)
        for step, (op, request, handle) in enumerate(stream):
            run(memory, op, request, handle)
            if step % 2000 == 0:
                memory.check()
        memory.check()
        got[policy.__name__] = blocks_to_be_had(memory, 9)
    best = got.pop(ideal.__name__)
    assert best >= max(got.values())
    assert best > min(got.values())


def blocks_at_once(memory, policy, order, request):
    """How many blocks of an order can be had of a copy of a machine under a policy, at once."""
    twin = memory.copy()
    twin.set_policy(policy.Policy().tables(KERNELS[memory.setup.mechanism]))
    n = 2000
    same = np.full(n, request, np.uint16)
    handles = np.arange(CAPACITY - n, CAPACITY, dtype=np.int32)
    out = twin.run(np.full(n, order, np.uint8), same, np.zeros(n, np.uint16), handles)
    twin.check()
    return np.count_nonzero(out.status == Status.OK)


def press(memory, rng, steps):
    """Take and use more than there is; a few pages cannot be moved, some cannot be reclaimed."""
    first = memory.add_requests(WAITING)
    n, size = 50, CAPACITY - 2000
    for step in range(steps):
        handle = np.array(rng.sample(range(size), n), np.int32)
        request = np.where(handle % 7 == 0, handle % 2, 2 + handle % 2).astype(np.uint16)
        op = np.full(n, OP_FREE if rng.random() < 0.2 else OP_TOUCH, np.uint8)
        times = np.arange(n, dtype=np.int64) * 20_000 + step * 1_000_000
        if len(memory.run(op, request + first, np.zeros(n, np.uint16), handle, times).pfn) < n:
            victims = np.array(rng.sample(range(size), size // 2), np.int32)
            same = np.zeros(len(victims), np.uint16)
            free = np.full(len(victims), OP_FREE, np.uint8)
            memory.run(free, same, same, victims, np.full(len(victims), times[-1]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("profile", sorted(POLICIES))
def test_of_the_same_memory_under_pressure_nobody_gets_more_than_ideal(profile, seed):
    rng = random.Random(f"pressed {seed}")
    memory = machine(profile, none)
    put_under_pressure(memory, Pressure(swap_slots=4000))
    more = 0
    for _ in range(3):
        press(memory, rng, 500)
        for order in (2, 5, 9, 10):
            for request in (0, 2):
                got, best = (blocks_at_once(memory, p, order, request) for p in (none, ideal))
                assert best >= got, (order, request)
                more += best - got
    assert more > 0
    assert memory.vmstat()["pgsteal_kswapd"] > 0
