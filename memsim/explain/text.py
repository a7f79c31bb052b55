"""How an explanation is written: markdown for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from memsim.explain import Explanation
from memsim.explain.areas import Areas
from memsim.mm import PAGE_SIZE, WhyNot
from memsim.units import format_bytes, format_duration

WHY = {
    WhyNot.NONE: "No reason was recorded.",
    WhyNot.NO_MEMORY: "Lack of memory: not even single pages could be had, all zones were below "
    "their mark.",
    WhyNot.FRAGMENTATION: "Fragmentation: enough memory was free, but no free block was large "
    "enough.",
    WhyNot.WATERMARK: "The watermark: a block was large enough, but taking it would have left the "
    "zone below its mark.",
    WhyNot.DEFERRED: "Fragmentation, and compaction was put off after earlier failures.",
    WhyNot.NOT_SIMULATED: "The request would have gone on to reclaim, which was switched off.",
}
IN_THE_WAY = {
    "kernel": "of the kernel",
    "pinned": "pinned",
    "slab": "of reclaimable slab",
    "reserved": "reserved at boot",
}


def as_json(found: Explanation) -> str:
    """Write everything as one JSON object; times in ns, sizes in pages."""
    data = asdict(found)
    data["why"] = found.why.name.lower()
    data["steps"] = [step._asdict() for step in found.steps]
    data["would_have_helped"] = list(would_have_helped(found))
    return json.dumps(data, indent=2)


def as_markdown(found: Explanation) -> str:
    """Write what was asked for, what was there, what was tried, why it failed, what would help."""
    size = format_bytes(PAGE_SIZE << found.order)
    lines = [
        f"# Failed attempt {found.number}: {found.trial}",
        "",
        f"{found.workload} asked for {size} (order {found.order}) with {found.gfp} on CPU "
        f"{found.cpu} at {format_duration(found.time_ns)}.",
        "",
        "## What it found",
        "",
        *_zone_table(found),
        "",
        *_block_table(found),
        "",
        "## What was tried",
        "",
        *([f"{i}. {s.name}: {s.outcome}" for i, s in enumerate(found.steps, 1)] or ["Nothing."]),
        "",
        "## Why it failed",
        "",
        f"{WHY[found.why]} The fragmentation index of the preferred zone was "
        f"{found.extfrag / 1000:.3f}.",
        "",
        "## What would have helped",
        "",
        *(f"- {sentence}" for sentence in would_have_helped(found)),
    ]
    return "\n".join(lines)


def _zone_table(found: Explanation) -> Iterator[str]:
    yield "| zone | free pages | on per-CPU lists | min | low | high | reserve | index |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for zone in found.zones:
        numbers = (zone.free, zone.pcp, *zone.watermark, zone.reserve)
        cells = [zone.name, *(f"{n:,}" for n in numbers), f"{zone.fragmentation_index / 1000:.3f}"]
        yield f"| {' | '.join(cells)} |"


def _block_table(found: Explanation) -> Iterator[str]:
    orders = range(max((len(zone.free_blocks) for zone in found.zones), default=0))
    yield f"| free blocks of order | {' | '.join(map(str, orders))} |"
    yield f"| --- |{' --: |' * len(orders)}"
    for zone in found.zones:
        yield f"| {zone.name} | {' | '.join(f'{n:,}' for n in zone.free_blocks)} |"


def would_have_helped(found: Explanation) -> Iterator[str]:
    """Yield what each zone would have needed, a sentence each."""
    for zone, areas in zip(found.zones, found.areas, strict=True):
        if zone.short_of:
            yield f"{zone.name}: {zone.short_of:,} more free pages, to be above the min mark."
        elif sum(zone.free_blocks[found.order :]):
            yield f"{zone.name}: a lower mark: a free block is large enough."
        yield f"{zone.name}: {_of_areas(areas, found.order)}"
        if zone.deferred:
            yield f"{zone.name}: compaction, which is put off for {zone.deferred} more attempts."


def _of_areas(areas: Areas, order: int) -> str:
    size = format_bytes(PAGE_SIZE << order)
    of = f"{areas.total:,} aligned areas of {size}"
    if areas.best is None:
        return f"nothing: it is smaller than {size}."
    if areas.fewest_to_move is not None:
        pages = "page" if areas.fewest_to_move == 1 else "pages"
        return (
            f"compaction: {areas.movable:,} of {of} hold nothing that cannot be moved; the best "
            f"({areas.best:#x}) has {areas.fewest_to_move:,} {pages} to move."
        )
    kinds = ", ".join(f"{n:,} {IN_THE_WAY[k]}" for k, n in areas.in_the_way.items())
    return (
        f"grouping: each of {of} holds pages that cannot be moved; the fewest are in "
        f"{areas.best:#x}: {kinds}."
    )
