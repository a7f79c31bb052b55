"""Which memory blocks went when they were to be taken offline, and what kept the others."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import placed
from memsim.plots._style import outcome_color, panels, sized
from memsim.results import Run

MISSING = "no event took memory blocks offline"
HINT = "add an event: {at: 8s, do: offline, node: 1}"
WENT = "went"
MOST_WIDTH, LEAST_STEP, MOST_STEP = 900, 4, 26


def rows(run: Run) -> Any:
    """Return a row for each policy, event and block: how often it went, and what most kept it."""
    table = placed(run, run.hotplug)
    table = table[(table.result == "offline") | (table.errno != "")]
    gone = (table.result == "offline") & (table.errno == "")
    outcome = table.reason.where(~gone, WENT).replace("", "stayed")
    table = table.assign(outcome=outcome)
    keys = ["policy", "point", "event", "block"]
    groups = table.groupby(keys, sort=False)
    out = groups["outcome"].agg(lambda texts: texts.value_counts().index[0]).reset_index()
    went = groups["outcome"].agg(lambda texts: int((texts == WENT).sum()))
    return out.assign(went=went.to_numpy(), tried=groups.size().to_numpy(),
                      obstacles=groups["obstacles"].mean().to_numpy())  # fmt: skip


def chart(rows: Any) -> Any:
    """Draw a row for each policy with a square for each block."""
    reasons = sorted(set(rows.outcome) - {WENT})
    step = max(LEAST_STEP, min(MOST_STEP, MOST_WIDTH // max(rows.block.nunique(), 1)))
    every = max(1, 28 // step)
    shown = sorted(set(rows.block))[::every]
    data = rows.assign(share=rows.went / rows.tried)
    boxes = (
        alt.Chart(data)
        .mark_rect(stroke="#88888888")
        .encode(
            x=alt.X("block:O", title="memory block", axis=alt.Axis(values=shown, labelAngle=0)),
            y=alt.Y("policy:N", title=None, sort=list(dict.fromkeys(rows.policy))),
            color=outcome_color([WENT, *reasons], "what became of it"),
        )
    )
    whole = sized(boxes, alt.Step(step), alt.Step(30))
    return panels(whole, data, "event", "point")


def told(rows: Any) -> str:
    """Say how many blocks went under each policy, and what kept most of the others."""
    parts = []
    for policy, group in rows.groupby("policy", sort=False):
        kept = group[group.outcome != WENT].outcome
        why = f" (most others: {kept.value_counts().index[0]})" if len(kept) else ""
        parts.append(f"{policy} {group.went.sum() / group.tried.sum():.0%}{why}")
    return f"Attempts to take a block offline that succeeded: {'; '.join(parts)}."
