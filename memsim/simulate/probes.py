"""Attempts to get blocks, as events of a scenario make them, and their tally."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import (
    ALLOC_FLAGS,
    GFP_COMPOSITES,
    MAX_PAGE_ORDER,
    OP_FREE,
    OP_SERIES,
    Gfp,
    Status,
    Use,
    WhyNot,
    gfp_from_text,
)
from memsim.scenario.event import Event
from memsim.schema import AllocBatch, Outcome, Pace, Probes, Request, Stream, TrialRecord
from memsim.simulate.interleave import Interleaved
from memsim.units import format_duration

REASONS = tuple(WhyNot)[1:]
"""Why an attempt does not succeed."""
BATCH_EVENTS = 1 << 16
"""About so many events of a probe are planned at a time."""
_KNOWN = (
    Gfp.DMA, Gfp.HIGHMEM, Gfp.DMA32, Gfp.HIGH, Gfp.ATOMIC, Gfp.IO, Gfp.FS, Gfp.NOWARN,
    Gfp.RETRY_MAYFAIL, Gfp.NOFAIL, Gfp.NORETRY, Gfp.COMP, Gfp.ZERO, Gfp.NOMEMALLOC,
    Gfp.MEMALLOC, Gfp.HARDWALL, Gfp.THISNODE, Gfp.RECLAIMABLE, Gfp.MOVABLE, Gfp.ACCOUNT,
    Gfp.WRITE,
)  # fmt: skip
PRINTED = (*_KNOWN, *(flag for flag in Gfp if flag not in _KNOWN))
"""Flags in the order in which traces print them, as recorded ones show."""


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
    """Attempts by REASONS."""
    extfrag_index: int
    """Of those that failed by fragmentation the mean index, in thousandths, truncated; else 0."""


def event_streams(
    events: tuple[Event, ...], duration_ns: int, cpus: Mapping[int, tuple[int, ...]], memory: int
) -> tuple[list[str], list[Stream]]:
    """Plan the attempts of events; return the names of their phases and a stream for each.

    ``memory`` is the machine's MemTotal in bytes.
    """
    names: list[str] = []
    streams: list[Stream] = []
    for event in events:
        cpu = _asking_cpu(event, cpus)
        if event.do == "probe":
            names.append(_numbered(timed(event), names))
            streams.append(_probe(event, event.times(duration_ns), cpu))
        elif event.do == "high_alloc":
            name = event.name or timed(event)
            for number in range(event.passes):
                phase = name if event.passes == 1 else f"{name} pass {number + 1}"
                names.append(_numbered(phase, names))
                streams.append(_pass(event, number, cpu, memory, Pace(1, group=names[-1 - number])))
    return names, streams


def timed(event: Event) -> str:
    """Call an event by what it does and when."""
    if event.at is None and event.every is not None:
        return f"{event.do} every {format_duration(event.every)}"
    return f"{event.do} at {format_duration(event.at or 0)}"


def _numbered(name: str, others: list[str]) -> str:
    """Tell a name from those before it that are alike."""
    same = sum(other.partition(" #")[0] == name for other in others)
    return f"{name} #{same + 1}" if same else name


def _asking_cpu(event: Event, cpus: Mapping[int, tuple[int, ...]]) -> int:
    """Choose the first CPU of the event's node, or the machine's first if there is none."""
    near = cpus.get(event.node, ()) if event.node is not None else ()
    return min(near or (cpu for some in cpus.values() for cpu in some))


def _request(event: Event) -> Request:
    """Return the request of an event's attempts; nothing of it is on an LRU list."""
    gfp = gfp_from_text(event.gfp)
    movable = bool(gfp & (Gfp.MOVABLE | Gfp.EASYRCLM))
    return Request(gfp, Use.ANON if movable else Use.KERNEL, preferred=event.node)


def _probe(event: Event, times: range, cpu: int) -> Stream:
    """Plan a probe: at each instant, order by order, all attempts; then give them back."""
    per_instant = len(event.orders) * event.tries(0, 0)
    return Stream(
        requests=(_request(event),),
        handles=per_instant * (len(times) if event.hold else 1),
        batches=_instants(event, times, cpu),
        observe=True,
    )


def _pass(event: Event, number: int, cpu: int, memory: int, pace: Pace) -> Stream:
    """Plan a pass of the high-order test: attempts one by one, then all that was got is freed."""
    orders = np.concatenate(
        [np.full(event.tries(order, memory), order, np.uint8) for order in event.orders]
    )
    count = len(orders)
    begin = (event.at or 0) + number * event.pass_ns(memory)
    time = np.append(begin + np.arange(count) * event.spacing, np.full(count, 0))
    time[count:] = begin + event.pass_ns(memory)
    handle = np.tile(np.arange(count, dtype=np.int32), 2)
    batch = AllocBatch(
        time.astype(np.int64),
        np.concatenate([orders, orders | np.uint8(OP_FREE)]),
        np.zeros(2 * count, np.uint16),
        np.full(2 * count, cpu, np.uint16),
        handle,
    )
    return Stream((_request(event),), count, (batch,), observe=True, pace=pace)


def _instants(event: Event, times: range, cpu: int) -> Iterator[AllocBatch]:
    attempts = event.tries(0, 0)
    parts = (1,) if event.hold else (1, 2)
    op = np.concatenate(
        [
            np.full(attempts, order | (OP_FREE if part == 2 else 0), np.uint8)
            for order in event.orders
            for part in parts
        ]
    )
    if event.until_failure:
        later = np.arange(len(op)) % (len(parts) * attempts)
        op[(later > 0) & (later < attempts)] |= OP_SERIES
    first = np.arange(len(event.orders) * attempts, dtype=np.int32)
    handle = np.tile(first.reshape(-1, 1, attempts), (1, len(parts), 1)).reshape(-1)
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
    kind = kind.reshape(-1)
    succeeded = np.bincount(kind[probes.status == Status.OK], minlength=len(kinds))
    by_reason = np.zeros((len(kinds), len(WhyNot)), np.int64)
    np.add.at(by_reason, (kind, probes.why), 1)
    fragmented = probes.why == WhyNot.FRAGMENTATION
    indices = np.zeros(len(kinds), np.int64)
    np.add.at(indices, kind[fragmented], probes.extfrag[fragmented])
    extfrag = indices // np.maximum(by_reason[:, WhyNot.FRAGMENTATION], 1)
    gfp_texts = [gfp_text(request.gfp) for request in record.probe_requests]
    rows = []
    for (phase, time, order, zone, request), got, counts, index in zip(
        kinds.tolist(), succeeded.tolist(), by_reason.tolist(), extfrag.tolist(), strict=True
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
                succeeded=got,
                why_not=tuple(counts[why] for why in REASONS),
                extfrag_index=index,
            )
        )
    return rows


def probes_of(
    observed: Sequence[tuple[Interleaved, Outcome]],
    counts: NDArray[np.int64],
    is_observed: NDArray[np.bool_],
    zone_of: NDArray[np.uint8],
) -> Probes:
    """Put together what became of the observed attempts that were made, in their order.

    ``counts`` are the requests of each stream; ``zone_of`` is that of layout.Mem.
    """
    empty, byte = np.zeros(0, np.int64), np.zeros(0, np.uint8)
    if not observed:
        return Probes(empty, empty, empty, empty, empty, byte, byte, np.zeros(0, np.int16))
    asked = [(e.stream, e.batch.op, e.batch.request, e.batch.time) for e, _ in observed]
    stream, op, request, time = map(np.concatenate, zip(*asked, strict=True))
    outcomes = zip(*(outcome for _, outcome in observed), strict=True)
    outcome = Outcome(*map(np.concatenate, outcomes))
    made = np.flatnonzero(outcome.status != Status.SKIPPED)
    stream, op, request, time = (column[made] for column in (stream, op, request, time))
    pfn, status, why, extfrag = outcome.take(made)
    rows = np.cumsum([0, *(counts * is_observed)])[:-1]
    phases = np.cumsum([0, *is_observed])[:-1]
    zones = zone_of.astype(np.int64)
    return Probes(
        time=time,
        order=op.astype(np.int64) & ~ALLOC_FLAGS,
        request=rows[stream] + request,
        phase=phases[stream],
        zone=np.where(pfn >= 0, zones[np.maximum(pfn, 0) >> MAX_PAGE_ORDER], -1),
        status=status,
        why=why,
        extfrag=extfrag,
    )


def gfp_text(gfp: Gfp) -> str:
    """Write flags as the kernel does: the largest composite that they hold, then the others."""
    inside = [name for name, mask in GFP_COMPOSITES.items() if mask & ~gfp == 0 and mask]
    best = max(inside, key=lambda name: GFP_COMPOSITES[name].bit_count(), default="")
    rest = gfp & ~GFP_COMPOSITES[best] if best else gfp
    names = [best] if best else []
    names += [f"__GFP_{flag.name}" for flag in PRINTED if flag & rest]
    return "|".join(names) or "none"
