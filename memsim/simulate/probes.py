"""Attempts to get blocks, as events of a scenario make them, and their tally."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from memsim.mm import GFP_COMPOSITES, OP_FREE, Gfp, Status, Use, gfp_from_text
from memsim.scenario import Event
from memsim.schema import AllocBatch, Probes, Request, Stream, TrialRecord
from memsim.units import format_duration

FAILURES = (Status.NOPAGE, Status.NEEDS_RECLAIM)
"""What may become of an attempt that does not succeed."""
BATCH_EVENTS = 1 << 16
"""About so many events of a probe are planned at a time."""


class ProbeTally(NamedTuple):
    """Attempts that are alike in all that a row of high_order.csv says."""

    phase: str
    time_ns: int
    zone: str
    """``node0 Normal``: the zone that served them; empty if none did."""
    order: int
    gfp: str
    attempted: int
    succeeded: int
    why_not: tuple[int, ...]
    """Attempts by FAILURES."""


def event_names(events: tuple[Event, ...]) -> list[str]:
    """Name events by what they do and when; those alike are numbered."""
    names: list[str] = []
    for event in events:
        when = f"at {format_duration(event.at)}" if event.at is not None else ""
        if event.every is not None:
            when = f"every {format_duration(event.every)}"
        name = f"{event.do} {when}"
        same = sum(other.partition(" #")[0] == name for other in names)
        names.append(f"{name} #{same + 1}" if same else name)
    return names


def probe_stream(event: Event, duration_ns: int, cpus: Mapping[int, tuple[int, ...]]) -> Stream:
    """Plan a probe event: at each instant, order by order, all attempts; then give them back.

    The first CPU of ``node`` asks, or the machine's first CPU if there is none.
    """
    near = cpus.get(event.node, ()) if event.node is not None else ()
    cpu = min(near or (cpu for some in cpus.values() for cpu in some))
    gfp = gfp_from_text(event.gfp)
    movable = bool(gfp & Gfp.MOVABLE)
    use = Use.ANON if movable else Use.KERNEL
    per_instant = len(event.orders) * event.attempts
    times = event.times(duration_ns)
    return Stream(
        requests=(Request(gfp, use, preferred=event.node, lru=movable),),
        handles=per_instant * (len(times) if event.hold else 1),
        batches=_instants(event, times, cpu),
        observe=True,
    )


def _instants(event: Event, times: range, cpu: int) -> Iterator[AllocBatch]:
    parts = (1,) if event.hold else (1, 2)
    op = np.concatenate(
        [
            np.full(event.attempts, order | (OP_FREE if part == 2 else 0), np.uint8)
            for order in event.orders
            for part in parts
        ]
    )
    first = np.arange(len(event.orders) * event.attempts, dtype=np.int32)
    handle = np.tile(first.reshape(-1, 1, event.attempts), (1, len(parts), 1)).reshape(-1)
    at_once = max(BATCH_EVENTS // len(op), 1)
    for begin in range(0, len(times), at_once):
        some = np.array(times[begin : begin + at_once], np.int64)
        n = len(some) * len(op)
        instant = np.arange(begin, begin + len(some), dtype=np.int32)[:, None]
        held = instant * len(first) if event.hold else np.zeros_like(instant)
        yield AllocBatch(
            np.repeat(some, len(op)),
            np.tile(op, len(some)),
            np.zeros(n, np.uint16),
            np.full(n, cpu, np.uint16),
            (held + handle).reshape(-1),
        )


def tally(record: TrialRecord) -> list[ProbeTally]:
    """Count the attempts of a trial by phase, time, order, zone and request, in this order."""
    probes = record.probes
    if not len(probes.time):
        return []
    columns = [probes.phase, probes.time, probes.order, probes.zone, probes.request]
    kinds, kind = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    by_status = np.zeros((len(kinds), len(Status)), np.int64)
    np.add.at(by_status, (kind.reshape(-1), probes.status), 1)
    gfp_texts = [gfp_text(request.gfp) for request in record.probe_requests]
    rows = []
    for (phase, time, order, zone, request), counts in zip(
        kinds.tolist(), by_status.tolist(), strict=True
    ):
        served = record.zones[zone] if zone >= 0 else None
        rows.append(
            ProbeTally(
                phase=record.probe_phases[phase],
                time_ns=time,
                zone=f"node{served.node} {served.name}" if served else "",
                order=order,
                gfp=gfp_texts[request],
                attempted=sum(counts),
                succeeded=counts[Status.OK],
                why_not=tuple(counts[status] for status in FAILURES),
            )
        )
    return rows


def no_probes() -> Probes:
    """Return a table of attempts without rows."""
    empty = np.zeros(0, np.int64)
    return Probes(empty, empty, empty, empty, empty, np.zeros(0, np.uint8))


def gfp_text(gfp: Gfp) -> str:
    """Write flags by name: the largest composite that they hold, then the others one by one."""
    inside = [name for name, mask in GFP_COMPOSITES.items() if mask & ~gfp == 0 and mask]
    best = max(inside, key=lambda name: GFP_COMPOSITES[name].bit_count(), default="")
    rest = gfp & ~GFP_COMPOSITES[best] if best else gfp
    names = [best] if best else []
    names += [f"__GFP_{flag.name}" for flag in Gfp if flag.name != "RECLAIM" and flag & rest]
    return "|".join(names) or "none"
