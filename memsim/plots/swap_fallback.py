"""How many of the pages that moved went through swap instead of being copied."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import clipped, over_seeds, percent, placed
from memsim.plots._style import panels, policy_color, sized
from memsim.results import Run

MISSING = "no event moved pages"
HINT = "add an event: {at: 10s, do: migrate_pages, workload: db, from: [1], to: [0]}"
KEYS = ["policy", "point", "move"]


def rows(run: Run) -> Any:
    """Return by policy and event which part of the pages that moved went through swap."""
    table = placed(run, run.migration)
    table = table.assign(move=table.event + " " + table.workload)
    sums = table.groupby([*KEYS, "seed"], sort=False)[["moved_direct", "moved_swap"]].sum()
    sums = sums[sums.sum(axis=1) > 0].reset_index()
    sums["share"] = sums.moved_swap / (sums.moved_direct + sums.moved_swap)
    return clipped(over_seeds(sums, KEYS, "share"), 0, 1)


def chart(rows: Any) -> Any:
    """Draw a bar with its interval for each policy."""
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("policy:N", title=None, sort=list(dict.fromkeys(rows.policy)))
    )
    axis = alt.Axis(format=".0%", title="part of the moved pages that went through swap")
    bars = base.mark_bar().encode(
        x=alt.X("mean:Q", axis=axis, scale=alt.Scale(domain=[0, 1])), color=policy_color(rows)
    )
    rules = base.mark_rule(color="#888888", strokeWidth=2).encode(x="low:Q", x2="high:Q")
    whole = sized(alt.layer(bars, rules, data=rows), height=alt.Step(28))
    return panels(whole, rows, "move", "point")


def told(rows: Any) -> str:
    """Say the part of each policy."""
    means = rows.groupby("policy", sort=False)["mean"].mean()
    parts = [f"{policy} {percent(mean)}" for policy, mean in means.items()]
    return f"Of the pages that moved, through swap: {', '.join(parts)}."
