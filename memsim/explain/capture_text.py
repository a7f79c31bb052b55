"""How an answer from a folder of copies is written: markdown for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from memsim.explain.capture import CaptureAnswer
from memsim.snapshot.scan import BlockScan
from memsim.units import format_bytes

LIMITS = (
    "Pins and reference counts are in no file: a block in which no obstacle is seen goes unless "
    "one of its users' pages is pinned. Pages of unknown kind have no flag: they wait on per-CPU "
    "lists, and so are free, or are the kernel's. Pages marked as accessed may be pinned: whoever "
    "pins a page marks it, but others do, too."
)


def as_data(answer: CaptureAnswer) -> dict[str, object]:
    """Return everything as plain data; sizes in bytes, counts in pages."""
    data = asdict(answer)
    for block, scan in zip(data["blocks"], answer.blocks, strict=True):
        block["zone"] = scan.zone
        del block["span"]
        if answer.pin_rate is not None:
            block["goes_ratio"] = scan.chance(answer.pin_rate)
    return {**data, "open_bytes": answer.open_bytes}


def as_lines(answer: CaptureAnswer) -> list[str]:
    """Write a line for each block, what stands in the way, and what cannot be seen."""
    seen = sum(scan.answer == "no obstacle seen" for scan in answer.blocks)
    unknown = sum(scan.answer == "unknown" for scan in answer.blocks)
    lines = [
        f"# No obstacle seen in {format_bytes(answer.open_bytes)} of "
        f"{format_bytes(answer.wanted_bytes)}: {answer.source}",
        "",
        f"{answer.asked}: no obstacle seen in {seen}, {unknown} unknown, "
        f"{len(answer.blocks) - seen - unknown} stay, of {len(answer.blocks)} memory blocks of "
        f"{format_bytes(answer.block_bytes)}; the easiest first. {LIMITS}",
        "",
        *_pins(answer),
        *_table(answer),
        *_obstacles(answer),
    ]
    for title, sentences in (
        ("Not readable", answer.missing),
        ("Files that contradict each other", answer.differences),
    ):
        if sentences:
            lines += ["", f"## {title}", "", *(f"- {sentence}" for sentence in sentences)]
    return lines


def _pins(answer: CaptureAnswer) -> Iterator[str]:
    if answer.pins:
        held = ", ".join(f"{pages:,} on node {node}" for node, pages in answer.pins)
        yield f"Pins held by vfio, io_uring, RDMA and the like: {held}; vmsplice's are not counted."
        yield ""


def _table(answer: CaptureAnswer) -> Iterator[str]:
    titles = ["block", "zone", "goes", "why not", "to move", "free", "unknown kind", "marked"]
    if answer.pin_rate is not None:
        titles.append(f"goes if {answer.pin_rate:g} of pages are pinned")
    yield f"| {' | '.join(titles)} |"
    yield f"| --: | --- | --- | --- |{' --: |' * (len(titles) - 4)}"
    for scan in answer.blocks:
        counts = (scan.to_move, scan.free, scan.unknown, scan.marked)
        shown = [""] * 4 if scan.answer == "unknown" else [f"{n:,}" for n in counts]
        cells = [str(scan.number), scan.zone, scan.answer, scan.why, *shown]
        if answer.pin_rate is not None:
            chance = scan.chance(answer.pin_rate)
            cells.append("" if chance is None else f"{100 * chance:.1f} %")
        yield f"| {' | '.join(cells)} |"


def _obstacles(answer: CaptureAnswer) -> Iterator[str]:
    stay = [scan for scan in answer.blocks if scan.obstacles]
    if stay:
        yield from ("", "## What stands in the way", "")
    for scan in stay:
        yield f"- block {scan.number}: {'; '.join(_named(scan))}"


def _named(scan: BlockScan) -> Iterator[str]:
    for one in scan.obstacles:
        pfns = ", ".join(f"{pfn:#x}" for pfn in one.first_pfns)
        more = ", ..." if one.pages > len(one.first_pfns) else ""
        yield f"{one.pages:,} {one.kind}" + (f" (pfn {pfns}{more})" if pfns else "")
