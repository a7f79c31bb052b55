"""How a plan to unplug memory is written: markdown for people, JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from memsim.explain.capture import CaptureAnswer
from memsim.explain.capture_text import as_data, as_lines
from memsim.explain.removal_text import block_table, change_lines, group_line
from memsim.explain.removals import BlockView
from memsim.explain.unplug import UnplugPlan, summary
from memsim.units import format_bytes

MOST_GROUPS = 3


def as_json(plan: UnplugPlan | None, seen: CaptureAnswer | None = None) -> str:
    """Write everything as one JSON object; times in ns, sizes in bytes, obstacles in pages.

    ``seen`` is what copies of /proc say of the machine: beside a plan it is ``start``.
    """
    if plan is None:
        return json.dumps({} if seen is None else as_data(seen), indent=2)
    data = asdict(plan)
    for block, view in zip(data["blocks"], plan.blocks, strict=True):
        block["row"] = view.row._asdict()
    data |= {"removed_bytes": plan.removed_bytes, "took_model_ns": plan.took_ns}
    if seen is not None:
        data["start"] = as_data(seen)
    return json.dumps(data, indent=2)


def as_markdown(plan: UnplugPlan | None, seen: CaptureAnswer | None = None) -> str:
    """Write what is seen in copies of /proc, and what can go in the simulation."""
    lines = [] if seen is None else as_lines(seen)
    if plan is not None:
        lines += ["", *_plan_lines(plan)] if lines else _plan_lines(plan)
    return "\n".join(lines)


def _plan_lines(plan: UnplugPlan) -> list[str]:
    """Write how much can go, the blocks in their order, what stands in the way, what would help."""
    counts = ", ".join(
        f"{n} {what}" for what, n in summary(view.row for view in plan.blocks).items()
    )
    lines = [
        f"# {format_bytes(plan.removed_bytes)} of {format_bytes(plan.wanted_bytes)} can go: "
        f"{plan.trial}",
        "",
        f"At {plan.at_ns / 1e9:.3f} s, in blocks of {format_bytes(plan.block_bytes)}, the easiest "
        f"first; all attempts took {plan.took_ns / 1e6:,.1f} ms of simulated time. Blocks: "
        f"{counts or 'none'}.",
        "",
        *block_table(plan.blocks),
    ]
    stayed = [view for view in plan.blocks if view.groups]
    if stayed:
        lines += ["", "## What stands in the way", ""]
        lines += [f"- block {view.row.block}: {_most(view)}" for view in stayed]
    if plan.removed_bytes < plan.wanted_bytes:
        lines += ["", "## What would help", "", *change_lines(plan.changes)]
    return lines


def _most(view: BlockView) -> str:
    shown = "; ".join(group_line(group) for group in view.groups[:MOST_GROUPS])
    rest = sum(group.pages for group in view.groups[MOST_GROUPS:])
    return f"{shown}; {rest:,} others" if rest else shown
