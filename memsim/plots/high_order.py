"""How often blocks of each order could be had, by policy, with 95 % intervals."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import clipped, over_seeds, percent, placed
from memsim.plots._style import panels, policy_color, sized
from memsim.results import Run

MISSING = "no attempt to get a block was observed"
HINT = "add an event: {every: 1s, do: probe, orders: [9]}"
KEYS = ["policy", "point", "phase", "order"]


def rows(run: Run) -> Any:
    """Return a row for each policy, phase and order; ``mean`` is the part that succeeded."""
    table = placed(run, run.high_order)
    counts = table.groupby([*KEYS, "seed"], sort=False)[["attempted", "succeeded"]].sum()
    counts = counts.reset_index()
    counts["share"] = counts.succeeded / counts.attempted
    return clipped(over_seeds(counts, KEYS, "share"), 0, 1)


def chart(rows: Any) -> Any:
    """Draw a bar for each order and policy."""
    base: Any = alt.Chart(rows).encode(
        x=alt.X("order:O", title="order of the block", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("policy:N", sort=list(dict.fromkeys(rows.policy))),
    )
    axis = alt.Axis(format=".0%", title="attempts that succeeded")
    bars = base.mark_bar().encode(
        y=alt.Y("mean:Q", axis=axis, scale=alt.Scale(domain=[0, 1])), color=policy_color(rows)
    )
    rules = base.mark_rule(color="#888888", strokeWidth=2).encode(y="low:Q", y2="high:Q")
    return panels(sized(alt.layer(bars, rules, data=rows)), rows, "phase", "point")


def told(rows: Any) -> str:
    """Say the best and the worst policy at the highest order."""
    order = rows.order.max()
    means = rows[rows.order == order].groupby("policy", sort=False)["mean"].mean()
    parts = [f"{policy} {percent(mean)}" for policy, mean in means.items()]
    return f"At order {order}, attempts that succeeded: {', '.join(parts)}."
