"""Random small machines of 2005 and request streams, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from backend_2005 import (
    DMA,
    DMA32,
    EASYRCLM,
    HIGHMEM,
    NORMAL,
    POLICIES,
    Machine2005,
    Request2005,
    Zone2005,
)
from strategies import ORDERS, zonelist

from memsim.mm import MAX_NR_ZONES, Status

LAYOUTS = (  # (nid, zone index) by ascending pfn
    ((0, NORMAL),),
    ((0, DMA),),
    ((0, DMA), (0, NORMAL)),
    ((0, NORMAL), (0, HIGHMEM)),
    ((0, DMA), (0, NORMAL), (0, HIGHMEM)),
    ((0, DMA), (0, DMA32), (0, NORMAL)),
    ((0, NORMAL), (0, HIGHMEM), (0, EASYRCLM)),
    ((0, NORMAL), (1, NORMAL)),
    ((0, NORMAL), (0, HIGHMEM), (1, HIGHMEM)),
)
PER_CPU = (  # (batch, low, high, cold high, cold batch): linux-2.6.14 4.2
    (1, 0, 0, 0, 1),
    (1, 2, 6, 2, 1),
    (3, 6, 18, 6, 3),
    (7, 14, 42, 14, 7),
    (7, 0, 42, 14, 3),
    (31, 62, 186, 62, 31),
    (63, 0, 378, 126, 31),
    (0, 0, 0, 0, 0),
)
FLAGS = (  # (weight, attributes)
    (10, {"wait": True}),
    (3, {}),
    (4, {"high": True}),
    (1, {"wait": True, "high": True}),
    (1, {"memalloc": True}),
    (1, {"memalloc": True, "wait": True}),
    (1, {"memalloc": True, "wait": True, "nomemalloc": True}),
)
Step = tuple[str, int, object]
"""("alloc", cpu, Request2005), ("free", cpu, (index of a live allocation, cold)) or
("drain", cpu, None)."""


def random_machine(seed: int) -> Machine2005:
    """One or two nodes, small zones that have booted with a few pages reserved."""
    rng = random.Random(f"machine of 2005, {seed}")
    policy = POLICIES[seed % len(POLICIES)]
    top = 12 if rng.random() < 0.25 else 10
    zones: list[Zone2005] = []
    end = 0
    for nid, index in rng.choice(LAYOUTS):
        start = end + (rng.choice((0, 0, 1)) << top)
        end = start + (rng.choice((1, 1, 2, 3, 5) if top == 10 else (1, 1, 2)) << top)
        zones.append(_zone(rng, start, end, nid, index))
    nodes = sorted({zone.nid for zone in zones})
    return Machine2005(
        zones=tuple(zones),
        policy=policy,
        cpu_nid=tuple(rng.choice(nodes) for _ in range(rng.randint(1, 2))),
        zonelists={nid: zonelist(zones, nid) for nid in nodes},
        max_page_order=top,
        word_order=rng.choice((5, 6)),
    )


def _zone(rng, start, end, nid, index):
    pages = end - start
    low = rng.choice((0, 0, pages // 64, pages // 16))
    batch, hot_low, high, cold_high, cold_batch = rng.choice(PER_CPU)
    reserved = [(p, p + rng.randint(1, 70)) for p in rng.sample(range(start, end - 70), 3)]
    if rng.random() < 0.3:
        reserved.append((end - rng.randint(1, 200), end))
    return Zone2005(
        start=start,
        end=end,
        reserved=tuple(reserved[: rng.randint(0, len(reserved))]),
        nid=nid,
        index=index,
        wmark=(low * 4 // 5, low, low * 6 // 5),
        lowmem_reserve=tuple(
            rng.choice((0, pages // 50)) * (j > index) for j in range(MAX_NR_ZONES)
        ),
        batch=batch,
        low=hot_low,
        high=high,
        cold_high=cold_high,
        cold_batch=cold_batch,
    )


def random_stream(seed: int, spec: Machine2005, steps: int) -> Iterator[Step]:
    """Phases that fill, empty and churn; a free names a live allocation by ``index % live``."""
    rng = random.Random(f"stream of 2005, {seed}")
    cpus = len(spec.cpu_nid)
    while steps > 0:
        share, mood = rng.choice((0.97, 0.97, 0.97, 0.6, 0.45, 0.1)), _mood(rng)
        for _ in range(min(steps, rng.randint(20, 150))):
            steps -= 1
            cpu = rng.randrange(cpus)
            dice = rng.random()
            if dice < 0.002:
                yield "drain", cpu, None
            elif dice < share:
                yield "alloc", cpu, _request(rng, spec, cpu, mood)
            else:
                yield "free", cpu, (rng.randrange(1 << 30), rng.random() < 0.2)


def _mood(rng):
    """What the requests of one phase have in common, so that lists run dry one at a time."""
    every = ("kernel", "user", "reclaimable")
    return {
        "kinds": rng.choice((every, ("user",), ("kernel",), ("reclaimable", "kernel"), every[:2])),
        "orders": rng.choice((ORDERS, ORDERS, (0,), (0, 0, 1, 2, 3), (9, 8, 6, 0), (7, 5, 4, 3))),
        "cold": rng.choice((0.0, 0.2, 0.8)),
    }


def _request(rng: random.Random, spec: Machine2005, cpu: int, mood) -> Request2005:
    kind = rng.choice(mood["kinds"])
    nodes = sorted(spec.zonelists)
    (_, attributes) = rng.choices(FLAGS, [weight for weight, _ in FLAGS])[0]
    zones = ("highmem",) * 6 if kind == "user" else ("normal",) * 5 + ("highmem",)
    order = rng.choice(mood["orders"])
    if rng.random() < 0.01:
        order = rng.choice((spec.max_page_order, spec.max_page_order + 1))
    request = Request2005(
        order=order,
        kind=kind,
        zone=rng.choice((*zones, "dma", "dma32")) if rng.random() < 0.2 else zones[0],
        cold=rng.random() < mood["cold"],
        nid=spec.cpu_nid[cpu] if rng.random() < 0.7 else rng.choice(nodes),
        **attributes,
    )
    dice = rng.random()
    if dice < 0.05:
        return replace(request, thisnode=True)
    if dice < 0.12:
        return replace(request, nodemask=frozenset({rng.choice(nodes)}))
    return request


def play(seed, machines, stream, after_step):
    """Run one stream on all machines; the first one's answers decide what is live."""
    live, order_of = [], {}
    for step, (kind, cpu, what) in enumerate(stream):
        if kind == "alloc":
            answers = [machine.alloc(cpu, what) for machine in machines]
            assert answers == answers[:1] * len(machines), (seed, step, what)
            status, pfn = answers[0]
            if status == Status.OK:
                live.append(pfn)
                order_of[pfn] = what.order
        elif kind == "drain":
            for machine in machines:
                machine.drain_all(cpu)
        elif live:
            index, cold = what
            pfn = live.pop(index % len(live))
            order = order_of.pop(pfn)
            for machine in machines:
                machine.free(cpu, pfn, order, cold)
        after_step(step, order_of)
