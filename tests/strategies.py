"""Random small machines and request streams, the same for the same seed.

Plain ``random.Random``: a stream is named by its seed and can be cut at any step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from backend import C, M, MachineSpec, R, Request, U, ZoneSpec

from memsim import mm

DMA, DMA32, NORMAL, MOVABLE = range(4)
LAYOUTS = (  # (nid, zone index) by ascending pfn
    ((0, NORMAL),),
    ((0, DMA32),),
    ((0, DMA32), (0, NORMAL)),
    ((0, NORMAL), (0, MOVABLE)),
    ((0, DMA32), (0, NORMAL), (0, MOVABLE)),
    ((0, NORMAL), (1, NORMAL)),
    ((0, DMA32), (0, NORMAL), (1, NORMAL)),
    ((0, DMA32), (0, NORMAL), (1, NORMAL), (1, MOVABLE)),
)
ORDERS = (0,) * 30 + (1,) * 8 + (2,) * 5 + (3,) * 6 + (4, 4, 5, 6, 7, 8, 10) + (9,) * 4
GFP = (  # (weight, attributes)
    (8, {"direct_reclaim": True, "kswapd": True}),
    (4, {"kswapd": True}),
    (5, {"kswapd": True, "high": True, "atomic": True}),
    (1, {"direct_reclaim": True, "kswapd": True, "high": True}),
    (1, {"nomemalloc": True}),
    (1, {"high": True, "nomemalloc": True, "kswapd": True}),
    (1, {"memalloc": True, "kswapd": True}),
    (1, {"memalloc": True, "direct_reclaim": True}),
    (1, {"memalloc": True, "nomemalloc": True}),
)
Step = tuple[str, int, object]
"""("alloc", cpu, Request), ("free", cpu, index of a live allocation) or ("drain", cpu, None)."""


def random_machine(seed: int) -> MachineSpec:
    """One or two nodes, zones of 1024 to 8192 pages, tiny per-CPU lists and low watermarks."""
    rng = random.Random(f"machine {seed}")
    layout = rng.choice(LAYOUTS)
    pageblocks: dict[int, int] = {}
    zones: list[ZoneSpec] = []
    end = 0
    for nid, index in layout:
        # Zones may start and end inside a pageblock, but share no 4 MiB.
        start = -(-end // 1024) * 1024 + rng.choice((0, 0, 0, 37, 300, 511))
        end = -(-start // 512) * 512
        end += 512 * rng.choice((2, 2, 3, 4, 6, 9, 16)) + rng.choice((0, 0, 0, 37, 300, 511))
        zones.append(_zone(rng, start, end, nid, index, pageblocks))
    nodes = sorted({zone.nid for zone in zones})
    return MachineSpec(
        zones=tuple(zones),
        cpu_nid=tuple(rng.choice(nodes) for _ in range(rng.randint(1, 3))),
        zonelists={nid: zonelist(zones, nid) for nid in nodes},
        pageblocks=pageblocks,
        grouping=rng.random() < 0.85,
        cma=True,
        watermark_boost_factor=rng.choice((15000, 15000, 0)),
    )


def _zone(rng, start, end, nid, index, pageblocks):
    pages = end - start
    if rng.random() < 0.5:
        last = (end >> mm.PAGEBLOCK_ORDER) - 1  # the last pageblock that is all in the zone
        for block in range(last - rng.randint(0, 2), last + 1):
            if block * mm.PAGEBLOCK_NR_PAGES >= start:
                pageblocks[block] = C
    low = rng.choice((0, pages // 64, pages // 16))
    batch = rng.choice((1, 1, 3, 7, 31))
    return ZoneSpec(
        start=start,
        end=end,
        free=tuple(maximal_blocks(start, end, lambda pfn: pageblocks.get(pfn >> 9, M))),
        nid=nid,
        index=index,
        wmark=(low * 4 // 5, low, low + low // 5 + rng.randint(0, 300)),
        lowmem_reserve=tuple(rng.choice((0, pages // 50)) * (j > index) for j in range(5)),
        pcp_high=rng.choice((0, batch, 2 * batch, 4 * batch, pages // 20 + 4 * batch)),
        pcp_batch=batch,
        stat_threshold=rng.choice((0, 2, 6, 125)),
    )


def zonelist(zones: list[ZoneSpec], nid: int) -> tuple[int, ...]:
    def place(z: int) -> tuple[bool, int, int]:
        return zones[z].nid != nid, zones[z].nid, -zones[z].index

    return tuple(sorted(range(len(zones)), key=place))


def maximal_blocks(
    start: int, end: int, type_of: Callable[[int], int]
) -> Iterator[tuple[int, int, int]]:
    """Cut a free range of Movable and CMA pageblocks into blocks that cannot merge further."""
    while start < end:
        order = mm.MAX_PAGE_ORDER
        while (
            start % (1 << order)
            or start + (1 << order) > end
            or len({type_of(pfn) for pfn in range(start, start + (1 << order), 512)}) > 1
        ):
            order -= 1
        yield start, order, type_of(start)
        start += 1 << order


def random_stream(seed: int, spec: MachineSpec, steps: int) -> Iterator[Step]:
    """Phases that fill, empty and churn; a free names a live allocation by ``index % live``."""
    rng = random.Random(f"stream {seed}")
    cpus = len(spec.cpu_nid)
    while steps > 0:
        share, mood = rng.choice((0.97, 0.97, 0.7, 0.5, 0.15)), _mood(rng, spec)
        for _ in range(min(steps, rng.randint(20, 150))):
            steps -= 1
            cpu = rng.randrange(cpus)
            dice = rng.random()
            if dice < 0.003:
                yield "drain", cpu, None
            elif dice < share:
                yield "alloc", cpu, _request(rng, spec, cpu, mood)
            else:
                yield "free", cpu, rng.randrange(1 << 30)


def _mood(rng, spec):
    """What the requests of one phase have in common, so that lists run dry one at a time."""
    return {
        "types": rng.choice(((U, M, R), (M,), (U,), (R, U), (M, M, M, U))),
        "orders": rng.choice((ORDERS, ORDERS, (0,), (0, 0, 0, 1, 2, 3), (9, 9, 8, 0), (4, 6, 3))),
        "lru": rng.choice((0.0, 0.5, 1.0)),
    }


def _request(rng: random.Random, spec: MachineSpec, cpu: int, mood) -> Request:
    mt = rng.choice(mood["types"])
    (_, attributes) = rng.choices(GFP, [weight for weight, _ in GFP])[0]
    nodes = sorted(spec.zonelists)
    top = min(zone.index for zone in spec.zones)
    highest = MOVABLE if mt == M and rng.random() < 0.8 else rng.choice((NORMAL, NORMAL, DMA32))
    request = Request(
        order=rng.choice(mood["orders"]),
        migratetype=mt,
        highest_zoneidx=max(highest, top),
        nid=spec.cpu_nid[cpu] if rng.random() < 0.7 else rng.choice(nodes),
        lru=mt == M and rng.random() < mood["lru"],
        cma=rng.random() < 0.9,
        **attributes,
    )
    dice = rng.random()
    if dice < 0.05:
        return replace(request, thisnode=True)
    if dice < 0.15:
        return replace(request, nodemask=frozenset({rng.choice(nodes)}))
    return request
