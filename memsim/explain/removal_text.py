"""How an explanation of removals is written: markdown for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from memsim.explain.changes import Change
from memsim.explain.removals import BlockView, Group, RemovalView
from memsim.units import format_duration

MOST_GROUPS = 12


def as_json(found: RemovalView) -> str:
    """Write everything as one JSON object; times in ns, sizes in pages."""
    data = asdict(found)
    for block, view in zip(data["blocks"], found.blocks, strict=True):
        block["row"] = view.row._asdict()
    return json.dumps(data, indent=2)


def as_markdown(found: RemovalView) -> str:
    """Write what became of each block, whose pages stayed, and what would have helped."""
    gone = sum(view.row.result == "offline" for view in found.blocks)
    lines = [
        f"# {found.asked.removeprefix('--')}: {found.trial}",
        "",
        f"{gone} of {len(found.blocks)} memory blocks went offline.",
        "",
        *block_table(found.blocks),
        "",
        *(line for view in found.blocks for line in _obstacles(view)),
    ]
    if gone < len(found.blocks):
        lines += ["## What would have let them through", "", *change_lines(found.changes)]
    return "\n".join(lines).rstrip()


def block_table(blocks: tuple[BlockView, ...]) -> Iterator[str]:
    """Write a row for each block."""
    yield "| block | zone | result | reason | obstacles | moved | left | tries | took |"
    yield "| --: | --- | --- | --- | --: | --: | --: | --: | --: |"
    for view in blocks:
        row = view.row
        result = row.result if not row.errno else f"{row.result} ({row.errno})"
        numbers = (row.obstacles, row.pages_moved, row.pages_left, row.tries)
        cells = [
            str(row.block),
            row.zone,
            result,
            row.reason,
            *(f"{n:,}" for n in numbers),
            format_duration(row.offline_model_ns // 1000 * 1000),
        ]
        yield f"| {' | '.join(cells)} |"


def _obstacles(view: BlockView) -> Iterator[str]:
    if not view.groups:
        return
    number = sum(group.pages for group in view.groups)
    noun = "page, an obstacle" if number == 1 else "pages, each an obstacle"
    yield f"## Block {view.row.block}: {number:,} {noun} by itself"
    yield ""
    for group in view.groups[:MOST_GROUPS]:
        yield f"- {group_line(group)}"
    rest = view.groups[MOST_GROUPS:]
    if rest:
        yield f"- {sum(group.pages for group in rest):,} others"
    yield ""


def group_line(group: Group) -> str:
    """Say how many pages stayed for which reason, whose they are and since when."""
    whose = f"{group.use} of {group.workload}" if group.workload else group.use
    pfns = ", ".join(f"{pfn:#x}" for pfn in group.first_pfns)
    more = ", ..." if group.pages > len(group.first_pfns) else ""
    first, last = group.since_ns
    since = ""
    if first >= 0:
        since = f", there since {_moment(first)}"
        since += f" to {_moment(last)}" if last != first else ""
    return f"{group.pages:,} {group.reason}: {whose}{since} (pfn {pfns}{more})"


def _moment(instant_ns: int) -> str:
    return f"{instant_ns / 1e9:.3f}s"


def change_lines(changes: tuple[Change, ...]) -> Iterator[str]:
    """Say what each change would have brought."""
    for change in changes:
        sets = " ".join(f"--set '{path}={value}'" for path, value in change.paths)
        yield f"- {change.text}: {change.removed} of {change.asked} blocks go ({sets})"
    if not changes:
        yield "Nothing that was tried."
